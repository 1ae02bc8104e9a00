#include "exec/executor.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/arith.h"
#include "base/atomic.h"
#include "base/check.h"
#include "base/cpu.h"
#include "exec/executor_internal.h"

enum {
    /* A turn with fewer polls than this goes on with tasks that have woken each other or themselves
     * meanwhile: what a turn looks at costs as much as two polls. */
    POLLS_PER_TURN = 16,
    /* Polls between two looks at the clock, the watches and the cpu, when nothing enters the kernel
     * in between: 40 ns spread over so many. */
    POLLS_PER_LOOK = 16,
    /* Looks at the queues between two looks at the clock while polling before a sleep. */
    SPINS_PER_CLOCK = 32,
    /* The table of descriptors is made this large before threads start: growing it later stalls a
     * threaded process for tens of milliseconds. */
    FD_TABLE_SIZE = 1024,
};

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
    ret = ring_create(&executor->ring, config->entries ? config->entries : EXECUTOR_ENTRIES_DEFAULT,
                      config->file_slots ? config->file_slots : EXECUTOR_FILE_SLOTS_DEFAULT, err);
    if (ret < 0)
        goto close_wake_fd;
    executor->ring.opens = config->opens;
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

/* The frame goes, unless the ready queue or the inbox still point at it: then when they let go. */
static void end_task(struct executor *executor, struct task *task)
{
    if (task_is_live(task)) {
        CHECK_CMP(task->in_flight, ==, 0);
        list_remove(&task->all_link);
        task->all_link.next = NULL;
    }
    if (task->ready_next || atomic_load_explicit(&task->posted, memory_order_acquire))
        return;
    executor->live_count--;
    if (task->type->done)
        task->type->done(task);
}

void executor_trace_ready(struct task *task)
{
    task->woken_at_ns = (uint32_t)clock_now_ns();
}

cold_fn static enum task_verdict poll_traced(struct executor *executor, struct task *task)
{
    uint64_t begin_ns = clock_now_ns();
    uint32_t latency_ns = (uint32_t)begin_ns - task->woken_at_ns;
    enum task_verdict verdict = task->type->poll(task);

    executor->stats.latency_ns += latency_ns;
    if (latency_ns > executor->stats.latency_ns_max)
        executor->stats.latency_ns_max = latency_ns;
    executor->run_ns_rest += clock_now_ns() - begin_ns;
    task->run_us += (uint32_t)(executor->run_ns_rest / NS_PER_US);
    executor->run_ns_rest %= NS_PER_US;
    return verdict;
}

/* Runs each task that is ready now once. */
static uint32_t run_round(struct executor *executor)
{
    const struct task *last = container_of(executor->ready_end, struct task, ready_next);
    struct task *task;
    uint32_t polls = 0;

    do {
        enum task_verdict verdict = TASK_DONE;

        task = executor_pop_ready(executor);
        if (likely(task_is_live(task))) {
            polls++;
            task->poll_count++;
            verdict =
                unlikely(executor->trace) ? poll_traced(executor, task) : task->type->poll(task);
        }
        if (unlikely(verdict == TASK_DONE))
            end_task(executor, task);
    } while (task != last);
    return polls;
}

/* One round, or a few more when they are short and started no operation. */
static void run_ready(struct executor *executor)
{
    uint32_t submitted = executor->ring.sqe_tail;
    uint32_t polls = 0;

    while (executor_has_ready(executor) && polls < POLLS_PER_TURN &&
           executor->ring.sqe_tail == submitted)
        polls += run_round(executor);
    executor->stats.polls += polls;
    executor->polls_until_look =
        polls < executor->polls_until_look ? executor->polls_until_look - polls : 0;
}

static void drain_inbox(struct executor *executor)
{
    struct task *chain = inbox_drain(&executor->inbox);
    struct task *task;

    if (!chain)
        return;
    executor->peer_cpu = atomic_load_explicit(&executor->inbox.poster_cpu, memory_order_relaxed);
    while ((task = inbox_chain_pop(&chain))) {
        executor->stats.inbox_wakes++;
        executor_make_ready(executor, task);
    }
}

static uint64_t read_clock(struct executor *executor)
{
    executor->now_ns = clock_now_ns();
    executor->now_is_read = true;
    return executor->now_ns;
}

uint64_t executor_now_ns(struct executor *executor)
{
    return executor->now_is_read ? executor->now_ns : read_clock(executor);
}

static void fire_timer(struct timer *timer)
{
    timer->status = TIMER_FIRED;
    timer->task->in_flight--;
    executor_make_ready(timer->task->executor, timer->task);
}

static bool look_at_watches(struct executor *executor)
{
    bool found = false;

    list_for_each_safe (link, &executor->watches) {
        struct watch *watch = container_of(link, struct watch, link);

        found |= watch->type->has_work(watch);
    }
    return found;
}

/* What changes without an event of the ring or the inbox. */
static void look_around(struct executor *executor)
{
    int cpu = cpu_current();

    executor->polls_until_look = POLLS_PER_LOOK;
    if (cpu != executor->cpu) {
        executor->cpu = cpu;
        atomic_store_explicit(&executor->inbox.owner_cpu, cpu, memory_order_relaxed);
    }
    if (executor->wheel.armed)
        wheel_advance(&executor->wheel, executor_now_ns(executor), fire_timer);
    look_at_watches(executor);
}

/* A multishot poll of the eventfd that other threads write to when they must wake the executor. */
static bool arm_waker(struct executor *executor)
{
    struct io_uring_sqe *sqe;

    if (executor->waker_armed)
        return true;
    sqe = ring_sqe(&executor->ring);
    if (!sqe)
        return false;
    *sqe = (struct io_uring_sqe){
        .opcode = IORING_OP_POLL_ADD,
        .fd = executor->inbox.wake_fd,
        .len = IORING_POLL_ADD_MULTI,
        .poll32_events = POLLIN,
        .user_data = USER_DATA_WAKER,
    };
    executor->waker_armed = true;
    return true;
}

/* The kernel may end a multishot poll at any time; the next sleep arms it again. */
cold_fn static void waker_ended(struct executor *executor, int result)
{
    executor->waker_armed = false;
    if (result < 0)
        executor->error = result;
}

static inline bool reap(struct executor *executor)
{
    struct io_uring_cq *cq = &executor->ring.uring.cq;
    unsigned head = *cq->khead;
    unsigned tail = io_uring_smp_load_acquire(cq->ktail);

    if (head == tail)
        return false;
    executor->stats.completed += tail - head;
    for (; head != tail; head++) {
        const struct io_uring_cqe *cqe = &cq->cqes[head & cq->ring_mask];

        if (likely(cqe->user_data > USER_DATA_WAKER))
            op_complete((struct op *)(uintptr_t)cqe->user_data, cqe->res, cqe->flags);
        else if (cqe->user_data == USER_DATA_WAKER && !(cqe->flags & IORING_CQE_F_MORE))
            waker_ended(executor, cqe->res);
    }
    io_uring_smp_store_release(cq->khead, head);
    return true;
}

/* Submits, makes deferred completions visible, reaps; a system call only if there is need of it. */
static always_inline_fn int submit_and_reap(struct executor *executor)
{
    int ret = 0;

    op_backlog_flush(executor);
    if (ring_unsubmitted(&executor->ring) || ring_wants_enter(&executor->ring)) {
        ret = ring_enter(&executor->ring, 0, 0);
        executor->polls_until_look = 0;
        executor->now_is_read = false;
    }
    reap(executor);
    return ret;
}

static bool has_news(const struct executor *executor)
{
    return executor_has_ready(executor) || ring_has_cqes(&executor->ring) ||
           ring_wants_enter(&executor->ring) || !inbox_is_empty(&executor->inbox);
}

/* The thread whose posts we wait for needs this cpu: polling would keep it from posting. */
static bool peer_needs_this_cpu(const struct executor *executor)
{
    return executor->peer_cpu >= 0 && executor->peer_cpu == cpu_current();
}

/* Polls until there is something to do, which is true, or the window ends. */
static bool poll_for_work(struct executor *executor, uint64_t begin_ns)
{
    uint64_t timer_ns = wheel_next_ns(&executor->wheel);
    uint64_t end_ns = u64_min(begin_ns + executor->poller.window_ns, timer_ns);
    uint64_t now_ns = begin_ns;
    bool found = false;

    while (!found && now_ns < end_ns) {
        for (unsigned spin = 0; !found && spin < SPINS_PER_CLOCK; spin++) {
            cpu_relax();
            found = has_news(executor) || look_at_watches(executor);
        }
        now_ns = clock_now_ns();
    }
    executor->stats.poll_ns += now_ns - begin_ns;
    return found || now_ns >= timer_ns;
}

/* Takes every watch off; true when one of them had work after all. */
static bool rearm_watches(struct executor *executor)
{
    bool found = false;
    struct list *link;

    while ((link = list_pop_front(&executor->watches))) {
        struct watch *watch = container_of(link, struct watch, link);

        watch->link.next = NULL;
        found |= watch->type->rearm(watch);
    }
    return found;
}

/* Submits and sleeps in one system call, unless something turns up on the way. */
static int sleep_in_ring(struct executor *executor)
{
    uint64_t deadline_ns, now_ns;
    int ret = 0;

    op_backlog_flush(executor);
    if (!arm_waker(executor) || executor->backlog_first)
        return ring_flush(&executor->ring);
    if (rearm_watches(executor) || !inbox_prepare_wait(&executor->inbox))
        goto awake;
    deadline_ns = wheel_next_ns(&executor->wheel);
    now_ns = deadline_ns == UINT64_MAX ? 0 : clock_now_ns();
    if (now_ns < deadline_ns) {
        executor->stats.sleeps++;
        ret = ring_enter(&executor->ring, 1,
                         deadline_ns == UINT64_MAX ? UINT64_MAX : deadline_ns - now_ns);
    }
    inbox_finish_wait(&executor->inbox);
awake:
    executor->polls_until_look = 0;
    executor->now_is_read = false;
    reap(executor);
    return ret;
}

/* Nothing is ready: poll, then sleep. */
noinline_fn static int idle(struct executor *executor)
{
    uint64_t begin_ns;
    bool polled;
    int ret;

    if (reap(executor))
        return 0;
    if (!executor->poller.max_ns)
        return sleep_in_ring(executor);
    executor->polls_until_look = 0;
    polled = executor->poller.window_ns && !peer_needs_this_cpu(executor);
    begin_ns = clock_now_ns();
    if (polled && poll_for_work(executor, begin_ns)) {
        poller_succeeded(&executor->poller);
        return 0;
    }
    executor->peer_cpu = -1;
    ret = sleep_in_ring(executor);
    poller_slept(&executor->poller, polled, clock_now_ns() - begin_ns);
    return ret;
}

/* True when executor_run has to return. */
static inline bool turn(struct executor *executor, bool (*until)(void *arg), void *arg)
{
    executor->stats.turns++;
    executor->now_is_read = false;
    run_ready(executor);
    drain_inbox(executor);
    if (!executor->polls_until_look)
        look_around(executor);
    return !executor->live_count || inbox_take_stop(&executor->inbox) || (until && until(arg));
}

int executor_run_until(struct executor *executor, bool (*until)(void *arg), void *arg)
{
    int ret = executor_bind(executor, NULL);

    if (ret < 0)
        return ret;
    CHECK(!executor_current);
    executor_current = executor;
    while (ret == 0 && !turn(executor, until, arg)) {
        /* An executor that will not poll submits with the sleep, in one system call. */
        if (executor_has_ready(executor) || executor->poller.window_ns)
            ret = submit_and_reap(executor);
        if (unlikely(executor->error))
            ret = executor->error;
        if (ret == 0 && !executor_has_ready(executor))
            ret = idle(executor);
    }
    /* What was started goes to the kernel also when nobody runs the executor for a while. */
    op_backlog_flush(executor);
    if (ret == 0 && ring_unsubmitted(&executor->ring))
        ret = ring_flush(&executor->ring);
    executor_current = NULL;
    return ret;
}

int executor_run(struct executor *executor)
{
    return executor_run_until(executor, NULL, NULL);
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
