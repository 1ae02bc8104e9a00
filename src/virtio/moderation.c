#include "virtio/moderation.h"

#include "base/arith.h"
#include "base/clock.h"
#include "base/compiler.h"

enum {
    SINGLES_TO_END_TRIAL = 4,
    SINGLES_TO_GIVE_UP = 8,
    /* What trials may cost: a part of the guest's time, where this part of its requests overlaps
     * and where it seems to have one at a time, so that there is nothing to be gained. */
    OVERLAPPING_PART = 8,
    SHARE_OVERLAPPING = 32,
    SHARE_ALONE = 2048,
    /* Who makes fewer than 250 requests a second has better things to save. */
    WORTH_NS_MAX = 4 * NS_PER_MS,
};

static const uint32_t windows_ns[] = {0, 16 * NS_PER_US, 64 * NS_PER_US, 256 * NS_PER_US,
                                      1024 * NS_PER_US};

uint64_t moderation_window_ns(const struct moderation *moderation)
{
    return windows_ns[moderation->tried];
}

static bool is_trial(const struct moderation *moderation)
{
    return moderation->tried != moderation->settled;
}

static void epoch_begin(struct moderation *moderation, uint64_t now_ns)
{
    moderation->epoch_begin_ns = now_ns;
    moderation->count = moderation->overlapping = moderation->interrupts = 0;
    moderation->single_count = 0;
}

static void trial_begin(struct moderation *moderation)
{
    do
        moderation->next = (uint8_t)((moderation->next + 1) % array_count(windows_ns));
    while (moderation->next == moderation->settled);
    moderation->tried = moderation->next;
}

/* What the trial has cost: requests came later, or waited though they came no later. */
static uint64_t trial_cost_ns(const struct moderation *moderation, uint64_t elapsed_ns)
{
    uint64_t expected_ns = (uint64_t)moderation->count * moderation->base_ns;
    uint64_t delay_ns = elapsed_ns > expected_ns ? elapsed_ns - expected_ns : 0;

    return u64_max(delay_ns, moderation->interrupts * moderation_window_ns(moderation));
}

static void trial_end(struct moderation *moderation, bool won, uint64_t elapsed_ns)
{
    if (won)
        moderation->settled = moderation->tried;
    else
        moderation->budget_ns -= (int64_t)trial_cost_ns(moderation, elapsed_ns);
    moderation->tried = moderation->settled;
}

/* A longer window has to be worth an eighth; a shorter one only has to do as well. */
static bool is_better(const struct moderation *moderation, uint64_t ns)
{
    uint64_t base_ns = moderation->base_ns;

    return moderation->tried > moderation->settled ? 8 * ns < 7 * base_ns : ns <= base_ns;
}

static void epoch_end(struct moderation *moderation, uint64_t elapsed_ns)
{
    bool overlaps = OVERLAPPING_PART * moderation->overlapping >= moderation->count;
    uint64_t ns = elapsed_ns / moderation->count;

    if (is_trial(moderation)) {
        trial_end(moderation, is_better(moderation, ns), elapsed_ns);
        return;
    }
    if (ns > WORTH_NS_MAX) {
        moderation->settled = moderation->tried = 0;
        return;
    }
    moderation->base_ns = (uint32_t)ns;
    moderation->budget_ns += (int64_t)(elapsed_ns / (overlaps ? SHARE_OVERLAPPING : SHARE_ALONE));
    if (moderation->budget_ns >= 0) {
        moderation->budget_ns = 0;
        trial_begin(moderation);
    }
}

/* The window is as good as none. */
static bool gathers_nothing(const struct moderation *moderation)
{
    bool is_short = is_trial(moderation) && moderation->single_count == moderation->count;

    return moderation->tried &&
           moderation->single_count >= (is_short ? SINGLES_TO_END_TRIAL : SINGLES_TO_GIVE_UP);
}

static void window_give_up(struct moderation *moderation, uint64_t elapsed_ns)
{
    if (is_trial(moderation)) {
        trial_end(moderation, false, elapsed_ns);
        return;
    }
    moderation->budget_ns -= (int64_t)(moderation->single_count * moderation_window_ns(moderation));
    moderation->settled = moderation->tried = 0;
}

/* The trial is so bad that its end need not be awaited. */
static bool is_hopeless(const struct moderation *moderation, uint64_t elapsed_ns)
{
    return is_trial(moderation) && elapsed_ns > 2UL * MODERATION_EPOCH * moderation->base_ns &&
           elapsed_ns > MODERATION_EPOCH_NS;
}

static void interrupt_count(struct moderation *moderation, uint32_t count, uint32_t in_flight)
{
    moderation->count += count;
    moderation->overlapping += count > 1 || in_flight ? count : 0;
    moderation->interrupts++;
}

void moderation_signalled(struct moderation *moderation, uint32_t count, uint32_t in_flight,
                          uint64_t now_ns)
{
    uint64_t gap_ns = now_ns - moderation->last_ns;
    uint64_t elapsed_ns;

    moderation->last_ns = now_ns;
    moderation->single_count = count == 1 ? moderation->single_count + 1 : 0;
    /* A pause, and what ended it, are no part of the epoch. */
    if (gap_ns > MODERATION_IDLE_NS)
        moderation->epoch_begin_ns += gap_ns;
    else
        interrupt_count(moderation, count, in_flight);
    elapsed_ns = now_ns - moderation->epoch_begin_ns;
    if (gathers_nothing(moderation))
        window_give_up(moderation, elapsed_ns);
    else if (moderation->count >= MODERATION_EPOCH && elapsed_ns >= MODERATION_EPOCH_NS)
        epoch_end(moderation, elapsed_ns);
    else if (is_hopeless(moderation, elapsed_ns))
        trial_end(moderation, false, elapsed_ns);
    else
        return;
    epoch_begin(moderation, now_ns);
}
