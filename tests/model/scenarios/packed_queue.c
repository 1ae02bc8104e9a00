/*
 * A packed virtqueue between the device (virtio/queue_packed.c) and a driver that does what Linux
 * does, as in queue.c: who sleeps because the other one lets it, and is not woken, is a deadlock.
 * Ring entries change hands by their flags alone, which mean something else in each lap.
 */
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <stdatomic.h>
#include <unistd.h>

#include "scenarios/guest_memory.h"
#include "scenarios/scenarios.h"
#include "virtio/queue.h"

enum {
    SIZE_MAX_LOG2 = 1,
    REQUESTS = 2,
    KICK = MODEL_FD,
    INTERRUPT,
    RING_OFFSET = 0,
    DRIVER_OFFSET = 64,
    DEVICE_OFFSET = 128,
    DATA_OFFSET = 192,
    AVAIL = 1 << VRING_PACKED_DESC_F_AVAIL,
    USED = 1 << VRING_PACKED_DESC_F_USED,
    WRAP = 1 << VRING_PACKED_EVENT_F_WRAP_CTR,
};

struct state {
    struct gmem mem;
    struct virtq vq;
    struct vring_packed_desc *ring;
    struct vring_packed_desc_event *driver, *device;
    unsigned *questions, *answers;
    unsigned size;
    bool has_event_idx;
};

/* With one entry each request is a lap of its own. */
static void setup(struct state *state, unsigned size, bool has_event_idx)
{
    const struct virtq_config config = {.size = (uint16_t)size,
                                        .desc = RING_OFFSET,
                                        .driver = DRIVER_OFFSET,
                                        .device = DEVICE_OFFSET};
    const uint64_t event_idx = has_event_idx ? 1ULL << VIRTIO_RING_F_EVENT_IDX : 0;

    state->size = size;
    state->has_event_idx = has_event_idx;
    state->ring = gmem_ptr(&state->mem, gpa(RING_OFFSET), size * sizeof(*state->ring));
    state->driver = gmem_ptr(&state->mem, gpa(DRIVER_OFFSET), sizeof(*state->driver));
    state->device = gmem_ptr(&state->mem, gpa(DEVICE_OFFSET), sizeof(*state->device));
    state->questions = gmem_ptr(&state->mem, gpa(DATA_OFFSET), 2 * REQUESTS * sizeof(unsigned));
    state->answers = state->questions + REQUESTS;
    state->driver->flags = VRING_PACKED_EVENT_FLAG_DISABLE;
    MODEL_CHECK(virtq_init(&state->vq, &state->mem, 1 << SIZE_MAX_LOG2) == 0);
    MODEL_CHECK(virtq_enable(&state->vq, &config, event_idx | 1ULL << VIRTIO_F_RING_PACKED) == 0);
    model_name(&state->ring[0].flags, 2, "ring[0].flags");
    if (size > 1)
        model_name(&state->ring[1].flags, 2, "ring[1].flags");
    model_name(&state->driver->flags, 2, "driver.flags");
    model_name(&state->driver->off_wrap, 2, "driver.off_wrap");
    model_name(&state->device->flags, 2, "device.flags");
    model_name(&state->device->off_wrap, 2, "device.off_wrap");
}

static void flags(void *state)
{
    setup(state, 2, false);
}

static void flags_laps(void *state)
{
    setup(state, 1, false);
}

static void event_idx(void *state)
{
    setup(state, 2, true);
}

static void event_idx_laps(void *state)
{
    setup(state, 1, true);
}

static void notify(int fd)
{
    const uint64_t one = 1;

    MODEL_CHECK(write(fd, &one, sizeof(one)) == sizeof(one));
}

/* ---- the device, as virtio/pump.c drives a queue ---- */

static unsigned serve(struct state *state)
{
    struct iovec iov[1 << SIZE_MAX_LOG2];
    struct virtq_chain chain = {.iov = iov, .iov_max = 1 << SIZE_MAX_LOG2};
    unsigned served = 0;
    int ret;

    while ((ret = virtq_pop(&state->vq, &chain)) == 1) {
        const unsigned *question = chain.readable[0].iov_base;

        state->answers[question - state->questions] = ~*question;
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

/* ---- the driver, after drivers/virtio/virtio_ring.c; requests have one entry each ---- */

static uint16_t load(const __le16 *field, int order)
{
    return __atomic_load_n(field, order);
}

static bool lap_bit(const struct state *state, unsigned number)
{
    return number / state->size % 2 == 0;
}

static uint16_t position(const struct state *state, unsigned number)
{
    return (uint16_t)(number % state->size | (lap_bit(state, number) ? WRAP : 0));
}

static void request(struct state *state, unsigned number)
{
    struct vring_packed_desc *entry = &state->ring[number % state->size];
    uint16_t event_flags;

    state->questions[number] = number + 1;
    entry->addr = DATA_OFFSET + 4ULL * number;
    entry->len = 4;
    entry->id = (uint16_t)(number % state->size);
    __atomic_store_n(&entry->flags, (uint16_t)(lap_bit(state, number) ? AVAIL : USED),
                     __ATOMIC_RELEASE);
    atomic_thread_fence(memory_order_seq_cst);
    event_flags = load(&state->device->flags, __ATOMIC_RELAXED);
    if (event_flags == VRING_PACKED_EVENT_FLAG_ENABLE ||
        (event_flags == VRING_PACKED_EVENT_FLAG_DESC &&
         load(&state->device->off_wrap, __ATOMIC_RELAXED) == position(state, number)))
        notify(KICK);
}

static bool is_answered(const struct state *state, unsigned number, int order)
{
    uint16_t entry_flags = load(&state->ring[number % state->size].flags, order);

    return (entry_flags & (AVAIL | USED)) == (lap_bit(state, number) ? AVAIL | USED : 0);
}

/* Asks for an interrupt, then looks again. */
static bool may_sleep(struct state *state, unsigned number)
{
    uint16_t event_flags = VRING_PACKED_EVENT_FLAG_ENABLE;

    if (state->has_event_idx) {
        __atomic_store_n(&state->driver->off_wrap, position(state, number), __ATOMIC_RELAXED);
        event_flags = VRING_PACKED_EVENT_FLAG_DESC;
    }
    __atomic_store_n(&state->driver->flags, event_flags, __ATOMIC_RELEASE);
    atomic_thread_fence(memory_order_seq_cst);
    return !is_answered(state, number, __ATOMIC_RELAXED);
}

static uint64_t await_answer(struct state *state, unsigned number, uint64_t interrupts)
{
    while (!is_answered(state, number, __ATOMIC_ACQUIRE))
        if (may_sleep(state, number))
            interrupts = model_fd_wait(INTERRUPT, interrupts);
    MODEL_CHECK(state->ring[number % state->size].id == number % state->size);
    MODEL_CHECK(state->answers[number] == ~(number + 1));
    return interrupts;
}

static void driver(void *arg)
{
    struct state *state = arg;
    uint64_t interrupts = 0;

    for (unsigned number = 0; number < REQUESTS; number++) {
        request(state, number);
        interrupts = await_answer(state, number, interrupts);
    }
}

static void driver_at_once(void *arg)
{
    struct state *state = arg;
    uint64_t interrupts = 0;

    for (unsigned number = 0; number < REQUESTS; number++)
        request(state, number);
    for (unsigned number = 0; number < REQUESTS; number++)
        interrupts = await_answer(state, number, interrupts);
}

#define QUEUE(title, what, prepare, drive)                                                \
    {                                                                                     \
        .name = "packed-queue/" title, .about = what, .state_size = sizeof(struct state), \
        .setup = prepare, .threads = {{"device", device}, {"driver", drive}},             \
    }

const struct scenario packed_queue_scenarios[] = {
    QUEUE("flags", "requests one by one", flags, driver),
    QUEUE("flags-at-once", "two requests, then their answers", flags, driver_at_once),
    QUEUE("flags-laps", "requests one by one, each a lap", flags_laps, driver),
    QUEUE("event-idx", "EVENT_IDX, requests one by one", event_idx, driver),
    QUEUE("event-idx-at-once", "EVENT_IDX, two requests at once", event_idx, driver_at_once),
    QUEUE("event-idx-laps", "EVENT_IDX, requests one by one, each a lap", event_idx_laps, driver),
    {0},
};
