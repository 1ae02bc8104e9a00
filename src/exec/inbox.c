#include "exec/inbox.h"

#include <errno.h>
#include <stdint.h>
#include <unistd.h>

#include "base/check.h"
#include "base/cpu.h"

void inbox_init(struct inbox *inbox, int wake_fd)
{
    atomic_init(&inbox->head, NULL);
    atomic_init(&inbox->state, INBOX_PROCESSING);
    atomic_init(&inbox->stop, false);
    atomic_init(&inbox->poster_cpu, -1);
    atomic_init(&inbox->owner_cpu, -1);
    inbox->wake_fd = wake_fd;
}

/*
 * The other half of inbox_prepare_wait. Both sides store, then load what the other stored:
 *
 *     poster:   head (or stop) = ...; load state
 *     executor: state = WAITING;      load head and stop
 *
 * All four are sequentially consistent, so at least one side sees the other's store: either the
 * executor finds the task, or the poster finds WAITING and wakes it.
 */
void inbox_alert(struct inbox *inbox)
{
    const uint64_t one = 1;
    unsigned state = INBOX_WAITING;

    if (atomic_load_explicit(&inbox->state, memory_order_seq_cst) != INBOX_WAITING)
        return;
    /* Only one of several posters pays for the system call. Relaxed: the value written through the
     * eventfd carries no data, and the order above is settled. */
    if (!atomic_compare_exchange_strong_explicit(&inbox->state, &state, INBOX_WOKEN,
                                                 memory_order_relaxed, memory_order_relaxed))
        return;
    while (write(inbox->wake_fd, &one, sizeof(one)) < 0)
        CHECK_CMP(errno, ==, EINTR);
}

bool inbox_push(struct inbox *inbox, struct task *task)
{
    struct task *head;

    /*
     * Release: what the caller wrote for the task is visible to the poll that this leads to, also
     * when the task is in the inbox already: pairs with the exchange in inbox_chain_pop, which
     * reads this value (or a later one of the same chain of exchanges). Acquire: a re-post writes
     * inbox_next after the executor has read it.
     */
    if (atomic_exchange_explicit(&task->posted, true, memory_order_acq_rel))
        return false;
    atomic_store_explicit(&inbox->poster_cpu, cpu_current(), memory_order_relaxed);
    head = atomic_load_explicit(&inbox->head, memory_order_relaxed);
    do {
        task->inbox_next = head;
        /* Publishes inbox_next: pairs with the acquire in inbox_drain. Sequentially consistent for
         * inbox_alert. */
    } while (!atomic_compare_exchange_weak_explicit(&inbox->head, &head, task, memory_order_seq_cst,
                                                    memory_order_relaxed));
    return true;
}

void inbox_post(struct inbox *inbox, struct task *task)
{
    /* `task` may be gone in between. */
    if (inbox_push(inbox, task))
        inbox_alert(inbox);
}

void inbox_post_stop(struct inbox *inbox)
{
    atomic_exchange_explicit(&inbox->stop, true, memory_order_seq_cst);
    inbox_alert(inbox);
}

struct task *inbox_drain(struct inbox *inbox)
{
    struct task *newest, *oldest = NULL;

    if (!atomic_load_explicit(&inbox->head, memory_order_relaxed))
        return NULL;
    /* Acquire: pairs with the push in inbox_post; the pushes before it are read through the release
     * sequence of their exchanges. */
    newest = atomic_exchange_explicit(&inbox->head, NULL, memory_order_acquire);
    while (newest) {
        struct task *next = newest->inbox_next;

        newest->inbox_next = oldest;
        oldest = newest;
        newest = next;
    }
    return oldest;
}

struct task *inbox_chain_pop(struct task **chain)
{
    struct task *task = *chain;

    if (!task)
        return NULL;
    *chain = task->inbox_next;
    /* An exchange, not a store: it acquires what every poster wrote before its own exchange in
     * inbox_post, also those that found the task posted. Release: see inbox_post. */
    atomic_exchange_explicit(&task->posted, false, memory_order_acq_rel);
    return task;
}

bool inbox_prepare_wait(struct inbox *inbox)
{
    /* See inbox_alert, and base/atomic.h for the exchange. */
    atomic_exchange_explicit(&inbox->state, INBOX_WAITING, memory_order_seq_cst);
    if (!atomic_load_explicit(&inbox->head, memory_order_seq_cst) &&
        !atomic_load_explicit(&inbox->stop, memory_order_seq_cst))
        return true;
    inbox_finish_wait(inbox);
    return false;
}

void inbox_finish_wait(struct inbox *inbox)
{
    /* Relaxed: a poster that still sees WAITING or has just written WOKEN wakes in vain, once. */
    atomic_store_explicit(&inbox->state, INBOX_PROCESSING, memory_order_relaxed);
}
