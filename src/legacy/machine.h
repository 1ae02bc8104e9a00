/*
 * How the guest ends or reports: what its chips tell the machine. A device calls report from inside
 * the guest's access, on the executor thread; the machine acts on it later (it stops the vCPUs and
 * resets the devices), so a device may be told to reset only after its access has returned.
 */
#pragma once

enum machine_report {
    MACHINE_RESET_I8042,  /* pulse on the reset line by the keyboard controller */
    MACHINE_RESET_CF9,    /* reset control register, port 0xcf9 */
    MACHINE_RESET_ACPI,   /* ACPI reset register */
    MACHINE_POWER_OFF,    /* ACPI S5 */
    MACHINE_PANICKED,     /* pvpanic: the guest panicked */
    MACHINE_CRASH_LOADED, /* pvpanic: it panicked, and starts a crash kernel by itself */
    MACHINE_SHUT_DOWN,    /* pvpanic: an orderly shutdown that cannot power off otherwise */
    MACHINE_REPORT_COUNT,
};

struct machine {
    void (*report)(void *arg, enum machine_report report);
    void *arg;
};
