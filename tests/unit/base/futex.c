#include "base/futex.h"

#include <criterion/criterion.h>
#include <pthread.h>

#include "base/clock.h"

Test(futex, a_word_that_differs_is_not_waited_for)
{
    atomic_uint word = 1;

    cr_assert(futex_wait(&word, 0, FUTEX_NO_DEADLINE));
    cr_assert(futex_wait(&word, 0, 0), "whatever the deadline");
}

Test(futex, a_passed_deadline_is_told_apart)
{
    atomic_uint word = 1;

    cr_assert_not(futex_wait(&word, 1, 0));
    cr_assert_not(futex_wait(&word, 1, clock_now_ns() + NS_PER_MS));
}

static void *sleeper_main(void *arg)
{
    atomic_uint *word = arg;

    while (!atomic_load_explicit(word, memory_order_acquire))
        if (!futex_wait(word, 0, clock_now_ns() + 100 * NS_PER_S))
            return word;
    return NULL;
}

Test(futex, a_wake_ends_the_wait_before_the_deadline)
{
    atomic_uint word = 0;
    pthread_t thread;
    void *timed_out;

    cr_assert_eq(pthread_create(&thread, NULL, sleeper_main, &word), 0);
    atomic_store_explicit(&word, 1, memory_order_release);
    futex_wake(&word, 1);
    cr_assert_eq(pthread_join(thread, &timed_out), 0);
    cr_assert_null(timed_out);
}
