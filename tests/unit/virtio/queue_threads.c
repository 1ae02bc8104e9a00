/* A driver and a device on two threads, which sleep whenever the other side lets them. */
#include <criterion/criterion.h>
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
    DATA = 0x3000
};

struct pair {
    struct gmem *mem;
    struct virtq vq;
    struct vring_desc *desc;
    struct vring_avail *avail;
    struct vring_used *used;
    bool event_idx;
    sem_t kick;
    sem_t interrupt;
};

static uint16_t load(const __virtio16 *field)
{
    return __atomic_load_n(field, __ATOMIC_SEQ_CST);
}

static void store(__virtio16 *field, uint16_t value)
{
    __atomic_store_n(field, value, __ATOMIC_SEQ_CST);
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

static bool driver_wants_kick(struct pair *pair, uint16_t idx)
{
    if (pair->event_idx)
        return load((__virtio16 *)(void *)&pair->used->ring[SIZE]) == (uint16_t)(idx - 1);
    return !(load(&pair->used->flags) & VRING_USED_F_NO_NOTIFY);
}

/* Asks for an interrupt at the next used entry, and looks again, before it sleeps. */
static void driver_sleep(struct pair *pair, uint16_t used_idx)
{
    if (pair->event_idx)
        store(&pair->avail->ring[SIZE], used_idx);
    else
        store(&pair->avail->flags, 0);
    if (load(&pair->used->idx) == used_idx)
        wait_for(&pair->interrupt);
    if (!pair->event_idx)
        store(&pair->avail->flags, VRING_AVAIL_F_NO_INTERRUPT);
}

static void driver_run(struct pair *pair, uint32_t *words)
{
    uint32_t sent = 0, answered = 0;

    while (answered < ROUNDS) {
        uint32_t window = 1 + answered % SLOTS; /* sometimes one at a time, sometimes a full ring */

        while (sent < ROUNDS && sent - answered < window) {
            words[sent % SLOTS] = sent;
            pair->avail->ring[sent % SIZE] = 2 * (sent % SLOTS);
            sent++;
            store(&pair->avail->idx, sent);
            if (driver_wants_kick(pair, sent))
                sem_post(&pair->kick);
        }
        while (load(&pair->used->idx) == (uint16_t)answered)
            driver_sleep(pair, answered);
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
    struct pair pair = {.event_idx = features};
    pthread_t device;
    uint32_t *words;

    cr_assert_eq(gmem_create(&pair.mem, &range, 1, NULL), 0);
    pair.desc = gmem_ptr(pair.mem, gpa(DESC), 16);
    pair.avail = gmem_ptr(pair.mem, gpa(AVAIL), 16);
    pair.used = gmem_ptr(pair.mem, gpa(USED), 16);
    words = gmem_ptr(pair.mem, gpa(DATA), 8 * SLOTS);
    for (uint16_t i = 0; i < SLOTS; i++) {
        pair.desc[2 * i] = (struct vring_desc){DATA + 4U * i, 4, VRING_DESC_F_NEXT, 2 * i + 1};
        pair.desc[2 * i + 1] =
            (struct vring_desc){DATA + 4U * (SLOTS + i), 4, VRING_DESC_F_WRITE, 0};
    }
    if (!features)
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
    run_pair(1ULL << VIRTIO_RING_F_EVENT_IDX);
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

Test(virtq, hostile_8_descriptor_that_changes_while_it_is_looked_at)
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
    avail = gmem_ptr(mem, gpa(AVAIL), 16);
    avail->idx = 1;
    cr_assert_eq(virtq_init(&vq, mem, SIZE), 0);
    cr_assert_eq(pthread_create(&thread, NULL, flipper_main, &flipper), 0);
    for (int i = 0; i < ROUNDS; i++) {
        cr_assert_eq(virtq_enable(&vq, &config, 1ULL << VIRTIO_RING_F_INDIRECT_DESC), 0);
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
