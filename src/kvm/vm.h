/*
 * One virtual machine in KVM: memory slots, interrupt chips, doorbells, and its vCPUs.
 *
 *     vm_create -> vm_start -> vm_set_entry -> vm_resume -> [exits are served by tasks] ->
 *          vm_pause -> events.parked -> vm_reset -> vm_set_entry -> vm_resume ...      (reboot)
 *          vm_stop  -> events.ended  -> vm_destroy
 *
 * A vCPU thread only runs the guest. Each exit is posted to the executor as a wake of that vCPU's
 * exit task, which dispatches it on the port or memory bus and replies; state of the exit lives in
 * the vCPU. Nothing here blocks the executor on a vCPU thread: pause and stop are requests, and
 * their end is an event.
 *
 * Port and memory writes are not coalesced. Those that come in numbers are answered by an interrupt
 * that the guest waits for (a serial port's transmitter), or share their range with a reset
 * register (PCI's 0xcf8 with 0xcf9): both would wait for a timer.
 *
 * For the sandbox: a vCPU thread calls ioctl (KVM_RUN), futex, write (the executor's wake-up) and
 * what its end takes; the executor thread, here, ioctl on the vm's and vCPUs' descriptors, futex
 * and tgkill. The kick is SIGRTMIN, whose empty handler vm_start installs.
 *
 * Everything here: executor thread, or any one thread before the executor runs. Events arrive on
 * the executor thread, never from inside a call of this interface.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/compiler.h"
#include "base/err.h"
#include "bus/bus.h"
#include "bus/doorbell.h"
#include "bus/irq.h"
#include "exec/executor.h"
#include "kvm/kvm.h"
#include "mem/gmem.h"

struct vm;

/* Why a vCPU stopped by itself. */
enum vm_stop_reason {
    VM_STOP_TRIPLE_FAULT, /* KVM_EXIT_SHUTDOWN: on x86_64 a reset of the machine */
    VM_STOP_SYSTEM_OFF,   /* KVM_EXIT_SYSTEM_EVENT, as all SYSTEM_ reasons */
    VM_STOP_SYSTEM_RESET,
    VM_STOP_SYSTEM_CRASH,
    VM_STOP_INTERNAL_ERROR,  /* KVM gave up, for example on an instruction it cannot emulate */
    VM_STOP_FAIL_ENTRY,      /* the hardware refused the guest's state */
    VM_STOP_UNEXPECTED_EXIT, /* an exit that was never asked for */
    VM_STOP_RUN_FAILED,      /* the KVM_RUN system call failed */
    VM_STOP_REASON_COUNT,
};

/* "triple fault", ...: for messages. */
const char *vm_stop_reason_name(enum vm_stop_reason reason);
/* True for the reasons that no guest asks for: they end in EXIT_CRASH and were reported in the log
 * with the vCPU's registers. */
bool vm_stop_reason_is_crash(enum vm_stop_reason reason);

struct vm_events {
    /* A vCPU stopped by itself and stays parked until vm_reset or vm_stop; the others go on.
     * `detail` is one line, valid during the call. */
    void (*stopped)(void *arg, uint32_t vcpu_index, enum vm_stop_reason reason, const char *detail);
    /* Once for each vm_pause, unless vm_stop comes first: no vCPU is in the guest, and none has an
     * unanswered exit. */
    void (*parked)(void *arg);
    /* Once, after vm_stop: the vCPU threads are joined and the vm owns no live task any more;
     * vm_destroy may be called from here. */
    void (*ended)(void *arg);
    /* Optional: first thing on each vCPU thread, before any guest code (seccomp, affinity, ...).
     * Not on the executor thread. A negative errno is a bug of the caller's (asserted). */
    int (*thread_started)(void *arg, uint32_t vcpu_index);
};

struct vm_config {
    struct kvm *kvm;
    struct gmem *mem; /* outlives the vm */
    struct executor *executor;
    struct bus *port_bus; /* NULL: reads are all ones, writes vanish */
    struct bus *mmio_bus;
    uint32_t vcpu_count;
    uint32_t spin_us_max; /* bound of a vCPU's spin for a reply before it sleeps; 0: never spin */
    const struct vm_events *events;
    void *arg; /* of the events */
};

/* The caller owns *out. */
must_check int vm_create(struct vm **out, const struct vm_config *config, struct err *err);
/* Not between vm_start and events.ended. NULL is allowed. */
void vm_destroy(struct vm *vm);

/* Makes the vCPU threads, parked; from here on only vm_stop ends them. When it fails there are
 * none, and the vm can only be destroyed. */
must_check int vm_start(struct vm *vm, struct err *err);
/* Lets parked vCPUs run, except those that stopped by themselves. vCPU 0 starts at its entry
 * (kvm/ARCH/entry.h), the others wait for the guest to start them: by start-up IPI, or PSCI. */
void vm_resume(struct vm *vm);
/*
 * Asks every vCPU to leave the guest; events.parked follows. From inside a device's access (a reset
 * register, say) no further instruction of the accessing vCPU runs. A deferred access is waited
 * for: devices go on and answer it. Again before events.parked: nothing more happens.
 */
void vm_pause(struct vm *vm);
/* Parked only. All vCPU and interrupt chip state back to what vm_create made; doorbells, vectors
 * and routes stay (they are the devices'). */
must_check int vm_reset(struct vm *vm, struct err *err);
/*
 * Ends the vCPU threads from any state, also where a vCPU waits for a deferred access; events.ended
 * follows once every deferred access was answered, so the devices are drained after this call.
 */
void vm_stop(struct vm *vm);

/* The chips as devices see them; valid until vm_destroy. */
struct irq_line vm_irq_line(struct vm *vm, uint32_t gsi);
struct msi_chip vm_msi_chip(struct vm *vm);
struct doorbell_chip vm_doorbell_chip(struct vm *vm);

/* What exits cost. Counted by the vCPU thread; a read sees each counter whole, not all of one
 * moment. */
struct vcpu_stats {
    uint64_t exits; /* returns of KVM_RUN */
    uint64_t port_exits;
    uint64_t mmio_exits;
    uint64_t signal_exits;
    uint64_t other_exits;
    uint64_t spin_hits;   /* replies that came during the spin */
    uint64_t spin_misses; /* spins given up */
    uint64_t sleeps;      /* waits that slept, with or without a spin before */
    uint64_t deferred;    /* accesses that the device answered later */
};

/* vcpu_index < the count of the configuration. Any thread. */
void vm_stats_read(const struct vm *vm, uint32_t vcpu_index, struct vcpu_stats *stats);
/* One line per vCPU: counters, and what it is doing. */
void vm_dump(const struct vm *vm, FILE *out);
