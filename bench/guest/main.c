/* From a machine that is set up to the benchmark that the command line asks for, and the end. */
#include "clock.h"
#include "cmdline.h"
#include "console.h"
#include "guest.h"
#include "memory.h"

static struct boot_info boot_info;

void guest_main(uint64_t structure, bool is_linux);

static void finish(void)
{
    console_begin("end");
    console_end();
    power_off(&boot_info);
}

void guest_fail(const char *why)
{
    console_begin("error ");
    console_begin(why);
    console_end();
    power_off(&boot_info);
}

void guest_main(uint64_t structure, bool is_linux)
{
    const char *bench;

    console_begin("ringvm-bench-guest 1");
    console_end();
    boot_info_read(&boot_info, structure, is_linux);
    cmdline_init(boot_info.cmdline);
    memory_init(boot_info.ram_end);
    clock_init();
    bench = cmdline_find("bench");
    if (!bench)
        guest_fail("no bench=disk, net, exits or idle on the command line");
    if (cmdline_is(bench, "disk"))
        disk_run();
    else if (cmdline_is(bench, "exits"))
        exits_run();
    else if (cmdline_is(bench, "net"))
        net_run();
    else if (cmdline_is(bench, "idle"))
        idle_run();
    else
        guest_fail("bench= is not disk, net, exits or idle");
    finish();
}
