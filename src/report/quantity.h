/* Numbers for people: three significant digits and the unit that suits them. */
#pragma once
#include <stdint.h>

struct quantity {
    char text[24]; /* UTF-8 */
};

/* "31 ns", "1.23 µs", "45.6 ms", "12.0 s". */
struct quantity quantity_of_ns(uint64_t ns);
/* "950", "12.3 k", "4.56 M", "7.89 G". */
struct quantity quantity_of_count(uint64_t count);
