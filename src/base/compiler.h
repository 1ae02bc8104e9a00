/* Attributes and small macros that the language lacks. */
#pragma once
#include <stddef.h>

#define must_check            __attribute__((warn_unused_result))
#define printf_like(fmt, arg) __attribute__((format(printf, fmt, arg)))
#define noreturn_fn           __attribute__((noreturn))
#define cold_fn               __attribute__((cold))
#define noinline_fn           __attribute__((noinline))
#define always_inline_fn      inline __attribute__((always_inline))
#define likely(x)             __builtin_expect(!!(x), 1)
#define unlikely(x)           __builtin_expect(!!(x), 0)
#define array_count(array)    (sizeof(array) / sizeof((array)[0]))
/* Two cache lines: adjacent-line prefetch makes a pair of lines the unit of false sharing. */
#define cache_isolated __attribute__((aligned(128)))

#define container_of(ptr, type, member)                                \
    ({                                                                 \
        __typeof__(((type *)0)->member) *member_ptr = (ptr);           \
        (type *)(void *)((char *)member_ptr - offsetof(type, member)); \
    })

/* The same for what must not change. */
#define container_of_const(ptr, type, member)                                            \
    ({                                                                                   \
        const __typeof__(((type *)0)->member) *member_ptr = (ptr);                       \
        (const type *)(const void *)((const char *)member_ptr - offsetof(type, member)); \
    })
