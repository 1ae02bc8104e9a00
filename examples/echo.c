/*
 * An echo server whose clients have to say something in time.
 *
 *     echo PORT    serves on 127.0.0.1 until SIGINT or SIGTERM
 *     echo         serves clients of its own, one of which keeps silent, and says how that went
 *
 * Each connection is a job of the server's group: when the server ends, all of them are cancelled,
 * and have closed their sockets, before it does.
 */
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <ringvm/async.h>

enum { BUFFER_SIZE = 4096, CLIENTS = 8, MESSAGE_LEN = 1000, ROUNDS = 20 };

#define PATIENCE_NS (200 * NS_PER_MS)

/* ---- the server ---- */

struct server {
    struct job job;
    int listener;
    struct op accept;
    struct job_group connections;
    unsigned served, timed_out;
};

struct connection {
    struct job job;
    struct server *server;
    int socket;
    struct op op;
    struct timeout timeout;
    uint32_t received, sent;
    char buffer[BUFFER_SIZE];
};

enum { CONNECTION_RECV = 1, CONNECTION_SEND, CONNECTION_CLOSE };

static enum task_verdict connection_poll(struct task *task)
{
    struct connection *const connection = container_of(task, struct connection, job.task);
    struct job *const job = &connection->job;

    ASYNC_BEGIN(task)
        while (!job->is_cancelled) {
            op_recv(&connection->op, task, io_file_plain(connection->socket), connection->buffer,
                    BUFFER_SIZE, 0);
            timeout_start(&connection->timeout, task, op_future(&connection->op),
                          clock_now_ns() + PATIENCE_NS);
            JOB_AWAIT(job, CONNECTION_RECV, timeout_future(&connection->timeout));
            if (timeout_has_expired(&connection->timeout))
                connection->server->timed_out++;
            /* The end of the stream, an error, or a cancel: of the timeout, or of the job. */
            if (connection->op.result <= 0)
                break;
            connection->received = (uint32_t)connection->op.result;
            for (connection->sent = 0; connection->sent < connection->received;
                 connection->sent += (uint32_t)connection->op.result) {
                op_send(&connection->op, task, io_file_plain(connection->socket),
                        connection->buffer + connection->sent,
                        connection->received - connection->sent, MSG_NOSIGNAL);
                JOB_AWAIT(job, CONNECTION_SEND, op_future(&connection->op));
                if (connection->op.result <= 0)
                    goto end;
            }
        }
    end:
        /* Not JOB_AWAIT: the socket is closed in any case. */
        op_close(&connection->op, task, connection->socket);
        AWAIT(task, CONNECTION_CLOSE, op_is_done(&connection->op));
        connection->server->served++;
        ASYNC_END(task);
}

static void connection_release(struct job *job)
{
    free(container_of(job, struct connection, job));
}

static const struct job_type connection_type =
    JOB_TYPE("connection", connection_poll, connection_release);

static void serve(struct server *server, int socket)
{
    struct connection *connection = calloc(1, sizeof(*connection));

    if (!connection) {
        close(socket);
        return;
    }
    connection->server = server;
    connection->socket = socket;
    group_spawn(&server->connections, &connection->job, &connection_type);
}

enum { SERVER_ACCEPT = 1, SERVER_DRAIN };

static enum task_verdict server_poll(struct task *task)
{
    struct server *const server = container_of(task, struct server, job.task);

    ASYNC_BEGIN(task)
        group_start(&server->connections, task, GROUP_RUNS_ALL);
        while (!server->job.is_cancelled) {
            op_accept(&server->accept, task, io_file_plain(server->listener), SOCK_CLOEXEC);
            JOB_AWAIT(&server->job, SERVER_ACCEPT, op_future(&server->accept));
            if (server->accept.result >= 0)
                serve(server, server->accept.result);
            else if (server->accept.result != -ECONNABORTED)
                break;
        }
        group_cancel(&server->connections);
        AWAIT(task, SERVER_DRAIN, group_is_done(&server->connections));
        if (!server->job.is_cancelled)
            server->job.result = server->accept.result;
        ASYNC_END(task);
}

static const struct job_type server_type = JOB_TYPE("server", server_poll, NULL);

/* ---- clients to try it with ---- */

struct client {
    struct job job;
    const struct sockaddr_in *address;
    bool is_silent;
    int socket;
    struct op op;
    unsigned round;
    uint32_t done;
    char out[MESSAGE_LEN], in[MESSAGE_LEN];
};

enum { CLIENT_CONNECT = 1, CLIENT_SEND, CLIENT_RECV, CLIENT_SILENCE };

static enum task_verdict client_poll(struct task *task)
{
    struct client *const client = container_of(task, struct client, job.task);
    struct job *const job = &client->job;

    ASYNC_BEGIN(task)
        client->job.result = -EIO;
        op_connect(&client->op, task, io_file_plain(client->socket),
                   (const struct sockaddr *)client->address, sizeof(*client->address));
        JOB_AWAIT(job, CLIENT_CONNECT, op_future(&client->op));
        if (client->op.result < 0)
            return TASK_DONE;
        for (client->round = 0; client->round < ROUNDS && !client->is_silent; client->round++) {
            memset(client->out, 'a' + (int)client->round, MESSAGE_LEN);
            op_send(&client->op, task, io_file_plain(client->socket), client->out, MESSAGE_LEN,
                    MSG_NOSIGNAL | MSG_WAITALL);
            JOB_AWAIT(job, CLIENT_SEND, op_future(&client->op));
            for (client->done = 0; client->done < MESSAGE_LEN;
                 client->done += (uint32_t)client->op.result) {
                op_recv(&client->op, task, io_file_plain(client->socket), client->in + client->done,
                        MESSAGE_LEN - client->done, 0);
                JOB_AWAIT(job, CLIENT_RECV, op_future(&client->op));
                if (client->op.result <= 0)
                    return TASK_DONE;
            }
            if (memcmp(client->out, client->in, MESSAGE_LEN) != 0)
                return TASK_DONE;
        }
        if (client->is_silent) {
            /* The server loses patience. */
            op_recv(&client->op, task, io_file_plain(client->socket), client->in, 1, 0);
            JOB_AWAIT(job, CLIENT_SILENCE, op_future(&client->op));
            if (client->op.result != 0)
                return TASK_DONE;
        }
        client->job.result = 0;
        ASYNC_END(task);
}

static void client_release(struct job *job)
{
    struct client *client = container_of(job, struct client, job);

    close(client->socket);
}

static const struct job_type client_type = JOB_TYPE("client", client_poll, client_release);

/* ---- the program ---- */

struct program {
    struct task task;
    struct sockaddr_in address;
    struct server server;
    bool has_clients;
    struct client clients[CLIENTS];
    struct job_group group;
    int signals;
    struct op signalled;
    struct future parts[2];
    struct race race;
    int result;
};

static void start_clients(struct program *program)
{
    for (unsigned i = 0; i < CLIENTS; i++) {
        struct client *client = &program->clients[i];

        client->address = &program->address;
        client->is_silent = i == CLIENTS - 1;
        client->socket = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        group_spawn(&program->group, &client->job, &client_type);
    }
}

enum { PROGRAM_WAIT = 1, PROGRAM_END };

static enum task_verdict program_poll(struct task *task)
{
    struct program *const program = container_of(task, struct program, task);

    ASYNC_BEGIN(task)
        job_start(&program->server.job, task, &server_type);
        group_start(&program->group, task, GROUP_FAILS_FAST);
        if (program->has_clients)
            start_clients(program);
        op_poll(&program->signalled, task, io_file_plain(program->signals), POLLIN);
        /* Until a signal comes, or the clients are done, or else until the server fails. */
        program->parts[0] = op_future(&program->signalled);
        program->parts[1] =
            program->has_clients ? group_future(&program->group) : job_future(&program->server.job);
        race_start(&program->race, program->parts, 2);
        AWAIT(task, PROGRAM_WAIT, race_poll(&program->race));
        program->result = program->group.result;
        job_cancel(&program->server.job);
        group_cancel(&program->group);
        AWAIT(task, PROGRAM_END,
              job_is_done(&program->server.job) && group_is_done(&program->group));
        if (program->server.job.result < 0)
            program->result = program->server.job.result;
        ASYNC_END(task);
}

static int listen_on(struct sockaddr_in *address)
{
    const int one = 1;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    socklen_t len = sizeof(*address);

    if (listener < 0)
        return -errno;
    if (setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
        bind(listener, (struct sockaddr *)address, len) < 0 || listen(listener, SOMAXCONN) < 0 ||
        getsockname(listener, (struct sockaddr *)address, &len) < 0) {
        close(listener);
        return -errno;
    }
    return listener;
}

int main(int argc, char **argv)
{
    static const struct task_type type = {.name = "program", .poll = program_poll};
    const struct executor_config config = {.opens = true};
    static struct program program;
    struct executor *executor;
    struct err err;
    sigset_t signals;
    int ret;

    program.has_clients = argc < 2;
    program.address = (struct sockaddr_in){.sin_family = AF_INET};
    program.address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    program.address.sin_port = htons(argc < 2 ? 0 : (uint16_t)atoi(argv[1]));
    program.server.listener = listen_on(&program.address);
    if (program.server.listener < 0) {
        fprintf(stderr, "echo: %s\n", strerror(-program.server.listener));
        return 1;
    }
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    program.signals = signalfd(-1, &signals, SFD_CLOEXEC);
    if (executor_create(&executor, &config, &err) < 0) {
        fprintf(stderr, "echo: %s\n", err.text);
        return 1;
    }
    printf("serving on 127.0.0.1:%u\n", ntohs(program.address.sin_port));
    fflush(stdout);
    task_spawn(&program.task, executor, &type);
    ret = executor_run(executor);
    executor_destroy(executor);
    if (ret == 0)
        ret = program.result;
    printf("%u connections served, %u timed out%s%s\n", program.server.served,
           program.server.timed_out, ret < 0 ? ": " : "", ret < 0 ? strerror(-ret) : "");
    return ret < 0;
}
