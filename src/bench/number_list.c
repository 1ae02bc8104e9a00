#include "bench/number_list.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/arith.h"
#include "cli/keyval.h"

int number_list_parse(const char *what, char *text, uint64_t min, uint64_t max,
                      struct number_list *list, struct err *err)
{
    char *number;

    list->count = 0;
    while ((number = strsep(&text, ","))) {
        int ret;

        if (list->count == NUMBER_LIST_MAX)
            return err_set(err, -EINVAL, "%s: more than %d numbers", what, NUMBER_LIST_MAX);
        ret = keyval_u64(what, number, min, max, &list->values[list->count++], err);
        if (ret)
            return ret;
    }
    return 0;
}

uint64_t number_list_max(const struct number_list *list)
{
    uint64_t max = 0;

    for (unsigned i = 0; i < list->count; i++)
        max = u64_max(max, list->values[i]);
    return max;
}

uint64_t number_list_min(const struct number_list *list)
{
    uint64_t min = UINT64_MAX;

    for (unsigned i = 0; i < list->count; i++)
        min = u64_min(min, list->values[i]);
    return min;
}

void number_list_print(const struct number_list *list, char *text, size_t size)
{
    size_t len = 0;

    *text = '\0';
    for (unsigned i = 0; i < list->count && len < size; i++)
        len +=
            (size_t)snprintf(text + len, size - len, "%s%" PRIu64, i ? "," : "", list->values[i]);
}
