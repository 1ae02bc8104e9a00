/* What the tests of the mutex share: one mutex, and ways to get it into a state. */
#pragma once
#include "rig.h"
#include "sync/amutex.h"

#define SHARED     AMUTEX_SHARED
#define EXCLUSIVE  AMUTEX_EXCLUSIVE
#define LOCKED     AMUTEX_LOCKED
#define WAITERS    AMUTEX_HAS_WAITERS
#define DESIGNATED AMUTEX_DESIGNATED_WAKER
#define WRITER     AMUTEX_WRITER_WAITING
#define LONG       AMUTEX_LONG_WAIT
#define READER     AMUTEX_READER

static struct amutex mutex;

static inline void assert_state_at(unsigned long expected, int line)
{
    unsigned long state = atomic_load(&mutex.compact.state);

    cr_assert_eq(state, expected, "line %d: state %#lx, expected %#lx", line, state, expected);
}
#define assert_state(expected) assert_state_at(expected, __LINE__)

/* Starts a lock that has to wait, of another task than the first one. */
static inline void queue(struct amutex_lock *lock, enum amutex_mode mode)
{
    static unsigned next_task;

    amutex_lock_start(lock, rig_task(1 + next_task++ % (RIG_TASKS - 1)), &mutex, mode);
    cr_assert_not(amutex_lock_poll(lock));
    cr_assert(is_queued(&lock->waiter));
}

static inline void hold(enum amutex_mode mode)
{
    cr_assert(amutex_try_lock(&mutex, mode));
}

static inline void assert_idle(void)
{
    assert_state(0);
    cr_assert(waitlist_is_empty(&mutex.compact.waiters));
}

/* A test of a clause of the contract: the state word is asserted after every step. */
#define ClauseTest(name, ...) Test(amutex, name, .init = rig_start, .fini = rig_stop, ##__VA_ARGS__)

/* Wakes the first waiter `times` times in vain; the lock is held before and after. */
static inline void frustrate(struct amutex_lock *lock, unsigned times)
{
    for (unsigned i = 0; i < times; i++) {
        amutex_unlock(&mutex, EXCLUSIVE);
        cr_assert(is_woken(&lock->waiter));
        hold(EXCLUSIVE);
        cr_assert_not(amutex_lock_poll(lock));
    }
}
