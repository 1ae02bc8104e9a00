/* Sleeping on a word of this process. Any thread; a wait blocks, so never on an executor's. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/atomic.h"

#define FUTEX_NO_DEADLINE UINT64_MAX

/*
 * Sleeps while `*word` is `expected`, until futex_wake or until `deadline_ns` of CLOCK_MONOTONIC.
 * Returns for no reason at times: look at the word again. False: the deadline has passed.
 */
bool futex_wait(atomic_uint *word, unsigned expected, uint64_t deadline_ns);
/* Wakes at most `count` threads that sleep on the word. The word's memory may be gone already. */
void futex_wake(atomic_uint *word, int count);
