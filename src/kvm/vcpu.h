/*
 * Private to src/kvm/: one vCPU, its thread and its exit task.
 *
 * The thread (vcpu.c) and the executor (exit.c) talk through one futex word. Who changes which bit:
 *
 *     EXIT      vCPU sets: the exit in `exit` waits for its answer; executor clears: answered
 *     DEFERRED  executor sets: the answer takes a while, do not spin; cleared with EXIT
 *     SLEEPING  vCPU sets before it sleeps for an answer; executor clears with EXIT, then wakes it
 *     PAUSE     executor: leave the guest and park until cleared
 *     STOP      executor: leave the thread, whatever state; never cleared
 *     HALTED    vCPU sets: stopped by itself, see `stop`; executor clears in a reset
 *     ENDED     vCPU sets: the thread's last word
 *     EPOCH     executor counts pauses, so that a vCPU which never saw a short resume still reports
 *               that it is parked for the new pause
 *
 * Every change that the executor should see is followed by task_wake of the exit task.
 *
 * A request must not be lost between the thread's look at the word and KVM_RUN: the executor sets
 * the bit, then immediate_exit, then signals; the thread clears immediate_exit, then looks. Test:
 * kick/no_kick_is_lost.
 */
#pragma once
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/atomic.h"
#include "base/compiler.h"
#include "base/err.h"
#include "bus/bus.h"
#include "exec/task.h"
#include "kvm/spin.h"
#include "kvm/stop.h"
#include "kvm/vm.h"

struct kvm_run;
struct vcpu_arch;

enum {
    VCPU_EXIT = 1 << 0,
    VCPU_DEFERRED = 1 << 1,
    VCPU_SLEEPING = 1 << 2,
    VCPU_PAUSE = 1 << 3,
    VCPU_STOP = 1 << 4,
    VCPU_HALTED = 1 << 5,
    VCPU_ENDED = 1 << 6,
    VCPU_EPOCH_SHIFT = 8,
    VCPU_EPOCH_UNIT = 1 << VCPU_EPOCH_SHIFT,
    VCPU_EPOCH_MASK = 0xffffff, /* it wraps */
    VCPU_EPOCH_FIRST = 1,
};

/*
 * One exit: `total` bytes at `data`, moved as accesses of at most `unit` bytes. Filled by the
 * thread before it sets EXIT; the executor's until it clears that.
 */
struct vcpu_exit {
    struct bus *bus; /* NULL: nobody there */
    uint64_t addr;
    uint8_t *data;      /* in the run page */
    uint32_t total;     /* bytes */
    uint8_t unit;       /* bytes of one access */
    bool addr_is_fixed; /* a string instruction repeats its port */
    bool is_write;
};

/* How far the exit task is with an exit; the executor's own. */
struct vcpu_transfer {
    struct bus_access access;
    uint32_t done;  /* bytes */
    bool active;    /* an exit is taken up and not yet answered */
    bool in_access; /* `access` is with the device */
    bool answered;  /* the device has completed `access` */
};

/* Written by one thread, read by any. */
struct vcpu_counters {
    _Atomic uint64_t exits, port_exits, mmio_exits, signal_exits, other_exits;
    _Atomic uint64_t spin_hits, spin_misses, sleeps;
};

struct vcpu {
    /* Set up once. */
    struct vm *vm;
    uint32_t index;
    int fd;
    struct kvm_run *run;
    struct vcpu_arch *arch;
    pthread_t thread;

    /* The thread's own. */
    bool completion_due; /* KVM finishes the last exit's instruction in the next KVM_RUN */
    uint32_t epoch_reported;
    struct spin spin;
    struct vcpu_counters counters;

    /* Shared. */
    cache_isolated atomic_uint word;
    atomic_uint parked_epoch; /* the pause that the thread is parked for */
    struct vcpu_exit exit;
    struct vcpu_stop stop;

    /* The executor's own. */
    cache_isolated struct task task;
    struct vcpu_transfer transfer;
    bool has_thread;
    bool halt_reported;
    _Atomic uint64_t deferred_count;
};

/* vcpu.c */
must_check int vcpu_create(struct vcpu *vcpu, struct vm *vm, uint32_t index, struct err *err);
void vcpu_destroy(struct vcpu *vcpu);
/* Installs the kick signal's empty handler; process-wide, the same for every vm. */
must_check int vcpu_kick_init(struct err *err);
/* The thread parks at once; it does not wake the exit task before vcpu_release. */
must_check int vcpu_thread_start(struct vcpu *vcpu, struct err *err);
/* Ends a thread that was never released, when the vm's start failed. */
void vcpu_thread_abandon(struct vcpu *vcpu);
/* Sets request bits and gets the thread out of guest or sleep. Executor thread. */
void vcpu_request(struct vcpu *vcpu, uint32_t bits);
/* vcpu_request for the next pause. */
void vcpu_pause(struct vcpu *vcpu);
/* Clears bits and wakes a parked thread. Executor thread. */
void vcpu_release(struct vcpu *vcpu, uint32_t bits);
/* Answers the exit. Executor thread. */
void vcpu_reply(struct vcpu *vcpu);

/* exit.c */
extern const struct task_type vcpu_exit_type;

/* Adds one to a counter that only the calling thread writes. */
static inline void vcpu_count(_Atomic uint64_t *counter)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}
