/* What the machine has beside PCI: serial ports, a clock, a place to say that it panicked. It ends
 * through PSCI, which is KVM's. */
#include <errno.h>
#include <stdlib.h>

#include "base/log.h"
#include "kvm/aarch64/entry.h"
#include "legacy/gicv2m.h"
#include "legacy/pl031.h"
#include "legacy/pvpanic.h"
#include "legacy/serial.h"
#include "mem/layout.h"
#include "vmm/guest_private.h"

struct chips {
    struct serial *serials[CONFIG_COM_COUNT];
    struct pl031 *rtc;
    struct pvpanic *pvpanic;
    struct gicv2m *gicv2m; /* NULL: not beside this interrupt controller */
};
_Static_assert((int)CONFIG_COM_COUNT == (int)LAYOUT_SERIAL_COUNT, "a place for each serial port");

static int serials_create(struct guest *guest, struct chips *chips, struct err *err)
{
    static const char *const names[CONFIG_COM_COUNT] = {"serial1", "serial2", "serial3", "serial4"};

    for (unsigned i = 0; i < CONFIG_COM_COUNT; i++) {
        const struct serial_config config = {
            .name = names[i],
            .executor = guest->host.executor,
            .bus = guest->mmio_bus,
            .base = LAYOUT_SERIAL_BASE + i * LAYOUT_SERIAL_STRIDE,
            .irq = vm_irq_line(guest->vm, LAYOUT_GSI_SERIAL + i),
            .chardev = streams_find(guest, SERIAL_HW_16550, i + 1),
        };
        int ret = serial_create(&chips->serials[i], &config, err);

        if (ret)
            return ret;
    }
    return 0;
}

static int rtc_create(struct guest *guest, struct chips *chips, struct err *err)
{
    const struct pl031_config config = {
        .executor = guest->host.executor,
        .bus = guest->mmio_bus,
        .base = LAYOUT_RTC_BASE,
        .irq = vm_irq_line(guest->vm, LAYOUT_GSI_RTC),
    };

    return pl031_create(&chips->rtc, &config, err);
}

static int pvpanic_part_create(struct guest *guest, struct chips *chips, struct err *err)
{
    const struct pvpanic_config config = {.bus = guest->mmio_bus,
                                          .base = LAYOUT_PVPANIC_BASE,
                                          .machine = {.report = lifecycle_report, .arg = guest}};

    return pvpanic_create(&chips->pvpanic, &config, err);
}

static int gicv2m_part_create(struct guest *guest, struct chips *chips, struct err *err)
{
    const struct gicv2m_config config = {.bus = guest->mmio_bus,
                                         .msi = vm_msi_chip(guest->vm),
                                         .base = LAYOUT_GIC_V2M_BASE,
                                         .spi_base = LAYOUT_SPI_BASE + LAYOUT_GSI_V2M_BASE,
                                         .spi_count = LAYOUT_GSI_V2M_COUNT};

    return vm_gic(guest->vm) == VM_GIC_V2 ? gicv2m_create(&chips->gicv2m, &config, err) : 0;
}

int chips_create(struct guest *guest, struct err *err)
{
    struct chips *chips = calloc(1, sizeof(*chips));
    int ret;

    if (!chips)
        return err_set(err, -ENOMEM, "out of memory");
    guest->chips = chips;
    if (streams_find(guest, SERIAL_HW_DEBUGCON, 1))
        return err_set(err, -EINVAL,
                       "--serial: hardware=debugcon is a port of x86_64; choose another");
    ret = serials_create(guest, chips, err);
    if (!ret)
        ret = rtc_create(guest, chips, err);
    if (!ret)
        ret = pvpanic_part_create(guest, chips, err);
    if (!ret)
        ret = gicv2m_part_create(guest, chips, err);
    return ret;
}

void chips_stop(struct guest *guest)
{
    for (unsigned i = 0; i < CONFIG_COM_COUNT; i++)
        serial_stop(guest->chips->serials[i]);
    pl031_stop(guest->chips->rtc);
}

void chips_destroy(struct guest *guest)
{
    struct chips *chips = guest->chips;

    if (!chips)
        return;
    gicv2m_destroy(chips->gicv2m);
    pvpanic_destroy(chips->pvpanic);
    pl031_destroy(chips->rtc);
    for (unsigned i = 0; i < CONFIG_COM_COUNT; i++)
        serial_destroy(chips->serials[i]);
    free(chips);
}

int chips_reset(struct guest *guest, struct err *err)
{
    (void)err;
    for (unsigned i = 0; i < CONFIG_COM_COUNT; i++)
        serial_reset(guest->chips->serials[i]);
    pl031_reset(guest->chips->rtc);
    return 0;
}

void guest_press_power_button(struct guest *guest)
{
    (void)guest;
    log_warn("this machine has no power button");
}

struct bus_range *chips_reset_control(struct guest *guest)
{
    (void)guest;
    return NULL;
}
