#include "virtio/moderation.h"

#include "base/arith.h"
#include "base/clock.h"
#include "base/compiler.h"

enum {
    SINGLES_TO_END_TRIAL = 4,
    SINGLES_TO_GIVE_UP = 8,
    /* Trials may cost a guest this part of its time: one whose requests overlap, and one that seems
     * to have one request at a time, for which there is nothing to be gained. */
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
    moderation->count = 0;
    moderation->single_count = 0;
    moderation->overlaps = false;
}

static void trial_begin(struct moderation *moderation)
{
    do
        moderation->next = (uint8_t)((moderation->next + 1) % array_count(windows_ns));
    while (moderation->next == moderation->settled);
    moderation->tried = moderation->next;
}

static void trial_end(struct moderation *moderation, bool won, uint64_t cost_ns)
{
    if (won)
        moderation->settled = moderation->tried;
    else
        moderation->budget_ns -= (int64_t)cost_ns;
    moderation->tried = moderation->settled;
}

/* How much longer the epoch took than with the settled window. */
static uint64_t delay_ns(const struct moderation *moderation, uint64_t elapsed_ns)
{
    uint64_t expected_ns = (uint64_t)moderation->count * moderation->base_ns;

    return elapsed_ns > expected_ns ? elapsed_ns - expected_ns : 0;
}

/* A longer window has to be worth an eighth; a shorter one only has to do as well. */
static bool is_better(const struct moderation *moderation, uint64_t ns)
{
    uint64_t base_ns = moderation->base_ns;

    return moderation->tried > moderation->settled ? 8 * ns < 7 * base_ns : ns <= base_ns;
}

static void epoch_end(struct moderation *moderation, uint64_t elapsed_ns)
{
    uint64_t ns = elapsed_ns / moderation->count;

    if (is_trial(moderation)) {
        trial_end(moderation, is_better(moderation, ns), delay_ns(moderation, elapsed_ns));
        return;
    }
    moderation->base_ns = (uint32_t)u64_min(ns, UINT32_MAX);
    moderation->budget_ns +=
        (int64_t)(elapsed_ns / (moderation->overlaps ? SHARE_OVERLAPPING : SHARE_ALONE));
    if (moderation->budget_ns >= 0 && ns <= WORTH_NS_MAX) {
        moderation->budget_ns = 0;
        trial_begin(moderation);
    }
}

/* The window is as good as none. */
static bool gathers_nothing(const struct moderation *moderation)
{
    return moderation->tried &&
           moderation->single_count >=
               (is_trial(moderation) ? SINGLES_TO_END_TRIAL : SINGLES_TO_GIVE_UP);
}

static void window_give_up(struct moderation *moderation)
{
    if (is_trial(moderation))
        trial_end(moderation, false,
                  (uint64_t)moderation->single_count * windows_ns[moderation->tried]);
    else
        moderation->settled = moderation->tried = 0;
}

/* The trial is so bad that its end need not be awaited. */
static bool is_hopeless(const struct moderation *moderation, uint64_t elapsed_ns)
{
    return is_trial(moderation) && elapsed_ns > 2UL * MODERATION_EPOCH * moderation->base_ns &&
           elapsed_ns > MODERATION_EPOCH_NS;
}

void moderation_signalled(struct moderation *moderation, uint32_t count, uint32_t in_flight,
                          uint64_t now_ns)
{
    uint64_t gap_ns = now_ns - moderation->last_ns;
    uint64_t elapsed_ns = now_ns - moderation->epoch_begin_ns;

    moderation->last_ns = now_ns;
    if (gap_ns > MODERATION_IDLE_NS) {
        epoch_begin(moderation, now_ns);
        return;
    }
    moderation->count += count;
    moderation->single_count = count == 1 ? moderation->single_count + 1 : 0;
    moderation->overlaps |= count > 1 || in_flight;
    if (gathers_nothing(moderation))
        window_give_up(moderation);
    else if (moderation->count >= MODERATION_EPOCH && elapsed_ns >= MODERATION_EPOCH_NS)
        epoch_end(moderation, elapsed_ns);
    else if (is_hopeless(moderation, elapsed_ns))
        trial_end(moderation, false, delay_ns(moderation, elapsed_ns));
    else
        return;
    epoch_begin(moderation, now_ns);
}
