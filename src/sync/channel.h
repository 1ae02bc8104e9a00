/*
 * Bounded channel of items of one size, from any number of producers to any number of consumers,
 * tasks and plain threads.
 *
 *     channel_send_start(&frame->send, task, &stage->input, &frame->item);
 *     AWAIT(task, SEND, channel_send_poll(&frame->send));
 *     if (frame->send.result == -EPIPE) ...     nobody wants it any more
 *
 *     channel_recv_start(&frame->recv, task, &stage->input, &frame->item);
 *     AWAIT(task, RECV, channel_recv_poll(&frame->recv));
 *     if (frame->recv.result == -EPIPE) ...     there will be no more
 *
 * Policy:
 *  - Items come out in the order in which they went in, and senders that wait for room go in in the
 *    order of their waits.
 *  - Close ends the sending at once; what is inside still comes out, then receiving ends too. While
 *    a receiver that was woken for the last item has not taken it the others wait on, for it may be
 *    cancelled.
 *  - No item is lost or doubled by a cancel: a receiver takes its item in its poll and not before,
 *    and a sender that was cancelled too late says in its result that the item went in.
 *  - Items are copied, in and out.
 *
 * It may go when nobody waits and the last call has returned. Two forms, see forms.h.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/atomic.h"
#include "sync/forms.h"
#include "sync/waiter.h"

/* They are copied under a spinlock: send a pointer to what is larger. */
enum { CHANNEL_ITEM_SIZE_MAX = 256 };

#define CHANNEL_CLOSED 4UL

/* channel_init first. All but the state is private and guarded by its STATE_SPINLOCK. */
struct channel_compact {
    atomic_ulong state; /* private: STATE_SPINLOCK, CHANNEL_CLOSED */
    struct waitlist senders;
    struct waitlist receivers;
    unsigned char *items; /* a ring */
    uint32_t item_size;
    uint32_t capacity;
    uint32_t first;   /* the oldest item */
    uint32_t count;   /* of items */
    uint32_t claimed; /* items that receivers were woken for */
};

SYNC_FORMS(channel);

/* Futures. */
struct channel_send {
    struct waiter waiter;            /* private */
    struct channel_compact *channel; /* private */
    const void *item;                /* private */
    int32_t outcome;                 /* private: written under the spinlock */
    int32_t result; /* once poll is true: 0, it went in; -EPIPE, closed; -ECANCELED, it did not */
};

struct channel_recv {
    struct waiter waiter;            /* private */
    struct channel_compact *channel; /* private */
    void *item;                      /* private */
    bool has_claim;                  /* private: written under the spinlock */
    int32_t result; /* once poll is true: 0; -EPIPE, closed and empty; -ECANCELED */
};

/* Before anybody else knows the channel. `items`, room for `capacity` items, stays the caller's and
 * goes after the channel. Sizes of at least 1 (asserted). */
void channel_init(union channel_ref channel, void *items, uint32_t item_size, uint32_t capacity);
/* Any thread. Closing it again is a no-op. */
void channel_close(union channel_ref channel);

/* Any thread. 0, -EAGAIN: no room, or -EPIPE: closed. */
must_check int channel_try_send(union channel_ref channel, const void *item);
/* Any thread. 0, -EAGAIN: nothing that nobody was woken for, or -EPIPE: closed and empty. */
must_check int channel_try_recv(union channel_ref channel, void *item);

/* The thread of the task's executor, as all of the future. `item` stays valid until finished. */
void channel_send_start(struct channel_send *send, struct task *task, union channel_ref channel,
                        const void *item);
must_check bool channel_send_poll(struct channel_send *send);
/* Finishes at once; see result. A no-op when finished already. */
void channel_send_cancel(struct channel_send *send);
struct future channel_send_future(struct channel_send *send);

/* The same; `item` is written by the poll that is true. */
void channel_recv_start(struct channel_recv *recv, struct task *task, union channel_ref channel,
                        void *item);
must_check bool channel_recv_poll(struct channel_recv *recv);
void channel_recv_cancel(struct channel_recv *recv);
struct future channel_recv_future(struct channel_recv *recv);

/* Plain threads, never one that runs an executor. 0 or -EPIPE; with a deadline, which is of
 * CLOCK_MONOTONIC, also -ETIMEDOUT. */
must_check int channel_send_blocking(union channel_ref channel, const void *item);
must_check int channel_send_blocking_until(union channel_ref channel, const void *item,
                                           uint64_t deadline_ns);
must_check int channel_recv_blocking(union channel_ref channel, void *item);
must_check int channel_recv_blocking_until(union channel_ref channel, void *item,
                                           uint64_t deadline_ns);
