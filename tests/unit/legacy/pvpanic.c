#include "legacy/pvpanic.h"

#include <criterion/criterion.h>
#include <errno.h>

#define PORT 0x505

static unsigned reports[MACHINE_REPORT_COUNT];

static void report(void *arg, enum machine_report report)
{
    (void)arg;
    reports[report]++;
}

static void port_write(struct bus *bus, uint8_t value)
{
    struct bus_access access = {.addr = PORT, .size = 1, .value = value, .is_write = true};

    cr_assert_eq(bus_dispatch(bus, &access), BUS_DONE);
}

Test(pvpanic, each_event_is_reported_as_itself)
{
    struct bus_access read = {.addr = PORT, .size = 1};
    struct pvpanic_config config = {.base = PORT, .machine = {.report = report}};
    struct pvpanic *pvpanic;

    cr_assert_eq(bus_create(&config.bus, "port", NULL), 0);
    cr_assert_eq(pvpanic_create(&pvpanic, &config, NULL), 0);
    cr_assert_eq(bus_dispatch(config.bus, &read), BUS_DONE);
    cr_assert_eq(read.value, 7, "what is understood");
    port_write(config.bus, 1);
    cr_assert(reports[MACHINE_PANICKED] == 1 && reports[MACHINE_CRASH_LOADED] == 0);
    port_write(config.bus, 2);
    cr_assert_eq(reports[MACHINE_CRASH_LOADED], 1);
    port_write(config.bus, 4);
    cr_assert_eq(reports[MACHINE_SHUT_DOWN], 1);
    port_write(config.bus, 0);
    port_write(config.bus, 0xf8);
    port_write(config.bus, 0xff);
    cr_assert_eq(reports[MACHINE_PANICKED], 2, "one report for one write");
    cr_assert(reports[MACHINE_CRASH_LOADED] == 1 && reports[MACHINE_SHUT_DOWN] == 1);
    pvpanic_destroy(pvpanic);
    cr_assert_eq(bus_dispatch(config.bus, &read), BUS_DONE);
    cr_assert_eq(read.value, 0xff);
    bus_destroy(config.bus);
}

Test(pvpanic, taken_port_is_reported)
{
    struct pvpanic_config config = {.base = PORT, .machine = {.report = report}};
    struct pvpanic *first, *second;
    struct err err;

    cr_assert_eq(bus_create(&config.bus, "port", NULL), 0);
    cr_assert_eq(pvpanic_create(&first, &config, NULL), 0);
    cr_assert_eq(pvpanic_create(&second, &config, &err), -EEXIST);
    cr_assert(strstr(err.text, "pvpanic"), "%s", err.text);
    pvpanic_destroy(first);
    bus_destroy(config.bus);
}
