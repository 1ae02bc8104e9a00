#include "exec/executor.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/atomic.h"
#include "base/check.h"
#include "base/cpu.h"
#include "exec/executor_internal.h"

/* The table of descriptors is made this large before threads start: growing it later stalls a
 * threaded process for tens of milliseconds. */
enum { FD_TABLE_SIZE = 1024 };

__thread struct executor *executor_current;

/* Makes the kernel grow the process's descriptor table now. Failing only means a stall later. */
static void reserve_fd_table(void)
{
    int fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, FD_TABLE_SIZE - 1);

    if (fd >= 0)
        close(fd);
}

static int check_config(const struct executor_config *config, struct err *err)
{
    if (config->entries > EXECUTOR_ENTRIES_MAX)
        return err_set(err, -ERANGE, "executor: %u entries; at most %d", config->entries,
                       EXECUTOR_ENTRIES_MAX);
    if (config->poll_us_max > EXECUTOR_POLL_US_MAX)
        return err_set(err, -ERANGE, "executor: polling for %u us; at most %d", config->poll_us_max,
                       EXECUTOR_POLL_US_MAX);
    if (config->file_slots > EXECUTOR_FILE_SLOTS_MAX)
        return err_set(err, -ERANGE, "executor: %u file slots; at most %d", config->file_slots,
                       EXECUTOR_FILE_SLOTS_MAX);
    return 0;
}

int executor_create(struct executor **out, const struct executor_config *config, struct err *err)
{
    const struct executor_config defaults = {0};
    struct executor *executor;
    int wake_fd, ret;

    if (!config)
        config = &defaults;
    ret = check_config(config, err);
    if (ret < 0)
        return ret;
    executor = aligned_alloc(_Alignof(struct executor), sizeof(*executor));
    if (!executor)
        return err_set(err, -ENOMEM, "executor: no memory");
    memset(executor, 0, sizeof(*executor));
    executor->ready_first = READY_END;
    executor->ready_end = &executor->ready_first;
    executor->backlog_end = &executor->backlog_first;
    executor->cpu = -1;
    executor->peer_cpu = -1;
    executor->trace = config->trace;
    list_init(&executor->tasks);
    list_init(&executor->watches);
    wheel_init(&executor->wheel, clock_now_ns());
    poller_init(&executor->poller, config->poll_us_max * NS_PER_US);
    reserve_fd_table();
    wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (wake_fd < 0) {
        ret = err_set(err, -errno, "eventfd: %s", strerror(errno));
        goto free_executor;
    }
    inbox_init(&executor->inbox, wake_fd);
    ret =
        ring_create(&executor->ring, config->entries ? config->entries : EXECUTOR_ENTRIES_DEFAULT,
                    config->file_slots ? config->file_slots : EXECUTOR_FILE_SLOTS_DEFAULT, 0, err);
    if (ret < 0)
        goto close_wake_fd;
    executor->ring.use = config->opens ? RING_OPENS : RING_IO;
    *out = executor;
    return 0;

close_wake_fd:
    close(wake_fd);
free_executor:
    free(executor);
    return ret;
}

void executor_destroy(struct executor *executor)
{
    if (!executor)
        return;
    CHECK_CMP(executor->live_count, ==, 0U);
    CHECK(list_is_empty(&executor->watches));
    iopoll_destroy(executor->iopoll);
    ring_destroy(&executor->ring);
    close(executor->inbox.wake_fd);
    free(executor);
}

int executor_bind(struct executor *executor, struct err *err)
{
    int ret;

    if (executor->ring.bound) {
        if (pthread_equal(executor->owner, pthread_self()))
            return 0;
        return err_set(err, -EEXIST, "executor: bound to another thread");
    }
    /* The executor is bound when its own ring is: then nothing is missing. */
    ret = executor->iopoll ? iopoll_bind(executor->iopoll, err) : 0;
    if (ret == 0)
        ret = ring_bind(&executor->ring, err);
    executor->owner = pthread_self();
    return ret;
}

int executor_register_memory(struct executor *executor, const struct iovec *regions, uint32_t count)
{
    return ring_register_memory(&executor->ring, regions, count);
}

void task_spawn(struct task *task, struct executor *executor, const struct task_type *type)
{
    *task = (struct task){.type = type, .executor = executor};
    list_push_back(&executor->tasks, &task->all_link);
    executor->live_count++;
    executor_make_ready(executor, task);
}

struct executor *task_wake_begin(struct task *task)
{
    struct executor *executor = task->executor;

    if (likely(executor_current == executor)) {
        CHECK(task_is_live(task));
        executor_make_ready(executor, task);
        return NULL;
    }
    return inbox_push(&executor->inbox, task) ? executor : NULL;
}

void task_wake_finish(struct executor *executor)
{
    inbox_alert(&executor->inbox);
}

void task_wake(struct task *task)
{
    struct executor *executor = task_wake_begin(task);

    if (executor)
        task_wake_finish(executor);
}

void executor_stop(struct executor *executor)
{
    inbox_post_stop(&executor->inbox);
}

bool executor_is_current(const struct executor *executor)
{
    return executor_current == executor;
}

bool executor_is_elsewhere(const struct executor *executor)
{
    int cpu = atomic_load_explicit(&executor->inbox.owner_cpu, memory_order_relaxed);

    return cpu >= 0 && cpu != cpu_current();
}
