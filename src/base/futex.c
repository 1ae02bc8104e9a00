#include "base/futex.h"

#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

bool futex_wait(atomic_uint *word, unsigned expected, uint64_t deadline_ns)
{
    struct timespec deadline = {.tv_sec = (time_t)(deadline_ns / NS_PER_S),
                                .tv_nsec = (long)(deadline_ns % NS_PER_S)};

    /* The bitset form takes an absolute time. EAGAIN and EINTR mean: look again. */
    return syscall(SYS_futex, word, FUTEX_WAIT_BITSET_PRIVATE, expected,
                   deadline_ns == FUTEX_NO_DEADLINE ? NULL : &deadline, NULL,
                   FUTEX_BITSET_MATCH_ANY) == 0 ||
           errno != ETIMEDOUT;
}

void futex_wake(atomic_uint *word, int count)
{
    (void)syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, count, NULL, NULL, 0);
}
