/*
 * The host side of a virtual disk: a raw image file or a block device, opened, locked and measured
 * before the guest runs. The format is never guessed from content, which the guest can write: what
 * is in the file is the disk.
 *
 * Locking: a writable disk holds an exclusive lock, a read-only one a shared lock (open file
 * description locks, advisory: see fcntl(2)), so that two guests never write one image. A writable
 * block device is opened exclusively too, which fails while the host has it mounted.
 *
 * Before the executor runs. Nothing here is called for a request: those go to `fd` as io_uring
 * operations.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/err.h"

enum {
    DISK_SECTOR_SIZE = 512, /* virtio 1.2, 5.2: the unit of the protocol, whatever block_size is */
    DISK_BLOCK_SIZE_MAX = 4096,
};

struct disk_config {
    /* Outlives the disk. /proc/self/fd/N is a descriptor that was passed in: it is used as it is
     * open, with its status flags set as the disk needs them. */
    const char *path;
    bool read_only;
    bool direct;         /* O_DIRECT */
    bool iopoll;         /* with direct: completions are polled for, where the device's queue can */
    uint32_t block_size; /* power of two, 512 to DISK_BLOCK_SIZE_MAX; 0: the host's */
};

/* All read-only. */
struct disk {
    const char *path;
    int fd;
    uint64_t size;       /* bytes, a multiple of block_size */
    uint32_t block_size; /* logical, as the guest shall see it; I/O below it fails when direct */
    uint32_t physical_block_size; /* at least block_size */
    uint32_t io_min;              /* preferred sizes of I/O in bytes; 0: none */
    uint32_t io_opt;
    uint32_t discard_granularity; /* bytes; 0: discard is not possible */
    uint32_t memory_align;        /* that buffers need: 1 unless direct, then a power of two */
    bool read_only;
};

/*
 * -ENOENT, -EACCES, -EROFS, -EISDIR, ... as open(2); -EBUSY: locked by another guest, or in use by
 * the host; -EINVAL: no disk, or of a size that is not a multiple of its block size, or direct I/O
 * that is not possible; -EOPNOTSUPP: the device's queue cannot be polled. The error line names
 * the path. disk_close releases it.
 */
must_check int disk_open(struct disk *disk, const struct disk_config *config, struct err *err);
/* No operation is in flight. */
void disk_close(struct disk *disk);
