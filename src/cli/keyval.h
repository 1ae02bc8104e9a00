/*
 * The `key=value,flag,...` lists of the command line, and the values in them. Any thread.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/err.h"

/* A list that is being taken apart. Zero what is private. */
struct keyval_list {
    const char *option;       /* "--block", for errors */
    const char *const *names; /* the keys that there are, 32 at most */
    unsigned name_count;
    char *rest;    /* changed in place; NULL at the end */
    uint32_t seen; /* private: bit per key */
};

/*
 * Takes the next entry: 1, with the index of its key in `names`; `a=b` has a value, of `a` it is
 * NULL. 0 at the end. -EINVAL: no such key, or one that was there before.
 */
must_check int keyval_next(struct keyval_list *list, unsigned *key, char **value, struct err *err);

/*
 * Conversions of a whole string; `what` names the option and key in the error ("--block: queues").
 * -EINVAL when it is malformed (or NULL), -ERANGE. Numbers are decimal, or hexadecimal after 0x.
 */
must_check int keyval_u64(const char *what, const char *text, uint64_t min, uint64_t max,
                          uint64_t *value, struct err *err);
/* Anything but nothing. */
must_check int keyval_text(const char *what, const char *text, const char **value, struct err *err);
/* NULL means true; else true or false. */
must_check int keyval_bool(const char *what, const char *text, bool *value, struct err *err);
/* MiB without a suffix, or with K, M, G (powers of 1024); result in bytes. */
must_check int keyval_mem_size(const char *what, const char *text, uint64_t *bytes,
                               struct err *err);
/* A whole number with ns, us, ms, s, min or h; result, and the bounds, in nanoseconds. */
must_check int keyval_duration(const char *what, const char *text, uint64_t min_ns, uint64_t max_ns,
                               uint64_t *duration_ns, struct err *err);
/* aa:bb:cc:dd:ee:ff, unicast and not zero. */
must_check int keyval_mac(const char *what, const char *text, uint8_t mac[6], struct err *err);
/* Index of `text` in `names`. The error lists the names. */
must_check int keyval_choice(const char *what, const char *text, const char *const *names,
                             unsigned name_count, unsigned *choice, struct err *err);
