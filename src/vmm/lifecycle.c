/*
 * The life of a guest, as one task:
 *
 *     running -> (end asked for) -> vCPUs parked -> devices drained -.-> reset, load, running ...
 * reboot
 *                                                                   `-> vCPUs ended -> done
 *
 * After "drained" nothing touches guest memory. A device is drained when the host has answered all
 * that it asked; a disk of the host that hangs may never do so, and a vCPU that waits for such a
 * device, since it resets it, may never park.
 */
#include <stdio.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "vmm/guest_private.h"

enum lifecycle_state {
    RUNNING = 1,
    PARKING,
    PARKING_OVERDUE,
    DRAINING,
    DRAINING_OVERDUE,
    ENDING,
    FLUSHING,
    LIFECYCLE_STATE_COUNT
};

/*
 * So long may pass in which the host's disks answer nothing. One that is slow but answers may take
 * its time for all that it was asked. A single flush that takes longer is cut off, which loses
 * nothing: it was not acknowledged, and what it is for is in the host's care and still gets
 * written.
 */
#define PATIENCE_NS (10 * NS_PER_S)

static const char *const state_names[LIFECYCLE_STATE_COUNT] = {
    "starting", "running",           "parking", "parking, overdue",
    "draining", "draining, overdue", "ending",  "flushing"};

void lifecycle_end(struct guest *guest, enum exit_status end)
{
    if (guest->is_ending)
        return;
    guest->is_ending = true;
    guest->end = end;
    /* From inside a device's access: not one more instruction of the guest runs. */
    vm_pause(guest->vm);
    task_wake(&guest->lifecycle);
}

void lifecycle_report(void *arg, enum machine_report report)
{
    static const enum exit_status ends[MACHINE_REPORT_COUNT] = {
        [MACHINE_RESET_I8042] = EXIT_RESET_I8042, [MACHINE_RESET_CF9] = EXIT_RESET_CF9,
        [MACHINE_RESET_ACPI] = EXIT_RESET_ACPI,   [MACHINE_POWER_OFF] = EXIT_POWERED_OFF,
        [MACHINE_PANICKED] = EXIT_GUEST_PANIC,    [MACHINE_SHUT_DOWN] = EXIT_POWERED_OFF,
    };

    /* The guest goes on by itself with its crash kernel. */
    if (report != MACHINE_CRASH_LOADED)
        lifecycle_end(arg, ends[report]);
}

static bool end_is_reset(enum exit_status end)
{
    return end == EXIT_RESET_I8042 || end == EXIT_RESET_CF9 || end == EXIT_RESET_ACPI ||
           end == EXIT_RESET_TRIPLE_FAULT || end == EXIT_RESET_PSCI;
}

static bool will_restart(const struct guest *guest)
{
    return end_is_reset(guest->end) && !guest->host.config->exit_on_reset;
}

static void give_up(struct guest *guest)
{
    char what[128], detail[256] = "told to end twice; ended without waiting for its vCPUs";

    if (slots_print_undrained(guest, what, sizeof(what)))
        snprintf(detail, sizeof(detail),
                 "%s: the host does not answer the guest's requests; ended without waiting for it",
                 what);
    guest->host.hung(guest->host.arg, detail);
}

static void patience_begin(struct guest *guest)
{
    guest->in_flight = slots_in_flight(guest);
    timer_sleep(&guest->patience, &guest->lifecycle, PATIENCE_NS);
}

/* With disks: a vCPU that waits for none of them parks, however long that takes a busy host. */
static bool patience_has_ended(struct guest *guest)
{
    char what[128];

    if (!timer_has_fired(&guest->patience))
        return false;
    if (slots_in_flight(guest) == guest->in_flight &&
        slots_print_undrained(guest, what, sizeof(what)))
        return true;
    patience_begin(guest);
    return false;
}

/* A guest that reboots has to wait: the host may still write to its memory. */
static void complain(struct guest *guest)
{
    char what[128];

    if (!will_restart(guest))
        give_up(guest);
    else if (slots_print_undrained(guest, what, sizeof(what)))
        log_limited(&guest->log_limit, LOG_WARN,
                    "%s: the host does not answer the guest's requests; it reboots when it has",
                    what);
}

static bool is_overdue(const struct guest *guest)
{
    return guest->lifecycle.state == PARKING_OVERDUE || guest->lifecycle.state == DRAINING_OVERDUE;
}

void guest_stop(struct guest *guest)
{
    uint64_t now_ns = clock_now_ns();

    if (guest->stopped_ns && now_ns - guest->stopped_ns < GUEST_STOP_REPEAT_NS)
        return;
    if (guest->stopped_ns || is_overdue(guest))
        give_up(guest);
    guest->stopped_ns = now_ns;
    /* Or a guest that is about to restart would never hear of it. */
    if (guest->is_ending && end_is_reset(guest->end))
        guest->end = EXIT_STOPPED;
    lifecycle_end(guest, EXIT_STOPPED);
}

static void vcpu_stopped(void *arg, uint32_t vcpu_index, enum vm_stop_reason reason,
                         const char *detail)
{
    struct guest *guest = arg;

    if (guest->is_ending)
        return;
    if (vm_stop_reason_is_crash(reason))
        err_set(&guest->detail, 0, "vCPU %u: %s: %s", vcpu_index, vm_stop_reason_name(reason),
                detail);
    switch (reason) {
    case VM_STOP_TRIPLE_FAULT:
        lifecycle_end(guest, EXIT_RESET_TRIPLE_FAULT);
        break;
    case VM_STOP_SYSTEM_OFF:
        lifecycle_end(guest, EXIT_POWERED_OFF);
        break;
    case VM_STOP_SYSTEM_RESET:
        lifecycle_end(guest, EXIT_RESET_PSCI);
        break;
    default:
        lifecycle_end(guest, EXIT_CRASH);
        break;
    }
}

static void vcpus_parked(void *arg)
{
    struct guest *guest = arg;

    guest->is_parked = true;
    task_wake(&guest->lifecycle);
}

static void vcpus_ended(void *arg)
{
    struct guest *guest = arg;

    guest->is_ended = true;
    task_wake(&guest->lifecycle);
}

const struct vm_events lifecycle_vm_events = {
    .stopped = vcpu_stopped,
    .parked = vcpus_parked,
    .ended = vcpus_ended,
};

static void one_drained(void *arg)
{
    struct guest *guest = arg;

    CHECK_CMP(guest->draining, >, 0U);
    if (--guest->draining == 0)
        task_wake(&guest->lifecycle);
}

static void devices_drain(struct guest *guest)
{
    guest->draining = 0;
    slots_drain(guest, one_drained);
}

/* The same guest from its first instruction on; false when that fails, which ends it. */
static bool restart(struct guest *guest)
{
    /* Some kernels reboot so on purpose; mostly it is a kernel or a host that is broken. */
    bool faulted = guest->end == EXIT_RESET_TRIPLE_FAULT;
    int ret = guest_reset(guest, &guest->detail);

    if (!ret)
        ret = loader_load(guest, &guest->detail);
    if (ret) {
        guest->end = EXIT_HOST_ERROR;
        return false;
    }
    log_limited(&guest->log_limit, faulted ? LOG_WARN : LOG_INFO, "the guest reboots%s",
                faulted ? " after a triple fault" : "");
    guest->is_ending = false;
    guest->is_parked = false;
    vm_resume(guest->vm);
    return true;
}

static enum task_verdict lifecycle_poll(struct task *task)
{
    struct guest *const guest = container_of(task, struct guest, lifecycle);

    ASYNC_BEGIN(task)
        ;
        do {
            AWAIT(task, RUNNING, guest->is_ending);
            patience_begin(guest);
            AWAIT(task, PARKING, guest->is_parked || patience_has_ended(guest));
            if (!guest->is_parked) {
                complain(guest);
                AWAIT(task, PARKING_OVERDUE, guest->is_parked);
            }
            devices_drain(guest);
            patience_begin(guest);
            AWAIT(task, DRAINING, guest->draining == 0 || patience_has_ended(guest));
            timer_cancel(&guest->patience);
            if (guest->draining) {
                complain(guest);
                AWAIT(task, DRAINING_OVERDUE, guest->draining == 0);
            }
        } while (will_restart(guest) && restart(guest));
        vm_stop(guest->vm);
        AWAIT(task, ENDING, guest->is_ended);
        chips_stop(guest);
        streams_drain(guest, one_drained);
        AWAIT(task, FLUSHING, guest->draining == 0);
        ASYNC_END(task);
}

static void lifecycle_done(struct task *task)
{
    struct guest *guest = container_of(task, struct guest, lifecycle);

    guest->host.ended(guest->host.arg);
}

static const struct task_type lifecycle_type = {
    .name = "lifecycle",
    .poll = lifecycle_poll,
    .done = lifecycle_done,
    .state_names = state_names,
    .state_count = LIFECYCLE_STATE_COUNT,
};

int guest_start(struct guest *guest, struct err *err)
{
    int ret = loader_load(guest, err);

    if (ret)
        return ret;
    ret = vm_start(guest->vm, err);
    if (ret)
        return ret;
    streams_start(guest);
    task_spawn(&guest->lifecycle, guest->host.executor, &lifecycle_type);
    vm_resume(guest->vm);
    return 0;
}

enum exit_status guest_end(const struct guest *guest, const char **detail)
{
    *detail = guest->detail.text;
    return guest->end;
}
