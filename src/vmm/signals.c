#include "vmm/signals.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/check.h"
#include "exec/op.h"

struct signals {
    struct task task;
    struct op op;
    int fd;
    bool is_stopping;
    void (*received)(void *arg, int signal_number);
    void *arg;
};

enum { POLL = 1, STATE_COUNT };

static const char *const state_names[STATE_COUNT] = {"start", "poll"};

/* Until there is none left, or the last one had enough. */
static void signals_read(struct signals *signals)
{
    struct signalfd_siginfo info;

    while (!signals->is_stopping && read(signals->fd, &info, sizeof(info)) == sizeof(info))
        signals->received(signals->arg, (int)info.ssi_signo);
}

/* Polls: io_uring gives a read up, with -EAGAIN, after some hundred signals that are not for us,
 * such as those that vCPUs are kicked with. */
static enum task_verdict signals_poll(struct task *task)
{
    struct signals *const signals = container_of(task, struct signals, task);

    ASYNC_BEGIN(task)
        ;
        while (!signals->is_stopping) {
            op_poll(&signals->op, task, io_file_plain(signals->fd), POLLIN);
            AWAIT(task, POLL, op_is_done(&signals->op));
            if (signals->op.result < 0)
                break;
            signals_read(signals);
        }
        ASYNC_END(task);
}

static const struct task_type signals_type = {
    .name = "signals",
    .poll = signals_poll,
    .state_names = state_names,
    .state_count = STATE_COUNT,
};

int signals_create(struct signals **out, struct err *err)
{
    struct signals *signals = calloc(1, sizeof(*signals));
    sigset_t set;

    if (!signals)
        return err_set(err, -ENOMEM, "signals: out of memory");
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGPWR);
    sigaddset(&set, SIGUSR1);
    signals->fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (signals->fd < 0 || sigprocmask(SIG_BLOCK, &set, NULL)) {
        int ret = err_set(err, -errno, "signals: cannot watch SIGTERM: %s", strerror(errno));

        signals_destroy(signals);
        return ret;
    }
    *out = signals;
    return 0;
}

void signals_start(struct signals *signals, struct executor *executor,
                   void (*received)(void *arg, int signal_number), void *arg)
{
    signals->received = received;
    signals->arg = arg;
    task_spawn(&signals->task, executor, &signals_type);
}

void signals_stop(struct signals *signals)
{
    signals->is_stopping = true;
    op_cancel(&signals->op);
    if (task_is_live(&signals->task))
        task_wake(&signals->task);
}

void signals_destroy(struct signals *signals)
{
    if (!signals)
        return;
    CHECK(!task_is_live(&signals->task));
    if (signals->fd >= 0)
        close(signals->fd);
    free(signals);
}
