#include "legacy/debugcon.h"

#include <criterion/criterion.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

enum { PORT = 0x402 };

struct board {
    struct executor *executor;
    struct bus *bus;
    struct chardev *chardev;
    struct debugcon *debugcon;
    int output;
};

static struct board board_create(void)
{
    struct chardev_config chardev_config = {.type = CHARDEV_FDS, .name = "debug", .input_fd = -1};
    struct debugcon_config config = {.port = PORT};
    struct board board;
    int fds[2];

    cr_assert_eq(pipe(fds), 0);
    board.output = fds[0];
    chardev_config.output_fd = fds[1];
    cr_assert_eq(executor_create(&board.executor, NULL, NULL), 0);
    cr_assert_eq(chardev_create(&board.chardev, board.executor, &chardev_config, NULL), 0);
    cr_assert_eq(bus_create(&board.bus, "port", NULL), 0);
    config.bus = board.bus;
    config.chardev = board.chardev;
    cr_assert_eq(debugcon_create(&board.debugcon, &config, NULL), 0);
    chardev_start(board.chardev);
    return board;
}

static void board_drain(struct board *board, uint64_t after_ns)
{
    chardev_stop(board->chardev, clock_now_ns() + after_ns, NULL, NULL);
    cr_assert_eq(executor_run(board->executor), 0);
}

static void board_destroy(struct board *board)
{
    debugcon_destroy(board->debugcon);
    chardev_destroy(board->chardev);
    bus_destroy(board->bus);
    executor_destroy(board->executor);
}

static void put(struct board *board, char c)
{
    struct bus_access access = {.addr = PORT, .size = 1, .is_write = true, .value = (uint8_t)c};

    cr_assert_eq(bus_dispatch(board->bus, &access), BUS_DONE);
}

Test(debugcon, writes_come_out_and_a_read_tells_that_it_is_there)
{
    struct board board = board_create();
    struct bus_access access = {.addr = PORT, .size = 1};
    char text[16] = "";

    bus_dispatch(board.bus, &access);
    cr_assert_eq(access.value, 0xe9);
    for (const char *c = "debug\n"; *c; c++)
        put(&board, *c);
    board_drain(&board, NS_PER_S);
    cr_assert_eq(read(board.output, text, sizeof(text)), 6);
    cr_assert_str_eq(text, "debug\n");
    board_destroy(&board);
}

Test(debugcon, hostile_17_a_flood_that_nobody_reads_is_dropped_and_said_rarely)
{
    struct board board = board_create();
    char text[1024];
    size_t said = 0;
    ssize_t len;
    int fds[2];

    cr_assert_eq(pipe(fds), 0);
    fflush(stderr);
    dup2(fds[1], STDERR_FILENO);
    close(fds[1]);
    for (int i = 0; i < CHARDEV_OUTPUT_SIZE + 100000; i++)
        put(&board, 'x');
    board_drain(&board, 0);
    board_destroy(&board);
    close(STDERR_FILENO);
    while ((len = read(fds[0], text, sizeof(text))) > 0)
        said += (size_t)len;
    cr_assert_gt(said, 0);
    cr_assert_lt(said, 2000);
}
