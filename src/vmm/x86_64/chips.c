/* What a PC has beside PCI: serial ports, keyboard controller, clock, power management, panic and
 * debug ports. */
#include <errno.h>
#include <stdlib.h>

#include "base/arith.h"
#include "base/log.h"
#include "legacy/debugcon.h"
#include "legacy/i8042.h"
#include "legacy/irq_share.h"
#include "legacy/pm.h"
#include "legacy/pvpanic.h"
#include "legacy/reset_control.h"
#include "legacy/rtc.h"
#include "legacy/serial.h"
#include "mem/layout.h"
#include "vmm/guest_private.h"

struct chips {
    struct irq_share com_irqs[2]; /* COM1 with COM3, COM2 with COM4 */
    struct serial *serials[CONFIG_COM_COUNT];
    struct debugcon *debugcon;
    struct i8042 *i8042;
    struct rtc *rtc;
    struct pm *pm;
    struct pvpanic *pvpanic;
    struct reset_control reset_control;
};

static int serials_create(struct guest *guest, struct chips *chips, struct err *err)
{
    static const struct {
        const char *name;
        uint64_t base;
    } ports[CONFIG_COM_COUNT] = {
        {"COM1", LAYOUT_PORT_COM1},
        {"COM2", LAYOUT_PORT_COM2},
        {"COM3", LAYOUT_PORT_COM3},
        {"COM4", LAYOUT_PORT_COM4},
    };

    chips->com_irqs[0].output = vm_irq_line(guest->vm, LAYOUT_IRQ_COM1_COM3);
    chips->com_irqs[1].output = vm_irq_line(guest->vm, LAYOUT_IRQ_COM2_COM4);
    for (unsigned i = 0; i < CONFIG_COM_COUNT; i++) {
        const struct serial_config config = {
            .name = ports[i].name,
            .executor = guest->host.executor,
            .bus = guest->port_bus,
            .base = ports[i].base,
            .irq = irq_share_input(&chips->com_irqs[i % 2], i / 2),
            .chardev = streams_find(guest, SERIAL_HW_16550, i + 1),
        };
        int ret = serial_create(&chips->serials[i], &config, err);

        if (ret)
            return ret;
    }
    return 0;
}

static int debugcon_part_create(struct guest *guest, struct chips *chips, struct err *err)
{
    const struct debugcon_config config = {
        .bus = guest->port_bus,
        .port = LAYOUT_PORT_DEBUGCON,
        .chardev = streams_find(guest, SERIAL_HW_DEBUGCON, 1),
    };

    return config.chardev ? debugcon_create(&chips->debugcon, &config, err) : 0;
}

static int rtc_part_create(struct guest *guest, struct chips *chips, struct err *err)
{
    uint64_t mem_size = guest->host.config->mem_size;
    const struct rtc_config config = {
        .executor = guest->host.executor,
        .bus = guest->port_bus,
        .base = LAYOUT_PORT_RTC,
        .irq = vm_irq_line(guest->vm, LAYOUT_IRQ_RTC),
        .mem_below_4g = u64_min(mem_size, LAYOUT_GAP_BASE),
        .mem_above_4g = mem_size - u64_min(mem_size, LAYOUT_GAP_BASE),
    };

    return rtc_create(&chips->rtc, &config, err);
}

static int ends_create(struct guest *guest, struct chips *chips, struct err *err)
{
    const struct machine machine = {.report = lifecycle_report, .arg = guest};
    const struct i8042_config i8042_config = {
        .bus = guest->port_bus,
        .data_port = LAYOUT_PORT_I8042_DATA,
        .command_port = LAYOUT_PORT_I8042_COMMAND,
        .irq = vm_irq_line(guest->vm, LAYOUT_IRQ_KEYBOARD),
        .machine = machine,
    };
    const struct pm_config pm_config = {
        .executor = guest->host.executor,
        .bus = guest->port_bus,
        .base = LAYOUT_PORT_PM_BASE,
        .sci = vm_irq_line(guest->vm, LAYOUT_IRQ_SCI),
        .sleep_type_s5 = LAYOUT_SLEEP_TYPE_S5,
        .machine = machine,
    };
    const struct pvpanic_config pvpanic_config = {
        .bus = guest->port_bus, .base = LAYOUT_PORT_PVPANIC, .machine = machine};
    int ret;

    reset_control_init(&chips->reset_control, machine);
    ret = i8042_create(&chips->i8042, &i8042_config, err);
    if (!ret)
        ret = pm_create(&chips->pm, &pm_config, err);
    if (!ret)
        ret = pvpanic_create(&chips->pvpanic, &pvpanic_config, err);
    return ret;
}

int chips_create(struct guest *guest, struct err *err)
{
    struct chips *chips = calloc(1, sizeof(*chips));
    int ret;

    if (!chips)
        return err_set(err, -ENOMEM, "out of memory");
    guest->chips = chips;
    ret = serials_create(guest, chips, err);
    if (!ret)
        ret = debugcon_part_create(guest, chips, err);
    if (!ret)
        ret = rtc_part_create(guest, chips, err);
    if (!ret)
        ret = ends_create(guest, chips, err);
    return ret;
}

void chips_stop(struct guest *guest)
{
    for (unsigned i = 0; i < CONFIG_COM_COUNT; i++)
        serial_stop(guest->chips->serials[i]);
    rtc_stop(guest->chips->rtc);
    pm_stop(guest->chips->pm);
}

void chips_destroy(struct guest *guest)
{
    struct chips *chips = guest->chips;

    if (!chips)
        return;
    pvpanic_destroy(chips->pvpanic);
    pm_destroy(chips->pm);
    i8042_destroy(chips->i8042);
    rtc_destroy(chips->rtc);
    debugcon_destroy(chips->debugcon);
    for (unsigned i = 0; i < CONFIG_COM_COUNT; i++)
        serial_destroy(chips->serials[i]);
    free(chips);
}

int chips_reset(struct guest *guest, struct err *err)
{
    struct chips *chips = guest->chips;

    (void)err;
    for (unsigned i = 0; i < CONFIG_COM_COUNT; i++)
        serial_reset(chips->serials[i]);
    rtc_reset(chips->rtc);
    i8042_reset(chips->i8042);
    pm_reset(chips->pm);
    reset_control_reset(&chips->reset_control);
    return 0;
}

void guest_press_power_button(struct guest *guest)
{
    if (pm_press_power_button(guest->chips->pm))
        log_warn("the guest does not listen to its power button");
}

struct bus_range *chips_reset_control(struct guest *guest)
{
    return &guest->chips->reset_control.range;
}
