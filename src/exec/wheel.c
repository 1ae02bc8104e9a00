#include "exec/wheel.h"

#include "base/arith.h"
#include "base/check.h"

enum {
    TICK_BITS = 10,
    /* How many timers of a slot are looked at for the exact next deadline. */
    EXACT_SCAN_MAX = 32,
};

/* 64-bit nanoseconds have 54 bits of ticks: nine digits of six bits, so no deadline is too far. */
_Static_assert(WHEEL_LEVELS *WHEEL_SLOT_BITS == 64 - TICK_BITS, "the wheel covers all of time");
#define TICK_MAX ((1ULL << (64 - TICK_BITS)) - 1)

/* The first tick that is not before the deadline: a timer never fires early. */
static uint64_t deadline_tick(const struct timer *timer)
{
    uint64_t fraction = timer->deadline_ns & ((1ULL << TICK_BITS) - 1);

    return u64_min((timer->deadline_ns >> TICK_BITS) + !!fraction, TICK_MAX);
}

void wheel_init(struct wheel *wheel, uint64_t now_ns)
{
    *wheel = (struct wheel){.tick = now_ns >> TICK_BITS};
    for (unsigned level = 0; level < WHEEL_LEVELS; level++)
        for (unsigned slot = 0; slot < WHEEL_SLOTS; slot++)
            list_init(&wheel->slots[level][slot]);
}

static void place(struct wheel *wheel, struct timer *timer)
{
    uint64_t tick = u64_max(deadline_tick(timer), wheel->tick);
    unsigned highest_bit = 63 - (unsigned)__builtin_clzll((tick ^ wheel->tick) | 1);
    unsigned level = highest_bit / WHEEL_SLOT_BITS;
    unsigned slot = tick >> (level * WHEEL_SLOT_BITS) & (WHEEL_SLOTS - 1);

    list_push_back(&wheel->slots[level][slot], &timer->link);
    wheel->occupied[level] |= 1ULL << slot;
}

void wheel_add(struct wheel *wheel, struct timer *timer)
{
    wheel->armed++;
    place(wheel, timer);
}

/* The slot's bit stays set: find_slot clears it when it comes by. */
void wheel_remove(struct wheel *wheel, struct timer *timer)
{
    list_remove(&timer->link);
    wheel->armed--;
}

/* First tick of `slot` in `level`: the current tick with that digit replaced and the lower ones 0.
 */
static uint64_t slot_tick(const struct wheel *wheel, unsigned level, unsigned slot)
{
    unsigned shift = level * WHEEL_SLOT_BITS;
    uint64_t above = wheel->tick >> shift >> WHEEL_SLOT_BITS << WHEEL_SLOT_BITS << shift;

    return above | (uint64_t)slot << shift;
}

/*
 * The earliest slot that has timers. The lowest occupied level has it: its slots lie within one
 * slot of the level above. In a level only slots at or after the current digit are occupied, so
 * the lowest bit is the earliest.
 */
static struct list *find_slot(struct wheel *wheel, uint64_t *tick, unsigned *found_level)
{
    for (unsigned level = 0; level < WHEEL_LEVELS; level++) {
        while (wheel->occupied[level]) {
            unsigned slot = (unsigned)__builtin_ctzll(wheel->occupied[level]);

            if (!list_is_empty(&wheel->slots[level][slot])) {
                *tick = slot_tick(wheel, level, slot);
                *found_level = level;
                return &wheel->slots[level][slot];
            }
            wheel->occupied[level] &= ~(1ULL << slot);
        }
    }
    return NULL;
}

uint64_t wheel_next_ns(struct wheel *wheel)
{
    uint64_t tick, earliest = TICK_MAX;
    unsigned level, scanned = 0;
    struct list *slot;

    if (!wheel->armed)
        return UINT64_MAX;
    slot = find_slot(wheel, &tick, &level);
    list_for_each (link, slot) {
        uint64_t at = deadline_tick(container_of(link, struct timer, link));

        /* Waking at the start of the slot only sorts it into lower levels, but is never late. */
        if (level == 0 || scanned++ == EXACT_SCAN_MAX)
            return tick << TICK_BITS;
        earliest = u64_min(earliest, at);
    }
    return earliest << TICK_BITS;
}

void wheel_advance(struct wheel *wheel, uint64_t now_ns, void (*fire)(struct timer *timer))
{
    uint64_t now_tick = now_ns >> TICK_BITS;
    uint64_t tick;
    unsigned level;
    struct list *slot;

    while (wheel->armed && (slot = find_slot(wheel, &tick, &level)) && tick <= now_tick) {
        struct list due;
        struct list *link;

        /* A timer that was armed in the past sits in the current slot. */
        wheel->tick = u64_max(tick, wheel->tick);
        list_init(&due);
        list_splice(&due, slot);
        while ((link = list_pop_front(&due))) {
            struct timer *timer = container_of(link, struct timer, link);

            if (deadline_tick(timer) <= wheel->tick) {
                wheel->armed--;
                fire(timer);
            } else {
                place(wheel, timer);
            }
        }
    }
    wheel->tick = u64_max(now_tick, wheel->tick);
}
