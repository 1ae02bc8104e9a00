/*
 * The `key=value,flag,...` lists of the command line, and the values in them. Any thread.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/err.h"

/* One entry of a list: `a=b` has a key and a value, `a` a key alone (value NULL). */
struct keyval {
    char *key;
    char *value;
};

/* Cuts the next entry off `*rest`, which is changed in place and becomes NULL at the end of the
 * list. False at the end. */
bool keyval_next(char **rest, struct keyval *entry);

/*
 * Conversions of a whole string; `what` names the option and key in the error ("--block: queues").
 * -EINVAL when it is malformed (or NULL), -ERANGE.
 */
must_check int keyval_u64(const char *what, const char *text, uint64_t min, uint64_t max,
                          uint64_t *value, struct err *err);
/* NULL means true; else true or false. */
must_check int keyval_bool(const char *what, const char *text, bool *value, struct err *err);
/* MiB without a suffix, or with K, M, G (powers of 1024); result in bytes. */
must_check int keyval_mem_size(const char *what, const char *text, uint64_t *bytes,
                               struct err *err);
/* aa:bb:cc:dd:ee:ff, unicast and not zero. */
must_check int keyval_mac(const char *what, const char *text, uint8_t mac[6], struct err *err);
/* Index of `text` in `names`. The error lists the names. */
must_check int keyval_choice(const char *what, const char *text, const char *const *names,
                             unsigned name_count, unsigned *choice, struct err *err);
