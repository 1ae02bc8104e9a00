/*
 * The split queue against a model of the driver that shares no code with it, in random steps; and
 * against memory that somebody scribbles on. The seeds are fixed, and printed with a failure;
 * RINGVM_TEST_SEED adds one.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <linux/virtio_ring.h>
#include <stdlib.h>
#include <string.h>

#include "virtio/queue.h"

enum {
    RAM_SIZE = 8 << 20,
    DESC = 0x0,
    AVAIL = 0x100000,
    USED = 0x200000,
    TABLES = 0x300000,
    BUFFER_COUNT_MAX = 12,
    STEPS = 40000,
};

#define EVENT    (1ULL << VIRTIO_RING_F_EVENT_IDX)
#define INDIRECT (1ULL << VIRTIO_RING_F_INDIRECT_DESC)

/* xorshift64* */
static uint32_t random_next(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return (*state * 0x2545f4914f6cdd1dULL) >> 32;
}

static uint32_t random_below(uint64_t *state, uint32_t bound)
{
    return random_next(state) % bound;
}

struct model_buffer {
    uint64_t addr;
    uint32_t len;
    bool writable;
};

/* What the driver knows of a chain that it made available. */
struct model_chain {
    bool live;   /* made available and not seen used */
    bool popped; /* by the device */
    uint16_t desc_count;
    uint16_t descs[BUFFER_COUNT_MAX];
    uint16_t buffer_count; /* without empty ones */
    struct model_buffer buffers[BUFFER_COUNT_MAX];
};

struct held_chain {
    struct virtq_chain chain;
    struct iovec iov[BUFFER_COUNT_MAX];
};

struct model {
    uint64_t seed;
    uint64_t random;
    uint16_t size;
    uint64_t features;
    struct gmem *mem;
    uint8_t *ram;
    struct virtq vq;
    struct vring_desc *desc;
    struct vring_avail *avail;
    struct vring_used *used;
    uint16_t *free_descs;
    uint32_t free_count;
    struct model_chain *chains; /* by head */
    uint16_t *order;            /* heads as made available, for the order of pops */
    uint32_t added, published, popped, completed, flushed, taken;
    struct held_chain *held;
    uint32_t held_count;
    struct {
        uint32_t id, len;
    } * expected_used; /* by used index */
};

static struct model *model_create(uint64_t seed)
{
    const struct gmem_range range = {{0}, RAM_SIZE};
    struct model *m = calloc(1, sizeof(*m));
    struct virtq_config config;

    cr_assert_not_null(m);
    m->seed = m->random = seed;
    m->size = 1U << (1 + random_below(&m->random, 15));
    m->features = (random_next(&m->random) & 1 ? EVENT : 0) | INDIRECT;
    cr_assert_eq(gmem_create(&m->mem, &range, 1, NULL), 0);
    m->ram = gmem_ptr(m->mem, gpa(0), RAM_SIZE);
    m->desc = (void *)(m->ram + DESC);
    m->avail = (void *)(m->ram + AVAIL);
    m->used = (void *)(m->ram + USED);
    m->free_descs = calloc(m->size, sizeof(*m->free_descs));
    m->chains = calloc(m->size, sizeof(*m->chains));
    m->order = calloc(m->size, sizeof(*m->order));
    m->held = calloc(m->size, sizeof(*m->held));
    m->expected_used = calloc(m->size, sizeof(*m->expected_used));
    cr_assert(m->free_descs && m->chains && m->order && m->held && m->expected_used);
    for (m->free_count = 0; m->free_count < m->size; m->free_count++)
        m->free_descs[m->free_count] = m->free_count;
    config = (struct virtq_config){.size = m->size, .desc = DESC, .driver = AVAIL, .device = USED};
    cr_assert_eq(virtq_init(&m->vq, m->mem, m->size), 0);
    cr_assert_eq(virtq_enable(&m->vq, &config, m->features), 0);
    return m;
}

static void model_destroy(struct model *m)
{
    virtq_free(&m->vq);
    gmem_destroy(m->mem);
    free(m->free_descs);
    free(m->chains);
    free(m->order);
    free(m->held);
    free(m->expected_used);
    free(m);
}

static uint16_t desc_take(struct model *m)
{
    uint32_t at = random_below(&m->random, m->free_count);
    uint16_t desc = m->free_descs[at];

    m->free_descs[at] = m->free_descs[--m->free_count];
    return desc;
}

static void driver_add(struct model *m)
{
    bool indirect = random_next(&m->random) & 1;
    uint32_t count_max = m->size < BUFFER_COUNT_MAX ? m->size : BUFFER_COUNT_MAX;
    uint32_t count = 1 + random_below(&m->random, count_max);
    uint32_t readable = random_below(&m->random, count + 1);
    struct vring_desc descs[BUFFER_COUNT_MAX];
    struct model_chain chain = {.live = true};

    if (m->free_count < (indirect ? 1 : count))
        return;
    chain.desc_count = indirect ? 1 : count;
    for (uint32_t i = 0; i < chain.desc_count; i++)
        chain.descs[i] = desc_take(m);
    for (uint32_t i = 0; i < count; i++) {
        struct model_buffer buffer = {
            .addr = 0x400000 + random_below(&m->random, 0x300000),
            .len = random_below(&m->random, 5) ? random_below(&m->random, 0x8000) : 0,
            .writable = i >= readable,
        };

        descs[i] = (struct vring_desc){
            .addr = buffer.addr,
            .len = buffer.len,
            .flags = (buffer.writable ? VRING_DESC_F_WRITE : 0) |
                     (i + 1 < count ? VRING_DESC_F_NEXT : 0),
            .next = indirect ? i + 1 : chain.descs[(i + 1) % chain.desc_count],
        };
        if (buffer.len)
            chain.buffers[chain.buffer_count++] = buffer;
    }
    if (indirect) {
        uint64_t table = TABLES + (uint64_t)chain.descs[0] % 1024 * 16 * BUFFER_COUNT_MAX;

        /* Heads that share a place would share a table: one at a time is in flight there. */
        for (uint32_t head = chain.descs[0] % 1024; head < m->size; head += 1024) {
            if (m->chains[head].live) {
                m->free_descs[m->free_count++] = chain.descs[0];
                return;
            }
        }
        memcpy(m->ram + table, descs, count * sizeof(descs[0]));
        m->desc[chain.descs[0]] =
            (struct vring_desc){.addr = table, .len = 16 * count, .flags = VRING_DESC_F_INDIRECT};
    } else {
        for (uint32_t i = 0; i < count; i++)
            m->desc[chain.descs[i]] = descs[i];
    }
    m->chains[chain.descs[0]] = chain;
    m->order[m->added % m->size] = chain.descs[0];
    m->avail->ring[m->added % m->size] = chain.descs[0];
    m->added++;
}

static void driver_publish(struct model *m)
{
    m->published = m->added;
    m->avail->idx = m->published;
}

static void driver_take(struct model *m)
{
    while (m->taken != m->flushed) {
        const struct vring_used_elem *elem = &m->used->ring[m->taken % m->size];
        struct model_chain *chain;

        cr_assert_eq(elem->id, m->expected_used[m->taken % m->size].id, "seed %#lx", m->seed);
        cr_assert_eq(elem->len, m->expected_used[m->taken % m->size].len, "seed %#lx", m->seed);
        chain = &m->chains[elem->id];
        cr_assert(chain->live && chain->popped, "seed %#lx", m->seed);
        for (uint32_t i = 0; i < chain->desc_count; i++)
            m->free_descs[m->free_count++] = chain->descs[i];
        *chain = (struct model_chain){0};
        m->taken++;
    }
}

static void chain_compare(struct model *m, const struct virtq_chain *chain)
{
    const struct model_chain *expected = &m->chains[chain->head];
    uint32_t readable = 0, readable_len = 0, writable_len = 0;

    cr_assert_eq(chain->readable_count + chain->writable_count, expected->buffer_count, "seed %#lx",
                 m->seed);
    for (uint32_t i = 0; i < expected->buffer_count; i++) {
        const struct model_buffer *buffer = &expected->buffers[i];

        readable += !buffer->writable;
        *(buffer->writable ? &writable_len : &readable_len) += buffer->len;
        cr_assert_eq(chain->iov[i].iov_base, m->ram + buffer->addr, "seed %#lx", m->seed);
        cr_assert_eq(chain->iov[i].iov_len, buffer->len, "seed %#lx", m->seed);
    }
    cr_assert_eq(chain->readable_count, readable, "seed %#lx", m->seed);
    cr_assert_eq(chain->readable_len, readable_len, "seed %#lx", m->seed);
    cr_assert_eq(chain->writable_len, writable_len, "seed %#lx", m->seed);
}

static void device_pop(struct model *m)
{
    struct held_chain *held = &m->held[m->held_count];
    bool available = m->popped != m->published;
    uint16_t head = m->order[m->popped % m->size];

    if (m->held_count == m->size)
        return;
    held->chain = (struct virtq_chain){.iov = held->iov, .iov_max = BUFFER_COUNT_MAX};
    cr_assert_eq(virtq_has_avail(&m->vq), available, "seed %#lx", m->seed);
    cr_assert_eq(virtq_pop(&m->vq, &held->chain), available, "seed %#lx: %s", m->seed,
                 virtq_error(&m->vq));
    if (!available)
        return;
    cr_assert_eq(held->chain.head, head, "seed %#lx: in order", m->seed);
    chain_compare(m, &held->chain);
    m->chains[head].popped = true;
    m->popped++;
    m->held_count++;
}

static void device_push(struct model *m)
{
    uint32_t at, len = random_next(&m->random);
    struct held_chain *held;

    if (!m->held_count)
        return;
    at = random_below(&m->random, m->held_count);
    held = &m->held[at];
    virtq_push(&m->vq, &held->chain, len);
    m->expected_used[m->completed % m->size].id = held->chain.head;
    m->expected_used[m->completed % m->size].len = len;
    m->completed++;
    *held = m->held[--m->held_count];
}

/* 2.7.7.2 word for word: an interrupt when an entry is written at index used_event. */
static bool interrupt_is_due(const struct model *m)
{
    if (!(m->features & EVENT))
        return m->completed != m->flushed && !(m->avail->flags & VRING_AVAIL_F_NO_INTERRUPT);
    for (uint32_t i = m->flushed; i != m->completed; i++)
        if ((uint16_t)i == m->avail->ring[m->size])
            return true;
    return false;
}

static void device_flush(struct model *m)
{
    m->avail->flags = random_next(&m->random) & 1;
    m->avail->ring[m->size] = m->flushed + random_below(&m->random, 8) - 2;
    cr_assert_eq(virtq_flush(&m->vq), interrupt_is_due(m), "seed %#lx", m->seed);
    m->flushed = m->completed;
    cr_assert_eq(m->used->idx, (uint16_t)m->flushed, "seed %#lx", m->seed);
}

/* 2.7.10 word for word: a kick when an entry is made available at index avail_event. */
static bool kick_is_due(const struct model *m, uint32_t count)
{
    uint16_t event;

    if (!(m->features & EVENT))
        return !(m->used->flags & VRING_USED_F_NO_NOTIFY);
    memcpy(&event, &m->used->ring[m->size], sizeof(event));
    for (uint32_t i = m->published; i != m->published + count; i++)
        if ((uint16_t)i == event)
            return true;
    return false;
}

static void device_notifications(struct model *m)
{
    bool available = m->popped != m->published;

    virtq_notify_disable(&m->vq);
    cr_assert_not(kick_is_due(m, 1 + random_below(&m->random, m->size)), "seed %#lx", m->seed);
    if (random_next(&m->random) & 1)
        return;
    cr_assert_eq(virtq_notify_enable(&m->vq), available, "seed %#lx", m->seed);
    if (!available)
        cr_assert(kick_is_due(m, 1 + random_below(&m->random, m->size)), "seed %#lx", m->seed);
}

static void model_run(uint64_t seed)
{
    static void (*const steps[])(struct model *) = {
        driver_add,  driver_add,  driver_add, driver_publish, driver_take,          device_pop,
        device_pop,  device_pop,  device_pop, device_push,    device_push,          device_push,
        device_push, device_push, device_pop, device_flush,   device_notifications,
    };
    struct model *m = model_create(seed);

    for (int i = 0; i < STEPS; i++)
        steps[random_below(&m->random, sizeof(steps) / sizeof(steps[0]))](m);
    cr_assert_null(virtq_error(&m->vq));
    cr_assert_eq(m->vq.in_flight_count, m->held_count);
    cr_assert_gt(m->completed, 100U, "seed %#lx: the test does nothing", m->seed);
    model_destroy(m);
}

/* Never 0: xorshift stays there. */
static uint64_t seed_from_environment(void)
{
    const char *text = getenv("RINGVM_TEST_SEED");

    return text ? strtoull(text, NULL, 0) | 1 : 1;
}

Test(virtq, random_steps_agree_with_a_model_of_the_driver)
{
    for (uint64_t i = 0; i < 40; i++)
        model_run(0x9e3779b97f4a7c15ULL * (i + 1));
    model_run(seed_from_environment());
}

static void assert_inside(const struct iovec *iov, uint16_t count, const uint8_t *ram)
{
    for (uint16_t i = 0; i < count; i++) {
        const uint8_t *base = iov[i].iov_base;

        cr_assert_geq(base, ram);
        cr_assert_leq(iov[i].iov_len, RAM_SIZE);
        cr_assert_leq(base + iov[i].iov_len, ram + RAM_SIZE);
    }
}

/* A value that is wrong in an interesting way. */
static uint64_t evil_value(uint64_t *random)
{
    const uint64_t values[] = {0, 1, RAM_SIZE - 1, RAM_SIZE, UINT64_MAX, UINT32_MAX, DESC, TABLES};
    uint32_t at = random_below(random, 10);

    return at < 8 ? values[at] + random_below(random, 33) : random_next(random);
}

static void scribble(struct model *m)
{
    struct vring_desc desc = {
        .addr = evil_value(&m->random),
        .len = random_next(&m->random) & 1 ? 16 * random_below(&m->random, 64)
                                           : evil_value(&m->random),
        .flags = random_below(&m->random, 8),
        .next = random_below(&m->random, 3) ? random_below(&m->random, m->size)
                                            : evil_value(&m->random),
    };

    if (random_next(&m->random) & 1)
        m->desc[random_below(&m->random, m->size)] = desc;
    else
        memcpy(m->ram + TABLES + 16ULL * random_below(&m->random, 64), &desc, sizeof(desc));
}

Test(virtq, hostile_4_6_random_descriptors_never_lead_outside_ram)
{
    unsigned good = 0, bad = 0;
    struct model *m = model_create(seed_from_environment() * 77);
    struct virtq_config config = {.size = 16, .desc = DESC, .driver = AVAIL, .device = USED};
    struct held_chain held;

    m->size = 16;
    virtq_free(&m->vq);
    cr_assert_eq(virtq_init(&m->vq, m->mem, 16), 0);
    for (int round = 0; round < 300000; round++) {
        virtq_disable(&m->vq);
        cr_assert_eq(virtq_enable(&m->vq, &config, INDIRECT), 0);
        for (int i = 0; i < 6; i++)
            scribble(m);
        m->avail->idx = 1;
        m->avail->ring[0] = random_below(&m->random, 17);
        held.chain = (struct virtq_chain){.iov = held.iov, .iov_max = BUFFER_COUNT_MAX};
        if (virtq_pop(&m->vq, &held.chain) == 1) {
            good++;
            cr_assert_leq(held.chain.readable_count + held.chain.writable_count, BUFFER_COUNT_MAX);
            assert_inside(held.chain.readable, held.chain.readable_count, m->ram);
            assert_inside(held.chain.writable, held.chain.writable_count, m->ram);
        } else {
            bad++;
            cr_assert_not_null(virtq_error(&m->vq));
        }
    }
    cr_assert_gt(good, 1000U);
    cr_assert_gt(bad, 1000U);
    model_destroy(m);
}
