/*
 * Work of a network of bench/linux-instructions, a static program:
 *
 *     linux-frames host       on 10.0.2.1, beside the monitor
 *     linux-frames guest      on 10.0.2.2, in the guest
 *
 * Datagrams of 64 bytes and a stream, each way, and datagrams there and back. Who sends datagrams
 * has so many on their way that none is lost. Each part is done twice, first to get warm. The host
 * prints of each a line "@done NAME COUNT NS" with exits, interrupts and idle time before, and the
 * same after.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    PORT = 5000,
    DATAGRAM_SIZE = 64,
    WINDOW = 256, /* datagrams on their way: there is room for them all along it */
    ANSWER = 64,  /* each so many of them are answered */
    SOCKET_ROOM = 4 << 20,
    TIMEOUT_S = 3,
    CHUNK = 128 << 10,
    WARM_UP_SHARE = 8,
};

struct end {
    bool is_host;
    int datagrams; /* connected sockets */
    int stream;
    uint32_t round; /* others are late */
};

struct datagram {
    uint32_t round;
    uint32_t count; /* of an answer: how many came */
    uint8_t padding[DATAGRAM_SIZE - 2 * sizeof(uint32_t)];
};

static void fail(const char *what)
{
    fprintf(stderr, "linux-frames: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* ---- datagrams ---- */

static void datagram_send(const struct end *end, uint32_t count)
{
    const struct datagram datagram = {.round = end->round, .count = count};

    if (send(end->datagrams, &datagram, sizeof(datagram), 0) != sizeof(datagram))
        fail("send");
}

/* The next one of this round; false if there is none and it may not wait. */
static bool datagram_receive(const struct end *end, struct datagram *datagram, int flags)
{
    ssize_t len;

    do
        len = recv(end->datagrams, datagram, sizeof(*datagram), flags);
    while (len == sizeof(*datagram) && datagram->round != end->round);
    if (len != sizeof(*datagram) && !(flags & MSG_DONTWAIT && errno == EAGAIN))
        fail("receive");
    return len == sizeof(*datagram);
}

static void datagrams_send(const struct end *end, uint32_t count)
{
    uint32_t sent = 0, answered = 0;

    while (answered < count) {
        struct datagram answer;

        for (; sent < count && sent - answered < WINDOW; sent++)
            datagram_send(end, 0);
        for (int flags = 0; answered < count && datagram_receive(end, &answer, flags);
             flags = MSG_DONTWAIT)
            answered = answer.count;
    }
}

static void datagrams_receive(const struct end *end, uint32_t count)
{
    for (uint32_t i = 1; i <= count; i++) {
        struct datagram datagram;

        (void)datagram_receive(end, &datagram, 0);
        if (i % ANSWER == 0 || i == count)
            datagram_send(end, i);
    }
}

static void datagrams_echo(const struct end *end, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        struct datagram datagram;

        if (!end->is_host)
            datagram_send(end, i);
        (void)datagram_receive(end, &datagram, 0);
        if (end->is_host)
            datagram_send(end, i);
    }
}

/* ---- streams ---- */

static uint8_t chunk[CHUNK];

static void bytes_send(const struct end *end, uint64_t len)
{
    while (len) {
        ssize_t part = write(end->stream, chunk, len < CHUNK ? len : CHUNK);

        if (part <= 0)
            fail("write");
        len -= (uint64_t)part;
    }
}

static void bytes_receive(const struct end *end, uint64_t len)
{
    while (len) {
        ssize_t part = read(end->stream, chunk, len < CHUNK ? len : CHUNK);

        if (part <= 0)
            fail("read");
        len -= (uint64_t)part;
    }
}

static void stream_send(const struct end *end, uint32_t mib)
{
    bytes_send(end, (uint64_t)mib << 20);
}

static void stream_receive(const struct end *end, uint32_t mib)
{
    bytes_receive(end, (uint64_t)mib << 20);
}

/* ---- parts ---- */

typedef void work(const struct end *end, uint32_t count);

static const struct part {
    const char *name; /* as the guest sees it */
    work *host, *guest;
    uint32_t count;
} parts[] = {
    {"udp_rx", datagrams_send, datagrams_receive, 8000},
    {"udp_tx", datagrams_receive, datagrams_send, 8000},
    {"tcp_rx", stream_send, stream_receive, 16},
    {"tcp_tx", stream_receive, stream_send, 16},
    {"udp_echo", datagrams_echo, datagrams_echo, 400},
};

struct sample {
    uint64_t ns, exits, interrupts, idle_ns;
};

/* Of the lines that begin so: their numbers together. */
static uint64_t numbers_of(const char *path, const char *begin)
{
    FILE *file = fopen(path, "r");
    char line[256];
    uint64_t sum = 0;

    if (!file)
        fail(path);
    while (fgets(line, sizeof(line), file))
        if (!strncmp(line, begin, strlen(begin)))
            sum += strtoull(line + strcspn(line, "0123456789"), NULL, 10);
    fclose(file);
    return sum;
}

static struct sample sample_take(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (struct sample){.ns = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec,
                           .exits = numbers_of("/sys/kernel/debug/kvm/exits", ""),
                           .interrupts = numbers_of("/sys/kernel/debug/kvm/irq_injections", ""),
                           .idle_ns = numbers_of("/proc/timer_list", "  .idle_sleeptime")};
}

static void sample_print(const struct sample *sample)
{
    printf(" %" PRIu64 " %" PRIu64 " %" PRIu64, sample->exits, sample->interrupts, sample->idle_ns);
}

static void part_run(struct end *end, const struct part *part, bool is_warm)
{
    uint32_t count = is_warm ? part->count : part->count / WARM_UP_SHARE;
    struct sample before, after;

    end->round++;
    if (!end->is_host) {
        bytes_receive(end, 1);
        part->guest(end, count);
        bytes_send(end, 1);
        return;
    }
    before = sample_take();
    bytes_send(end, 1);
    part->host(end, count);
    bytes_receive(end, 1);
    after = sample_take();
    if (!is_warm)
        return;
    printf("@done %s %u %" PRIu64, part->name, count, after.ns - before.ns);
    sample_print(&before);
    sample_print(&after);
    printf("\n");
    fflush(stdout);
}

/* ---- set-up ---- */

static struct sockaddr_in address(bool is_host)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons(PORT)};

    inet_aton(is_host ? "10.0.2.1" : "10.0.2.2", &addr.sin_addr);
    return addr;
}

static void bind_to(int fd, const struct sockaddr_in *own)
{
    if (bind(fd, (const struct sockaddr *)own, sizeof(*own)))
        fail("bind");
}

static void connect_to(int fd, const struct sockaddr_in *other)
{
    if (connect(fd, (const struct sockaddr *)other, sizeof(*other)))
        fail("connect");
}

static void end_open(struct end *end)
{
    const struct sockaddr_in own = address(end->is_host), other = address(!end->is_host);
    const struct timeval timeout = {.tv_sec = TIMEOUT_S};
    const int on = 1, room = SOCKET_ROOM;

    end->datagrams = socket(AF_INET, SOCK_DGRAM, 0);
    bind_to(end->datagrams, &own);
    connect_to(end->datagrams, &other);
    if (setsockopt(end->datagrams, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)) ||
        setsockopt(end->datagrams, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room)))
        fail("time limit, room");
    end->stream = socket(AF_INET, SOCK_STREAM, 0);
    if (end->is_host) {
        int listener = end->stream;

        bind_to(listener, &own);
        if (listen(listener, 1))
            fail("listen");
        end->stream = accept(listener, NULL, NULL);
    } else {
        connect_to(end->stream, &other);
    }
    if (setsockopt(end->stream, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)))
        fail("no delay");
}

int main(int argc, char **argv)
{
    struct end end = {.is_host = argc > 1 && !strcmp(argv[1], "host")};

    if (argc != 2) {
        fprintf(stderr, "usage: linux-frames host|guest\n");
        return 2;
    }
    end_open(&end);
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
        for (unsigned warm = 0; warm < 2; warm++)
            part_run(&end, &parts[i], warm);
    return 0;
}
