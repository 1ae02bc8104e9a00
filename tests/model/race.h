/*
 * Accesses that are not atomic, to the arena: the state of a scenario and the stacks of its
 * threads. Two of them, or one and an atomic one, of which one writes, must be ordered by
 * happens-before.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    RACE_STATE_SIZE = 256 * 1024,
    RACE_STACK_SIZE = 64 * 1024,
    /* For each word of 8 bytes of the rest, what the kernel knows of it. */
    RACE_KERNEL_OFFSET = RACE_STATE_SIZE + 6 * RACE_STACK_SIZE,
    RACE_ARENA_SIZE = 3 * RACE_KERNEL_OFFSET,
};

/* The arena's number of a byte, or -1 when it is outside. */
long race_offset(const void *address);
void race_access(const void *address, size_t size, bool is_write, const void *pc);
/* An atomic access, by the current thread; `index` of its event. */
void race_atomic(const void *address, size_t size, bool is_write, unsigned index, const void *pc);
/* The frame of a function of the current thread begins, or ends. */
void race_frame_begin(const void *low, const void *high);
void race_frame_end(const void *low, const void *high);
