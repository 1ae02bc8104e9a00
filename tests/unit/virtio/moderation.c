/* Interrupt moderation against guests that are arithmetic: what it settles on, and what it costs to
 * find out. */
#include <criterion/criterion.h>

#include "base/arith.h"
#include "base/clock.h"
#include "virtio/moderation.h"

/* A guest with one processor, and a disk that answers at once. */
struct guest {
    struct moderation moderation;
    uint32_t depth;
    uint64_t request_ns;   /* the guest's own work for each */
    uint64_t interrupt_ns; /* what an interrupt costs it, exits and all */
    uint64_t kick_ns;
    uint64_t now_ns;
    uint64_t requests;
    uint64_t interrupts;
};

enum { LATE_LOOK = 5, SINGLES = 4 };

/*
 * The guest makes requests up to its depth, each done once the device looks: at a kick, or at the
 * end of a window that is on. Now and then a kick is too late for one request, and is for two. The
 * rules of the interrupt are those of the pump.
 */
static void guest_run(struct guest *guest, uint64_t end_ns)
{
    uint32_t outstanding = 0, unseen = 0, done = 0;
    uint64_t due_ns = 0; /* 0: no window */
    uint64_t oldest_ns = 0;

    while (guest->now_ns < end_ns) {
        uint64_t window_ns = moderation_window_ns(&guest->moderation);
        uint64_t latest_ns;
        bool has_arrived;

        if (outstanding < guest->depth) {
            guest->now_ns += guest->request_ns + (due_ns ? 0 : guest->kick_ns);
            outstanding++;
            unseen++;
        } else {
            guest->now_ns = due_ns;
        }
        if (guest->now_ns < due_ns)
            continue;
        if (!due_ns && unseen == 1 && outstanding < guest->depth &&
            guest->interrupts % LATE_LOOK == 0)
            continue;
        has_arrived = unseen;
        if (!done)
            oldest_ns = guest->now_ns;
        done += unseen;
        unseen = 0;
        latest_ns = oldest_ns + MODERATION_WINDOWS * window_ns;
        if (window_ns && done < MODERATION_BATCH && (has_arrived || !done) &&
            guest->now_ns < latest_ns) {
            due_ns = done ? u64_min(guest->now_ns + window_ns, latest_ns) : 0;
            continue;
        }
        moderation_signalled(&guest->moderation, done, 0, guest->now_ns);
        window_ns = moderation_window_ns(&guest->moderation);
        due_ns = window_ns && done > 1 ? guest->now_ns + window_ns : 0;
        guest->now_ns += guest->interrupt_ns;
        guest->requests += done;
        guest->interrupts++;
        outstanding -= done;
        done = 0;
    }
}

static uint64_t per_request_ns(struct guest *guest, uint64_t duration_ns)
{
    uint64_t begin_ns = guest->now_ns, requests = guest->requests;

    guest_run(guest, begin_ns + duration_ns);
    return (guest->now_ns - begin_ns) / (guest->requests - requests);
}

Test(moderation, nothing_waits_at_first)
{
    cr_assert_eq(moderation_window_ns(&(struct moderation){0}), 0);
}

/* Costs of a guest in microseconds, and what a request costs at most once it is settled. */
static void settles(const struct guest *costs, uint64_t most_us)
{
    struct guest guest = *costs;
    uint64_t ns;

    guest.now_ns = NS_PER_S;
    guest.request_ns *= NS_PER_US;
    guest.interrupt_ns *= NS_PER_US;
    guest.kick_ns *= NS_PER_US;
    guest_run(&guest, 3 * NS_PER_S);
    ns = per_request_ns(&guest, 5 * NS_PER_S);
    cr_assert_leq(ns, most_us * NS_PER_US * 101 / 100, "%llu ns for each request",
                  (unsigned long long)ns);
}

Test(moderation, many_requests_share_an_interrupt_where_it_is_dear)
{
    settles(&(struct guest){.depth = 32, .request_ns = 120, .interrupt_ns = 200, .kick_ns = 100},
            150); /* 420 without */
}

Test(moderation, many_requests_share_an_interrupt_where_it_is_cheap)
{
    settles(&(struct guest){.depth = 32, .request_ns = 3, .interrupt_ns = 4, .kick_ns = 2},
            4); /* 9 without */
}

/* Where shorter windows gather four. */
Test(moderation, the_longest_window_is_for_interrupts_that_cost_a_millisecond)
{
    settles(&(struct guest){.depth = 32, .request_ns = 250, .interrupt_ns = 1000, .kick_ns = 300},
            350); /* 430 with 256 us */
}

/* Each would wait for the end of every window. */
Test(moderation, a_guest_with_one_request_at_a_time_does_not_wait)
{
    settles(&(struct guest){.depth = 1, .request_ns = 5, .interrupt_ns = 4, .kick_ns = 2}, 11);
    settles(&(struct guest){.depth = 1, .request_ns = 200, .interrupt_ns = 200, .kick_ns = 100},
            500);
}

Test(moderation, a_guest_with_two_requests_at_a_time_does_not_wait_long)
{
    settles(&(struct guest){.depth = 2, .request_ns = 5, .interrupt_ns = 4, .kick_ns = 2}, 12);
}

Test(moderation, what_was_good_for_many_is_given_up_when_there_is_one)
{
    struct guest guest = {.depth = 32,
                          .request_ns = 3 * NS_PER_US,
                          .interrupt_ns = 4 * NS_PER_US,
                          .kick_ns = 2 * NS_PER_US,
                          .now_ns = NS_PER_S};

    guest_run(&guest, 2 * NS_PER_S);
    cr_assert_neq(moderation_window_ns(&guest.moderation), 0);
    guest.depth = 1;
    guest_run(&guest, guest.now_ns + 20 * NS_PER_MS);
    cr_assert_eq(moderation_window_ns(&guest.moderation), 0);
}

/* What was learnt about one request at a time says nothing about many. */
Test(moderation, many_are_noticed_soon_after_a_long_time_with_one)
{
    struct guest guest = {.depth = 1,
                          .request_ns = 200 * NS_PER_US,
                          .interrupt_ns = 300 * NS_PER_US,
                          .kick_ns = 100 * NS_PER_US,
                          .now_ns = NS_PER_S};
    uint64_t ns;

    guest_run(&guest, 20 * NS_PER_S);
    guest.depth = 32;
    guest_run(&guest, guest.now_ns + 300 * NS_PER_MS);
    ns = per_request_ns(&guest, NS_PER_S);
    cr_assert_leq(ns, 270 * NS_PER_US, "%llu ns for each request", (unsigned long long)ns);
}

Test(moderation, trials_cost_who_has_one_request_at_a_time_next_to_nothing)
{
    struct guest guest = {.depth = 1, .request_ns = 5000, .interrupt_ns = 4000, .now_ns = NS_PER_S};

    cr_assert_leq(per_request_ns(&guest, 20 * NS_PER_S), 9000 + 9000 / 1024);
}

/* How interrupts come to a moderation: so many requests each, so long after one another. */
struct pattern {
    uint64_t ns;
    uint64_t waiting_ns; /* with a window */
    uint32_t requests, waiting_requests;
    uint32_t in_flight;
};

/* So many interrupts; how many of them with a window. */
static uint64_t pattern_run(struct moderation *moderation, const struct pattern *pattern,
                            uint64_t count)
{
    uint64_t now_ns = moderation->last_ns, waits = 0;

    for (uint64_t i = 0; i < count; i++) {
        bool waits_now = moderation_window_ns(moderation) != 0;

        waits += waits_now;
        now_ns += waits_now ? pattern->waiting_ns : pattern->ns;
        moderation_signalled(moderation, waits_now ? pattern->waiting_requests : pattern->requests,
                             pattern->in_flight, now_ns);
    }
    return waits;
}

static struct moderation moderation_at(uint64_t now_ns)
{
    return (struct moderation){.epoch_begin_ns = now_ns, .last_ns = now_ns};
}

/* Where requests come at a rate of their own, waiting costs nobody but them; then it costs all,
 * also when there was little to be paid for before. */
Test(moderation, what_trials_cost_is_bounded)
{
    const struct pattern unmoved = {10 * NS_PER_US, 10 * NS_PER_US, 2, 2, 30};
    const struct pattern cheap = {NS_PER_MS, NS_PER_MS, 1, 1, 30};
    const struct pattern slower = {10 * NS_PER_US, 20 * NS_PER_US, 2, 2, 30};
    struct moderation moderation = moderation_at(NS_PER_S);
    const uint64_t count = 1000000;
    uint64_t waits;

    waits = pattern_run(&moderation, &unmoved, 10 * count);
    cr_assert_gt(waits, 0);
    cr_assert_leq(waits, 10 * count / 16);
    (void)pattern_run(&moderation, &cheap, count);
    waits = pattern_run(&moderation, &slower, count / 20);
    cr_assert_gt(waits, 0);
    cr_assert_leq(waits, count / 20 / 16);
}

/* A trial of a shorter window, or of none, lets requests come later. */
Test(moderation, what_trials_of_short_windows_cost_is_bounded)
{
    const struct pattern pattern = {100 * NS_PER_US, 20 * NS_PER_US, 2, 2, 30};
    struct moderation moderation = moderation_at(NS_PER_S);
    const uint64_t count = 100000;

    (void)pattern_run(&moderation, &pattern, count);
    cr_assert_neq(moderation.settled, 0);
    cr_assert_geq(pattern_run(&moderation, &pattern, count), count - count / 64);
}

/* In the time in which one that is alone tries nothing more. */
static uint64_t waits_after_a_failure(uint32_t in_flight)
{
    const struct pattern pattern = {20 * NS_PER_US, 20 * NS_PER_US, 1, 1, in_flight};
    struct moderation moderation = moderation_at(NS_PER_S);

    moderation.budget_ns = -(int64_t)NS_PER_MS;
    return pattern_run(&moderation, &pattern, NS_PER_S / (20 * NS_PER_US));
}

Test(moderation, requests_that_overlap_are_worth_more_trials)
{
    cr_assert_eq(waits_after_a_failure(0), 0);
    cr_assert_gt(waits_after_a_failure(31), 0);
}

Test(moderation, nothing_waits_where_there_is_little_to_save)
{
    const struct pattern pattern = {10 * NS_PER_MS, 11 * NS_PER_MS, 2, 2, 0};
    struct moderation moderation = moderation_at(NS_PER_S);

    cr_assert_eq(pattern_run(&moderation, &pattern, 10000), 0);
    moderation.settled = moderation.tried = 4;
    cr_assert_leq(pattern_run(&moderation, &pattern, 1000), MODERATION_EPOCH);
}

/* Bursts with something in between that is alone. */
Test(moderation, a_few_that_are_alone_do_not_end_a_trial_that_gathers)
{
    struct moderation moderation = {.base_ns = 500 * NS_PER_US, .tried = 3};
    const struct pattern burst = {.waiting_ns = NS_PER_MS, .waiting_requests = 8};
    const struct pattern alone = {.waiting_ns = NS_PER_MS, .waiting_requests = 1};

    for (int i = 0; i < 8; i++) {
        (void)pattern_run(&moderation, &burst, 1);
        (void)pattern_run(&moderation, &alone, SINGLES);
    }
    cr_assert_eq(moderation.settled, 3);
}

/* Nobody takes the time of a pause for that of requests; but whoever is alone does not wait for
 * ever because there is a pause each time. */
Test(moderation, pauses_end_no_epoch_and_keep_no_window)
{
    const struct pattern pauses = {MODERATION_IDLE_NS + 1, MODERATION_IDLE_NS + 1, 1, 1, 0};
    struct moderation moderation = {0};

    cr_assert_eq(pattern_run(&moderation, &pauses, 10UL * MODERATION_EPOCH), 0);
    moderation.tried = 4;
    moderation.base_ns = 100 * NS_PER_US;
    cr_assert_leq(pattern_run(&moderation, &pauses, 100), 4);
    moderation.settled = moderation.tried = 4;
    cr_assert_leq(pattern_run(&moderation, &pauses, 100), 8);
}

/* Fewer than an epoch has in each burst. */
Test(moderation, bursts_with_pauses_in_between_are_learnt_from)
{
    const struct pattern burst = {300 * NS_PER_US, 800 * NS_PER_US, 2, 8, 0};
    const struct pattern pause = {NS_PER_S, NS_PER_S, 2, 2, 0};
    struct moderation moderation = moderation_at(NS_PER_S);

    for (int i = 0; i < 100; i++) {
        (void)pattern_run(&moderation, &pause, 1);
        (void)pattern_run(&moderation, &burst, 4);
    }
    cr_assert_neq(moderation.settled, 0);
}
