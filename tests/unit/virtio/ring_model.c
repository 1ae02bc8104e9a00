#include "ring_model.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

/* xorshift64* */
uint32_t model_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return (*state * 0x2545f4914f6cdd1dULL) >> 32;
}

uint32_t model_random_below(uint64_t *state, uint32_t bound)
{
    return model_random(state) % bound;
}

uint64_t model_seed(void)
{
    const char *text = getenv("RINGVM_TEST_SEED");

    return text ? strtoull(text, NULL, 0) | 1 : 1;
}

void model_fail(const struct model *m, const char *file, int line, const char *what)
{
    cr_assert_fail("%s:%d: %s: %s queue of %u, features %#lx, seed %#lx: made %lu, completed %lu, "
                   "flushed %lu, taken %lu; error: %s",
                   file, line, what, m->packed ? "packed" : "split", m->size, m->features, m->seed,
                   m->made, m->completed, m->flushed, m->taken,
                   virtq_error(&m->vq) ? virtq_error(&m->vq) : "none");
    abort();
}

/* The queue's largest size is a power of two, whatever the driver chooses. */
static uint16_t round_up(uint16_t size)
{
    uint32_t power = 1;

    while (power < size)
        power *= 2;
    return power;
}

struct model *model_create(uint64_t seed, uint16_t size, uint64_t features)
{
    const struct gmem_range range = {{0}, MODEL_RAM_SIZE};
    const struct virtq_config config = {
        .size = size, .desc = MODEL_DESC, .driver = MODEL_DRIVER, .device = MODEL_DEVICE};
    struct model *m = calloc(1, sizeof(*m));

    cr_assert_not_null(m);
    m->seed = m->random = seed;
    m->size = size;
    m->features = features;
    m->packed = features & MODEL_PACKED;
    cr_assert_eq(gmem_create(&m->mem, &range, 1, NULL), 0);
    m->ram = gmem_ptr(m->mem, gpa(0), MODEL_RAM_SIZE);
    m->split.desc = (void *)(m->ram + MODEL_DESC);
    m->split.avail = (void *)(m->ram + MODEL_DRIVER);
    m->split.used = (void *)(m->ram + MODEL_DEVICE);
    m->in_packed.ring = (void *)(m->ram + MODEL_DESC);
    m->in_packed.driver = (void *)(m->ram + MODEL_DRIVER);
    m->in_packed.device = (void *)(m->ram + MODEL_DEVICE);
    m->free_ids = calloc(size, sizeof(*m->free_ids));
    m->chains = calloc(size, sizeof(*m->chains));
    m->order = calloc(size, sizeof(*m->order));
    m->held = calloc(size, sizeof(*m->held));
    m->used = calloc(size, sizeof(*m->used));
    cr_assert(m->free_ids && m->chains && m->order && m->held && m->used);
    for (m->free_count = 0; m->free_count < size; m->free_count++)
        m->free_ids[m->free_count] = m->free_count;
    cr_assert_eq(virtq_init(&m->vq, m->mem, round_up(size)), 0);
    if (features & MODEL_IN_ORDER)
        cr_assert_eq(virtq_init_order(&m->vq), 0);
    cr_assert_eq(virtq_enable(&m->vq, &config, features), 0);
    return m;
}

void model_destroy(struct model *m)
{
    virtq_free(&m->vq);
    gmem_destroy(m->mem);
    free(m->free_ids);
    free(m->chains);
    free(m->order);
    free(m->held);
    free(m->used);
    free(m);
}

/* 2.8.1: the wrap counter of the lap that a position is in. */
static bool lap_bit(const struct model *m, uint64_t position)
{
    return position / m->size % 2 == 0;
}

static uint16_t id_take(struct model *m)
{
    uint32_t at = m->random ? model_random_below(&m->random, m->free_count) : 0;
    uint16_t id = m->free_ids[at];

    m->free_ids[at] = m->free_ids[--m->free_count];
    return id;
}

/* ---- the driver ---- */

bool model_has_room(const struct model *m, const struct model_shape *shape)
{
    uint16_t entries = shape->indirect ? 1 : shape->count;

    if (!m->packed)
        return m->free_count >= entries;
    return m->free_count && m->size - (m->made - m->taken) >= entries;
}

static uint16_t buffer_flags(const struct model_shape *shape, uint16_t i)
{
    return (shape->buffers[i].writable ? VRING_DESC_F_WRITE : 0) |
           (i + 1 < shape->count ? VRING_DESC_F_NEXT : 0);
}

static uint64_t table_addr(uint16_t id)
{
    return MODEL_TABLES + (uint64_t)(id % MODEL_TABLE_COUNT) * MODEL_TABLE_LEN;
}

static void split_place(struct model *m, struct model_chain *chain, uint16_t id)
{
    const struct model_shape *shape = &chain->shape;
    struct vring_desc *table = shape->indirect ? (void *)(m->ram + table_addr(id)) : m->split.desc;

    for (uint16_t i = 0; i < shape->count; i++) {
        uint16_t at = shape->indirect ? i : chain->descs[i];

        table[at] = (struct vring_desc){
            .addr = shape->buffers[i].addr,
            .len = shape->buffers[i].len,
            .flags = buffer_flags(shape, i),
            .next = shape->indirect ? i + 1 : chain->descs[(i + 1) % shape->count],
        };
    }
    if (shape->indirect)
        m->split.desc[id] = (struct vring_desc){
            .addr = table_addr(id), .len = 16U * shape->count, .flags = VRING_DESC_F_INDIRECT};
    m->split.avail->ring[m->made % m->size] = id;
    __atomic_store_n(&m->split.avail->idx, (uint16_t)(m->made + 1), __ATOMIC_RELEASE);
}

static void packed_place(struct model *m, struct model_chain *chain, uint16_t id)
{
    const struct model_shape *shape = &chain->shape;
    struct vring_packed_desc *table = (void *)(m->ram + table_addr(id));
    uint16_t first_flags = 0;

    for (uint16_t i = 0; shape->indirect && i < shape->count; i++)
        table[i] = (struct vring_packed_desc){
            .addr = shape->buffers[i].addr,
            .len = shape->buffers[i].len,
            .id = 0xffff, /* reserved, as all flags but one (2.8.7) */
            .flags = (uint16_t)(~VRING_DESC_F_WRITE | buffer_flags(shape, i)),
        };
    for (uint16_t i = 0; i < chain->step; i++) {
        struct vring_packed_desc *entry = &m->in_packed.ring[(m->made + i) % m->size];
        uint16_t flags = lap_bit(m, m->made + i) ? MODEL_AVAIL : MODEL_USED;

        entry->addr = shape->indirect ? table_addr(id) : shape->buffers[i].addr;
        entry->len = shape->indirect ? 16U * shape->count : shape->buffers[i].len;
        entry->id = i + 1 == chain->step ? id : 0xffff;
        flags |= shape->indirect ? VRING_DESC_F_INDIRECT : buffer_flags(shape, i);
        if (i)
            entry->flags = flags;
        else
            first_flags = flags;
    }
    __atomic_store_n(&m->in_packed.ring[m->made % m->size].flags, first_flags, __ATOMIC_RELEASE);
}

void model_add(struct model *m, const struct model_shape *shape)
{
    struct model_chain *chain;
    uint16_t id = id_take(m);

    MODEL_CHECK(m, !m->chains[id].live);
    chain = &m->chains[id];
    *chain = (struct model_chain){.live = true, .step = 1, .shape = *shape};
    if (m->packed) {
        chain->step = shape->indirect ? 1 : shape->count;
        packed_place(m, chain, id);
    } else {
        chain->desc_count = shape->indirect ? 1 : shape->count;
        chain->descs[0] = id;
        for (uint16_t i = 1; i < chain->desc_count; i++)
            chain->descs[i] = id_take(m);
        split_place(m, chain, id);
    }
    m->order[m->chains_made++ % m->size] = id;
    m->made += chain->step;
}

/* 2.7.10 and 2.8.10 word for word: an entry that is made available is the one asked for. */
static bool kick_is_due(const struct model *m, uint64_t from, uint64_t to)
{
    bool has_event = m->features & MODEL_EVENT_IDX;
    uint16_t event;

    if (m->packed) {
        uint16_t flags = m->in_packed.device->flags;

        MODEL_CHECK(m, flags <= (has_event ? 2 : 1));
        if (flags != VRING_PACKED_EVENT_FLAG_DESC)
            return flags == VRING_PACKED_EVENT_FLAG_ENABLE;
        event = m->in_packed.device->off_wrap;
    } else {
        if (!has_event)
            return !(m->split.used->flags & VRING_USED_F_NO_NOTIFY);
        memcpy(&event, &m->split.used->ring[m->size], sizeof(event));
    }
    for (uint64_t at = from; at != to; at++)
        if (m->packed ? (event == (at % m->size | lap_bit(m, at) << 15)) : (uint16_t)at == event)
            return true;
    return false;
}

bool model_would_kick(const struct model *m, uint32_t count)
{
    return kick_is_due(m, m->made, m->made + count);
}

bool model_wants_kick(struct model *m)
{
    uint64_t from = m->kicked;

    m->kicked = m->made;
    return from != m->made && kick_is_due(m, from, m->made);
}

/* The used entry at the driver's position: true when it is there. */
static bool used_entry(const struct model *m, uint32_t *id, uint32_t *len)
{
    if (m->packed) {
        const struct vring_packed_desc *entry = &m->in_packed.ring[m->taken % m->size];
        uint16_t flags = __atomic_load_n(&entry->flags, __ATOMIC_ACQUIRE);

        if ((flags & (MODEL_AVAIL | MODEL_USED)) !=
            (lap_bit(m, m->taken) ? MODEL_AVAIL | MODEL_USED : 0))
            return false;
        *id = entry->id;
        *len = entry->len;
        MODEL_CHECK(m, !(flags & VRING_DESC_F_WRITE) == !*len);
        return true;
    }
    if (__atomic_load_n(&m->split.used->idx, __ATOMIC_ACQUIRE) == (uint16_t)m->taken)
        return false;
    *id = m->split.used->ring[m->taken % m->size].id;
    *len = m->split.used->ring[m->taken % m->size].len;
    return true;
}

bool model_take(struct model *m)
{
    const struct model_used *expected = &m->used[m->chains_taken % m->size];
    struct model_chain *chain = &m->chains[expected->id];
    uint32_t id = 0, len = 0;
    bool is_there = used_entry(m, &id, &len);

    MODEL_CHECK(m, is_there == (m->chains_taken != m->chains_flushed));
    if (!is_there)
        return false;
    MODEL_CHECK(m, id == expected->id);
    MODEL_CHECK(m, len == expected->len);
    MODEL_CHECK(m, chain->live && chain->popped);
    if (m->packed)
        m->free_ids[m->free_count++] = id;
    for (uint16_t i = 0; i < chain->desc_count; i++)
        m->free_ids[m->free_count++] = chain->descs[i];
    m->taken += chain->step;
    m->chains_taken++;
    *chain = (struct model_chain){0};
    return true;
}

static void driver_flags(struct model *m, uint16_t flags)
{
    if (m->packed)
        __atomic_store_n(&m->in_packed.driver->flags, flags, __ATOMIC_RELEASE);
    else
        __atomic_store_n(&m->split.avail->flags, flags, __ATOMIC_RELEASE);
}

void model_interrupts_off(struct model *m)
{
    driver_flags(m, 1); /* VRING_AVAIL_F_NO_INTERRUPT; VRING_PACKED_EVENT_FLAG_DISABLE */
}

void model_interrupts_on(struct model *m)
{
    driver_flags(m, 0);
}

void model_interrupt_at(struct model *m, uint64_t position)
{
    if (m->packed) {
        m->in_packed.driver->off_wrap = position % m->size | lap_bit(m, position) << 15;
        driver_flags(m, VRING_PACKED_EVENT_FLAG_DESC);
    } else {
        m->split.avail->ring[m->size] = position;
    }
}

/* ---- the device ---- */

static void chain_compare(const struct model *m, const struct virtq_chain *chain)
{
    const struct model_shape *shape = &m->chains[chain->head].shape;
    uint32_t at = 0, readable = 0, readable_len = 0, writable_len = 0;

    for (uint16_t i = 0; i < shape->count; i++) {
        const struct model_buffer *buffer = &shape->buffers[i];

        if (!buffer->len)
            continue;
        MODEL_CHECK(m, chain->iov[at].iov_base == m->ram + buffer->addr);
        MODEL_CHECK(m, chain->iov[at].iov_len == buffer->len);
        readable += !buffer->writable;
        *(buffer->writable ? &writable_len : &readable_len) += buffer->len;
        at++;
    }
    MODEL_CHECK(m, chain->readable_count + chain->writable_count == (int)at);
    MODEL_CHECK(m, chain->readable_count == readable);
    MODEL_CHECK(m, chain->readable_len == readable_len);
    MODEL_CHECK(m, chain->writable_len == writable_len);
}

bool model_pop(struct model *m)
{
    bool available = m->chains_popped != m->chains_made;
    uint16_t id = m->order[m->chains_popped % m->size];
    struct model_held *held;

    MODEL_CHECK(m, virtq_has_avail(&m->vq) == available);
    if (m->held_count == m->size) {
        MODEL_CHECK(m, !available);
        return false;
    }
    held = &m->held[m->held_count];
    held->chain = (struct virtq_chain){.iov = held->iov, .iov_max = MODEL_BUFFER_COUNT_MAX};
    MODEL_CHECK(m, virtq_pop(&m->vq, &held->chain) == available);
    if (!available)
        return false;
    MODEL_CHECK(m, held->chain.head == id);
    chain_compare(m, &held->chain);
    m->chains[id].popped = true;
    m->popped += m->chains[id].step;
    m->chains_popped++;
    m->held_count++;
    return true;
}

static void chain_use(struct model *m, uint16_t id)
{
    m->used[m->chains_completed++ % m->size] =
        (struct model_used){.id = id, .len = m->chains[id].len};
    m->completed += m->chains[id].step;
}

bool model_push(struct model *m, uint32_t held_index, uint32_t len)
{
    struct model_held *held = &m->held[held_index];
    uint16_t id;

    if (held_index >= m->held_count)
        return false;
    id = held->chain.head;
    virtq_push(&m->vq, &held->chain, len);
    m->chains[id].pushed = true;
    m->chains[id].len = len;
    if (!(m->features & MODEL_IN_ORDER))
        chain_use(m, id);
    else
        while (m->chains_completed < m->chains_popped &&
               m->chains[m->order[m->chains_completed % m->size]].pushed)
            chain_use(m, m->order[m->chains_completed % m->size]);
    *held = m->held[--m->held_count];
    return true;
}

/* 2.7.7.2 and 2.8.10 word for word: an entry that is used is the one asked for. */
static bool interrupt_is_due(const struct model *m)
{
    bool has_event = m->features & MODEL_EVENT_IDX;
    uint16_t event = m->packed ? m->in_packed.driver->off_wrap : m->split.avail->ring[m->size];

    if (m->flushed == m->completed)
        return false;
    if (m->packed && m->in_packed.driver->flags != VRING_PACKED_EVENT_FLAG_DESC)
        return m->in_packed.driver->flags == VRING_PACKED_EVENT_FLAG_ENABLE;
    if (!m->packed && !has_event)
        return !(m->split.avail->flags & VRING_AVAIL_F_NO_INTERRUPT);
    for (uint64_t at = m->flushed; at != m->completed; at++)
        if (m->packed ? (event == (at % m->size | lap_bit(m, at) << 15)) : (uint16_t)at == event)
            return true;
    return false;
}

bool model_flush(struct model *m)
{
    bool due = interrupt_is_due(m);

    MODEL_CHECK(m, virtq_flush(&m->vq) == due);
    m->flushed = m->completed;
    m->chains_flushed = m->chains_completed;
    MODEL_CHECK(m, m->vq.in_flight_count == m->chains_popped - m->chains_completed);
    if (!m->packed)
        MODEL_CHECK(m, m->split.used->idx == (uint16_t)m->flushed);
    return due;
}

void model_notify_disable(struct model *m)
{
    uint32_t room = m->size - (m->made - m->taken);

    virtq_notify_disable(&m->vq);
    for (uint32_t count = 1; count <= room; count += 1 + count / 2)
        MODEL_CHECK(m, !model_would_kick(m, count));
}

bool model_notify_enable(struct model *m)
{
    bool available = m->chains_popped != m->chains_made;

    MODEL_CHECK(m, virtq_notify_enable(&m->vq) == available);
    if (!available)
        for (uint32_t count = 1; count <= m->size; count += 1 + count / 2)
            MODEL_CHECK(m, model_would_kick(m, count));
    return available;
}
