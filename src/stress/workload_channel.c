/* The channel: every item exactly once, and those of a producer in their order. */
#include <errno.h>
#include <stdlib.h>

#include "stress/workload.h"

enum { PRODUCERS_MAX = 64, CAPACITY = 16 };

/* Of the items that went in, and of those that came out. */
struct tally {
    atomic_ulong count;
    atomic_ulong sum; /* of digests: what is lost and doubled does not cancel out */
};

struct arena {
    struct channel channel;
    uint32_t producer_count;
    atomic_uint producers;           /* that have not ended */
    uint64_t (*seen)[PRODUCERS_MAX]; /* of each worker: the last sequence number of a producer */
    struct tally sent, received;
    uint64_t items[CAPACITY][2];
};

enum { SEND, RECV };
static const char *const phases[] = {"channel_send", "channel_recv"};

static bool sends(const struct worker *worker)
{
    return worker->index % 2 == 0 && worker->index / 2 < PRODUCERS_MAX;
}

static int channel_setup(struct run *run)
{
    struct arena *arena = run->arena;
    uint32_t evens = (run->worker_count + 1) / 2;

    _Static_assert(sizeof(arena->items[0]) == sizeof(run->workers->item), "what is sent");
    arena->producer_count = evens < PRODUCERS_MAX ? evens : PRODUCERS_MAX;
    atomic_store(&arena->producers, arena->producer_count);
    arena->seen = calloc(run->worker_count, sizeof(*arena->seen));
    if (!arena->seen)
        return -ENOMEM;
    channel_init(&arena->channel, arena->items, sizeof(arena->items[0]), CAPACITY);
    return 0;
}

static void channel_fini(struct run *run)
{
    struct arena *arena = run->arena;

    free(arena->seen);
}

static void tally_item(struct tally *tally, const struct worker *worker)
{
    uint64_t digest = (worker->item.producer + 1) * 0x9e3779b97f4a7c15ULL + worker->item.sequence;

    digest = (digest ^ digest >> 31) * 0xbf58476d1ce4e5b9ULL;
    atomic_fetch_add_explicit(&tally->count, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&tally->sum, digest ^ digest >> 29, memory_order_relaxed);
}

static enum plan channel_plan(struct worker *worker)
{
    struct arena *arena = worker->run->arena;
    bool tries = !worker_random(worker, 16);

    if (!sends(worker)) {
        worker->phase = RECV;
        if (worker->has_ended)
            return PLAN_ENDS;
        return tries && !channel_try_recv(&arena->channel, &worker->item) ? PLAN_IS_DONE
                                                                          : PLAN_WAITS;
    }
    worker->phase = SEND;
    if (worker_is_through(worker)) {
        if (atomic_fetch_sub(&arena->producers, 1) == 1)
            channel_close(&arena->channel);
        return PLAN_ENDS;
    }
    worker->item.producer = worker->index / 2;
    worker->item.sequence = worker->generation + 1;
    return tries && !channel_try_send(&arena->channel, &worker->item) ? PLAN_IS_DONE : PLAN_WAITS;
}

static void channel_start(struct worker *worker)
{
    struct arena *arena = worker->run->arena;

    if (worker->phase == SEND) {
        channel_send_start(&worker->as.send, &worker->task, &arena->channel, &worker->item);
        worker_awaits(worker, channel_send_future(&worker->as.send), &worker->as.send.result);
    } else {
        channel_recv_start(&worker->as.recv, &worker->task, &arena->channel, &worker->item);
        worker_awaits(worker, channel_recv_future(&worker->as.recv), &worker->as.recv.result);
    }
}

static int channel_block(struct worker *worker, uint64_t deadline_ns)
{
    struct arena *arena = worker->run->arena;

    return worker->phase == SEND
               ? channel_send_blocking_until(&arena->channel, &worker->item, deadline_ns)
               : channel_recv_blocking_until(&arena->channel, &worker->item, deadline_ns);
}

static enum outcome sent(struct worker *worker, int result)
{
    struct arena *arena = worker->run->arena;

    if (result == -EPIPE)
        run_fail(worker->run, "channel: closed for worker %u, which still sends", worker->index);
    if (result)
        return OUTCOME_AGAIN;
    worker->generation++;
    tally_item(&arena->sent, worker);
    return OUTCOME_DONE;
}

static enum outcome received(struct worker *worker, int result)
{
    struct arena *arena = worker->run->arena;
    uint64_t *seen;

    worker->has_ended = result == -EPIPE;
    if (result)
        return OUTCOME_AGAIN;
    if (worker->item.producer >= arena->producer_count) {
        run_fail(worker->run, "channel: an item that nobody sent came to worker %u", worker->index);
        return OUTCOME_DONE;
    }
    seen = &arena->seen[worker->index][worker->item.producer];
    if (worker->item.sequence <= *seen)
        run_fail(worker->run, "channel: item %lu of producer %lu came to worker %u after item %lu",
                 (unsigned long)worker->item.sequence, (unsigned long)worker->item.producer,
                 worker->index, (unsigned long)*seen);
    *seen = worker->item.sequence;
    tally_item(&arena->received, worker);
    return OUTCOME_HOLDS;
}

static enum outcome channel_finish(struct worker *worker, int result)
{
    return worker->phase == SEND ? sent(worker, result) : received(worker, result);
}

static void channel_leave(struct worker *worker)
{
    (void)worker; /* the hold is the time that a consumer takes for its item */
}

static void channel_check_end(struct run *run)
{
    struct arena *arena = run->arena;
    unsigned long state = atomic_load(&arena->channel.compact.state);
    unsigned long in = atomic_load(&arena->sent.count), out = atomic_load(&arena->received.count);

    if (in != out)
        run_fail(run, "channel: %lu items went in, %lu came out", in, out);
    else if (atomic_load(&arena->sent.sum) != atomic_load(&arena->received.sum))
        run_fail(run, "channel: %lu items went in and came out, but not the same", in);
    if (state != CHANNEL_CLOSED)
        run_fail(run, "state at rest: the channel is %#lx, not closed and idle", state);
}

static void channel_dump(const struct run *run, FILE *out)
{
    const struct arena *arena = run->arena;

    fprintf(out, "channel: state %#lx, %u items, %u claimed; %lu went in, %lu came out\n",
            atomic_load(&arena->channel.compact.state), arena->channel.compact.count,
            arena->channel.compact.claimed, atomic_load(&arena->sent.count),
            atomic_load(&arena->received.count));
}

const struct workload workload_channel = {
    .name = "channel",
    .summary = "up to 64 producers, 16 items: each exactly once and in order",
    .arena_size = sizeof(struct arena),
    .phases = phases,
    .init = channel_setup,
    .fini = channel_fini,
    .plan = channel_plan,
    .start = channel_start,
    .block = channel_block,
    .finish = channel_finish,
    .leave = channel_leave,
    .check_end = channel_check_end,
    .dump = channel_dump,
};
