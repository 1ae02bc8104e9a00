/*
 * A virtqueue between the code under test and a model of both its sides, written from the
 * specification (virtio 1.2, 2.7 and 2.8) in positions that never wrap: of ring entries made
 * available and used, counted from the start. The driver's side places chains in memory and takes
 * used ones; what the code under test does is compared, at each step, with what the model knows
 * must come of it. A failure prints the seed.
 */
#pragma once
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <stdint.h>

#include "virtio/queue.h"

enum {
    MODEL_RAM_SIZE = 8 << 20,
    MODEL_DESC = 0x0,
    MODEL_DRIVER = 0x100000, /* avail ring, or the driver's event suppression */
    MODEL_DEVICE = 0x200000,
    MODEL_TABLES = 0x300000, /* indirect tables, by id */
    MODEL_TABLE_COUNT = 1024,
    MODEL_BUFFERS = 0x400000,
    MODEL_BUFFER_COUNT_MAX = 12,
    MODEL_TABLE_LEN = 16 * MODEL_BUFFER_COUNT_MAX,

    MODEL_AVAIL = 1 << VRING_PACKED_DESC_F_AVAIL,
    MODEL_USED = 1 << VRING_PACKED_DESC_F_USED,
};

#define MODEL_EVENT_IDX (1ULL << VIRTIO_RING_F_EVENT_IDX)
#define MODEL_INDIRECT  (1ULL << VIRTIO_RING_F_INDIRECT_DESC)
#define MODEL_PACKED    (1ULL << VIRTIO_F_RING_PACKED)
#define MODEL_IN_ORDER  (1ULL << VIRTIO_F_IN_ORDER)

struct model_buffer {
    uint64_t addr;
    uint32_t len;
    bool writable;
};

/* What the driver asks for: readable buffers, then writable ones. */
struct model_shape {
    bool indirect;
    uint16_t count;
    struct model_buffer buffers[MODEL_BUFFER_COUNT_MAX];
};

/* By head or buffer id. */
struct model_chain {
    bool live;           /* made available and not seen used */
    bool popped;         /* by the device */
    bool pushed;         /* by the device; in order, used when those before it are */
    uint32_t len;        /* that it pushed */
    uint16_t step;       /* positions that it takes: its entries (packed), or 1 (split) */
    uint16_t desc_count; /* split: descriptors of the queue's table */
    uint16_t descs[MODEL_BUFFER_COUNT_MAX];
    struct model_shape shape;
};

struct model_held {
    struct virtq_chain chain;
    struct iovec iov[MODEL_BUFFER_COUNT_MAX];
};

struct model_used {
    uint16_t id;
    uint32_t len;
};

struct model {
    uint64_t seed;
    uint64_t random;
    uint64_t features;
    bool packed;
    uint16_t size;
    struct gmem *mem;
    uint8_t *ram;
    struct virtq vq;
    struct {
        struct vring_desc *desc;
        struct vring_avail *avail;
        struct vring_used *used;
    } split;
    struct {
        struct vring_packed_desc *ring;
        struct vring_packed_desc_event *driver, *device;
    } in_packed;

    uint64_t made;   /* position of the next entry to be made available */
    uint64_t kicked; /* position to be made available when the driver last decided about a kick */
    uint64_t popped; /* position of the next entry that the device takes */
    uint64_t completed; /* position of the next entry to be used */
    uint64_t flushed;   /* the same as the driver sees it */
    uint64_t taken;     /* the same as far as the driver has looked */

    uint64_t chains_made, chains_popped, chains_completed, chains_flushed, chains_taken;
    uint32_t held_count;
    uint16_t free_count; /* split: of free_descs; packed: of free ids, in the same array */
    uint16_t *free_ids;
    uint16_t *order;         /* ids as made available */
    struct model_used *used; /* as completed */
    struct model_held *held; /* by the device */
    struct model_chain *chains;
};

uint32_t model_random(uint64_t *state);
uint32_t model_random_below(uint64_t *state, uint32_t bound);
/* Of the environment (RINGVM_TEST_SEED); never 0. */
uint64_t model_seed(void);
/* The test fails, and says how to see it again. */
void model_fail(const struct model *m, const char *file, int line, const char *what);
#define MODEL_CHECK(m, condition)                            \
    do {                                                     \
        if (!(condition))                                    \
            model_fail((m), __FILE__, __LINE__, #condition); \
    } while (0)

struct model *model_create(uint64_t seed, uint16_t size, uint64_t features);
void model_destroy(struct model *m);

/* ---- the driver ---- */

/* Whether there is room for it; MODEL_BUFFER_COUNT_MAX buffers at most. */
bool model_has_room(const struct model *m, const struct model_shape *shape);
/* Makes a chain available, which needs no more than that for the device to see it. */
void model_add(struct model *m, const struct model_shape *shape);
/* Whether the driver has to notify now; asked once after each adding. */
bool model_wants_kick(struct model *m);
/* The same for `count` further positions, hypothetically. */
bool model_would_kick(const struct model *m, uint32_t count);
/* Takes the next used chain, if there is one, and compares it. */
bool model_take(struct model *m);
/* Asks for no interrupts; for one at the next used chain; for one when the position is reached. */
void model_interrupts_off(struct model *m);
void model_interrupts_on(struct model *m);
void model_interrupt_at(struct model *m, uint64_t position);

/* ---- the device ---- */

/* Each compares the outcome. False: there was nothing to do. */
bool model_pop(struct model *m);
bool model_push(struct model *m, uint32_t held_index, uint32_t len);
/* Returns whether there was an interrupt. */
bool model_flush(struct model *m);
void model_notify_disable(struct model *m);
/* Returns whether chains are there already. */
bool model_notify_enable(struct model *m);
