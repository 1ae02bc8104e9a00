#include "report/quantity.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/compiler.h"

/* `value` in units of 1000 to the power of the suffix' index. */
static struct quantity scale(uint64_t value, const char *const *suffixes, unsigned suffix_count)
{
    struct quantity quantity;
    double scaled = (double)value;
    unsigned i = 0;

    if (value < 1000) {
        snprintf(quantity.text, sizeof(quantity.text), "%" PRIu64 "%s", value, suffixes[0]);
        return quantity;
    }
    /* 999.5 would be printed as 1000. */
    while (scaled >= 999.5 && i + 1 < suffix_count) {
        scaled /= 1000;
        i++;
    }
    snprintf(quantity.text, sizeof(quantity.text), "%.*f%s",
             scaled < 9.995   ? 2
             : scaled < 99.95 ? 1
                              : 0,
             scaled, suffixes[i]);
    return quantity;
}

struct quantity quantity_of_ns(uint64_t ns)
{
    static const char *const suffixes[] = {" ns", " µs", " ms", " s"};

    return scale(ns, suffixes, array_count(suffixes));
}

struct quantity quantity_of_count(uint64_t count)
{
    static const char *const suffixes[] = {"", " k", " M", " G"};

    return scale(count, suffixes, array_count(suffixes));
}
