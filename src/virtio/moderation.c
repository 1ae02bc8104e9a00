#include "virtio/moderation.h"

#include "base/arith.h"
#include "base/clock.h"
#include "base/compiler.h"

enum { PATIENCE_MAX = 256, SINGLE_COUNT_MAX = 8 };

static const uint32_t windows_ns[] = {0, 16 * NS_PER_US, 64 * NS_PER_US, 256 * NS_PER_US};

uint64_t moderation_window_ns(const struct moderation *moderation)
{
    return windows_ns[moderation->tried];
}

static void epoch_begin(struct moderation *moderation, uint64_t now_ns)
{
    moderation->epoch_begin_ns = now_ns;
    moderation->count = 0;
    moderation->single_count = 0;
}

static bool is_trial(const struct moderation *moderation)
{
    return moderation->tried != moderation->settled;
}

static void trial_begin(struct moderation *moderation)
{
    do
        moderation->next = (uint8_t)((moderation->next + 1) % array_count(windows_ns));
    while (moderation->next == moderation->settled);
    moderation->tried = moderation->next;
}

static void trial_end(struct moderation *moderation, bool won)
{
    if (won)
        moderation->settled = moderation->tried;
    moderation->tried = moderation->settled;
    moderation->patience =
        won ? 1 : (uint16_t)u64_min(2UL * moderation->patience + 1, PATIENCE_MAX);
    moderation->wait = moderation->patience;
}

/* A longer window has to be worth an eighth; a shorter one only has to do as well. */
static bool is_better(const struct moderation *moderation, uint64_t ns)
{
    uint64_t base_ns = moderation->base_ns;

    return moderation->tried > moderation->settled ? 8 * ns < 7 * base_ns : 16 * ns <= 17 * base_ns;
}

static void epoch_end(struct moderation *moderation, uint64_t ns)
{
    if (is_trial(moderation)) {
        trial_end(moderation, is_better(moderation, ns));
        return;
    }
    moderation->base_ns = (uint32_t)u64_min(ns, UINT32_MAX);
    if (moderation->wait)
        moderation->wait--;
    else
        trial_begin(moderation);
}

/* The window gathers nothing, or the trial is so bad that its end need not be awaited. */
static bool is_hopeless(const struct moderation *moderation, uint64_t elapsed_ns)
{
    return moderation->tried &&
           (moderation->single_count >= SINGLE_COUNT_MAX ||
            (is_trial(moderation) && elapsed_ns > 2UL * MODERATION_EPOCH * moderation->base_ns &&
             elapsed_ns > MODERATION_EPOCH_NS));
}

void moderation_signalled(struct moderation *moderation, uint32_t count, uint64_t now_ns)
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
    if (is_hopeless(moderation, elapsed_ns)) {
        if (!is_trial(moderation))
            moderation->settled = 0;
        trial_end(moderation, false);
        epoch_begin(moderation, now_ns);
    } else if (moderation->count >= MODERATION_EPOCH && elapsed_ns >= MODERATION_EPOCH_NS) {
        epoch_end(moderation, elapsed_ns / moderation->count);
        epoch_begin(moderation, now_ns);
    }
}
