#include "sync/waiter.h"

#include <pthread.h>

#include "base/clock.h"
#include "rig.h"
#include "sync/acond.h"
#include "sync/barrier.h"
#include "sync/channel.h"
#include "sync/event.h"
#include "sync/notify.h"
#include "sync/once.h"
#include "sync/semaphore.h"
#include "sync/wait_group.h"

/* ---- lists and waves ---- */

enum { WAITERS = 5 };

static struct waiter waiters[WAITERS];
static struct waitlist list;

static void assert_list(const char *expected)
{
    const struct waiter *waiter = list.first;

    for (; *expected; expected++) {
        cr_assert_eq(waiter, &waiters[*expected - '0'], "%c", *expected);
        waiter = waitlist_next(&list, waiter);
    }
    cr_assert_null(waiter);
    cr_assert_eq(waitlist_is_empty(&list), list.first == NULL);
}

static void init_waiters(void)
{
    for (unsigned i = 0; i < WAITERS; i++)
        waiter_init(&waiters[i], NULL);
}

Test(waitlist, keeps_the_order_in_which_it_was_filled, .init = init_waiters)
{
    assert_list("");
    waitlist_push_back(&list, &waiters[0]);
    waitlist_push_back(&list, &waiters[1]);
    assert_list("01");
    waitlist_push_front(&list, &waiters[2]);
    assert_list("201");
    waitlist_push_after(&list, &waiters[2], &waiters[3]);
    assert_list("2301");
    waitlist_push_after(&list, &waiters[1], &waiters[4]);
    assert_list("23014");
    waitlist_remove(&list, &waiters[0]);
    assert_list("2314");
    waitlist_remove(&list, &waiters[2]);
    assert_list("314");
    waitlist_remove(&list, &waiters[4]);
    assert_list("31");
    waitlist_remove(&list, &waiters[3]);
    waitlist_remove(&list, &waiters[1]);
    assert_list("");
}

Test(waitlist, a_wave_takes_from_anywhere_and_wakes_once, .init = init_waiters)
{
    struct wave wave = {0};

    for (unsigned i = 0; i < WAITERS; i++)
        waitlist_push_back(&list, &waiters[i]);
    cr_assert(wave_is_empty(&wave));
    wave_wake(&wave);
    wave_take(&wave, &list, &waiters[3]);
    wave_take(&wave, &list, &waiters[0]);
    assert_list("124");
    cr_assert_eq(waiter_status(&waiters[3]), WAITER_WAKING);
    cr_assert_not(waiter_take_wake(&waiters[3]), "not before the waker has let go");
    wave_wake(&wave);
    for (unsigned i = 0; i < WAITERS; i++)
        cr_assert_eq(waiter_status(&waiters[i]), i == 0 || i == 3 ? WAITER_WOKEN : WAITER_QUEUED);
    cr_assert(waiter_take_wake(&waiters[0]));
    cr_assert(waiter_park(&waiters[3], FUTEX_NO_DEADLINE));
    cr_assert_not(waiter_park(&waiters[1], clock_now_ns() + NS_PER_MS));
}

/* ---- each primitive wakes outside its spinlock, and ends with the system call ---- */

static void *actor_main(void *arg)
{
    void (*act)(void) = *(void (**)(void))arg;

    act();
    return NULL;
}

static void assert_wakes_unlocked(void (*act)(void), const struct waiter *waiter,
                                  const atomic_ulong *state, unsigned long spinlock)
{
    pthread_t thread;

    cr_assert(is_queued(waiter));
    rig_block_wakes();
    cr_assert_eq(pthread_create(&thread, NULL, actor_main, &act), 0);
    while (waiter_status(waiter) != WAITER_WOKEN)
        cpu_relax();
    /* The waker is in its system call, or on the way to it, and will be for as long as we want. */
    cr_assert_not(atomic_load(state) & spinlock);
    rig_unblock_wakes();
    cr_assert_eq(pthread_join(thread, NULL), 0);
}

#define RigTest(name, ...) Test(wake, name, .init = rig_start, .fini = rig_stop, ##__VA_ARGS__)

static struct amutex mutex;
static struct amutex_lock locks[2];

static void unlock(void)
{
    amutex_unlock(&mutex, AMUTEX_EXCLUSIVE);
}

static void cancel_lock(void)
{
    amutex_lock_cancel(&locks[0]);
}

RigTest(clause_7_of_the_mutex_wake_ups_happen_outside_the_spinlock)
{
    cr_assert(amutex_try_lock(&mutex, AMUTEX_EXCLUSIVE));
    for (unsigned i = 0; i < 2; i++) {
        amutex_lock_start(&locks[i], rig_task(i), &mutex, AMUTEX_EXCLUSIVE);
        cr_assert_not(amutex_lock_poll(&locks[i]));
    }
    assert_wakes_unlocked(unlock, &locks[0].waiter, &mutex.compact.state, AMUTEX_SPINLOCK);
    assert_wakes_unlocked(cancel_lock, &locks[1].waiter, &mutex.compact.state, AMUTEX_SPINLOCK);
    cr_assert(amutex_lock_poll(&locks[1]));
    cr_assert_eq(atomic_load(&mutex.compact.state), AMUTEX_LOCKED);
}

static struct acond cond;
static struct acond_wait waits[3];

static void notify_one_cond(void)
{
    acond_notify_one(&cond);
}

static void notify_all_cond(void)
{
    acond_notify_all(&cond);
}

static void cancel_wait(void)
{
    acond_wait_cancel(&waits[0]);
}

RigTest(of_the_condition_variable)
{
    for (unsigned i = 0; i < 3; i++) {
        cr_assert(amutex_try_lock(&mutex, AMUTEX_EXCLUSIVE));
        acond_wait_start(&waits[i], rig_task(i), &cond, &mutex, AMUTEX_EXCLUSIVE);
    }
    assert_wakes_unlocked(notify_one_cond, &waits[0].lock.waiter, &cond.compact.state,
                          STATE_SPINLOCK);
    assert_wakes_unlocked(cancel_wait, &waits[1].lock.waiter, &cond.compact.state, STATE_SPINLOCK);
    assert_wakes_unlocked(notify_all_cond, &waits[2].lock.waiter, &cond.compact.state,
                          STATE_SPINLOCK);
    acond_wait_cancel(&waits[1]);
    acond_wait_cancel(&waits[2]);
}

static struct semaphore semaphore;
static struct semaphore_acquire acquires[2];

static void release(void)
{
    semaphore_release(&semaphore, 1);
}

static void cancel_acquire(void)
{
    semaphore_acquire_cancel(&acquires[0]);
}

RigTest(of_the_semaphore)
{
    for (unsigned i = 0; i < 2; i++) {
        semaphore_acquire_start(&acquires[i], rig_task(i), &semaphore, 1);
        cr_assert_not(semaphore_acquire_poll(&acquires[i]));
    }
    assert_wakes_unlocked(release, &acquires[0].waiter, &semaphore.compact.state, STATE_SPINLOCK);
    assert_wakes_unlocked(cancel_acquire, &acquires[1].waiter, &semaphore.compact.state,
                          STATE_SPINLOCK);
    cr_assert(semaphore_acquire_poll(&acquires[1]));
}

static struct event event;
static struct notify notify;
static struct wait_group group;

static void set_event(void)
{
    event_set(&event);
}

static void notify_waiter(void)
{
    notify_one(&notify);
}

static void end_group(void)
{
    wait_group_done(&group);
}

RigTest(of_event_notify_and_wait_group)
{
    struct event_wait event_wait;
    struct notify_wait notify_wait;
    struct wait_group_wait group_wait;

    event_wait_start(&event_wait, rig_task(0), &event);
    cr_assert_not(event_wait_poll(&event_wait));
    assert_wakes_unlocked(set_event, &event_wait.waiter, &event.compact.state, STATE_SPINLOCK);
    cr_assert(event_wait_poll(&event_wait));

    notify_wait_start(&notify_wait, rig_task(0), &notify);
    cr_assert_not(notify_wait_poll(&notify_wait));
    assert_wakes_unlocked(notify_waiter, &notify_wait.waiter, &notify.compact.state,
                          STATE_SPINLOCK);
    cr_assert(notify_wait_poll(&notify_wait));

    wait_group_add(&group, 1);
    wait_group_wait_start(&group_wait, rig_task(0), &group);
    cr_assert_not(wait_group_wait_poll(&group_wait));
    assert_wakes_unlocked(end_group, &group_wait.waiter, &group.compact.state, STATE_SPINLOCK);
    cr_assert(wait_group_wait_poll(&group_wait));
}

static struct barrier barrier;
static struct once once;

static void arrive(void)
{
    cr_assert_eq(barrier_wait_blocking(&barrier), BARRIER_LAST);
}

static void complete(void)
{
    once_complete(&once);
}

RigTest(of_barrier_and_once)
{
    struct barrier_wait barrier_wait;
    struct once_enter enters[2];

    barrier_init(&barrier, 2);
    barrier_wait_start(&barrier_wait, rig_task(0), &barrier);
    cr_assert_not(barrier_wait_poll(&barrier_wait));
    assert_wakes_unlocked(arrive, &barrier_wait.waiter, &barrier.compact.state, STATE_SPINLOCK);
    cr_assert(barrier_wait_poll(&barrier_wait));

    for (unsigned i = 0; i < 2; i++) {
        once_enter_start(&enters[i], rig_task(i), &once);
        cr_assert_eq(once_enter_poll(&enters[i]), i == 0);
    }
    assert_wakes_unlocked(complete, &enters[1].waiter, &once.compact.state, STATE_SPINLOCK);
    cr_assert(once_enter_poll(&enters[1]));
}

static struct channel channel;
static char room[1];

static void send_item(void)
{
    cr_assert_eq(channel_try_send(&channel, "x"), 0);
}

static void receive_item(void)
{
    char item;

    cr_assert_eq(channel_try_recv(&channel, &item), 0);
}

RigTest(of_the_channel)
{
    struct channel_recv recv;
    struct channel_send send;
    char item;

    channel_init(&channel, room, 1, 1);
    channel_recv_start(&recv, rig_task(0), &channel, &item);
    cr_assert_not(channel_recv_poll(&recv));
    assert_wakes_unlocked(send_item, &recv.waiter, &channel.compact.state, STATE_SPINLOCK);
    cr_assert(channel_recv_poll(&recv));

    cr_assert_eq(channel_try_send(&channel, "x"), 0);
    channel_send_start(&send, rig_task(0), &channel, "y");
    cr_assert_not(channel_send_poll(&send));
    assert_wakes_unlocked(receive_item, &send.waiter, &channel.compact.state, STATE_SPINLOCK);
    cr_assert(channel_send_poll(&send));
}
