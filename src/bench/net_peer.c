#include "bench/net_peer.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#include "base/arith.h"
#include "base/clock.h"
#include "base/compiler.h"

enum { FRAME_MAX = 1514, FLOOD_BATCH = 64, FLOOD_MS_MAX = 60000 };

enum order { ORDER_ECHO = 'e', ORDER_FLOOD = 'f' };

/* As in bench/guest/net.c. */
struct frame {
    uint8_t to[6], from[6];
    uint8_t type[2];
    uint8_t order;
    uint8_t slot;
    uint16_t size;
    uint32_t ms;
    uint32_t serial;
} __attribute__((packed));
_Static_assert(sizeof(struct frame) == 26, "as the guest has it");

/* Frames as large as the guest asked for, as fast as the tap takes them. */
static void flood(int socket, const struct frame *asked)
{
    uint64_t end_ns = clock_now_ns() + u64_min(asked->ms, FLOOD_MS_MAX) * NS_PER_MS;
    uint8_t bytes[FRAME_MAX] = {0};
    struct iovec iov = {bytes, u64_min(asked->size, sizeof(bytes))};
    struct mmsghdr messages[FLOOD_BATCH];

    iov.iov_len = u64_max(iov.iov_len, sizeof(*asked));
    memcpy(bytes, asked, sizeof(*asked));
    for (size_t i = 0; i < array_count(messages); i++)
        messages[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = &iov, .msg_iovlen = 1}};
    /* What the tap has no room for is lost: that is the network's right. */
    do
        (void)sendmmsg(socket, messages, FLOOD_BATCH, MSG_DONTWAIT);
    while (clock_now_ns() < end_ns);
}

/* All that has come; false when the socket failed. */
static bool frames_serve(int socket)
{
    uint8_t bytes[FRAME_MAX];
    ssize_t len;

    while ((len = recv(socket, bytes, sizeof(bytes), MSG_DONTWAIT)) >= 0) {
        struct frame frame;

        if (len < (ssize_t)sizeof(frame))
            continue;
        memcpy(&frame, bytes, sizeof(frame));
        if (frame.order == ORDER_FLOOD)
            flood(socket, &frame);
        else if (frame.order == ORDER_ECHO)
            (void)send(socket, bytes, (size_t)len, MSG_DONTWAIT);
    }
    return errno == EAGAIN || errno == EINTR || errno == ENETDOWN;
}

void net_peer_serve(int socket, int stop_fd)
{
    struct pollfd fds[] = {{.fd = socket, .events = POLLIN}, {.fd = stop_fd, .events = POLLIN}};

    do {
        if (poll(fds, array_count(fds), -1) < 0 && errno != EINTR)
            return;
    } while (!fds[1].revents && frames_serve(socket));
}
