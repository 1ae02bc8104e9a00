/* A driver and a device on two threads, which sleep whenever the other side lets them. */
#include <criterion/criterion.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>

#include "virtio/queue.h"

enum {
    SLOTS = 4,
    SIZE = 2 * SLOTS,
    ROUNDS = 300000,
    SPINS = 2000,
    DESC = 0,
    AVAIL = 0x1000,
    USED = 0x2000,
    DATA = 0x3000,
    AVAIL_BIT = 1 << VRING_PACKED_DESC_F_AVAIL,
    USED_BIT = 1 << VRING_PACKED_DESC_F_USED,
};

#define EVENT_IDX (1ULL << VIRTIO_RING_F_EVENT_IDX)
#define PACKED    (1ULL << VIRTIO_F_RING_PACKED)

struct pair {
    struct gmem *mem;
    struct virtq vq;
    struct vring_desc *desc;
    struct vring_avail *avail;
    struct vring_used *used;
    struct vring_packed_desc *ring;
    struct vring_packed_desc_event *driver_event, *device_event;
    bool event_idx;
    bool packed;
    sem_t kick;
    sem_t interrupt;
};

static uint16_t load(const __virtio16 *field)
{
    return __atomic_load_n(field, __ATOMIC_SEQ_CST);
}

static void store(__virtio16 *field, uint16_t value)
{
    __atomic_exchange_n(field, value, __ATOMIC_SEQ_CST); /* see base/atomic.h */
}

/* Spins a little first, so that the two sides meet within nanoseconds. */
static void wait_for(sem_t *notification)
{
    for (int i = 0; i < SPINS; i++)
        if (!sem_trywait(notification))
            return;
    sem_wait(notification);
}

static void *device_main(void *arg)
{
    struct pair *pair = arg;
    struct iovec iov[SIZE];
    struct virtq_chain chain = {.iov = iov, .iov_max = SIZE};
    uint32_t value = 0;

    for (;;) {
        virtq_notify_disable(&pair->vq);
        while (virtq_pop(&pair->vq, &chain) == 1) {
            memcpy(&value, chain.readable[0].iov_base, sizeof(value));
            value = ~value;
            memcpy(chain.writable[0].iov_base, &value, sizeof(value));
            virtq_push(&pair->vq, &chain, sizeof(value));
        }
        if (virtq_flush(&pair->vq))
            sem_post(&pair->interrupt);
        if (~value == ROUNDS - 1)
            return NULL;
        if (!virtq_notify_enable(&pair->vq))
            wait_for(&pair->kick);
    }
}

/* ---- the driver of either layout; chain `number` is number % SLOTS ---- */

static void split_send(struct pair *pair, uint32_t number)
{
    pair->avail->ring[number % SIZE] = 2 * (number % SLOTS);
    store(&pair->avail->idx, number + 1);
}

static bool split_wants_kick(struct pair *pair, uint32_t number)
{
    if (pair->event_idx)
        return load((__virtio16 *)(void *)&pair->used->ring[SIZE]) == (uint16_t)number;
    return !(load(&pair->used->flags) & VRING_USED_F_NO_NOTIFY);
}

static void split_ask(struct pair *pair, uint32_t number)
{
    if (pair->event_idx)
        store(&pair->avail->ring[SIZE], number);
    else
        store(&pair->avail->flags, 0);
}

static bool split_is_answered(struct pair *pair, uint32_t number)
{
    return load(&pair->used->idx) != (uint16_t)number;
}

/* Two entries a chain: SIZE entries are SLOTS chains, and a lap. */
static uint16_t lap_bits(uint32_t number, uint16_t odd, uint16_t even)
{
    return number / SLOTS % 2 ? odd : even;
}

static void packed_send(struct pair *pair, uint32_t number)
{
    struct vring_packed_desc *entry = &pair->ring[2 * (number % SLOTS)];
    uint16_t owner = lap_bits(number, USED_BIT, AVAIL_BIT);

    entry[0].addr = DATA + 4ULL * (number % SLOTS);
    entry[1].addr = DATA + 4ULL * (SLOTS + number % SLOTS);
    entry[0].len = entry[1].len = 4;
    entry[1].id = number % SLOTS;
    entry[1].flags = owner | VRING_DESC_F_WRITE;
    store(&entry[0].flags, owner | VRING_DESC_F_NEXT);
}

static uint16_t packed_position(uint32_t number)
{
    return 2 * (number % SLOTS) | lap_bits(number, 0, 0x8000);
}

static bool packed_wants_kick(struct pair *pair, uint32_t number)
{
    uint16_t flags = load(&pair->device_event->flags);

    if (flags == VRING_PACKED_EVENT_FLAG_DESC)
        return load(&pair->device_event->off_wrap) == packed_position(number);
    return flags == VRING_PACKED_EVENT_FLAG_ENABLE;
}

static void packed_ask(struct pair *pair, uint32_t number)
{
    if (pair->event_idx) {
        store(&pair->driver_event->off_wrap, packed_position(number));
        store(&pair->driver_event->flags, VRING_PACKED_EVENT_FLAG_DESC);
    } else {
        store(&pair->driver_event->flags, VRING_PACKED_EVENT_FLAG_ENABLE);
    }
}

static bool packed_is_answered(struct pair *pair, uint32_t number)
{
    uint16_t flags = load(&pair->ring[2 * (number % SLOTS)].flags);

    return (flags & (AVAIL_BIT | USED_BIT)) == lap_bits(number, 0, AVAIL_BIT | USED_BIT);
}

static bool is_answered(struct pair *pair, uint32_t number)
{
    return pair->packed ? packed_is_answered(pair, number) : split_is_answered(pair, number);
}

/* Asks for an interrupt at the next used entry, and looks again, before it sleeps. */
static void driver_sleep(struct pair *pair, uint32_t number)
{
    if (pair->packed)
        packed_ask(pair, number);
    else
        split_ask(pair, number);
    if (!is_answered(pair, number))
        wait_for(&pair->interrupt);
    if (pair->event_idx)
        return;
    if (pair->packed)
        store(&pair->driver_event->flags, VRING_PACKED_EVENT_FLAG_DISABLE);
    else
        store(&pair->avail->flags, VRING_AVAIL_F_NO_INTERRUPT);
}

static void driver_run(struct pair *pair, uint32_t *words)
{
    uint32_t sent = 0, answered = 0;

    while (answered < ROUNDS) {
        uint32_t window = 1 + answered % SLOTS; /* sometimes one at a time, sometimes a full ring */

        while (sent < ROUNDS && sent - answered < window) {
            words[sent % SLOTS] = sent;
            if (pair->packed)
                packed_send(pair, sent);
            else
                split_send(pair, sent);
            if (pair->packed ? packed_wants_kick(pair, sent) : split_wants_kick(pair, sent))
                sem_post(&pair->kick);
            sent++;
        }
        while (!is_answered(pair, answered))
            driver_sleep(pair, answered);
        if (pair->packed)
            cr_assert_eq(pair->ring[2 * (answered % SLOTS)].id, answered % SLOTS);
        else
            cr_assert_eq(pair->used->ring[answered % SIZE].id, 2 * (answered % SLOTS));
        cr_assert_eq(words[SLOTS + answered % SLOTS], ~answered);
        answered++;
    }
}

static void run_pair(uint64_t features)
{
    const struct gmem_range range = {{0}, 0x4000};
    const struct virtq_config config = {
        .size = SIZE, .desc = DESC, .driver = AVAIL, .device = USED};
    struct pair pair = {.event_idx = features & EVENT_IDX, .packed = features & PACKED};
    pthread_t device;
    uint32_t *words;

    cr_assert_eq(gmem_create(&pair.mem, &range, 1, NULL), 0);
    pair.desc = gmem_ptr(pair.mem, gpa(DESC), 16);
    pair.avail = gmem_ptr(pair.mem, gpa(AVAIL), 16);
    pair.used = gmem_ptr(pair.mem, gpa(USED), 16);
    pair.ring = gmem_ptr(pair.mem, gpa(DESC), 16);
    pair.driver_event = gmem_ptr(pair.mem, gpa(AVAIL), 4);
    pair.device_event = gmem_ptr(pair.mem, gpa(USED), 4);
    words = gmem_ptr(pair.mem, gpa(DATA), 8 * SLOTS);
    for (uint16_t i = 0; !pair.packed && i < SLOTS; i++) {
        pair.desc[2 * i] = (struct vring_desc){DATA + 4U * i, 4, VRING_DESC_F_NEXT, 2 * i + 1};
        pair.desc[2 * i + 1] =
            (struct vring_desc){DATA + 4U * (SLOTS + i), 4, VRING_DESC_F_WRITE, 0};
    }
    if (pair.packed)
        pair.driver_event->flags = VRING_PACKED_EVENT_FLAG_DISABLE;
    else
        pair.avail->flags = VRING_AVAIL_F_NO_INTERRUPT;
    cr_assert_eq(virtq_init(&pair.vq, pair.mem, SIZE), 0);
    cr_assert_eq(virtq_enable(&pair.vq, &config, features), 0);
    sem_init(&pair.kick, 0, 0);
    sem_init(&pair.interrupt, 0, 0);
    cr_assert_eq(pthread_create(&device, NULL, device_main, &pair), 0);
    driver_run(&pair, words);
    pthread_join(device, NULL);
    virtq_free(&pair.vq);
    gmem_destroy(pair.mem);
}

Test(virtq, hostile_15_no_notification_is_lost_between_two_threads)
{
    run_pair(0);
}

Test(virtq, hostile_15_no_notification_is_lost_between_two_threads_with_event_idx)
{
    run_pair(EVENT_IDX);
}

Test(virtq_packed, hostile_15_no_notification_is_lost_between_two_threads)
{
    run_pair(PACKED);
}

Test(virtq_packed, hostile_15_no_notification_is_lost_between_two_threads_with_event_idx)
{
    run_pair(PACKED | EVENT_IDX);
}

/* ---- a driver that changes its descriptors while they are looked at ---- */

struct flipper {
    struct vring_desc *desc;
    _Atomic bool ends;
};

/* Each word of the descriptor is now good, now bad. A guest does not care about data races. */
__attribute__((no_sanitize("thread"))) static void *flipper_main(void *arg)
{
    struct flipper *flipper = arg;
    volatile struct vring_desc *desc = flipper->desc;

    while (!flipper->ends) {
        desc->len = 64;
        desc->addr = DATA;
        desc->flags = VRING_DESC_F_WRITE;
        desc->len = UINT32_MAX;
        desc->addr = UINT64_MAX - 16;
        desc->flags = VRING_DESC_F_INDIRECT;
    }
    return NULL;
}

static void run_flipper(uint64_t features, void *(*main)(void *arg))
{
    const struct gmem_range range = {{0}, 0x4000};
    const struct virtq_config config = {
        .size = SIZE, .desc = DESC, .driver = AVAIL, .device = USED};
    struct iovec iov[SIZE];
    struct virtq_chain chain = {.iov = iov, .iov_max = SIZE};
    struct flipper flipper = {0};
    struct vring_avail *avail;
    struct gmem *mem;
    pthread_t thread;
    struct virtq vq;

    cr_assert_eq(gmem_create(&mem, &range, 1, NULL), 0);
    flipper.desc = gmem_ptr(mem, gpa(DESC), 16);
    /* An address of before the thread's first word would be good as well, and another. */
    *flipper.desc = (struct vring_desc){.addr = DATA, .len = 64, .flags = VRING_DESC_F_WRITE};
    avail = gmem_ptr(mem, gpa(AVAIL), 16);
    avail->idx = 1;
    cr_assert_eq(virtq_init(&vq, mem, SIZE), 0);
    cr_assert_eq(pthread_create(&thread, NULL, main, &flipper), 0);
    for (int i = 0; i < ROUNDS; i++) {
        cr_assert_eq(virtq_enable(&vq, &config, features), 0);
        if (virtq_pop(&vq, &chain) == 1 && chain.readable_count + chain.writable_count) {
            cr_assert_eq(chain.writable_count, 1);
            cr_assert_eq(iov[0].iov_base, gmem_ptr(mem, gpa(DATA), 64));
            cr_assert_eq(iov[0].iov_len, 64);
            cr_assert_eq(chain.writable_len, 64);
        }
        virtq_disable(&vq);
    }
    flipper.ends = true;
    pthread_join(thread, NULL);
    virtq_free(&vq);
    gmem_destroy(mem);
}

Test(virtq, hostile_8_descriptor_that_changes_while_it_is_looked_at)
{
    run_flipper(1ULL << VIRTIO_RING_F_INDIRECT_DESC, flipper_main);
}

/* As above; the id is now one that there is, now not. */
__attribute__((no_sanitize("thread"))) static void *packed_flipper_main(void *arg)
{
    struct flipper *flipper = arg;
    volatile struct vring_packed_desc *desc = (void *)flipper->desc;

    while (!flipper->ends) {
        desc->len = 64;
        desc->addr = DATA;
        desc->id = SIZE - 1;
        desc->flags = AVAIL_BIT | VRING_DESC_F_WRITE;
        desc->len = UINT32_MAX;
        desc->addr = UINT64_MAX - 16;
        desc->id = UINT16_MAX;
        desc->flags = AVAIL_BIT | VRING_DESC_F_INDIRECT;
    }
    return NULL;
}

Test(virtq_packed, hostile_8_descriptor_that_changes_while_it_is_looked_at)
{
    run_flipper(PACKED | 1ULL << VIRTIO_RING_F_INDIRECT_DESC, packed_flipper_main);
}
