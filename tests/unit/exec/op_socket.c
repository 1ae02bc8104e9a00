#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "exec/op.h"
#include "fixture.h"

/* Both ends of a connection over loopback, in one task. */
struct dialogue {
    struct task task;
    struct sockaddr_in address;
    int listener, client, server;
    struct op connect, accept, op, other;
    char byte;
    bool ended;
};

static void dialogue_run(struct dialogue *dialogue, const struct task_type *type, bool opens)
{
    const struct executor_config config = {.opens = opens};
    struct executor *executor = fixture_create(&config);

    task_spawn(&dialogue->task, executor, type);
    fixture_finish(executor);
    cr_assert(dialogue->ended);
}

static struct dialogue dialogue_create(void)
{
    struct dialogue dialogue = {.address = {.sin_family = AF_INET}};
    socklen_t len = sizeof(dialogue.address);

    dialogue.address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    dialogue.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    dialogue.client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(dialogue.listener, (struct sockaddr *)&dialogue.address, len), 0);
    cr_assert_eq(getsockname(dialogue.listener, (struct sockaddr *)&dialogue.address, &len), 0);
    return dialogue;
}

static void start_connect(struct dialogue *dialogue)
{
    op_connect(&dialogue->connect, &dialogue->task, io_file_plain(dialogue->client),
               (const struct sockaddr *)&dialogue->address, sizeof(dialogue->address));
}

enum { CONNECT = 1, SHUTDOWN, RECV, CLOSE };

static enum task_verdict dialogue_poll(struct task *task)
{
    struct dialogue *const dialogue = container_of(task, struct dialogue, task);

    ASYNC_BEGIN(task)
        op_accept(&dialogue->accept, task, io_file_plain(dialogue->listener), SOCK_CLOEXEC);
        start_connect(dialogue);
        AWAIT(task, CONNECT, op_is_done(&dialogue->connect) && op_is_done(&dialogue->accept));
        cr_assert_eq(dialogue->connect.result, 0);
        cr_assert_str_eq(op_name(&dialogue->connect), "CONNECT");
        cr_assert_str_eq(op_name(&dialogue->accept), "ACCEPT");
        dialogue->server = dialogue->accept.result;
        cr_assert_geq(dialogue->server, 0);

        op_recv(&dialogue->op, task, io_file_plain(dialogue->server), &dialogue->byte, 1, 0);
        op_shutdown(&dialogue->other, task, io_file_plain(dialogue->client), SHUT_WR);
        AWAIT(task, SHUTDOWN, op_is_done(&dialogue->op) && op_is_done(&dialogue->other));
        cr_assert_eq(dialogue->other.result, 0);
        cr_assert_str_eq(op_name(&dialogue->other), "SHUTDOWN");
        cr_assert_eq(dialogue->op.result, 0, "the end of the stream");

        /* Only one direction was shut. */
        op_send(&dialogue->other, task, io_file_plain(dialogue->server), "x", 1, 0);
        op_recv(&dialogue->op, task, io_file_plain(dialogue->client), &dialogue->byte, 1, 0);
        AWAIT(task, RECV, op_is_done(&dialogue->op) && op_is_done(&dialogue->other));
        cr_assert_eq(dialogue->op.result, 1);

        op_close(&dialogue->op, task, dialogue->client);
        op_close(&dialogue->other, task, dialogue->server);
        AWAIT(task, CLOSE, op_is_done(&dialogue->op) && op_is_done(&dialogue->other));
        cr_assert_eq(dialogue->op.result, 0);
        cr_assert_str_eq(op_name(&dialogue->op), "CLOSE");
        cr_assert_eq(fcntl(dialogue->client, F_GETFD), -1);
        cr_assert_eq(fcntl(dialogue->server, F_GETFD), -1);
        dialogue->ended = true;
        ASYNC_END(task);
}

Test(op_socket, connects_shuts_down_and_closes)
{
    static const struct task_type type = {.name = "dialogue", .poll = dialogue_poll};
    struct dialogue dialogue = dialogue_create();

    cr_assert_eq(listen(dialogue.listener, 1), 0);
    dialogue_run(&dialogue, &type, true);
    close(dialogue.listener);
}

static enum task_verdict failing_poll(struct task *task)
{
    struct dialogue *const dialogue = container_of(task, struct dialogue, task);

    ASYNC_BEGIN(task)
        op_shutdown(&dialogue->other, task, io_file_plain(dialogue->client), SHUT_RDWR);
        start_connect(dialogue);
        op_close(&dialogue->op, task, -1);
        AWAIT(task, CONNECT,
              op_is_done(&dialogue->connect) && op_is_done(&dialogue->op) &&
                  op_is_done(&dialogue->other));
        cr_assert_eq(dialogue->connect.result, -ECONNREFUSED);
        cr_assert_eq(dialogue->op.result, -EBADF);
        cr_assert_eq(dialogue->other.result, -ENOTCONN);
        dialogue->ended = true;
        ASYNC_END(task);
}

Test(op_socket, errors_are_results)
{
    static const struct task_type type = {.name = "failing", .poll = failing_poll};
    /* Bound, but nobody listens. */
    struct dialogue dialogue = dialogue_create();

    dialogue_run(&dialogue, &type, true);
    close(dialogue.listener);
    close(dialogue.client);
}

static enum task_verdict refused_poll(struct task *task)
{
    struct dialogue *const dialogue = container_of(task, struct dialogue, task);

    ASYNC_BEGIN(task)
        op_shutdown(&dialogue->other, task, io_file_plain(dialogue->client), SHUT_RDWR);
        start_connect(dialogue);
        op_close(&dialogue->op, task, dialogue->client);
        AWAIT(task, CONNECT,
              op_is_done(&dialogue->connect) && op_is_done(&dialogue->op) &&
                  op_is_done(&dialogue->other));
        cr_assert_eq(dialogue->connect.result, -EACCES);
        cr_assert_eq(dialogue->op.result, -EACCES);
        cr_assert_eq(dialogue->other.result, -EACCES);
        dialogue->ended = true;
        ASYNC_END(task);
}

Test(op_socket, an_executor_that_does_not_open_refuses_them)
{
    static const struct task_type type = {.name = "refused", .poll = refused_poll};
    struct dialogue dialogue = dialogue_create();

    cr_assert_eq(listen(dialogue.listener, 1), 0);
    dialogue_run(&dialogue, &type, false);
    close(dialogue.listener);
    close(dialogue.client);
}
