#include "virtio/tap.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* A network namespace of the test's own, where it may make interfaces. */
static void enter_namespace(void)
{
    if (unshare(CLONE_NEWNET) || access("/dev/net/tun", R_OK | W_OK))
        cr_skip_test("needs root and /dev/net/tun, to make an interface");
}

/* A persistent interface, as `ip tuntap add` makes it. */
static void make_interface(const char *name, int flags)
{
    struct ifreq request = {.ifr_flags = (short)(IFF_NO_PI | flags)};
    int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

    snprintf(request.ifr_name, IFNAMSIZ, "%s", name);
    cr_assert_eq(ioctl(fd, TUNSETIFF, &request), 0);
    cr_assert_eq(ioctl(fd, TUNSETPERSIST, 1), 0);
    cr_assert_eq(ioctl(fd, TUNSETOWNER, 1), 0);
    close(fd);
}

static short interface_flags(const char *name)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct ifreq request = {0};

    snprintf(request.ifr_name, IFNAMSIZ, "%s", name);
    cr_assert_eq(ioctl(fd, SIOCGIFFLAGS, &request), 0);
    close(fd);
    return request.ifr_flags;
}

static int open_named(struct tap *tap, const char *name, uint16_t queue_count, struct err *err)
{
    const struct tap_config config = {.name = name, .queue_count = queue_count};

    return tap_open(tap, &config, err);
}

static void assert_refused(const struct tap_config *config, int code, const char *words)
{
    struct err err = {""};
    struct tap tap;
    int ret = tap_open(&tap, config, &err);

    cr_assert_eq(ret, code, "%d: %s", ret, err.text);
    cr_assert_not_null(strstr(err.text, words), "'%s' lacks '%s'", err.text, words);
    cr_assert_null(strchr(err.text, '\n'));
}

Test(tap, interface_that_is_not_there_is_made_and_brought_up)
{
    struct err err;
    struct tap tap;

    enter_namespace();
    cr_assert_eq(open_named(&tap, "tap0", 1, &err), 0, "%s", err.text);
    cr_assert_str_eq(tap.name, "tap0");
    cr_assert_eq(tap.queue_count, 1);
    cr_assert_eq(tap.mtu, 1500);
    cr_assert(interface_flags("tap0") & IFF_UP);
    cr_assert(fcntl(tap.fds[0], F_GETFL) & O_NONBLOCK);
    tap_close(&tap);
    cr_assert_eq(if_nametoindex("tap0"), 0, "it went with its last descriptor");
}

Test(tap, interface_gets_the_mtu_that_the_guest_is_told)
{
    const struct tap_config config = {.name = "tap0", .queue_count = 1, .mtu = 9000};
    struct ifreq request = {.ifr_name = "tap0"};
    struct tap tap;
    int fd;

    enter_namespace();
    cr_assert_eq(tap_open(&tap, &config, NULL), 0);
    cr_assert_eq(tap.mtu, 9000);
    fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(ioctl(fd, SIOCGIFMTU, &request), 0);
    cr_assert_eq(request.ifr_mtu, 9000);
    close(fd);
    tap_close(&tap);
}

Test(tap, interface_of_the_user_is_used_and_stays)
{
    struct tap tap;

    enter_namespace();
    make_interface("mine", IFF_TAP);
    cr_assert_eq(open_named(&tap, "mine", 1, NULL), 0);
    tap_close(&tap);
    cr_assert_neq(if_nametoindex("mine"), 0);
}

Test(tap, interface_for_several_queues_serves_one_pair_too)
{
    struct tap tap;

    enter_namespace();
    make_interface("mine", IFF_TAP | IFF_MULTI_QUEUE);
    cr_assert_eq(open_named(&tap, "mine", 1, NULL), 0);
    tap_close(&tap);
}

Test(tap, several_pairs_have_a_descriptor_each)
{
    struct tap tap;

    enter_namespace();
    cr_assert_eq(open_named(&tap, "tap0", 4, NULL), 0);
    cr_assert_eq(tap.queue_count, 4);
    cr_assert_eq(tap_attach_queues(&tap, 1), 0);
    cr_assert_eq(tap_attach_queues(&tap, 3), 0);
    cr_assert_eq(tap_attach_queues(&tap, 4), 0);
    tap_close(&tap);
}

Test(tap, several_pairs_on_an_interface_for_one_are_refused)
{
    const struct tap_config config = {.name = "mine", .queue_count = 2};

    enter_namespace();
    make_interface("mine", IFF_TAP);
    assert_refused(&config, -EINVAL, "multi_queue");
}

Test(tap, interface_in_use_is_refused)
{
    const struct tap_config config = {.name = "tap0", .queue_count = 1};
    struct tap tap;

    enter_namespace();
    cr_assert_eq(open_named(&tap, "tap0", 1, NULL), 0);
    assert_refused(&config, -EBUSY, "in use");
    tap_close(&tap);
}

Test(tap, what_is_no_tap_is_refused)
{
    struct tap_config config = {.name = "lo", .queue_count = 1};

    enter_namespace();
    assert_refused(&config, -EINVAL, "tap lo: is not a tap");
    make_interface("tun0", IFF_TUN);
    config.name = "tun0";
    assert_refused(&config, -EINVAL, "is not a tap");
}

Test(tap, impossible_name_is_refused)
{
    struct tap_config config = {.name = "", .queue_count = 1};

    assert_refused(&config, -EINVAL, "1 to 15 characters");
    config.name = "a-name-of-16-char";
    assert_refused(&config, -EINVAL, "1 to 15 characters");
}

/* A /dev/net/tun of the test's own, with this mode. */
static bool mount_device(mode_t mode)
{
    return !unshare(CLONE_NEWNS) && !mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) &&
           !mount("tmpfs", "/dev/net", "tmpfs", 0, NULL) &&
           !mknod("/dev/net/tun", S_IFCHR, makedev(10, 200)) && !chmod("/dev/net/tun", mode);
}

static bool become_nobody(void)
{
    return !setegid(65534) && !seteuid(65534);
}

Test(tap, user_without_permission_is_told_what_to_ask_for)
{
    struct tap_config config = {.name = "tap0", .queue_count = 1};

    enter_namespace();
    make_interface("others", IFF_TAP);
    if (!mount_device(0666) || !become_nobody())
        cr_skip_test("needs root, to become somebody without permission");
    assert_refused(&config, -ENOENT, "no permission to make it");
    config.name = "others";
    assert_refused(&config, -EPERM, "belongs to another user");
    cr_assert_eq(seteuid(0), 0);
}

Test(tap, missing_or_closed_driver_is_named)
{
    const struct tap_config config = {.name = "tap0", .queue_count = 1};

    enter_namespace();
    if (!mount_device(0600) || !become_nobody())
        cr_skip_test("needs root, to become somebody without permission");
    assert_refused(&config, -EPERM, "no permission to open /dev/net/tun");
    cr_assert_eq(seteuid(0), 0);
    cr_assert_eq(unlink("/dev/net/tun"), 0);
    assert_refused(&config, -ENODEV, "modprobe tun");
}

static int raw_tap(int flags)
{
    struct ifreq request = {.ifr_name = "raw", .ifr_flags = (short)flags};
    int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

    cr_assert_eq(ioctl(fd, TUNSETIFF, &request), 0);
    return fd;
}

Test(tap, passed_descriptor_is_used)
{
    struct tap_config config = {.queue_count = 1};
    struct err err;
    struct tap tap;

    enter_namespace();
    config.fd = raw_tap(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR);
    cr_assert_eq(tap_open(&tap, &config, &err), 0, "%s", err.text);
    cr_assert_str_eq(tap.name, "raw");
    cr_assert_neq(tap.fds[0], config.fd, "the caller's stays the caller's");
    cr_assert(fcntl(tap.fds[0], F_GETFL) & O_NONBLOCK);
    tap_close(&tap);
    close(config.fd);
}

Test(tap, passed_descriptor_of_another_kind_is_refused)
{
    struct tap_config config = {.queue_count = 1, .fd = 999};

    assert_refused(&config, -EBADF, "descriptor 999: is not open");
    config.queue_count = 2;
    assert_refused(&config, -EINVAL, "serves one queue pair");
    config.queue_count = 1;
    config.fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    assert_refused(&config, -EINVAL, "is not a tap");
    enter_namespace();
    config.fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
    assert_refused(&config, -EINVAL, "is not a tap");
    config.fd = raw_tap(IFF_TAP | IFF_NO_PI);
    assert_refused(&config, -EINVAL, "interface raw must be opened with");
    close(config.fd);
    config.fd = raw_tap(IFF_TUN | IFF_NO_PI | IFF_VNET_HDR);
    assert_refused(&config, -EINVAL, "interface raw must be opened with");
}

Test(tap, offloads_can_be_set_again_and_cleared)
{
    struct tap tap;

    enter_namespace();
    cr_assert_eq(open_named(&tap, "tap0", 1, NULL), 0);
    cr_assert_eq(tap.offloads & (TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN),
                 TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN);
    cr_assert_eq(tap_set_offloads(&tap, tap.offloads), 0);
    cr_assert_eq(tap_set_offloads(&tap, TUN_F_CSUM | TUN_F_TSO4), 0);
    cr_assert_eq(tap_set_offloads(&tap, 0), 0);
    tap_close(&tap);
}

/* Broadcast frames with the 12-byte header reach the host's stack, which answers nothing. */
Test(tap, frames_carry_the_header_of_virtio)
{
    uint8_t frame[TAP_HEADER_SIZE + 60] = {0};
    uint8_t received[TAP_HEADER_SIZE + 2048];
    struct pollfd readable = {.events = POLLIN};
    struct tap tap;
    ssize_t len;

    enter_namespace();
    cr_assert_eq(open_named(&tap, "tap0", 1, NULL), 0);
    memset(frame + TAP_HEADER_SIZE, 0xff, 6);
    cr_assert_eq(write(tap.fds[0], frame, sizeof(frame)), sizeof(frame));
    cr_assert_eq(write(tap.fds[0], frame, TAP_HEADER_SIZE - 1), -1);
    /* The host's own multicast announcements come out of it. */
    readable.fd = tap.fds[0];
    cr_assert_eq(poll(&readable, 1, 20000), 1);
    len = read(tap.fds[0], received, sizeof(received));
    cr_assert_gt(len, TAP_HEADER_SIZE + 14);
    cr_assert_eq(received[TAP_HEADER_SIZE] & 1, 1, "a multicast address");
    tap_close(&tap);
}
