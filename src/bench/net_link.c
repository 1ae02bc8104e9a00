#include "bench/net_link.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <netpacket/packet.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/net_peer.h"

static const char tap_name[] = "bench0";

static int file_write(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    ssize_t len = fd < 0 ? -1 : write(fd, text, strlen(text));
    int ret = len < 0 ? -errno : 0;

    if (fd >= 0)
        close(fd);
    return ret;
}

/* Whoever is not root is so in a user namespace, and owns the network in it. */
static int namespace_enter(struct err *err)
{
    unsigned uid = geteuid(), gid = getegid();
    char text[48];
    int ret = 0;

    if (unshare(uid ? CLONE_NEWUSER | CLONE_NEWNET : CLONE_NEWNET))
        return err_set(err, -errno,
                       "network namespace: not permitted here (%s); run as root, or allow user "
                       "namespaces",
                       strerror(errno));
    if (!uid)
        return 0;
    snprintf(text, sizeof(text), "0 %u 1", uid);
    ret = file_write("/proc/self/uid_map", text);
    if (!ret)
        ret = file_write("/proc/self/setgroups", "deny");
    snprintf(text, sizeof(text), "0 %u 1", gid);
    if (!ret)
        ret = file_write("/proc/self/gid_map", text);
    return ret ? err_set(err, ret, "user namespace: cannot map the user: %s", strerror(-ret)) : 0;
}

static int tap_open(struct net_link *link, struct err *err)
{
    struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};

    link->tap_fd = open("/dev/net/tun", O_RDWR);
    if (link->tap_fd < 0)
        return err_set(err, -errno, "/dev/net/tun: cannot open it: %s", strerror(errno));
    memcpy(request.ifr_name, tap_name, sizeof(tap_name));
    if (ioctl(link->tap_fd, TUNSETIFF, &request))
        return err_set(err, -errno, "/dev/net/tun: cannot make a tap: %s", strerror(errno));
    return 0;
}

static int socket_open(struct net_link *link, struct err *err)
{
    struct ifreq request = {.ifr_flags = IFF_UP};
    struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_protocol = NET_PEER_PROTOCOL};

    link->socket = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, NET_PEER_PROTOCOL);
    if (link->socket < 0)
        return err_set(err, -errno, "packet socket: %s", strerror(errno));
    memcpy(request.ifr_name, tap_name, sizeof(tap_name));
    if (ioctl(link->socket, SIOCSIFFLAGS, &request))
        return err_set(err, -errno, "%s: cannot be switched on: %s", tap_name, strerror(errno));
    address.sll_ifindex = (int)if_nametoindex(tap_name);
    if (bind(link->socket, (const struct sockaddr *)&address, sizeof(address)))
        return err_set(err, -errno, "%s: cannot bind a packet socket: %s", tap_name,
                       strerror(errno));
    return 0;
}

static void *peer_main(void *arg)
{
    const struct net_link *link = arg;

    net_peer_serve(link->socket, link->stop_fd);
    return NULL;
}

static void fds_close(struct net_link *link)
{
    const int fds[] = {link->tap_fd, link->socket, link->stop_fd};

    for (size_t i = 0; i < array_count(fds); i++)
        if (fds[i] >= 0)
            close(fds[i]);
}

int net_link_create(struct net_link *link, struct err *err)
{
    int ret;

    *link = (struct net_link){.tap_fd = -1, .socket = -1, .stop_fd = -1};
    ret = namespace_enter(err);
    if (!ret)
        ret = tap_open(link, err);
    if (!ret)
        ret = socket_open(link, err);
    if (!ret) {
        link->stop_fd = eventfd(0, EFD_CLOEXEC);
        if (link->stop_fd < 0)
            ret = err_set(err, -errno, "eventfd: %s", strerror(errno));
    }
    if (!ret) {
        ret = -pthread_create(&link->peer, NULL, peer_main, link);
        if (ret)
            err_set(err, ret, "cannot start a thread: %s", strerror(-ret));
    }
    if (ret)
        fds_close(link);
    return ret;
}

void net_link_destroy(struct net_link *link)
{
    (void)eventfd_write(link->stop_fd, 1);
    (void)pthread_join(link->peer, NULL);
    fds_close(link);
}
