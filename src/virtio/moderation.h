/*
 * Interrupt moderation of a queue: how long the interrupt for a completed request may wait for the
 * next ones.
 *
 * Each interrupt costs the guest an exit or two, and a kick that it would not need while the device
 * still looks. One for many requests is the gain, the latency of the first is the price, and which
 * is larger nobody can tell beforehand: it depends on the guest's depth, on the disk, and on what
 * an exit costs here (1 us, or 100 in nested emulation). So it is tried: now and then another
 * window is in use for an epoch of requests, and stays if requests come faster. What trials cost
 * that fail, and what a guest loses until a window is given up, comes off a budget, which is a
 * thirty-second of the guest's time.
 *
 * The price is bounded. The oldest request that an interrupt is for waits for MODERATION_WINDOWS
 * windows of at most 1024 us, so 4096 us and what a timer takes, whatever the driver and the others
 * do. A window that gathers nothing is given up after eight requests, and its trial after four. A
 * guest that has one request at a time sees nothing but such trials, for 1/2048 of its time.
 *
 * Pure arithmetic on the caller's clock; any one thread at a time.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

enum {
    MODERATION_EPOCH = 64,          /* requests, at least */
    MODERATION_EPOCH_NS = 2000000,  /* and time */
    MODERATION_BATCH = 16,          /* requests that wait for no more */
    MODERATION_WINDOWS = 4,         /* of a busy driver, one after the other, for one interrupt */
    MODERATION_IDLE_NS = 100000000, /* nothing is learnt from an epoch with such a gap */
};

/* Zeroed: no window yet. */
struct moderation {
    uint64_t epoch_begin_ns;
    uint64_t last_ns;
    int64_t budget_ns;     /* that trials may cost before the next one has to wait */
    uint32_t count;        /* requests of this epoch */
    uint32_t overlapping;  /* of these, which were not the only one at a time */
    uint32_t interrupts;   /* for them */
    uint32_t single_count; /* interrupts in a row for one request */
    uint32_t base_ns;      /* for each request, in the last epoch with the settled window */
    uint8_t settled;       /* index of the window that was best */
    uint8_t tried;         /* of the one that is in use now */
    uint8_t next;          /* of the one that was tried last */
};

/* An interrupt that waits goes out after this long, or after as long again if requests came
 * meanwhile; at most 1024 us. */
uint64_t moderation_window_ns(const struct moderation *moderation);
/* An interrupt for `count` requests is due and goes out now; `in_flight` more are under way. */
void moderation_signalled(struct moderation *moderation, uint32_t count, uint32_t in_flight,
                          uint64_t now_ns);
