/*
 * Exit statuses of the ringvm command. Scripts rely on the numbers: they are in the manual and
 * never change. Those that crosvm has too are the same as there.
 */
#pragma once

enum exit_status {
    EXIT_POWERED_OFF = 0, /* the guest powered itself off (ACPI S5) */
    EXIT_HOST_ERROR =
        1, /* the host's side failed: something could not be opened, set up or continued */
    EXIT_STOPPED = 31,     /* from outside: a signal, the terminal's escape, the control socket */
    EXIT_RESET_I8042 = 32, /* with --exit-on-reset: reset by the keyboard controller, as Linux does
                              it by default */
    EXIT_CRASH = 33, /* a vCPU stopped in a way that no guest asked for: internal error, failed
                        entry, unknown exit */
    EXIT_GUEST_PANIC = 34, /* the guest said through pvpanic that it panicked, and then ended */
    EXIT_BAD_ARGUMENTS = 35,
    EXIT_RESET_CF9 = 36,          /* with --exit-on-reset: port 0xcf9 */
    EXIT_RESET_ACPI = 37,         /* with --exit-on-reset: ACPI reset register */
    EXIT_RESET_TRIPLE_FAULT = 38, /* with --exit-on-reset: triple fault */
    EXIT_RESET_PSCI = 39,         /* with --exit-on-reset: PSCI SYSTEM_RESET, on aarch64 */
    EXIT_HUNG = 40, /* told to end twice, or the host's disk does not answer: not ended in order */
};
