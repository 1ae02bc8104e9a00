#include "virtio/vhost.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/vhost.h>
#include <linux/virtio_config.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/check.h"

/* VHOST_SET_VRING_BASE of a packed ring: both indices 0, both wrap counters 1 (virtio 1.2, 2.8.1).
 */
#define PACKED_BASE 0x80008000U

static int open_error(const char *path, const char *name, int code, struct err *err)
{
    switch (code) {
    case ENOENT:
    case ENODEV:
    case ENXIO:
        return err_set(err, -ENODEV,
                       "%s: no %s; load the driver with: modprobe vhost_net, or drop vhost", name,
                       path);
    case EACCES:
    case EPERM:
        return err_set(err, -EPERM,
                       "%s: no permission to open %s; join the group that owns it, or drop vhost",
                       name, path);
    default:
        return err_set(err, -code, "%s: cannot open %s: %s", name, path, strerror(code));
    }
}

static int set_memory(int fd, const struct gmem *mem)
{
    struct {
        struct vhost_memory table;
        struct vhost_memory_region regions[GMEM_REGION_COUNT_MAX];
    } memory = {.table.nregions = (uint32_t)gmem_region_count(mem)};

    _Static_assert(sizeof(memory.table) == offsetof(struct vhost_memory, regions), "one array");
    for (size_t i = 0; i < gmem_region_count(mem); i++) {
        const struct gmem_region *region = gmem_region(mem, i);

        memory.regions[i] = (struct vhost_memory_region){
            .guest_phys_addr = region->range.base.addr,
            .memory_size = region->range.size,
            .userspace_addr = (uintptr_t)region->host,
        };
    }
    return ioctl(fd, VHOST_SET_MEM_TABLE, &memory) < 0 ? -errno : 0;
}

int vhost_open(int *fd, const char *path, const char *name, const struct gmem *mem, struct err *err)
{
    int ret;

    *fd = open(path, O_RDWR | O_CLOEXEC);
    if (*fd < 0)
        return open_error(path, name, errno, err);
    if (ioctl(*fd, VHOST_SET_OWNER) < 0) {
        ret = err_set(err, -errno, "%s: %s starts no thread: %s", name, path, strerror(errno));
        goto fail;
    }
    if (!(vhost_features(*fd) & 1ULL << VIRTIO_F_VERSION_1)) {
        ret = err_set(err, -EOPNOTSUPP, "%s: %s is older than virtio 1.0; drop vhost", name, path);
        goto fail;
    }
    ret = set_memory(*fd, mem);
    if (ret) {
        err_set(err, ret, "%s: %s does not take the guest's memory: %s", name, path,
                strerror(-ret));
        goto fail;
    }
    return 0;
fail:
    close(*fd);
    return ret;
}

uint64_t vhost_features(int fd)
{
    uint64_t features = 0;

    return ioctl(fd, VHOST_GET_FEATURES, &features) < 0 ? 0 : features;
}

int vhost_set_features(int fd, uint64_t features)
{
    return ioctl(fd, VHOST_SET_FEATURES, &features) < 0 ? -errno : 0;
}

static int set_file(int fd, unsigned long request, unsigned index, int value)
{
    struct vhost_vring_file file = {.index = index, .fd = value};

    return ioctl(fd, request, &file) < 0 ? -errno : 0;
}

int vhost_set_ring(int fd, unsigned index, const struct vhost_ring *ring)
{
    struct vhost_vring_state size = {.index = index, .num = ring->size};
    struct vhost_vring_state base = {.index = index, .num = ring->is_packed ? PACKED_BASE : 0};
    struct vhost_vring_addr addr = {
        .index = index,
        .desc_user_addr = (uintptr_t)ring->desc,
        .avail_user_addr = (uintptr_t)ring->driver,
        .used_user_addr = (uintptr_t)ring->device,
    };
    int ret;

    CHECK_CMP(index, <, (unsigned)VHOST_RING_COUNT);
    if (ioctl(fd, VHOST_SET_VRING_NUM, &size) < 0 || ioctl(fd, VHOST_SET_VRING_BASE, &base) < 0 ||
        ioctl(fd, VHOST_SET_VRING_ADDR, &addr) < 0)
        return -errno;
    ret = set_file(fd, VHOST_SET_VRING_ERR, index, ring->error_fd);
    return ret ? ret : set_file(fd, VHOST_SET_VRING_KICK, index, ring->kick_fd);
}

int vhost_set_call(int fd, unsigned index, int call_fd)
{
    return set_file(fd, VHOST_SET_VRING_CALL, index, call_fd);
}

int vhost_set_backend(int fd, unsigned index, int tap_fd)
{
    return set_file(fd, VHOST_NET_SET_BACKEND, index, tap_fd);
}
