/* The executor's loop, whose phases executor.h shows. In one file, so that all of it is inlined. */
#include <poll.h>
#include <sched.h>

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
    /* Times that devices are asked before others may have the cpu in between: some 20 us. */
    ASKED_BEFORE_YIELD = 64,
};

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

static always_inline_fn bool reap_ring(struct executor *executor, struct ring *ring)
{
    struct io_uring_cq *cq = &ring->uring.cq;
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

static inline bool reap(struct executor *executor)
{
    return reap_ring(executor, &executor->ring);
}

/* Submits what is to be polled for, and asks the devices once. */
noinline_fn static int ask_devices(struct executor *executor)
{
    struct iopoll *iopoll = executor->iopoll;
    int ret = ring_enter(&iopoll->ring, 0, 0);

    executor->polls_until_look = 0;
    executor->now_is_read = false;
    iopoll->fruitless = reap_ring(executor, &iopoll->ring) ? 0 : iopoll->fruitless + 1;
    return ret;
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
    if (executor_polls_devices(executor) && ret == 0)
        ret = ask_devices(executor);
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
    /* From the backlog an operation may have gone to the ring that is polled. */
    if (!arm_waker(executor) || executor->backlog_first || executor_polls_devices(executor))
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

/* Between two times that the devices are asked. */
static int wait_for_devices(struct executor *executor)
{
    if (executor->iopoll->fruitless >= ASKED_BEFORE_YIELD || peer_needs_this_cpu(executor))
        sched_yield();
    return 0;
}

/* Nothing is ready: poll, then sleep. */
noinline_fn static int idle(struct executor *executor)
{
    uint64_t begin_ns;
    bool polled;
    int ret;

    if (reap(executor))
        return 0;
    if (executor_polls_devices(executor))
        return wait_for_devices(executor);
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
        if (executor_has_ready(executor) || executor->poller.window_ns ||
            executor_polls_devices(executor))
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
    if (ret == 0 && executor_polls_devices(executor))
        ret = ring_flush(&executor->iopoll->ring);
    executor_current = NULL;
    return ret;
}

int executor_run(struct executor *executor)
{
    return executor_run_until(executor, NULL, NULL);
}
