/*
 * A vCPU thread and the executor that serves its exits: answers at once and later, pauses, resumes
 * and a stop at any time. Production code from vm_start to events.ended; what is played here is
 * KVM, threads and signals.
 */
#include <errno.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <signal.h>

#include "kvm/arch.h"
#include "kvm/vm_private.h"
#include "scenarios/scenarios.h"
#include "tasks.h"

enum { ANSWER = 0x5a, RUN_PAGE_SIZE = 4096, DATA_OFFSET = 3072 };

struct state {
    struct vm vm;
    struct vcpu vcpu;
    struct executor executor;
    _Alignas(64) unsigned char run_page[RUN_PAGE_SIZE]; /* struct kvm_run, and an exit's data */
    _Atomic uint64_t signals;                           /* sent to the vCPU thread */
    _Atomic uint64_t ended;                             /* it has */
    void *(*start)(void *arg);
    void *start_arg;

    /* The guest's. */
    unsigned exits_wanted, exits_made;
    bool has_exit; /* which KVM has to complete */
    bool is_in_guest;

    /* The executor's. */
    struct task script;
    struct bus_access *deferred;
    bool may_defer;
    unsigned pauses_wanted;
    unsigned exits_before_pause;
    unsigned exits_served, pauses_made;
    bool is_parked, has_ended;
};

/* ---- the host ---- */

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*start)(void *),
                          void *arg);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*start)(void *),
                          void *arg)
{
    struct state *state = model_state();

    (void)attr;
    *thread = 0;
    state->start = start;
    state->start_arg = arg;
    return 0;
}

int __wrap_pthread_join(pthread_t thread, void **result);
int __wrap_pthread_join(pthread_t thread, void **result)
{
    struct state *state = model_state();

    (void)thread;
    (void)result;
    model_wait_more(&state->ended, 0);
    return 0;
}

int __wrap_pthread_kill(pthread_t thread, int signal);
int __wrap_pthread_kill(pthread_t thread, int signal)
{
    struct state *state = model_state();

    (void)thread;
    (void)signal;
    atomic_fetch_add_explicit(&state->signals, 1, memory_order_acq_rel);
    return 0;
}

int __wrap_pthread_setname_np(pthread_t thread, const char *name);
int __wrap_pthread_setname_np(pthread_t thread, const char *name)
{
    (void)thread;
    (void)name;
    return 0;
}

int __wrap_sigaction(int signal, const struct sigaction *action, struct sigaction *old);
int __wrap_sigaction(int signal, const struct sigaction *action, struct sigaction *old)
{
    (void)signal;
    (void)action;
    (void)old;
    return 0;
}

void vcpu_arch_report(const struct vcpu *vcpu)
{
    (void)vcpu;
}

/* The answer to the last exit goes into the guest's registers. */
static void complete_exit(struct state *state)
{
    if (!state->has_exit)
        return;
    state->has_exit = false;
    MODEL_CHECK(state->run_page[DATA_OFFSET] == ANSWER);
    state->run_page[DATA_OFFSET] = 0;
}

static int run_guest(struct state *state)
{
    struct kvm_run *run = state->vcpu.run;
    /* A signal from here on ends it; one from before was taken by the thread's handler. */
    uint64_t signals = atomic_fetch_add_explicit(&state->signals, 0, memory_order_acq_rel);

    complete_exit(state);
    if (!__atomic_load_n(&run->immediate_exit, __ATOMIC_RELAXED)) {
        state->is_in_guest = true;
        if (state->exits_made < state->exits_wanted) {
            state->exits_made++;
            state->is_in_guest = false;
            state->has_exit = true;
            run->exit_reason = KVM_EXIT_IO;
            run->io.direction = KVM_EXIT_IO_IN;
            run->io.size = 1;
            run->io.count = 1;
            run->io.port = 1;
            run->io.data_offset = DATA_OFFSET;
            return 0;
        }
        model_wait_more(&state->signals, signals);
        state->is_in_guest = false;
    }
    errno = EINTR;
    return -1;
}

int __wrap_ioctl(int fd, unsigned long request, ...);
int __wrap_ioctl(int fd, unsigned long request, ...)
{
    (void)fd;
    MODEL_CHECK(request == KVM_RUN);
    return run_guest(model_state());
}

bool executor_is_elsewhere(const struct executor *executor)
{
    (void)executor;
    return true;
}

/* ---- what the vm is connected to ---- */

enum bus_verdict bus_dispatch(struct bus *bus, struct bus_access *access)
{
    struct state *state = model_state();

    (void)bus;
    access->value = ANSWER;
    state->exits_served++;
    task_wake(&state->script);
    if (!state->may_defer || !model_choose(2))
        return BUS_DONE;
    access->value = 0;
    state->deferred = access;
    return BUS_DEFER;
}

static void stopped(void *arg, uint32_t index, enum vm_stop_reason reason, const char *detail)
{
    (void)arg;
    (void)index;
    (void)reason;
    fail("the vCPU has stopped: %s", detail);
}

static void parked(void *arg)
{
    struct state *state = arg;

    MODEL_CHECK(!state->is_in_guest);
    MODEL_CHECK(!state->has_exit);
    MODEL_CHECK(state->exits_made == state->exits_served);
    state->is_parked = true;
    task_wake(&state->script);
}

static void ended(void *arg)
{
    struct state *state = arg;

    MODEL_CHECK(!state->is_in_guest);
    state->has_ended = true;
}

static const struct vm_events events = {.stopped = stopped, .parked = parked, .ended = ended};

/* ---- who takes part ---- */

/* Pauses and resumes, as often as wanted, and stops the vm when all exits are answered. */
static enum task_verdict script_poll(struct task *task)
{
    struct state *const state = container_of(task, struct state, script);

    if (state->deferred) {
        struct bus_access *access = state->deferred;

        state->deferred = NULL;
        access->value = ANSWER;
        bus_access_complete(access);
    }
    if (state->is_parked) {
        state->is_parked = false;
        vm_resume(&state->vm);
    }
    if (state->vm.pausing)
        return TASK_PENDING;
    if (state->pauses_made < state->pauses_wanted) {
        if (state->exits_served < state->exits_before_pause)
            return TASK_PENDING;
        state->pauses_made++;
        vm_pause(&state->vm);
        return TASK_PENDING;
    }
    if (state->exits_served < state->exits_wanted)
        return TASK_PENDING;
    vm_stop(&state->vm);
    return TASK_DONE;
}

static const struct task_type script_type = {.name = "script", .poll = script_poll};

static void setup(struct state *state, unsigned exits, unsigned pauses, uint32_t spin_us_max)
{
    struct vcpu *vcpu = &state->vcpu;

    state->exits_wanted = exits;
    state->pauses_wanted = pauses;
    model_executor_init(&state->executor, 0);
    state->vm = (struct vm){
        .config = {.executor = &state->executor,
                   .port_bus = (struct bus *)state,
                   .vcpu_count = 1,
                   .spin_us_max = spin_us_max,
                   .events = &events,
                   .arg = state},
        .vcpus = vcpu,
        .epoch = VCPU_EPOCH_FIRST,
    };
    /* As vcpu_create does. */
    vcpu->vm = &state->vm;
    vcpu->run = (struct kvm_run *)(void *)state->run_page;
    atomic_init(&vcpu->word, VCPU_PAUSE | VCPU_EPOCH_FIRST << VCPU_EPOCH_SHIFT);
    atomic_init(&vcpu->parked_epoch, VCPU_EPOCH_FIRST);
    vcpu->epoch_reported = VCPU_EPOCH_FIRST;
    spin_init(&vcpu->spin);
    MODEL_NAME(vcpu->word);
    MODEL_NAME(vcpu->parked_epoch);
    model_name(&vcpu->run->immediate_exit, 1, "immediate_exit");
    MODEL_NAME(state->executor.posted);
    MODEL_NAME(state->signals);
    for (_Atomic uint64_t *counter = &vcpu->counters.exits; counter <= &vcpu->counters.sleeps;
         counter++)
        model_hint(counter);
    model_hint(&vcpu->deferred_count);
    MODEL_CHECK(vm_start(&state->vm, NULL) == 0);
    task_spawn(&state->script, &state->executor, &script_type);
}

static void one_exit(void *state)
{
    setup(state, 1, 0, 0);
}

static void two_exits(void *state)
{
    setup(state, 2, 0, 0);
}

static void spinning(void *state)
{
    setup(state, 1, 0, 1);
}

static void deferred(void *arg)
{
    struct state *state = arg;

    setup(state, 1, 0, 0);
    state->may_defer = true;
}

static void deferred_spinning(void *arg)
{
    struct state *state = arg;

    setup(state, 1, 0, 1);
    state->may_defer = true;
}

static void one_pause(void *state)
{
    setup(state, 0, 1, 0);
}

static void two_pauses(void *state)
{
    setup(state, 0, 2, 0);
}

static void pause_and_exit(void *arg)
{
    struct state *state = arg;

    setup(state, 1, 1, 0);
    state->may_defer = true;
}

static void exit_then_pause(void *arg)
{
    struct state *state = arg;

    setup(state, 1, 1, 0);
    state->exits_before_pause = 1;
}

static void run_executor(void *arg)
{
    struct state *state = arg;

    vm_resume(&state->vm);
    model_executor_run(&state->executor);
}

static void run_vcpu(void *arg)
{
    struct state *state = arg;

    state->start(state->start_arg);
    atomic_fetch_add_explicit(&state->ended, 1, memory_order_acq_rel);
}

static void is_over(void *arg)
{
    const struct state *state = arg;

    MODEL_CHECK(state->has_ended);
    MODEL_CHECK(state->exits_made == state->exits_served);
    MODEL_CHECK(!(state->vcpu.word & (VCPU_EXIT | VCPU_DEFERRED | VCPU_SLEEPING)));
}

#define VCPU(title, what, prepare)                                                \
    {                                                                             \
        .name = "vcpu/" title, .about = what, .state_size = sizeof(struct state), \
        .setup = prepare, .finish = is_over,                                      \
        .threads = {{"executor", run_executor}, {"vcpu", run_vcpu}},              \
    }

const struct scenario vcpu_scenarios[] = {
    VCPU("exit", "an exit, its answer, and a stop", one_exit),
    VCPU("exits", "two exits", two_exits),
    VCPU("spin", "... whose vCPU spins for the answer", spinning),
    VCPU("deferred", "an exit that may be answered later", deferred),
    VCPU("deferred-spin", "... whose vCPU spins, and does not for that", deferred_spinning),
    VCPU("pause", "a pause wherever the vCPU is, a resume, a stop", one_pause),
    VCPU("pauses", "two pauses with a short resume between", two_pauses),
    VCPU("exit-pause", "a pause while an exit is answered", exit_then_pause),
    VCPU("pause-exit", "a pause, and an exit that may be answered later", pause_and_exit),
    {0},
};
