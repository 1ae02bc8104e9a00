#include "virtio/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_net.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"
#include "base/log.h"

_Static_assert(sizeof(struct virtio_net_hdr_v1) == TAP_HEADER_SIZE, "virtio 1.2, 5.1.6");

enum { TAP_FLAGS = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };

static int device_error(const char *name, int code, struct err *err)
{
    switch (code) {
    case ENOENT:
    case ENODEV:
    case ENXIO:
        return err_set(err, -ENODEV, "tap %s: no /dev/net/tun; load the driver with: modprobe tun",
                       name);
    case EACCES:
    case EPERM:
        return err_set(err, -EPERM, "tap %s: no permission to open /dev/net/tun; check its mode",
                       name);
    default:
        return err_set(err, -code, "tap %s: cannot open /dev/net/tun: %s", name, strerror(code));
    }
}

/* `existed`: there is an interface of that name. */
static int attach_error(const struct tap_config *config, bool existed, int code, struct err *err)
{
    const char *name = config->name;

    switch (code) {
    case EPERM:
    case EACCES:
        if (existed)
            return err_set(err, -EPERM,
                           "tap %s: belongs to another user; make it yours with: "
                           "ip tuntap add %s mode tap user USER",
                           name, name);
        return err_set(err, -ENOENT,
                       "tap %s: no such interface, and no permission to make it; as "
                       "root: ip tuntap add %s mode tap user USER",
                       name, name);
    case EBUSY:
        return err_set(err, -EBUSY, "tap %s: is in use by another program", name);
    case EINVAL:
        return err_set(err, -EINVAL, "tap %s: is not a tap interface%s", name,
                       config->queue_count > 1 ? ", or lacks multi_queue; drop vq-pairs" : "");
    default:
        return err_set(err, -code, "tap %s: cannot attach to it: %s", name, strerror(code));
    }
}

/* A new descriptor on the tap's interface, with TAP_FLAGS and `flags`. */
static int attach(const struct tap *tap, int flags)
{
    struct ifreq request = {.ifr_flags = (short)(TAP_FLAGS | flags)};
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    int ret;

    if (fd < 0)
        return -errno;
    memcpy(request.ifr_name, tap->name, IFNAMSIZ);
    if (!ioctl(fd, TUNSETIFF, &request))
        return fd;
    ret = -errno;
    close(fd);
    return ret;
}

static int open_by_name(struct tap *tap, const struct tap_config *config, struct err *err)
{
    int flags = config->queue_count > 1 ? IFF_MULTI_QUEUE : 0;
    bool existed = if_nametoindex(config->name) != 0;
    int fd;

    if (!config->name[0] || strlen(config->name) >= IFNAMSIZ)
        return err_set(err, -EINVAL, "tap '%s': a name has 1 to %d characters", config->name,
                       IFNAMSIZ - 1);
    fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return device_error(config->name, errno, err);
    close(fd);
    snprintf(tap->name, sizeof(tap->name), "%s", config->name);
    while (tap->queue_count < config->queue_count) {
        fd = attach(tap, flags);
        /* One queue of an interface that was made for several. */
        if (fd == -EINVAL && existed && !flags) {
            flags = IFF_MULTI_QUEUE;
            fd = attach(tap, flags);
        }
        if (fd < 0)
            return attach_error(config, existed, -fd, err);
        tap->fds[tap->queue_count++] = fd;
    }
    return 0;
}

static int open_passed(struct tap *tap, const struct tap_config *config, struct err *err)
{
    struct ifreq request = {0};
    int fd = fcntl(config->fd, F_DUPFD_CLOEXEC, 0);
    int flags;

    if (fd < 0)
        return err_set(err, -EBADF, "tap descriptor %d: is not open", config->fd);
    tap->fds[tap->queue_count++] = fd;
    if (ioctl(fd, TUNGETIFF, &request) < 0)
        return err_set(err, -EINVAL, "tap descriptor %d: is not a tap interface", config->fd);
    if ((request.ifr_flags & TAP_FLAGS) != TAP_FLAGS)
        return err_set(err, -EINVAL,
                       "tap descriptor %d: interface %s must be opened with IFF_TAP, IFF_NO_PI "
                       "and IFF_VNET_HDR",
                       config->fd, request.ifr_name);
    flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
        return err_set(err, -errno, "tap descriptor %d: cannot set its flags", config->fd);
    memcpy(tap->name, request.ifr_name, IFNAMSIZ);
    return 0;
}

static void probe_offloads(struct tap *tap)
{
    static const unsigned steps[] = {TUN_F_CSUM, TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN,
                                     TUN_F_USO4 | TUN_F_USO6};

    for (size_t i = 0; i < array_count(steps); i++)
        if (!ioctl(tap->fds[0], TUNSETOFFLOAD, tap->offloads | steps[i]))
            tap->offloads |= steps[i];
}

static void bring_up(const struct tap *tap, int socket_fd)
{
    struct ifreq request = {0};

    memcpy(request.ifr_name, tap->name, IFNAMSIZ);
    if (ioctl(socket_fd, SIOCGIFFLAGS, &request) < 0 || request.ifr_flags & IFF_UP)
        return;
    request.ifr_flags |= IFF_UP;
    if (ioctl(socket_fd, SIOCSIFFLAGS, &request) < 0)
        log_warn("tap %s: is down, and cannot be brought up: %s; as root: ip link set %s up",
                 tap->name, strerror(errno), tap->name);
}

/* virtio 1.2, 5.1.4.1: frames larger than the guest was told must not reach it. */
static void set_mtu(struct tap *tap, int socket_fd, uint32_t mtu)
{
    struct ifreq request = {.ifr_mtu = (int)mtu};

    memcpy(request.ifr_name, tap->name, IFNAMSIZ);
    if (!ioctl(socket_fd, SIOCSIFMTU, &request))
        tap->mtu = mtu;
    else
        log_warn("tap %s: has an MTU of %u, and cannot get the guest's: %s; as root: "
                 "ip link set %s mtu %u",
                 tap->name, tap->mtu, strerror(errno), tap->name, mtu);
}

/* What else there is to know and set about the interface, by a socket of its namespace. */
static void set_up_interface(struct tap *tap, const struct tap_config *config)
{
    struct ifreq request = {0};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    tap->mtu = 1500;
    memcpy(request.ifr_name, tap->name, IFNAMSIZ);
    if (!ioctl(fd, SIOCGIFMTU, &request))
        tap->mtu = (uint32_t)request.ifr_mtu;
    if (config->name && config->mtu && config->mtu != tap->mtu)
        set_mtu(tap, fd, config->mtu);
    if (config->name)
        bring_up(tap, fd);
    if (fd >= 0)
        close(fd);
}

int tap_open(struct tap *tap, const struct tap_config *config, struct err *err)
{
    int header_size = TAP_HEADER_SIZE;
    int ret;

    CHECK(config->queue_count && config->queue_count <= TAP_QUEUE_COUNT_MAX);
    *tap = (struct tap){0};
    if (!config->name && config->queue_count > 1)
        return err_set(err, -EINVAL,
                       "tap descriptor %d: serves one queue pair; drop vq-pairs, or use tap-name",
                       config->fd);
    ret = config->name ? open_by_name(tap, config, err) : open_passed(tap, config, err);
    for (uint16_t i = 0; !ret && i < tap->queue_count; i++)
        if (ioctl(tap->fds[i], TUNSETVNETHDRSZ, &header_size) < 0)
            ret = err_set(err, -errno, "tap %s: cannot set the header's size: %s", tap->name,
                          strerror(errno));
    if (!ret) {
        probe_offloads(tap);
        ret = tap_set_offloads(tap, 0);
        if (ret)
            ret = err_set(err, ret, "tap %s: cannot set offloads: %s", tap->name, strerror(-ret));
    }
    if (ret) {
        tap_close(tap);
        return ret;
    }
    tap->attached_count = tap->queue_count;
    set_up_interface(tap, config);
    return 0;
}

void tap_close(struct tap *tap)
{
    while (tap->queue_count)
        close(tap->fds[--tap->queue_count]);
}

int tap_set_offloads(struct tap *tap, unsigned offloads)
{
    CHECK(!(offloads & ~tap->offloads));
    if (tap->offloads && ioctl(tap->fds[0], TUNSETOFFLOAD, offloads) < 0)
        return -errno;
    return 0;
}

int tap_attach_queues(struct tap *tap, uint16_t count)
{
    struct ifreq request = {0};

    CHECK(count && count <= tap->queue_count);
    for (; tap->attached_count < count; tap->attached_count++) {
        request.ifr_flags = IFF_ATTACH_QUEUE;
        if (ioctl(tap->fds[tap->attached_count], TUNSETQUEUE, &request) < 0)
            return -errno;
    }
    for (; tap->attached_count > count; tap->attached_count--) {
        request.ifr_flags = IFF_DETACH_QUEUE;
        if (ioctl(tap->fds[tap->attached_count - 1], TUNSETQUEUE, &request) < 0)
            return -errno;
    }
    return 0;
}
