#include "vmm/run.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "chardev/terminal.h"
#include "exec/blocking.h"
#include "exec/executor.h"
#include "kvm/kvm.h"
#include "vmm/guest.h"
#include "vmm/options.h"
#include "vmm/signals.h"

/* What a run holds, in the order in which it is made. */
struct run {
    struct run_config config;
    struct executor *executor;
    struct blocking_pool *blocking;
    struct kvm *kvm;
    struct guest *guest;
    struct signals *signals;
};

static void signal_received(void *arg, int signal_number)
{
    struct run *run_state = arg;

    if (signal_number == SIGUSR1)
        guest_dump(run_state->guest, stderr);
    else if (signal_number == SIGPWR)
        guest_press_power_button(run_state->guest);
    else
        guest_stop(run_state->guest);
}

static void guest_ended(void *arg)
{
    struct run *run_state = arg;

    signals_stop(run_state->signals);
}

/* The kernel cleans up behind a process, in its own time. */
static void guest_hung(void *arg, const char *detail)
{
    (void)arg;
    terminal_restore();
    fprintf(stderr, "ringvm: %s\n", detail);
    _exit(EXIT_HUNG);
}

static bool takes_terminal(const struct run_config *config)
{
    for (size_t i = 0; i < config->serial_count; i++)
        if (config->serials[i].takes_stdin)
            return true;
    return false;
}

static int run_set_up(struct run *run_state, struct err *err)
{
    const struct run_config *config = &run_state->config;
    const struct executor_config executor_config = {.poll_us_max = config->poll_us};
    const struct blocking_pool_config blocking_config = {.threads_max = 1, .idle_ns = NS_PER_S};
    struct guest_host host = {
        .config = config, .ended = guest_ended, .hung = guest_hung, .arg = run_state};
    int ret;

    ret = signals_create(&run_state->signals, err);
    if (ret)
        return ret;
    ret = kvm_open(&run_state->kvm, config->kvm_path, err);
    if (ret)
        return ret;
    ret = executor_create(&run_state->executor, &executor_config, err);
    if (ret)
        return ret;
    ret = blocking_pool_create(&run_state->blocking, &blocking_config, err);
    if (ret)
        return ret;
    host.kvm = run_state->kvm;
    host.executor = run_state->executor;
    host.blocking = run_state->blocking;
    ret = guest_create(&run_state->guest, &host, err);
    if (ret)
        return ret;
    ret = executor_bind(run_state->executor, err);
    if (!ret && takes_terminal(config))
        ret = terminal_raw(STDIN_FILENO, err);
    return ret;
}

static void run_tear_down(struct run *run_state)
{
    terminal_restore();
    guest_destroy(run_state->guest);
    /* No task is left, so its thread has nothing to do any more. */
    if (run_state->blocking)
        CHECK_CMP(blocking_pool_shutdown(run_state->blocking, UINT64_MAX), ==, 0);
    blocking_pool_destroy(run_state->blocking);
    executor_destroy(run_state->executor);
    kvm_close(run_state->kvm);
    signals_destroy(run_state->signals);
}

static enum exit_status run_guest(struct run *run_state, struct err *err)
{
    enum exit_status status;
    const char *detail;
    int ret = run_set_up(run_state, err);

    if (!ret)
        ret = guest_start(run_state->guest, err);
    if (ret)
        return EXIT_HOST_ERROR;
    signals_start(run_state->signals, run_state->executor, signal_received, run_state);
    ret = executor_run(run_state->executor);
    if (ret) {
        /* Without its executor nothing of the guest can be ended in order. */
        terminal_restore();
        fprintf(stderr, "ringvm: io_uring failed while the guest ran: %s\n", strerror(-ret));
        _exit(EXIT_HOST_ERROR);
    }
    status = guest_end(run_state->guest, &detail);
    err_set(err, 0, "%s", detail);
    return status;
}

/*
 * A caller that closed its standard descriptors would have a disk in their place, and our messages
 * in that. Each open takes the lowest number that is free.
 */
static int standard_fds_open(struct err *err)
{
    int fd;

    do {
        fd = open("/dev/null", O_RDWR);
        if (fd < 0)
            return err_set(err, -errno, "/dev/null: cannot open it: %s", strerror(errno));
    } while (fd <= STDERR_FILENO);
    close(fd);
    return 0;
}

enum exit_status run(int argc, char **argv)
{
    struct run run_state = {0};
    struct err err = {""};
    enum exit_status status;
    bool wants_help;

    if (standard_fds_open(&err)) {
        fprintf(stderr, "ringvm: %s\n", err.text);
        return EXIT_HOST_ERROR;
    }
    if (options_parse(argc, argv, &run_state.config, &wants_help, &err)) {
        fprintf(stderr, "ringvm: %s\n", err.text);
        return EXIT_BAD_ARGUMENTS;
    }
    if (wants_help) {
        options_print_help(stdout);
        return EXIT_POWERED_OFF;
    }
    log_set_level(run_state.config.log_level);
    /* A reader of our output that goes away is an error of that write, not the end of the guest. */
    signal(SIGPIPE, SIG_IGN);
    status = run_guest(&run_state, &err);
    run_tear_down(&run_state);
    if (*err.text)
        fprintf(stderr, "ringvm: %s\n", err.text);
    return status;
}
