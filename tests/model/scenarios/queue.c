/*
 * A split virtqueue between the device (virtio/queue_split.c) and a driver that does what Linux
 * does: requests in, answers out, and on both sides the decision whether to notify. Each side
 * sleeps whenever the other one lets it, so that a notification that is lost is a deadlock.
 */
#include "virtio/queue.h"

#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <stdatomic.h>
#include <unistd.h>

#include "scenarios/guest_memory.h"
#include "scenarios/scenarios.h"

enum {
    SIZE = 2,
    REQUESTS = 2,
    KICK = MODEL_FD,
    INTERRUPT,
    DESC_OFFSET = 0,
    AVAIL_OFFSET = 64,
    USED_OFFSET = 128,
    DATA_OFFSET = 192,
};

struct state {
    struct gmem mem;
    struct virtq vq;
    struct vring_desc *desc;
    struct vring_avail *avail;
    struct vring_used *used;
    unsigned *questions, *answers;
    bool has_event_idx;
    bool at_once; /* the driver makes all requests before it looks for answers */
};

void *gmem_ptr(const struct gmem *mem, gpa_t addr, uint64_t len)
{
    MODEL_CHECK(len <= sizeof(mem->bytes) && addr.addr <= sizeof(mem->bytes) - len);
    return (void *)(uintptr_t)&mem->bytes[addr.addr];
}

static void setup(struct state *state, bool has_event_idx, bool at_once)
{
    const struct virtq_config config = {
        .size = SIZE, .desc = DESC_OFFSET, .driver = AVAIL_OFFSET, .device = USED_OFFSET};

    state->has_event_idx = has_event_idx;
    state->at_once = at_once;
    state->desc = gmem_ptr(&state->mem, gpa(DESC_OFFSET), SIZE * sizeof(*state->desc));
    state->avail = gmem_ptr(&state->mem, gpa(AVAIL_OFFSET), sizeof(*state->avail));
    state->used = gmem_ptr(&state->mem, gpa(USED_OFFSET), sizeof(*state->used));
    state->questions = gmem_ptr(&state->mem, gpa(DATA_OFFSET), 2 * SIZE * sizeof(unsigned));
    state->answers = state->questions + SIZE;
    for (unsigned i = 0; i < SIZE; i++)
        state->desc[i] = (struct vring_desc){DATA_OFFSET + 4ULL * i, 4, 0, 0};
    MODEL_CHECK(virtq_init(&state->vq, &state->mem, SIZE) == 0);
    MODEL_CHECK(virtq_enable(&state->vq, &config,
                             has_event_idx ? 1ULL << VIRTIO_RING_F_EVENT_IDX : 0) == 0);
    model_name(&state->avail->idx, 2, "avail.idx");
    model_name(&state->avail->flags, 2, "avail.flags");
    model_name(&state->avail->ring, 2L * SIZE, "avail.ring");
    model_name(&state->avail->ring[SIZE], 2, "used_event");
    model_name(&state->used->idx, 2, "used.idx");
    model_name(&state->used->flags, 2, "used.flags");
    model_name(&state->used->ring[SIZE], 2, "avail_event");
}

static void flags(void *state)
{
    setup(state, false, false);
}

static void flags_at_once(void *state)
{
    setup(state, false, true);
}

static void event_idx(void *state)
{
    setup(state, true, false);
}

static void event_idx_at_once(void *state)
{
    setup(state, true, true);
}

static void notify(int fd)
{
    const uint64_t one = 1;

    MODEL_CHECK(write(fd, &one, sizeof(one)) == sizeof(one));
}

/* ---- the device, as virtio/pump.c drives a queue ---- */

static unsigned serve(struct state *state)
{
    struct iovec iov[SIZE];
    struct virtq_chain chain = {.iov = iov, .iov_max = SIZE};
    unsigned served = 0;
    int ret;

    while ((ret = virtq_pop(&state->vq, &chain)) == 1) {
        const unsigned *question = chain.readable[0].iov_base;

        state->answers[chain.head] = ~*question;
        virtq_push(&state->vq, &chain, 0);
        served++;
    }
    MODEL_CHECK(ret == 0);
    return served;
}

static void device(void *arg)
{
    struct state *state = arg;
    unsigned served = 0;
    uint64_t kicks = 0;

    for (;;) {
        virtq_notify_disable(&state->vq);
        served += serve(state);
        if (virtq_flush(&state->vq))
            notify(INTERRUPT);
        if (served == REQUESTS)
            return;
        if (!virtq_notify_enable(&state->vq))
            kicks = model_fd_wait(KICK, kicks);
    }
}

/* ---- the driver, after drivers/virtio/virtio_ring.c ---- */

static uint16_t load(const __virtio16 *field, int order)
{
    return __atomic_load_n(field, order);
}

static __virtio16 *avail_event(struct state *state)
{
    return (__virtio16 *)(void *)&state->used->ring[SIZE];
}

static void request(struct state *state, uint16_t number)
{
    bool kick;

    state->questions[number % SIZE] = number + 1U;
    __atomic_store_n(&state->avail->ring[number % SIZE], number % SIZE, __ATOMIC_RELAXED);
    __atomic_store_n(&state->avail->idx, (uint16_t)(number + 1), __ATOMIC_RELEASE);
    atomic_thread_fence(memory_order_seq_cst);
    if (state->has_event_idx)
        kick = load(avail_event(state), __ATOMIC_RELAXED) == number;
    else
        kick = !(load(&state->used->flags, __ATOMIC_RELAXED) & VRING_USED_F_NO_NOTIFY);
    if (kick)
        notify(KICK);
}

/* Asks for an interrupt, then looks again. */
static bool may_sleep(struct state *state, uint16_t number)
{
    if (state->has_event_idx)
        __atomic_store_n(&state->avail->ring[SIZE], number, __ATOMIC_RELAXED);
    else
        __atomic_store_n(&state->avail->flags, 0, __ATOMIC_RELAXED);
    atomic_thread_fence(memory_order_seq_cst);
    return load(&state->used->idx, __ATOMIC_RELAXED) == number;
}

static uint64_t await_answer(struct state *state, uint16_t number, uint64_t interrupts)
{
    while (load(&state->used->idx, __ATOMIC_ACQUIRE) == number)
        if (may_sleep(state, number))
            interrupts = model_fd_wait(INTERRUPT, interrupts);
    MODEL_CHECK(state->used->ring[number % SIZE].id == number % SIZE);
    MODEL_CHECK(state->answers[number % SIZE] == ~(number + 1U));
    return interrupts;
}

static void driver(void *arg)
{
    struct state *state = arg;
    uint64_t interrupts = 0;

    if (!state->has_event_idx)
        __atomic_store_n(&state->avail->flags, VRING_AVAIL_F_NO_INTERRUPT, __ATOMIC_RELAXED);
    if (state->at_once)
        for (uint16_t number = 0; number < REQUESTS; number++)
            request(state, number);
    for (uint16_t number = 0; number < REQUESTS; number++) {
        if (!state->at_once)
            request(state, number);
        interrupts = await_answer(state, number, interrupts);
    }
}

#define QUEUE(title, what, prepare)                                                \
    {                                                                              \
        .name = "queue/" title, .about = what, .state_size = sizeof(struct state), \
        .setup = prepare, .threads = {{"device", device}, {"driver", driver}},     \
    }

const struct scenario queue_scenarios[] = {
    QUEUE("flags", "requests one by one", flags),
    QUEUE("flags-at-once", "two requests, then their answers", flags_at_once),
    QUEUE("event-idx", "EVENT_IDX, requests one by one", event_idx),
    QUEUE("event-idx-at-once", "EVENT_IDX, two requests, then their answers", event_idx_at_once),
    {0},
};
