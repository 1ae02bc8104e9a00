/*
 * The two forms of every primitive. By default its words have a pair of cache lines to themselves
 * (128 bytes: adjacent-line prefetch), so that two locks never slow each other down. The compact
 * form is as small as can be, for those who have many of them, or who want one beside the data
 * that it guards.
 *
 *     struct amutex lock;            128 bytes, isolated
 *     struct amutex_compact lock;    16 bytes
 *
 * All functions take `union NAME_ref`, which is a pointer to either form: pass &lock, no cast. Both
 * forms are idle and valid when zeroed, unless the primitive's header says otherwise.
 */
#pragma once
#include "base/compiler.h"

/* Follows the declaration of struct NAME_compact. */
#define SYNC_FORMS(name)                                                       \
    struct name {                                                              \
        cache_isolated struct name##_compact compact;                          \
    };                                                                         \
    _Static_assert(sizeof(struct name) == 128 && _Alignof(struct name) == 128, \
                   "one pair of cache lines, shared with no other");           \
    union name##_ref {                                                         \
        struct name *isolated;                                                 \
        struct name##_compact *compact;                                        \
    } __attribute__((transparent_union))
