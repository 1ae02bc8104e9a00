#include "kvm/vcpu.h"

#include <errno.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/arith.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/futex.h"
#include "kvm/arch.h"
#include "kvm/vm_private.h"

/* Any signal that interrupts a system call would do; nothing else in the process uses this one. */
#define KICK_SIGNAL SIGRTMIN

enum { SPIN_LOOKS = 32 }; /* between two looks at the clock */

/*
 * False when a spin was not worth it or was given up. An executor that sleeps is spun for as well:
 * its wake-up is long enough without ours behind it. One that shares this cpu could not answer.
 */
static bool spin_for_reply(struct vcpu *vcpu)
{
    const struct vm *vm = vcpu->vm;
    uint64_t deadline_ns;

    if (!vm->config.spin_us_max || !spin_is_worth(&vcpu->spin))
        return false;
    deadline_ns = clock_now_ns() + vm->config.spin_us_max * NS_PER_US;
    do {
        if (!executor_is_elsewhere(vm->config.executor))
            return false;
        for (int i = 0; i < SPIN_LOOKS; i++) {
            unsigned word = atomic_load_explicit(&vcpu->word, memory_order_acquire);

            if (!(word & VCPU_EXIT)) {
                spin_won(&vcpu->spin);
                vcpu_count(&vcpu->counters.spin_hits);
                return true;
            }
            if (word & (VCPU_DEFERRED | VCPU_STOP))
                return false;
            cpu_relax();
        }
    } while (clock_now_ns() < deadline_ns);
    spin_lost(&vcpu->spin);
    vcpu_count(&vcpu->counters.spin_misses);
    return false;
}

static void sleep_for_reply(struct vcpu *vcpu)
{
    unsigned word = atomic_load_explicit(&vcpu->word, memory_order_acquire);

    if (word & VCPU_EXIT)
        vcpu_count(&vcpu->counters.sleeps);
    while ((word & VCPU_EXIT) && !(word & VCPU_STOP)) {
        /* A failed exchange has reloaded the word. */
        if (!(word & VCPU_SLEEPING) &&
            !atomic_compare_exchange_strong(&vcpu->word, &word, word | VCPU_SLEEPING))
            continue;
        futex_wait(&vcpu->word, word | VCPU_SLEEPING, FUTEX_NO_DEADLINE);
        word = atomic_load_explicit(&vcpu->word, memory_order_acquire);
    }
}

/* Posts vcpu->exit and waits for its answer, or for a stop. */
static void exit_serve(struct vcpu *vcpu)
{
    atomic_fetch_or_explicit(&vcpu->word, VCPU_EXIT, memory_order_release);
    task_wake(&vcpu->task);
    if (!spin_for_reply(vcpu))
        sleep_for_reply(vcpu);
    vcpu->completion_due = true;
}

static void exit_port(struct vcpu *vcpu)
{
    struct kvm_run *run = vcpu->run;

    vcpu_count(&vcpu->counters.port_exits);
    vcpu->exit = (struct vcpu_exit){
        .bus = vcpu->vm->config.port_bus,
        .addr = run->io.port,
        .data = (uint8_t *)run + run->io.data_offset,
        .total = (uint32_t)run->io.size * run->io.count,
        .unit = run->io.size,
        .addr_is_fixed = true,
        .is_write = run->io.direction == KVM_EXIT_IO_OUT,
    };
    exit_serve(vcpu);
}

static void exit_mmio(struct vcpu *vcpu)
{
    struct kvm_run *run = vcpu->run;

    vcpu_count(&vcpu->counters.mmio_exits);
    vcpu->exit = (struct vcpu_exit){
        .bus = vcpu->vm->config.mmio_bus,
        .addr = run->mmio.phys_addr,
        .data = run->mmio.data,
        .total = (uint32_t)u64_min(run->mmio.len, sizeof(run->mmio.data)),
        .unit = sizeof(run->mmio.data),
        .is_write = run->mmio.is_write,
    };
    exit_serve(vcpu);
}

/* Stops this vCPU by itself, as vcpu->stop says. */
static void halt(struct vcpu *vcpu)
{
    vcpu_count(&vcpu->counters.other_exits);
    atomic_fetch_or_explicit(&vcpu->word, VCPU_HALTED, memory_order_release);
    task_wake(&vcpu->task);
}

static void exit_dispatch(struct vcpu *vcpu)
{
    switch (vcpu->run->exit_reason) {
    case KVM_EXIT_IO:
        exit_port(vcpu);
        return;
    case KVM_EXIT_MMIO:
        exit_mmio(vcpu);
        return;
    case KVM_EXIT_INTR:
        vcpu_count(&vcpu->counters.signal_exits);
        return;
    default:
        vcpu_stop_from_exit(&vcpu->stop, vcpu->run);
        halt(vcpu);
    }
}

static void run_guest(struct vcpu *vcpu)
{
    int ret = ioctl(vcpu->fd, KVM_RUN, 0);

    vcpu_count(&vcpu->counters.exits);
    vcpu->completion_due = false;
    if (!ret) {
        exit_dispatch(vcpu);
        return;
    }
    /* EAGAIN: a vCPU that waits for its start-up IPI was woken for something else. */
    if (errno == EINTR || errno == EAGAIN) {
        vcpu_count(&vcpu->counters.signal_exits);
        return;
    }
    vcpu_stop_from_error(&vcpu->stop, vcpu->run, errno);
    halt(vcpu);
}

/* Tells the executor once per pause that this vCPU is parked, then sleeps until the word changes.
 */
static void park(struct vcpu *vcpu, unsigned word)
{
    uint32_t epoch = word >> VCPU_EPOCH_SHIFT;

    if ((word & VCPU_PAUSE) && epoch != vcpu->epoch_reported) {
        vcpu->epoch_reported = epoch;
        atomic_store_explicit(&vcpu->parked_epoch, epoch, memory_order_release);
        task_wake(&vcpu->task);
    }
    futex_wait(&vcpu->word, word, FUTEX_NO_DEADLINE);
}

static void *vcpu_main(void *arg)
{
    struct vcpu *vcpu = arg;
    const struct vm_config *config = &vcpu->vm->config;

    if (config->events->thread_started)
        CHECK_CMP(config->events->thread_started(config->arg, vcpu->index), ==, 0);
    for (;;) {
        unsigned word;

        __atomic_exchange_n(&vcpu->run->immediate_exit, 0, __ATOMIC_SEQ_CST);
        word = atomic_load(&vcpu->word);
        if (word & VCPU_STOP)
            break;
        if (word & (VCPU_PAUSE | VCPU_HALTED)) {
            if (!vcpu->completion_due) {
                park(vcpu, word);
                continue;
            }
            /* The registers are not readable before KVM has put the answer into them. */
            __atomic_store_n(&vcpu->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
        }
        run_guest(vcpu);
    }
    atomic_fetch_or_explicit(&vcpu->word, VCPU_ENDED, memory_order_release);
    /* Not when the vm's start failed: then there is no task. */
    if (vcpu->vm->started)
        task_wake(&vcpu->task);
    return NULL;
}

void vcpu_request(struct vcpu *vcpu, uint32_t bits)
{
    atomic_fetch_or(&vcpu->word, bits);
    __atomic_store_n(&vcpu->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
    if (!vcpu->has_thread)
        return;
    futex_wake(&vcpu->word, 1);
    CHECK_CMP(pthread_kill(vcpu->thread, KICK_SIGNAL), ==, 0);
}

void vcpu_pause(struct vcpu *vcpu)
{
    atomic_fetch_add(&vcpu->word, VCPU_EPOCH_UNIT);
    vcpu_request(vcpu, VCPU_PAUSE);
}

void vcpu_release(struct vcpu *vcpu, uint32_t bits)
{
    atomic_fetch_and(&vcpu->word, ~bits);
    futex_wake(&vcpu->word, 1);
}

void vcpu_reply(struct vcpu *vcpu)
{
    unsigned before = atomic_fetch_and_explicit(
        &vcpu->word, ~(unsigned)(VCPU_EXIT | VCPU_DEFERRED | VCPU_SLEEPING), memory_order_release);

    if (before & VCPU_SLEEPING)
        futex_wake(&vcpu->word, 1);
}

static void kick_received(int signal)
{
    (void)signal;
}

int vcpu_kick_init(struct err *err)
{
    struct sigaction action = {.sa_handler = kick_received};

    if (sigaction(KICK_SIGNAL, &action, NULL))
        return err_set(err, -errno, "vCPU: sigaction: %s", strerror(errno));
    return 0;
}

int vcpu_thread_start(struct vcpu *vcpu, struct err *err)
{
    pthread_attr_t attr;
    sigset_t blocked;
    char name[16];
    int ret;

    /* Signals of the process are the main thread's; a vCPU only takes its kick. */
    sigfillset(&blocked);
    sigdelset(&blocked, KICK_SIGNAL);
    ret = pthread_attr_init(&attr);
    if (ret)
        return err_set(err, -ret, "vCPU %u: thread attributes: %s", vcpu->index, strerror(ret));
    ret = pthread_attr_setsigmask_np(&attr, &blocked);
    if (!ret)
        ret = pthread_create(&vcpu->thread, &attr, vcpu_main, vcpu);
    pthread_attr_destroy(&attr);
    if (ret)
        return err_set(err, -ret, "vCPU %u: cannot start its thread: %s", vcpu->index,
                       strerror(ret));
    vcpu->has_thread = true;
    snprintf(name, sizeof(name), "vcpu%u", vcpu->index);
    /* Only for ps and gdb. */
    (void)pthread_setname_np(vcpu->thread, name);
    return 0;
}

void vcpu_thread_abandon(struct vcpu *vcpu)
{
    if (!vcpu->has_thread)
        return;
    vcpu_request(vcpu, VCPU_STOP);
    CHECK_CMP(pthread_join(vcpu->thread, NULL), ==, 0);
    vcpu->has_thread = false;
}

int vcpu_create(struct vcpu *vcpu, struct vm *vm, uint32_t index, struct err *err)
{
    const struct kvm *kvm = vm->config.kvm;
    void *run;
    int ret;

    *vcpu = (struct vcpu){
        .vm = vm,
        .index = index,
        .word = VCPU_PAUSE | VCPU_EPOCH_FIRST << VCPU_EPOCH_SHIFT,
        .parked_epoch = VCPU_EPOCH_FIRST,
        .epoch_reported = VCPU_EPOCH_FIRST,
    };
    spin_init(&vcpu->spin);
    vcpu->fd = ioctl(vm->fd, KVM_CREATE_VCPU, (unsigned long)index);
    if (vcpu->fd < 0)
        return err_set(err, -errno, "vCPU %u: KVM_CREATE_VCPU: %s", index, strerror(errno));
    run = mmap(NULL, kvm->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd, 0);
    if (run == MAP_FAILED) {
        ret = err_set(err, -errno, "vCPU %u: cannot map its run page: %s", index, strerror(errno));
        goto fail_map;
    }
    vcpu->run = run;
    ret = vcpu_arch_init(vcpu, err);
    if (ret)
        goto fail_arch;
    return 0;
fail_arch:
    munmap(run, kvm->run_size);
fail_map:
    close(vcpu->fd);
    return ret;
}

void vcpu_destroy(struct vcpu *vcpu)
{
    vcpu_arch_destroy(vcpu);
    CHECK_CMP(munmap(vcpu->run, vcpu->vm->config.kvm->run_size), ==, 0);
    close(vcpu->fd);
}
