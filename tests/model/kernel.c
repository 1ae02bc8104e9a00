/*
 * What stands in for the kernel. What it knows of a futex or an eventfd is a word of its own, with
 * read-modify-writes that order like its locks do.
 */
#include "kernel.h"

#include <string.h>
#include <time.h>
#include <unistd.h>

#include "access.h"
#include "base/futex.h"
#include "explore.h"
#include "race.h"

enum { WORDS_MAX = 32, WAITER_BITS = 4 };

static uint64_t *used[WORDS_MAX];
static unsigned used_count;

void kernel_begin_run(void)
{
    for (unsigned i = 0; i < used_count; i++)
        *used[i] = 0;
    used_count = 0;
}

/* The kernel's word for an address of the scenario. */
static uint64_t *kernel_word(const void *address)
{
    long offset = race_offset(address);
    char *arena = race_arena(NULL);
    uint64_t *word;

    REQUIRE(offset >= 0, "a futex outside the state of the scenario");
    word = (uint64_t *)(void *)(arena + RACE_KERNEL_OFFSET + 2L * (offset / 4 * 4));
    for (unsigned i = 0; i < used_count; i++)
        if (used[i] == word)
            return word;
    REQUIRE(used_count < WORDS_MAX, "too many futexes");
    used[used_count++] = word;
    return word;
}

/* A futex's word holds its sleepers, the first one lowest, as their numbers from 1. */

static bool is_asleep(uint64_t sleepers, unsigned self)
{
    for (; sleepers; sleepers >>= WAITER_BITS)
        if ((sleepers & ((1 << WAITER_BITS) - 1)) == self)
            return true;
    return false;
}

static uint64_t add_sleeper(uint64_t sleepers, unsigned self)
{
    unsigned shift = 0;

    while (sleepers >> shift)
        shift += WAITER_BITS;
    return sleepers | (uint64_t)self << shift;
}

static uint64_t remove_sleeper(uint64_t sleepers, unsigned self)
{
    uint64_t left = 0;

    for (; sleepers; sleepers >>= WAITER_BITS)
        if ((sleepers & ((1 << WAITER_BITS) - 1)) != self)
            left = add_sleeper(left, sleepers & ((1 << WAITER_BITS) - 1));
    return left;
}

static bool is_awake(uint64_t sleepers, uint64_t self)
{
    return !is_asleep(sleepers, (unsigned)self);
}

/* Gives up sleeping. False: somebody has woken it already. */
static bool leave(uint64_t *queue, unsigned self, const void *pc)
{
    uint64_t sleepers = access_begin_exclusive(queue, pc);
    bool was_asleep = is_asleep(sleepers, self);

    access_end_exclusive(queue, remove_sleeper(sleepers, self), pc);
    return was_asleep;
}

bool futex_wait(atomic_uint *word, unsigned expected, uint64_t deadline_ns)
{
    const void *pc = __builtin_return_address(0);
    const bool is_timed = deadline_ns != FUTEX_NO_DEADLINE;
    uint64_t *queue = kernel_word(word);
    unsigned self = model_self() + 1;
    uint64_t sleepers = access_begin_exclusive(queue, pc);

    /* Under the kernel's lock, which is what the two halves are. */
    if (access_read(word, pc) != expected)
        return true;
    access_end_exclusive(queue, add_sleeper(sleepers, self), pc);
    if (is_timed && model_choose(2))
        return !leave(queue, self, pc);
    access_wait(queue, is_awake, self, is_timed, pc);
    return true;
}

void futex_wake(atomic_uint *word, int count)
{
    const void *pc = __builtin_return_address(0);
    uint64_t *queue = kernel_word(word);
    uint64_t sleepers = access_begin_exclusive(queue, pc);

    access_end_exclusive(queue, count >= 16 ? 0 : sleepers >> (count * WAITER_BITS), pc);
}

/* ---- eventfds: how often each was written to ---- */

ssize_t __real_write(int fd, const void *data, size_t size);
ssize_t __wrap_write(int fd, const void *data, size_t size);
ssize_t __wrap_write(int fd, const void *data, size_t size)
{
    const void *pc = __builtin_return_address(0);
    char *arena = race_arena(NULL);
    uint64_t *count;

    if (fd < MODEL_FD)
        return __real_write(fd, data, size);
    count = kernel_word(arena + RACE_STATE_SIZE - 8L * (fd - MODEL_FD + 1));
    access_end_exclusive(count, access_begin_exclusive(count, pc) + 1, pc);
    return (ssize_t)size;
}

static bool is_more(uint64_t count, uint64_t seen)
{
    return count > seen;
}

uint64_t model_fd_wait(int fd, uint64_t seen)
{
    char *arena = race_arena(NULL);

    return access_wait(kernel_word(arena + RACE_STATE_SIZE - 8L * (fd - MODEL_FD + 1)), is_more,
                       seen, false, __builtin_return_address(0));
}

uint64_t model_wait_more(const void *word, uint64_t seen)
{
    return access_wait(word, is_more, seen, false, __builtin_return_address(0));
}

/* Time stands still: whoever spins for a while spins until something changes. */
int model_clock_gettime(clockid_t clock, struct timespec *now);
int model_clock_gettime(clockid_t clock, struct timespec *now)
{
    (void)clock;
    *now = (struct timespec){0};
    return 0;
}

static bool is_set(uint64_t word, uint64_t unused)
{
    (void)unused;
    return word;
}

uint64_t model_take(void *word, bool is_timed)
{
    const void *pc = __builtin_return_address(0);
    uint64_t taken = access_wait_exclusive(word, is_set, is_timed, pc);

    access_end_exclusive(word, 0, pc);
    return taken;
}
