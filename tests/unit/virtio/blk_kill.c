/*
 * What the device acknowledges is the host's: it is there when the monitor is killed at that very
 * moment. And what it acknowledges as flushed is on the disk.
 *
 * The monitor is a child: executor, virtio-blk and an image. The guest is this process: it drives
 * the ring in memory that both share, so that it sees each answer when it is published, and still
 * sees them when the monitor is dead. A signal can come between any two instructions, so whatever
 * is published before the host has it is lost in some of the rounds.
 */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/atomic.h"
#include "base/clock.h"
#include "blk_rig.h"

enum {
    DEPTH = 16, /* requests at a time; each has three descriptors */
    BLOCK_COUNT = 256,
    BLOCK_SIZE = 4096,
    BLOCK_SECTORS = BLOCK_SIZE / 512,
    ANSWERS_MAX = 300, /* before the kill */
    SPINS_MAX = 2000,
    FLUSH_ONE_IN = 16,
    /* In RAM, which fake_buffer begins to use at one page: how guest and monitor find each other,
     * and the guest's buffers. */
    CONTROL_AT = 0,
    BUFFERS_AT = 32 << 20,
};

/* ---- the monitor ---- */

struct control {
    uint64_t desc, avail, used;
    bool is_ready;
};

/* Never returns. */
static void monitor_run(struct blk_rig *rig, int ram_fd, int doorbell)
{
    struct control *control;
    uint8_t *ram;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    blk_rig_attach(rig);
    ram = gmem_ptr(rig->machine->mem, gpa(0), FAKE_RAM_LOW_SIZE);
    control = (struct control *)(void *)(ram + CONTROL_AT);
    if (mmap(ram, FAKE_RAM_LOW_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, ram_fd, 0) !=
            ram ||
        dup2(doorbell, rig->machine->doorbells[0].eventfd) < 0)
        _exit(1);
    fake_driver_start(rig->driver, BIT(VIRTIO_BLK_F_FLUSH), 0);
    control->desc = rig->queue->desc_buffer.addr.addr;
    control->avail = rig->queue->avail_buffer.addr.addr;
    control->used = rig->queue->used_buffer.addr.addr;
    __atomic_store_n(&control->is_ready, true, __ATOMIC_RELEASE);
    _exit(executor_run(rig->machine->executor) ? 1 : 2);
}

/* ---- the guest ---- */

struct slot {
    bool is_busy;
    uint16_t block; /* BLOCK_COUNT: a flush */
};

/* Versions of a block count up; 0 is as it was. */
struct block {
    uint32_t issued, acknowledged;
};

struct guest {
    uint8_t *ram;
    struct vring_desc *desc;
    struct vring_avail *avail;
    struct vring_used *used;
    uint16_t size;
    uint16_t used_idx;
    unsigned answers;
    int doorbell;
    pid_t monitor;
    struct slot slots[DEPTH];
    struct block blocks[BLOCK_COUNT];
};

/* A request's buffers, behind each other. */
struct guest_request {
    struct virtio_blk_outhdr header;
    uint8_t status;
    uint8_t data[BLOCK_SIZE] __attribute__((aligned(BLOCK_SIZE)));
};

static uint64_t request_addr(unsigned slot)
{
    return BUFFERS_AT + slot * sizeof(struct guest_request);
}

static struct guest_request *request_of(struct guest *guest, unsigned slot)
{
    return (struct guest_request *)(void *)(guest->ram + request_addr(slot));
}

/* Every sector says which one it is, and of which version. */
static void sector_fill(uint8_t *sector, uint32_t number, uint32_t version)
{
    uint64_t word = (uint64_t)number << 32 | version;

    for (size_t i = 0; i < SECTOR; i += sizeof(word))
        memcpy(sector + i, &word, sizeof(word));
}

static void desc_fill(struct vring_desc *desc, uint64_t addr, uint32_t len, uint16_t flags,
                      uint16_t next)
{
    *desc = (struct vring_desc){.addr = addr, .len = len, .flags = flags, .next = next};
}

static void request_issue(struct guest *guest, unsigned slot, uint16_t block)
{
    struct guest_request *request = request_of(guest, slot);
    uint64_t addr = request_addr(slot);
    uint16_t head = (uint16_t)(3 * slot), data = head + 1, status = head + 2;
    bool is_flush = block == BLOCK_COUNT;

    guest->slots[slot] = (struct slot){.is_busy = true, .block = block};
    request->header = (struct virtio_blk_outhdr){
        .type = is_flush ? VIRTIO_BLK_T_FLUSH : VIRTIO_BLK_T_OUT,
        .sector = is_flush ? 0 : (uint64_t)block * BLOCK_SECTORS,
    };
    request->status = 0xff;
    desc_fill(&guest->desc[head], addr, sizeof(request->header), VRING_DESC_F_NEXT,
              is_flush ? status : data);
    desc_fill(&guest->desc[data], addr + offsetof(struct guest_request, data), BLOCK_SIZE,
              VRING_DESC_F_NEXT, status);
    desc_fill(&guest->desc[status], addr + offsetof(struct guest_request, status), 1,
              VRING_DESC_F_WRITE, 0);
    if (!is_flush) {
        uint32_t version = ++guest->blocks[block].issued;

        for (uint32_t i = 0; i < BLOCK_SECTORS; i++)
            sector_fill(request->data + i * SECTOR, block * BLOCK_SECTORS + i, version);
    }
    guest->avail->ring[guest->avail->idx % guest->size] = head;
    __atomic_store_n(&guest->avail->idx, guest->avail->idx + 1, __ATOMIC_SEQ_CST);
}

static void guest_kick(const struct guest *guest)
{
    const uint64_t one = 1;

    if (!(__atomic_load_n(&guest->used->flags, __ATOMIC_SEQ_CST) & VRING_USED_F_NO_NOTIFY))
        cr_assert_eq(write(guest->doorbell, &one, sizeof(one)), (ssize_t)sizeof(one));
}

/* A block has one write at a time, so that its versions have an order. */
static void slots_fill(struct guest *guest)
{
    bool is_issued = false;

    for (unsigned slot = 0; slot < DEPTH; slot++) {
        uint16_t block = rand() % FLUSH_ONE_IN ? (uint16_t)(rand() % BLOCK_COUNT) : BLOCK_COUNT;

        if (guest->slots[slot].is_busy ||
            (block < BLOCK_COUNT &&
             guest->blocks[block].issued != guest->blocks[block].acknowledged))
            continue;
        request_issue(guest, slot, block);
        is_issued = true;
    }
    if (is_issued)
        guest_kick(guest);
}

static void answers_take(struct guest *guest)
{
    while (guest->used_idx != __atomic_load_n(&guest->used->idx, __ATOMIC_ACQUIRE)) {
        unsigned slot = guest->used->ring[guest->used_idx++ % guest->size].id / 3;
        uint16_t block = guest->slots[slot].block;

        cr_assert(guest->slots[slot].is_busy);
        cr_assert_eq(request_of(guest, slot)->status, VIRTIO_BLK_S_OK);
        guest->slots[slot].is_busy = false;
        guest->answers++;
        if (block < BLOCK_COUNT)
            guest->blocks[block].acknowledged = guest->blocks[block].issued;
    }
}

static void guest_start(struct guest *guest, struct blk_rig *rig, int ram_fd)
{
    const struct control *control;

    guest->ram = mmap(NULL, FAKE_RAM_LOW_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, ram_fd, 0);
    cr_assert_neq(guest->ram, MAP_FAILED);
    guest->doorbell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    cr_assert_geq(guest->doorbell, 0);
    guest->monitor = fork();
    cr_assert_geq(guest->monitor, 0);
    if (!guest->monitor)
        monitor_run(rig, ram_fd, guest->doorbell);
    control = (const struct control *)(const void *)(guest->ram + CONTROL_AT);
    while (!__atomic_load_n(&control->is_ready, __ATOMIC_ACQUIRE)) {
        cr_assert_eq(waitpid(guest->monitor, NULL, WNOHANG), 0, "the monitor did not start");
        cpu_relax();
    }
    guest->size = 256;
    guest->desc = (struct vring_desc *)(void *)(guest->ram + control->desc);
    guest->avail = (struct vring_avail *)(void *)(guest->ram + control->avail);
    guest->used = (struct vring_used *)(void *)(guest->ram + control->used);
}

/* Works until it has had so many answers, and a moment longer; then nothing is taken back. */
static void guest_run(struct guest *guest, unsigned answers, unsigned spins)
{
    int status;

    while (guest->answers < answers) {
        slots_fill(guest);
        answers_take(guest);
        cr_assert_eq(waitpid(guest->monitor, NULL, WNOHANG), 0, "the monitor ended by itself");
    }
    while (spins-- > 0)
        cpu_relax();
    cr_assert_eq(kill(guest->monitor, SIGKILL), 0);
    cr_assert_eq(waitpid(guest->monitor, &status, 0), guest->monitor);
    cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    answers_take(guest);
}

static void guest_end(struct guest *guest)
{
    munmap(guest->ram, FAKE_RAM_LOW_SIZE);
    close(guest->doorbell);
}

/* What was acknowledged is there, or else what was on its way to the same place. */
static void image_check(const struct guest *guest, int image_fd, unsigned round)
{
    uint8_t found[SECTOR], acknowledged[SECTOR], issued[SECTOR];

    for (uint32_t sector = 0; sector < BLOCK_COUNT * BLOCK_SECTORS; sector++) {
        const struct block *block = &guest->blocks[sector / BLOCK_SECTORS];
        uint32_t version;

        cr_assert_eq(pread(image_fd, found, SECTOR, (off_t)(sector * SECTOR)), (ssize_t)SECTOR);
        memset(acknowledged, 0, SECTOR);
        if (block->acknowledged)
            sector_fill(acknowledged, sector, block->acknowledged);
        sector_fill(issued, sector, block->issued);
        memcpy(&version, found, sizeof(version));
        cr_assert(!memcmp(found, acknowledged, SECTOR) ||
                      (block->issued != block->acknowledged && !memcmp(found, issued, SECTOR)),
                  "round %u: sector %u has version %u; version %u was acknowledged, %u issued",
                  round, sector, version, block->acknowledged, block->issued);
    }
}

static void round_run(struct blk_rig *rig, unsigned round)
{
    struct guest *guest = calloc(1, sizeof(*guest));
    int ram_fd = memfd_create("ram", MFD_CLOEXEC);

    cr_assert_not_null(guest);
    cr_assert_geq(ram_fd, 0);
    cr_assert_eq(ftruncate(ram_fd, (off_t)FAKE_RAM_LOW_SIZE), 0);
    guest_start(guest, rig, ram_fd);
    guest_run(guest, (unsigned)rand() % ANSWERS_MAX, (unsigned)rand() % SPINS_MAX);
    image_check(guest, rig->fd, round);
    guest_end(guest);
    close(ram_fd);
    close(rig->fd);
    free(guest);
}

/* RINGVM_SEED=N repeats what a failure printed, as far as two processes can. */
static void seed_choose(void)
{
    const char *given = getenv("RINGVM_SEED");
    unsigned seed = given ? (unsigned)strtoul(given, NULL, 0) : (unsigned)clock_now_ns();

    fprintf(stderr, "blk_kill: RINGVM_SEED=%u\n", seed);
    srand(seed);
}

static bool direct_is_possible(struct blk_rig *rig)
{
    const struct disk_config config = {.path = rig->path, .direct = true};
    struct disk disk;

    if (disk_open(&disk, &config, NULL))
        return false;
    disk_close(&disk);
    return true;
}

static const off_t image_size = (off_t)BLOCK_COUNT * BLOCK_SIZE;

Test(blk_kill, acknowledged_writes_survive_in_memory)
{
    struct blk_rig rig;

    seed_choose();
    for (unsigned round = 0; round < 100; round++) {
        blk_rig_image(&rig, image_size);
        round_run(&rig, round);
    }
}

Test(blk_kill, acknowledged_writes_survive_in_a_file)
{
    struct blk_rig rig;

    seed_choose();
    for (unsigned round = 0; round < 12; round++) {
        blk_rig_file(&rig, image_size);
        round_run(&rig, round);
    }
}

Test(blk_kill, acknowledged_writes_survive_with_direct_io)
{
    struct blk_rig rig;

    seed_choose();
    for (unsigned round = 0; round < 12; round++) {
        blk_rig_file(&rig, image_size);
        if (!direct_is_possible(&rig))
            cr_skip_test("the file system of /tmp has no O_DIRECT");
        rig.config.disk.direct = true;
        round_run(&rig, round);
    }
}

/* ---- the disk behind the host's cache, which no kill takes away ---- */

enum { SYS_CACHESTAT = 451 };

struct cachestat_range {
    uint64_t offset, len;
};

struct cachestat_counts {
    uint64_t cached, dirty, writeback, evicted, recently_evicted;
};

/* Pages of the file that are not on the disk; -1: the host does not tell. */
static int64_t unwritten_pages(int fd)
{
    struct cachestat_range range = {.offset = 0, .len = 0}; /* all of it */
    struct cachestat_counts counts;

    if (syscall(SYS_CACHESTAT, fd, &range, &counts, 0))
        return -1;
    return (int64_t)(counts.dirty + counts.writeback);
}

static void write_all(struct blk_rig *rig, struct fake_buffer buffer, uint32_t seed)
{
    blk_pattern(buffer.host, buffer.len, seed);
    cr_assert_eq(blk_write(rig, 0, buffer, NULL), VIRTIO_BLK_S_OK);
}

Test(virtio_blk, acknowledged_flush_leaves_nothing_to_be_written)
{
    struct fake_buffer buffer;
    struct blk_rig rig;

    blk_rig_file(&rig, image_size);
    blk_rig_start(&rig);
    buffer = fake_buffer(rig.machine, (uint32_t)image_size);
    write_all(&rig, buffer, 0);
    if (unwritten_pages(rig.fd) <= 0)
        cr_skip_test("needs cachestat(2), Linux 6.5, and a /tmp that is written back to a disk");
    for (uint32_t i = 0; i < 10; i++) {
        struct blk_test_request flush = blk_request_make(&rig, VIRTIO_BLK_T_FLUSH, 0);

        write_all(&rig, buffer, i);
        cr_assert_eq(blk_request_run(&rig, &flush, NULL), VIRTIO_BLK_S_OK);
        cr_assert_eq(unwritten_pages(rig.fd), 0);
    }
    /* A write through leaves nothing either. */
    fake_driver_write(rig.driver, VIRTIO_PCI_CAP_DEVICE_CFG,
                      offsetof(struct virtio_blk_config, wce), 1, 0);
    write_all(&rig, buffer, 11);
    cr_assert_eq(unwritten_pages(rig.fd), 0);
    blk_rig_end(&rig);
}
