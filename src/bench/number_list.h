/* Lists of numbers on the command line: "1,2,4". */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/err.h"

enum { NUMBER_LIST_MAX = 16 };

struct number_list {
    uint64_t values[NUMBER_LIST_MAX];
    unsigned count;
};

/* `what` is the option, for errors; `text` is changed. -EINVAL or -ERANGE, with its line: not a
 * list, too many, or a number outside of `min` to `max`. */
must_check int number_list_parse(const char *what, char *text, uint64_t min, uint64_t max,
                                 struct number_list *list, struct err *err);
uint64_t number_list_max(const struct number_list *list);
uint64_t number_list_min(const struct number_list *list);
/* As it is written on a command line; cut if it does not fit. */
void number_list_print(const struct number_list *list, char *text, size_t size);
