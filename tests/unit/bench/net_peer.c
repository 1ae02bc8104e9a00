#include "bench/net_peer.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ORDER = 14, SIZE = 16, MS = 18, FRAME_LEN = 26, WAIT_MS = 20000 };

struct peer {
    pthread_t thread;
    int ours, theirs, stop_fd;
};

static void *peer_main(void *arg)
{
    const struct peer *peer = arg;

    net_peer_serve(peer->theirs, peer->stop_fd);
    return NULL;
}

static void peer_start(struct peer *peer)
{
    int ends[2];

    cr_assert_eq(socketpair(AF_UNIX, SOCK_DGRAM, 0, ends), 0);
    peer->ours = ends[0];
    peer->theirs = ends[1];
    peer->stop_fd = eventfd(0, 0);
    cr_assert_geq(peer->stop_fd, 0);
    cr_assert_eq(pthread_create(&peer->thread, NULL, peer_main, peer), 0);
}

static void peer_stop(struct peer *peer)
{
    cr_assert_eq(eventfd_write(peer->stop_fd, 1), 0);
    cr_assert_eq(pthread_join(peer->thread, NULL), 0);
    close(peer->ours);
    close(peer->theirs);
    close(peer->stop_fd);
}

/* The length of the next frame that the peer sends. */
static ssize_t receive(const struct peer *peer, uint8_t *frame, size_t size)
{
    struct pollfd fd = {.fd = peer->ours, .events = POLLIN};

    cr_assert_eq(poll(&fd, 1, WAIT_MS), 1, "the peer says nothing");
    return recv(peer->ours, frame, size, 0);
}

static void order(const struct peer *peer, char what, size_t len)
{
    uint8_t frame[128] = {0};

    frame[ORDER] = (uint8_t)what;
    frame[SIZE] = 100;
    frame[MS] = 1;
    frame[FRAME_LEN] = 77;
    cr_assert_eq(send(peer->ours, frame, len, 0), (ssize_t)len);
}

Test(bench_net_peer, an_echo_comes_back_as_it_was)
{
    struct peer peer;
    uint8_t frame[128];

    peer_start(&peer);
    order(&peer, 'e', 60);
    cr_assert_eq(receive(&peer, frame, sizeof(frame)), 60);
    cr_assert_eq(frame[ORDER], 'e');
    cr_assert_eq(frame[FRAME_LEN], 77);
    peer_stop(&peer);
}

Test(bench_net_peer, what_is_ignored_or_too_short_is_not_answered)
{
    struct peer peer;
    uint8_t frame[128];

    peer_start(&peer);
    order(&peer, 'i', 60);
    order(&peer, 'e', FRAME_LEN - 1);
    order(&peer, 'e', 61);
    cr_assert_eq(receive(&peer, frame, sizeof(frame)), 61);
    peer_stop(&peer);
}

Test(bench_net_peer, a_flood_has_the_size_that_was_asked_for_and_ends)
{
    struct peer peer;
    uint8_t frame[128];
    ssize_t len;

    peer_start(&peer);
    order(&peer, 'f', 60);
    cr_assert_eq(receive(&peer, frame, sizeof(frame)), 100);
    cr_assert_eq(frame[ORDER], 'f');
    /* Only behind its end is there an answer to something else, if there is room for one. */
    do {
        uint8_t echo[60] = {0};

        echo[ORDER] = 'e';
        (void)send(peer.ours, echo, sizeof(echo), MSG_DONTWAIT);
        len = receive(&peer, frame, sizeof(frame));
    } while (frame[ORDER] == 'f');
    cr_assert_eq(frame[ORDER], 'e');
    cr_assert_eq(len, 60);
    peer_stop(&peer);
}
