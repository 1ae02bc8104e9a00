/*
 * Both layouts against the model, in random steps at every kind of size; and against memory that
 * somebody scribbles on. The seeds are fixed, and printed with a failure; RINGVM_TEST_SEED adds
 * one.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "ring_model.h"

enum { STEPS = 12000 };

static struct model_shape random_shape(struct model *m)
{
    uint16_t count_max = m->size < MODEL_BUFFER_COUNT_MAX ? m->size : MODEL_BUFFER_COUNT_MAX;
    struct model_shape shape = {
        .indirect = m->features & MODEL_INDIRECT && model_random(&m->random) & 1,
        .count = 1 + model_random_below(&m->random, count_max),
    };
    uint16_t readable = model_random_below(&m->random, shape.count + 1);

    for (uint16_t i = 0; i < shape.count; i++) {
        struct model_buffer *buffer = &shape.buffers[i];

        buffer->addr = MODEL_BUFFERS + model_random_below(&m->random, 0x300000);
        if (model_random_below(&m->random, 5)) /* else empty: it counts for nothing */
            buffer->len = model_random_below(&m->random, 0x8000);
        buffer->writable = i >= readable;
    }
    return shape;
}

/* Ids that share a place share a table: one at a time is in flight there. */
static bool table_is_taken(const struct model *m)
{
    return m->size > MODEL_TABLE_COUNT && m->chains_made - m->chains_taken > 0;
}

static void driver_add(struct model *m)
{
    struct model_shape shape = random_shape(m);

    if (shape.indirect && table_is_taken(m))
        shape.indirect = false;
    if (model_has_room(m, &shape))
        model_add(m, &shape);
}

static void driver_add_many(struct model *m)
{
    for (uint32_t i = model_random_below(&m->random, 2 * m->size); i > 0; i--)
        driver_add(m);
}

static void driver_kick(struct model *m)
{
    (void)model_wants_kick(m);
}

static void driver_take(struct model *m)
{
    (void)model_take(m);
}

static void driver_take_all(struct model *m)
{
    while (model_take(m))
        ;
}

static void driver_interrupts(struct model *m)
{
    switch (model_random_below(&m->random, 4)) {
    case 0:
        model_interrupts_off(m);
        break;
    case 1:
        model_interrupts_on(m);
        break;
    default:
        if (m->features & MODEL_EVENT_IDX)
            model_interrupt_at(m, m->taken + model_random_below(&m->random, m->size + 2));
        break;
    }
}

static void device_pop(struct model *m)
{
    (void)model_pop(m);
}

static void device_pop_all(struct model *m)
{
    while (model_pop(m))
        ;
}

static void device_push(struct model *m)
{
    uint32_t at = m->held_count ? model_random_below(&m->random, m->held_count) : 0;

    (void)model_push(m, at, model_random_below(&m->random, 3) ? model_random(&m->random) : 0);
}

static void device_push_many(struct model *m)
{
    for (uint32_t i = m->held_count ? model_random_below(&m->random, m->held_count) : 0; i > 0; i--)
        device_push(m);
}

static void device_flush(struct model *m)
{
    (void)model_flush(m);
}

static void device_notifications(struct model *m)
{
    model_notify_disable(m);
    if (model_random(&m->random) & 1)
        (void)model_notify_enable(m);
}

static void run(uint64_t seed, uint16_t size, uint64_t features)
{
    static void (*const steps[])(struct model *) = {
        driver_add,   driver_add,      driver_add,        driver_add_many, driver_kick,
        driver_take,  driver_take,     driver_interrupts, device_pop,      device_pop,
        device_push,  device_push,     device_push_many,  device_flush,    device_notifications,
        device_pop,   driver_take,     device_push,       driver_kick,     driver_add,
        device_flush, driver_take_all, device_pop_all,
    };
    struct model *m = model_create(seed, size, features);
    /* Every step of a large ring moves many entries. */
    int count = STEPS / (1 + size / 64);

    for (int i = 0; i < count + 400; i++)
        steps[model_random_below(&m->random, sizeof(steps) / sizeof(steps[0]))](m);
    MODEL_CHECK(m, !virtq_error(&m->vq));
    MODEL_CHECK(m, m->chains_completed > 100);
    model_destroy(m);
}

static void run_each(const uint16_t *sizes, size_t count, uint64_t layout)
{
    const uint64_t features[] = {0, MODEL_EVENT_IDX, MODEL_INDIRECT | MODEL_IN_ORDER,
                                 MODEL_EVENT_IDX | MODEL_INDIRECT};

    for (size_t i = 0; i < count; i++) {
        for (size_t f = 0; f < sizeof(features) / sizeof(features[0]); f++) {
            run(0x9e3779b97f4a7c15ULL * (4 * i + f + 1), sizes[i], layout | features[f]);
            run(model_seed(), sizes[i], layout | features[f]);
        }
    }
}

Test(virtq, random_steps_of_a_split_queue_agree_with_the_model)
{
    const uint16_t sizes[] = {1,   2,   4,    8,    16,   32,   64,    128,
                              256, 512, 1024, 2048, 4096, 8192, 16384, 32768};

    run_each(sizes, sizeof(sizes) / sizeof(sizes[0]), 0);
}

Test(virtq, random_steps_of_a_packed_queue_agree_with_the_model)
{
    const uint16_t sizes[] = {1,   2,   3,   4,    5,    7,    8,     16,    31,
                              100, 255, 256, 1000, 1024, 4097, 16384, 32767, 32768};

    run_each(sizes, sizeof(sizes) / sizeof(sizes[0]), MODEL_PACKED);
}

/* ---- index and lap wrap ---- */

/* Chains of one entry, `batch` at a time, through 65536 twice, and the driver asks for an interrupt
 * at each distance. */
static void wrap_run(uint16_t size, uint64_t layout)
{
    const struct model_shape shape = {.count = 1, .buffers = {{MODEL_BUFFERS, 8, true}}};
    struct model *m = model_create(1, size, layout | MODEL_EVENT_IDX);

    for (uint32_t round = 0; m->made < 140000; round++) {
        uint32_t batch = 1 + round % size;
        /* Two laps are all that a position of a packed ring can tell (2.8.10). */
        uint32_t distance = round % (size + 3) % (2 * size);

        while (batch--)
            model_add(m, &shape);
        model_notify_disable(m);
        model_interrupt_at(m, m->completed + distance);
        while (model_pop(m))
            ;
        while (model_push(m, m->held_count - 1, round))
            ;
        MODEL_CHECK(m, model_flush(m) == (m->completed - m->taken > distance));
        MODEL_CHECK(m, !model_notify_enable(m));
        while (model_take(m))
            ;
    }
    model_destroy(m);
}

Test(virtq, with_event_idx_interrupts_and_kicks_are_exact_over_every_wrap)
{
    const uint16_t split[] = {1, 2, 4, 16, 256}, packed[] = {1, 2, 3, 4, 5, 100, 256};

    for (size_t i = 0; i < sizeof(split) / sizeof(split[0]); i++)
        wrap_run(split[i], 0);
    for (size_t i = 0; i < sizeof(packed) / sizeof(packed[0]); i++)
        wrap_run(packed[i], MODEL_PACKED);
}

/* The largest rings: positions differ by up to two laps of 32768. */
/* Each batch is done last to first, and comes back first to last. */
Test(virtq, in_order_what_is_done_early_waits_for_its_turn_over_every_wrap)
{
    const uint16_t sizes[] = {1, 2, 4, 16, 256};

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        wrap_run(sizes[i], MODEL_IN_ORDER);
        wrap_run(sizes[i], MODEL_IN_ORDER | MODEL_PACKED);
    }
}

Test(virtq, with_event_idx_a_batch_of_the_whole_largest_ring_is_one_decision)
{
    const struct model_shape shape = {.count = 1, .buffers = {{MODEL_BUFFERS, 8, true}}};
    const int64_t distances[] = {-32768, -1, 0, 1, 16384, 32766, 32767, 32768, 40000, 65535};

    for (uint64_t layout = 0; layout <= MODEL_PACKED; layout += MODEL_PACKED) {
        struct model *m = model_create(1, 32768, layout | MODEL_EVENT_IDX);

        for (size_t i = 0; i < 3 * sizeof(distances) / sizeof(distances[0]); i++) {
            int64_t distance = distances[i % (sizeof(distances) / sizeof(distances[0]))];

            while (model_has_room(m, &shape))
                model_add(m, &shape);
            while (model_pop(m))
                ;
            while (model_push(m, m->held_count - 1, 1))
                ;
            model_interrupt_at(m, m->flushed + 65536 + distance);
            (void)model_flush(m);
            while (model_take(m))
                ;
        }
        model_destroy(m);
    }
}

/* ---- memory that somebody scribbles on ---- */

static void assert_inside(const struct model *m, const struct iovec *iov, uint16_t count)
{
    for (uint16_t i = 0; i < count; i++) {
        const uint8_t *base = iov[i].iov_base;

        MODEL_CHECK(m, base >= m->ram);
        MODEL_CHECK(m, iov[i].iov_len <= MODEL_RAM_SIZE);
        MODEL_CHECK(m, base + iov[i].iov_len <= m->ram + MODEL_RAM_SIZE);
    }
}

/* A value that is wrong in an interesting way. */
static uint64_t evil_value(uint64_t *random)
{
    const uint64_t values[] = {0,          1,          MODEL_RAM_SIZE - 1, MODEL_RAM_SIZE,
                               UINT64_MAX, UINT32_MAX, MODEL_DESC,         MODEL_TABLES};
    uint32_t at = model_random_below(random, 10);

    return at < 8 ? values[at] + model_random_below(random, 33) : model_random(random);
}

static void scribble(struct model *m)
{
    uint16_t flags = model_random_below(&m->random, 8);
    uint16_t other = model_random_below(&m->random, 3) ? model_random_below(&m->random, m->size)
                                                       : evil_value(&m->random);
    struct vring_desc desc = {
        .addr = evil_value(&m->random),
        .len = model_random(&m->random) & 1 ? 16 * model_random_below(&m->random, 64)
                                            : evil_value(&m->random),
        .flags = flags,
        .next = other,
    };

    if (m->packed) { /* the last two fields are id and flags */
        desc.flags = other;
        desc.next = flags | (model_random_below(&m->random, 8) ? MODEL_AVAIL : MODEL_USED);
    }
    if (model_random(&m->random) & 1)
        m->split.desc[model_random_below(&m->random, m->size)] = desc;
    else
        memcpy(m->ram + MODEL_TABLES + 16ULL * model_random_below(&m->random, 64), &desc,
               sizeof(desc));
}

/* Pops until the queue breaks or has no more; the chains stay in flight. */
static void pop_hostile(struct model *m, unsigned *good, unsigned *bad)
{
    struct model_held *held = &m->held[0];
    int ret;

    for (unsigned popped = 0;; popped++) {
        held->chain = (struct virtq_chain){.iov = held->iov, .iov_max = MODEL_BUFFER_COUNT_MAX};
        ret = virtq_pop(&m->vq, &held->chain);
        if (ret <= 0)
            break;
        MODEL_CHECK(m, popped < m->size);
        MODEL_CHECK(m, held->chain.readable_count + held->chain.writable_count <=
                           MODEL_BUFFER_COUNT_MAX);
        assert_inside(m, held->chain.readable, held->chain.readable_count);
        assert_inside(m, held->chain.writable, held->chain.writable_count);
        ++*good;
    }
    *bad += ret < 0;
    MODEL_CHECK(m, (ret < 0) == (virtq_error(&m->vq) != NULL));
}

static void scribble_run(uint16_t size, uint64_t layout)
{
    const struct virtq_config config = {
        .size = size, .desc = MODEL_DESC, .driver = MODEL_DRIVER, .device = MODEL_DEVICE};
    struct model *m = model_create(model_seed() * 77, size, layout);
    unsigned good = 0, bad = 0;

    for (int round = 0; round < 150000; round++) {
        virtq_disable(&m->vq);
        MODEL_CHECK(m, virtq_enable(&m->vq, &config, layout | MODEL_INDIRECT) == 0);
        for (int i = 0; i < 6; i++)
            scribble(m);
        if (!m->packed) {
            m->split.avail->idx = 1;
            m->split.avail->ring[0] = model_random_below(&m->random, size + 1);
        }
        pop_hostile(m, &good, &bad);
    }
    MODEL_CHECK(m, good > 1000);
    MODEL_CHECK(m, bad > 1000);
    model_destroy(m);
}

Test(virtq, hostile_4_6_random_split_descriptors_never_lead_outside_ram)
{
    scribble_run(16, 0);
}

Test(virtq, hostile_4_6_random_packed_descriptors_never_lead_outside_ram)
{
    scribble_run(16, MODEL_PACKED);
    scribble_run(13, MODEL_PACKED);
}
