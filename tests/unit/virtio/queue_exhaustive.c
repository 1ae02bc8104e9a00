/*
 * Small queues of both layouts against the model, in every order of everything that driver and
 * device can do with a few chains. In each state that can be reached, every request for an
 * interrupt and every way to ask for kicks is tried as well. The same from positions just before an
 * index or a lap wraps.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "ring_model.h"

enum {
    SEEN_LOG2 = 18,
    SEEN_MAX = 3 << (SEEN_LOG2 - 2),
    AREA_LEN = 64, /* of a queue of 4: the longest is 64 bytes */
    SAVED_LEN = 16384,
};

struct search {
    struct model *m;
    unsigned chains_max;
    unsigned sleeps_max;
    bool asleep;        /* the device has asked for a kick ... */
    uint64_t asleep_at; /* ... of this position, and waits */
    unsigned sleep_count;
    uint32_t seen_count;
    uint64_t *seen; /* hashes; 0 is none */
};

/* ---- states ---- */

/* Every piece of memory that the state is in; addresses stay. */
static size_t pieces(struct search *s, struct iovec out[12])
{
    struct model *m = s->m;
    const struct iovec all[] = {
        {m, sizeof(*m)},
        {s, offsetof(struct search, seen_count)},
        {m->free_ids, m->size * sizeof(*m->free_ids)},
        {m->order, m->size * sizeof(*m->order)},
        {m->used, m->size * sizeof(*m->used)},
        {m->held, m->size * sizeof(*m->held)},
        {m->chains, m->size * sizeof(*m->chains)},
        {m->vq.in_flight, sizeof(*m->vq.in_flight)},
        {m->ram + MODEL_DESC, AREA_LEN},
        {m->ram + MODEL_DRIVER, AREA_LEN},
        {m->ram + MODEL_DEVICE, AREA_LEN},
        {m->ram + MODEL_TABLES, m->size * (size_t)MODEL_TABLE_LEN},
    };

    memcpy(out, all, sizeof(all));
    return sizeof(all) / sizeof(all[0]);
}

static void save(struct search *s, uint8_t saved[SAVED_LEN])
{
    struct iovec list[12];
    size_t count = pieces(s, list), at = 0;

    for (size_t i = 0; i < count; i++) {
        MODEL_CHECK(s->m, at + list[i].iov_len <= SAVED_LEN);
        memcpy(saved + at, list[i].iov_base, list[i].iov_len);
        at += list[i].iov_len;
    }
}

static void restore(struct search *s, const uint8_t saved[SAVED_LEN])
{
    struct iovec list[12];
    size_t count = pieces(s, list);

    for (size_t i = 0; i < count; i++) {
        memcpy(list[i].iov_base, saved, list[i].iov_len);
        saved += list[i].iov_len;
    }
}

/* FNV-1a of what decides the future: what lies behind a count, and what was given back, does not.
 */
static uint64_t mix(uint64_t hash, const void *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        hash = (hash ^ ((const uint8_t *)bytes)[i]) * 0x100000001b3ULL;
    return hash;
}

static uint64_t state_hash(const struct search *s)
{
    const struct model *m = s->m;
    uint64_t hash = mix(0xcbf29ce484222325ULL, &m->vq, sizeof(m->vq));

    hash = mix(hash, &m->made, offsetof(struct model, free_count) - offsetof(struct model, made));
    hash = mix(hash, &s->asleep_at, sizeof(s->asleep_at));
    hash = mix(hash, &s->asleep, sizeof(s->asleep));
    hash = mix(hash, &s->sleep_count, sizeof(s->sleep_count));
    hash = mix(hash, m->free_ids, m->free_count * sizeof(*m->free_ids));
    for (uint64_t i = m->chains_taken; i < m->chains_made; i++) {
        const struct model_chain *chain = &m->chains[m->order[i % m->size]];

        hash = mix(hash, &m->order[i % m->size], sizeof(*m->order));
        hash = mix(hash, &chain->shape.count, sizeof(chain->shape.count));
        hash = mix(hash, &chain->shape.indirect, sizeof(chain->shape.indirect));
    }
    for (uint64_t i = m->chains_taken; i < m->chains_completed; i++)
        hash = mix(hash, &m->used[i % m->size], sizeof(*m->used));
    for (uint32_t i = 0; i < m->held_count; i++)
        hash = mix(hash, &m->held[i].chain.head, sizeof(m->held[i].chain.head));
    hash = mix(hash, m->ram + MODEL_DESC, AREA_LEN);
    hash = mix(hash, m->ram + MODEL_DRIVER, AREA_LEN);
    hash = mix(hash, m->ram + MODEL_DEVICE, AREA_LEN);
    return hash ? hash : 1;
}

static bool is_new(struct search *s)
{
    const uint32_t mask = (1U << SEEN_LOG2) - 1;
    uint64_t hash = state_hash(s);
    uint32_t at = hash & mask;

    while (s->seen[at] && s->seen[at] != hash)
        at = (at + 1) & mask;
    if (s->seen[at])
        return false;
    s->seen[at] = hash;
    MODEL_CHECK(s->m, ++s->seen_count < SEEN_MAX);
    return true;
}

/* ---- steps; false: not possible here ---- */

static bool add(struct search *s, bool indirect, uint16_t count)
{
    struct model_shape shape = {.indirect = indirect, .count = count};

    for (uint16_t i = 0; i < count; i++)
        shape.buffers[i] = (struct model_buffer){MODEL_BUFFERS + 8U * i, 8, i > 0};
    if (s->m->chains_made == s->chains_max || !model_has_room(s->m, &shape))
        return false;
    model_add(s->m, &shape);
    return true;
}

static bool add_one(struct search *s)
{
    return add(s, false, 1);
}

static bool add_two(struct search *s)
{
    return add(s, false, 2);
}

static bool add_table(struct search *s)
{
    return add(s, true, s->m->size > 1 ? 2 : 1);
}

/* The driver decides about a kick, after whatever it has added since the last time. */
static bool kick(struct search *s)
{
    uint64_t from = s->m->kicked;

    if (from == s->m->made)
        return false;
    if (model_wants_kick(s->m))
        s->asleep = false;
    else
        MODEL_CHECK(s->m, !s->asleep || s->asleep_at < from || s->asleep_at >= s->m->made);
    return true;
}

static bool take(struct search *s)
{
    return model_take(s->m);
}

static bool pop(struct search *s)
{
    return !s->asleep && model_pop(s->m);
}

/* The answers differ, so that one cannot be mistaken for another. */
static bool push_first(struct search *s)
{
    return model_push(s->m, 0, s->m->chains_completed % 3);
}

static bool push_last(struct search *s)
{
    return s->m->held_count > 1 &&
           model_push(s->m, s->m->held_count - 1, s->m->chains_completed % 3);
}

static bool flush(struct search *s)
{
    if (s->m->flushed == s->m->completed)
        return false;
    (void)model_flush(s->m);
    return true;
}

/* The device has nothing to do, and sleeps until it is kicked, or comes back by itself. */
static bool sleep_or_wake(struct search *s)
{
    if (s->asleep) {
        s->asleep = false;
        model_notify_disable(s->m);
        return true;
    }
    if (s->sleep_count == s->sleeps_max)
        return false;
    s->sleep_count++;
    s->asleep_at = s->m->popped;
    s->asleep = !model_notify_enable(s->m);
    return true;
}

/* ---- what holds in every state, whatever is asked for; changes nothing that lasts ---- */

static void try_interrupts(struct search *s, const uint8_t *saved)
{
    struct model *m = s->m;

    if (m->flushed == m->completed)
        return;
    model_interrupts_off(m);
    if (!(m->features & MODEL_EVENT_IDX) || m->packed)
        MODEL_CHECK(m, !model_flush(m));
    restore(s, saved);
    model_interrupts_on(m);
    if (!(m->features & MODEL_EVENT_IDX) || m->packed)
        MODEL_CHECK(m, model_flush(m));
    restore(s, saved);
    if (!(m->features & MODEL_EVENT_IDX))
        return;
    for (uint64_t at = m->taken; at <= m->completed + m->size; at++) {
        bool expected = at >= m->flushed && at < m->completed;

        if (m->packed && at >= m->flushed + 2U * m->size)
            break; /* two laps are all that it can tell */
        model_interrupt_at(m, at);
        MODEL_CHECK(m, model_flush(m) == expected);
        restore(s, saved);
    }
}

static void try_notifications(struct search *s, const uint8_t *saved)
{
    model_notify_disable(s->m);
    restore(s, saved);
    (void)model_notify_enable(s->m);
    restore(s, saved);
}

static void visit(struct search *s)
{
    static bool (*const steps[])(struct search *) = {
        add_one, add_two, add_table, kick, take, pop, push_first, push_last, flush, sleep_or_wake,
    };
    uint8_t *saved;

    if (!is_new(s))
        return;
    saved = malloc(SAVED_LEN);
    cr_assert_not_null(saved);
    save(s, saved);
    try_interrupts(s, saved);
    try_notifications(s, saved);
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        if (!steps[i](s))
            continue;
        visit(s);
        restore(s, saved);
    }
    free(saved);
}

/* `start` chains of one entry come and go first. */
static uint32_t explore(uint16_t size, uint64_t features, uint32_t start, unsigned chains)
{
    const struct model_shape shape = {.count = 1, .buffers = {{MODEL_BUFFERS, 8, true}}};
    struct search s = {.m = model_create(1, size, features), .sleeps_max = 1};
    uint32_t count;

    s.m->random = 0; /* ids in the order of the list */
    s.seen = calloc(1U << SEEN_LOG2, sizeof(*s.seen));
    cr_assert_not_null(s.seen);
    for (uint32_t i = 0; i < start; i++) {
        model_add(s.m, &shape);
        MODEL_CHECK(s.m, model_pop(s.m) && model_push(s.m, 0, 1));
        (void)model_flush(s.m);
        MODEL_CHECK(s.m, model_take(s.m));
    }
    s.m->kicked = s.m->made;
    s.chains_max = start + chains;
    model_notify_disable(s.m);
    visit(&s);
    count = s.seen_count;
    model_destroy(s.m);
    free(s.seen);
    return count;
}

/* ThreadSanitizer makes minutes of it, and there is one thread. */
static void skip_under_thread_sanitizer(void)
{
#ifdef __SANITIZE_THREAD__
    cr_skip_test("a single thread, and too slow under ThreadSanitizer");
#endif
}

static const uint64_t ring_features[] = {MODEL_INDIRECT, MODEL_INDIRECT | MODEL_EVENT_IDX};

Test(virtq, every_order_of_a_few_chains_through_a_small_split_queue)
{
    const uint32_t starts[] = {0, 65533};
    uint32_t states = 0;

    skip_under_thread_sanitizer();
    for (size_t f = 0; f < 2; f++)
        for (size_t i = 0; i < 2; i++)
            for (uint16_t size = 1; size <= 4; size *= 2)
                states += explore(size, ring_features[f], starts[i], size < 4 ? 4 : 2);
    cr_log_info("%u states", states);
    cr_assert_gt(states, 100000U);
}

Test(virtq_packed, every_order_of_a_few_chains_through_a_small_queue)
{
    uint32_t states = 0;

    skip_under_thread_sanitizer();
    for (size_t f = 0; f < 2; f++) {
        /* From every position of both laps. */
        for (uint16_t size = 1; size <= 4; size++)
            for (uint32_t start = 0; start < 2U * size; start++)
                states += explore(size, ring_features[f] | MODEL_PACKED, start, size < 3 ? 3 : 2);
        /* Chains that take all of a ring, and more of them than a lap has. */
        states += explore(2, ring_features[f] | MODEL_PACKED, 3, 4);
    }
    states += explore(3, MODEL_INDIRECT | MODEL_EVENT_IDX | MODEL_PACKED, 2, 3);
    cr_log_info("%u states", states);
    cr_assert_gt(states, 100000U);
}
