/*
 * Litmus tests: what the explorer's memory model allows and forbids, by the number of executions,
 * and by outcomes that have to turn up (as canaries) or must not.
 */
#include <stdatomic.h>

#include "scenarios/scenarios.h"

struct litmus {
    atomic_uint x, y;
    unsigned data;
    unsigned r[4];
    _Atomic(unsigned *) pointer;
};

#define RELAXED memory_order_relaxed
#define ACQUIRE memory_order_acquire
#define RELEASE memory_order_release
#define SEQ_CST memory_order_seq_cst

#define LOAD(location, order)         atomic_load_explicit(&litmus->location, order)
#define STORE(location, value, order) atomic_store_explicit(&litmus->location, value, order)
#define FENCE                         atomic_thread_fence(SEQ_CST)

/* A thread NAME of the statements that follow. */
#define THREAD(name, ...)                    \
    static void name(void *state)            \
    {                                        \
        struct litmus *const litmus = state; \
        __VA_ARGS__;                         \
    }
/* At the end. */
#define NEVER(name, outcome)                 \
    static void name(void *state)            \
    {                                        \
        struct litmus *const litmus = state; \
        unsigned *const r = litmus->r;       \
        (void)r;                             \
        MODEL_CHECK(!(outcome));             \
    }

/* Store buffering. */
THREAD(sb_rlx_1, STORE(x, 1, RELAXED); litmus->r[0] = LOAD(y, RELAXED))
THREAD(sb_rlx_2, STORE(y, 1, RELAXED); litmus->r[1] = LOAD(x, RELAXED))
THREAD(sb_ra_1, STORE(x, 1, RELEASE); litmus->r[0] = LOAD(y, ACQUIRE))
THREAD(sb_ra_2, STORE(y, 1, RELEASE); litmus->r[1] = LOAD(x, ACQUIRE))
THREAD(sb_sc_1, STORE(x, 1, SEQ_CST); litmus->r[0] = LOAD(y, SEQ_CST))
THREAD(sb_sc_2, STORE(y, 1, SEQ_CST); litmus->r[1] = LOAD(x, SEQ_CST))
THREAD(sb_fence_1, STORE(x, 1, RELAXED); FENCE; litmus->r[0] = LOAD(y, RELAXED))
THREAD(sb_fence_2, STORE(y, 1, RELAXED); FENCE; litmus->r[1] = LOAD(x, RELAXED))
NEVER(both_old, r[0] == 0 && r[1] == 0)

/* Message passing, with data that is not atomic where the orders suffice. */
THREAD(mp_write_ra, STORE(y, 1, RELAXED); STORE(x, 1, RELEASE))
THREAD(mp_read_ra, litmus->r[0] = LOAD(x, ACQUIRE); litmus->r[1] = LOAD(y, RELAXED))
THREAD(mp_write_rlx, STORE(y, 1, RELAXED); STORE(x, 1, RELAXED))
THREAD(mp_read_rlx, litmus->r[0] = LOAD(x, RELAXED); litmus->r[1] = LOAD(y, RELAXED))
THREAD(mp_write_fence, STORE(y, 1, RELAXED); atomic_thread_fence(RELEASE); STORE(x, 1, RELAXED))
THREAD(mp_read_fence, litmus->r[0] = LOAD(x, RELAXED); atomic_thread_fence(ACQUIRE);
       litmus->r[1] = LOAD(y, RELAXED))
NEVER(overtaken, r[0] == 1 && r[1] == 0)
THREAD(mp_write_data, litmus->data = 7; STORE(x, 1, RELEASE))
THREAD(mp_read_data, if (LOAD(x, ACQUIRE)) MODEL_CHECK(litmus->data == 7))
THREAD(mp_read_data_rlx, if (LOAD(x, RELAXED)) litmus->r[0] = litmus->data)
/* A read-modify-write in between goes on with the release sequence; a store does not. */
THREAD(mp_relay, unsigned one = 1;
       (void)atomic_compare_exchange_strong_explicit(&litmus->x, &one, 2, RELAXED, RELAXED))
THREAD(mp_read_relay, if (LOAD(x, ACQUIRE) == 2) MODEL_CHECK(litmus->data == 7))
THREAD(mp_restore, if (LOAD(x, RELAXED) == 1) STORE(x, 2, RELAXED))

/* Load buffering: values out of thin air are not modelled. */
THREAD(lb_1, litmus->r[0] = LOAD(x, RELAXED); STORE(y, 1, RELAXED))
THREAD(lb_2, litmus->r[1] = LOAD(y, RELAXED); STORE(x, 1, RELAXED))
NEVER(both_new, r[0] == 1 && r[1] == 1)

/* Coherence of reads. */
THREAD(write_x, STORE(x, 1, RELAXED))
THREAD(corr_read, litmus->r[0] = LOAD(x, RELAXED); litmus->r[1] = LOAD(x, RELAXED))
NEVER(backwards, r[0] == 1 && r[1] == 0)

/* Independent reads of independent writes. */
THREAD(write_x_rel, STORE(x, 1, RELEASE))
THREAD(write_y_rel, STORE(y, 1, RELEASE))
THREAD(iriw_ra_1, litmus->r[0] = LOAD(x, ACQUIRE); litmus->r[1] = LOAD(y, ACQUIRE))
THREAD(iriw_ra_2, litmus->r[2] = LOAD(y, ACQUIRE); litmus->r[3] = LOAD(x, ACQUIRE))
THREAD(write_x_sc, STORE(x, 1, SEQ_CST))
THREAD(write_y_sc, STORE(y, 1, SEQ_CST))
THREAD(iriw_sc_1, litmus->r[0] = LOAD(x, SEQ_CST); litmus->r[1] = LOAD(y, SEQ_CST))
THREAD(iriw_sc_2, litmus->r[2] = LOAD(y, SEQ_CST); litmus->r[3] = LOAD(x, SEQ_CST))
NEVER(disagree, r[0] == 1 && r[1] == 0 && r[2] == 1 && r[3] == 0)

/* Two threads write both in different order. */
THREAD(ww_1, STORE(x, 1, RELAXED); STORE(y, 2, RELAXED))
THREAD(ww_2, STORE(y, 1, RELAXED); STORE(x, 2, RELAXED))
THREAD(ww_sc_1, STORE(x, 1, SEQ_CST); STORE(y, 2, SEQ_CST))
THREAD(ww_sc_2, STORE(y, 1, SEQ_CST); STORE(x, 2, SEQ_CST))
NEVER(both_first, atomic_load(&litmus->x) == 1 && atomic_load(&litmus->y) == 1)

/* Read-modify-writes: each order once, and nothing lost. */
THREAD(add, atomic_fetch_add_explicit(&litmus->x, 1, RELAXED))
NEVER(lost_one, atomic_load(&litmus->x) != 4)

/* A lock that works, and some that do not. */
#define LOCKED(name, acquire, release)                                 \
    THREAD(                                                            \
        name, if (!atomic_exchange_explicit(&litmus->x, 1, acquire)) { \
            litmus->data++;                                            \
            STORE(x, 0, release);                                      \
        })
LOCKED(locked, ACQUIRE, RELEASE)
LOCKED(locked_rlx, ACQUIRE, RELAXED)
LOCKED(locked_rlx_2, RELAXED, RELEASE)
THREAD(
    looked_locked, if (!LOAD(x, ACQUIRE)) {
        STORE(x, 1, RELAXED);
        litmus->data++;
        STORE(x, 0, RELEASE);
    })

/* A pointer that the other thread may not have set yet. */
THREAD(pointer_sets, atomic_store(&litmus->pointer, &litmus->data))
THREAD(pointer_follows, litmus->r[0] = *atomic_load(&litmus->pointer))

#define LITMUS(title, what, ...)                                                                 \
    {                                                                                            \
        .name = "litmus/" title, .about = what, .state_size = sizeof(struct litmus), __VA_ARGS__ \
    }
#define TWO(a, b)        .threads = {{"one", a}, {"two", b}}
#define FOUR(a, b, c, d) .threads = {{"one", a}, {"two", b}, {"three", c}, {"four", d}}

const struct scenario litmus_scenarios[] = {
    LITMUS("sb", "two loads may pass the stores before them", TWO(sb_rlx_1, sb_rlx_2),
           .executions = 4),
    LITMUS("sb-weak", "... and release and acquire do not keep them", TWO(sb_ra_1, sb_ra_2),
           .finish = both_old, .fails_with = "r[0] == 0"),
    LITMUS("sb-sc", "sequential consistency does", TWO(sb_sc_1, sb_sc_2), .finish = both_old,
           .executions = 3),
    LITMUS("sb-fence", "and so do fences", TWO(sb_fence_1, sb_fence_2), .finish = both_old,
           .executions = 3),
    LITMUS("sb-fence-sc", "a fence on one side, seq_cst on the other", TWO(sb_fence_1, sb_sc_2),
           .finish = both_old, .executions = 3),
    LITMUS("sb-fence-one", "a fence on one side is not enough", TWO(sb_fence_1, sb_rlx_2),
           .finish = both_old, .fails_with = "r[0] == 0"),
    LITMUS("mp", "release and acquire keep a message in order", TWO(mp_write_ra, mp_read_ra),
           .finish = overtaken, .executions = 3),
    LITMUS("mp-relaxed", "relaxed stores and loads do not", TWO(mp_write_rlx, mp_read_rlx),
           .finish = overtaken, .fails_with = "r[0] == 1"),
    LITMUS("mp-store-relaxed", "nor does an acquire without a release",
           TWO(mp_write_rlx, mp_read_ra), .finish = overtaken, .fails_with = "r[0] == 1"),
    LITMUS("mp-fence", "fences do", TWO(mp_write_fence, mp_read_fence), .finish = overtaken,
           .executions = 3),
    LITMUS("mp-data", "data that a release publishes", TWO(mp_write_data, mp_read_data),
           .executions = 2),
    LITMUS("mp-data-race", "data that is read without an acquire",
           TWO(mp_write_data, mp_read_data_rlx), .fails_with = "data race"),
    LITMUS("mp-relay", "a read-modify-write goes on with a release sequence",
           .threads = {{"one", mp_write_data}, {"two", mp_relay}, {"three", mp_read_relay}}),
    LITMUS("mp-restore", "a store of another thread ends it",
           .threads = {{"one", mp_write_data}, {"two", mp_restore}, {"three", mp_read_relay}},
           .fails_with = "data race"),
    LITMUS("lb", "no load takes what comes later", TWO(lb_1, lb_2), .finish = both_new,
           .executions = 3),
    LITMUS("corr", "reads of one location do not go back", TWO(write_x, corr_read),
           .finish = backwards, .executions = 3),
    LITMUS("iriw", "release and acquire: observers may disagree",
           FOUR(write_x_rel, write_y_rel, iriw_ra_1, iriw_ra_2), .executions = 16),
    LITMUS("iriw-weak", "... and do", FOUR(write_x_rel, write_y_rel, iriw_ra_1, iriw_ra_2),
           .finish = disagree, .fails_with = "r[0] == 1"),
    LITMUS("iriw-sc", "sequential consistency: they agree",
           FOUR(write_x_sc, write_y_sc, iriw_sc_1, iriw_sc_2), .finish = disagree,
           .executions = 15),
    LITMUS("2+2w", "writes of two locations, each order of each", TWO(ww_1, ww_2), .executions = 4),
    LITMUS("2+2w-weak", "... also the one that no schedule has", TWO(ww_1, ww_2),
           .finish = both_first, .fails_with = "not true"),
    LITMUS("2+2w-sc", "sequential consistency: only schedules", TWO(ww_sc_1, ww_sc_2),
           .finish = both_first, .executions = 3),
    LITMUS("add", "four additions in all orders", FOUR(add, add, add, add), .finish = lost_one,
           .executions = 24),
    LITMUS("lock", "a lock that excludes", TWO(locked, locked), .executions = 4),
    LITMUS("lock-no-release", "a lock that does not publish", TWO(locked_rlx, locked_rlx),
           .fails_with = "data race"),
    LITMUS("lock-no-acquire", "a lock that does not look", TWO(locked_rlx_2, locked_rlx_2),
           .fails_with = "data race"),
    LITMUS("lock-broken", "a look, then a store: both enter", TWO(looked_locked, looked_locked),
           .fails_with = "data race"),
    LITMUS("null", "a pointer that is followed too early", TWO(pointer_sets, pointer_follows),
           .fails_with = "null pointer"),
    {0},
};
