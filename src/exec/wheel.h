/*
 * A hierarchical timing wheel: where an executor keeps its armed timers. Arm and cancel are a list
 * operation each, at any number of timers. Private to src/exec.
 *
 * Time is counted in ticks of 1024 ns. Level 0 has one slot for each of the next 64 ticks, level 1
 * one for each 64 ticks of the next 4096, and so on: a timer is in the level of the highest 6-bit
 * digit in which its tick differs from the current one, and moves down when its slot is reached.
 */
#pragma once
#include <stdint.h>

#include "base/list.h"
#include "exec/timer.h"

enum { WHEEL_LEVELS = 9, WHEEL_SLOT_BITS = 6, WHEEL_SLOTS = 1 << WHEEL_SLOT_BITS };

struct wheel {
    uint64_t tick;                   /* everything before it has fired */
    uint64_t armed;                  /* timers */
    uint64_t occupied[WHEEL_LEVELS]; /* a bit per slot: may have timers */
    struct list slots[WHEEL_LEVELS][WHEEL_SLOTS];
};

void wheel_init(struct wheel *wheel, uint64_t now_ns);
void wheel_add(struct wheel *wheel, struct timer *timer);
void wheel_remove(struct wheel *wheel, struct timer *timer);
/* When to call wheel_advance next, UINT64_MAX: never. Exact unless a slot is crowded; never late.
 */
uint64_t wheel_next_ns(struct wheel *wheel);
/* Calls `fire` for every timer whose deadline has passed, off the wheel by then. */
void wheel_advance(struct wheel *wheel, uint64_t now_ns, void (*fire)(struct timer *timer));
