/*
 * One guest: memory, buses, vCPUs and devices, wired together, and its life from the kernel's first
 * instruction to its end.
 *
 *     guest_create -> guest_start -> executor_run -> guest_end -> guest_destroy
 *
 * A reboot by the guest restarts it in place, inside executor_run, unless the options say
 * otherwise. Everything here: executor thread, or before it runs.
 */
#pragma once
#include <stdio.h>

#include "base/clock.h"
#include "base/compiler.h"
#include "base/err.h"
#include "exec/blocking.h"
#include "exec/executor.h"
#include "kvm/kvm.h"
#include "vmm/run_config.h"
#include "vmm/status.h"

struct guest;

/* What the guest runs on; all outlive the guest. */
struct guest_host {
    const struct run_config *config;
    struct executor *executor;
    struct blocking_pool *blocking; /* for system calls that wait */
    struct kvm *kvm;
    /* The guest has ended and all its tasks are done. */
    void (*ended)(void *arg);
    /* It cannot end in order, since the host does not answer; `detail` names the device. Only the
     * end of the process helps. */
    void (*hung)(void *arg, const char *detail);
    void *arg;
};

/* Opens everything that the options name: kernel, initrd, disks, taps, consoles. The caller owns
 * *out. */
must_check int guest_create(struct guest **out, const struct guest_host *host, struct err *err);
/* Not between guest_start and host->ended. NULL is allowed. */
void guest_destroy(struct guest *guest);

/* Loads the kernel and starts the vCPUs. */
must_check int guest_start(struct guest *guest, struct err *err);
/* One wish to end often comes twice: timeout(1) signals its child, then its process group. */
#define GUEST_STOP_REPEAT_NS (500 * NS_PER_MS)
/* Ends the guest from outside; EXIT_STOPPED unless it was ending for good already. The second time,
 * if that is later than a repeat, or after a while, host->hung. */
void guest_stop(struct guest *guest);

/* Asks the guest to power itself off, through ACPI. */
void guest_press_power_button(struct guest *guest);

/* What every task and every vCPU is doing, and what exits cost so far. */
void guest_dump(const struct guest *guest, FILE *out);

/* How the guest ended; valid after host->ended. `detail` is one line or empty, and lives as long as
 * the guest. */
enum exit_status guest_end(const struct guest *guest, const char **detail);
