#include "legacy/pm.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "legacy/alarm.h"

/* ACPI 6.4, 4.8.3.1 and 4.8.3.2. */
enum {
    /* Status, and at the same places the enable bits. */
    EVENT_TIMER = 1 << 0,
    EVENT_GLOBAL = 1 << 5,
    EVENT_POWER_BUTTON = 1 << 8,
    /* Never raised (FADT flag FIX_RTC), but Linux enables it without asking, and complains when
     * that does not stick. */
    EVENT_RTC = 1 << 10,
    EVENT_MASK = EVENT_TIMER | EVENT_GLOBAL | EVENT_POWER_BUTTON | EVENT_RTC,

    CONTROL_SCI_ENABLE = 1 << 0,
    CONTROL_BUS_MASTER_RELOAD = 1 << 1,
    CONTROL_SLEEP_TYPE_SHIFT = 10,
    CONTROL_SLEEP_TYPE_MASK = 7 << CONTROL_SLEEP_TYPE_SHIFT,
    CONTROL_SLEEP_ENABLE = 1 << 13, /* write-only */

    TIMER_HZ = 3579545,
    TIMER_TOGGLE_SHIFT = 31, /* TMR_STS is set whenever the top bit changes */
};

struct pm {
    struct bus_range range;
    struct pm_config config;
    struct alarm alarm; /* sets TMR_STS while somebody wants the interrupt */
    bool sci_level;
    uint64_t toggles; /* of the timer's top bit that TMR_STS knows of */
    uint16_t status, enable, control;
};

/* ---- power management timer ---- */

static uint64_t now_ns(const struct pm *pm)
{
    return pm->config.now_ns ? pm->config.now_ns(pm->config.now_arg) : clock_now_ns();
}

static uint64_t timer_ticks(uint64_t ns)
{
    return (uint64_t)((unsigned __int128)ns * TIMER_HZ / NS_PER_S);
}

/* The first nanosecond at which the timer has counted to `ticks`. */
static uint64_t timer_ns(uint64_t ticks)
{
    return (uint64_t)(((unsigned __int128)ticks * NS_PER_S + TIMER_HZ - 1) / TIMER_HZ);
}

static void sci_update(struct pm *pm)
{
    bool level = pm->status & pm->enable;

    if (level != pm->sci_level)
        irq_line_set(&pm->config.sci, level);
    pm->sci_level = level;
}

/* Brings TMR_STS up to date, and looks ahead only while its interrupt is wanted. */
static void events_update(struct pm *pm)
{
    uint64_t now = now_ns(pm), toggles = timer_ticks(now) >> TIMER_TOGGLE_SHIFT;

    if (toggles != pm->toggles)
        pm->status |= EVENT_TIMER;
    pm->toggles = toggles;
    if (pm->enable & ~pm->status & EVENT_TIMER)
        alarm_set(&pm->alarm, clock_now_ns() + timer_ns((toggles + 1) << TIMER_TOGGLE_SHIFT) - now);
    else
        alarm_clear(&pm->alarm);
    sci_update(pm);
}

static void alarm_ring(struct alarm *alarm)
{
    events_update(container_of(alarm, struct pm, alarm));
}

/* ---- registers ---- */

/* Both bytes of a register that can do something lie in one byte each, so writes of any width are
 * taken byte by byte. */
static void control_write(struct pm *pm, unsigned shift, uint8_t value)
{
    uint16_t written = (uint16_t)(value << shift);
    uint16_t kept = CONTROL_BUS_MASTER_RELOAD | CONTROL_SLEEP_TYPE_MASK;
    uint16_t mask = (uint16_t)(kept & 0xff << shift);

    pm->control = (uint16_t)((pm->control & ~mask) | (written & mask));
    if (written & CONTROL_SLEEP_ENABLE &&
        (written & CONTROL_SLEEP_TYPE_MASK) >> CONTROL_SLEEP_TYPE_SHIFT == pm->config.sleep_type_s5)
        pm->config.machine.report(pm->config.machine.arg, MACHINE_POWER_OFF);
}

static void byte_write(struct pm *pm, uint64_t offset, uint8_t value)
{
    unsigned shift = offset % 2 * 8;

    switch (offset & ~1ULL) {
    case PM_PM1_STATUS:
        pm->status &= (uint16_t) ~(value << shift);
        break;
    case PM_PM1_ENABLE:
        pm->enable &= (uint16_t) ~(0xff << shift);
        pm->enable |= (uint16_t)(value << shift & EVENT_MASK);
        break;
    case PM_PM1_CONTROL:
        control_write(pm, shift, value);
        break;
    case PM_RESET:
        if (offset == PM_RESET && value == PM_RESET_VALUE)
            pm->config.machine.report(pm->config.machine.arg, MACHINE_RESET_ACPI);
        break;
    }
}

static uint64_t registers_read(const struct pm *pm, uint64_t offset, uint8_t size)
{
    struct {
        uint16_t status, enable, control, reserved;
        uint32_t timer;
        uint8_t reset[PM_PORT_COUNT - PM_RESET];
    } image = {
        .status = pm->status,
        .enable = pm->enable,
        .control = pm->control | CONTROL_SCI_ENABLE,
        .timer = (uint32_t)timer_ticks(now_ns(pm)),
    };
    uint64_t value = 0;

    _Static_assert(sizeof(image) == PM_PORT_COUNT && offsetof(__typeof__(image), timer) == PM_TIMER,
                   "the image is the ports");
    memcpy(&value, (const uint8_t *)&image + offset, size);
    return value;
}

static enum bus_verdict pm_access(struct bus_range *range, struct bus_access *access)
{
    struct pm *pm = container_of(range, struct pm, range);

    events_update(pm);
    if (!access->is_write) {
        access->value = registers_read(pm, access->offset, access->size);
        return BUS_DONE;
    }
    for (uint8_t i = 0; i < access->size; i++)
        byte_write(pm, access->offset + i, (uint8_t)(access->value >> (8 * i)));
    events_update(pm);
    return BUS_DONE;
}

static const struct bus_range_ops pm_range_ops = {.access = pm_access};

/* ---- the chip ---- */

int pm_press_power_button(struct pm *pm)
{
    pm->status |= EVENT_POWER_BUTTON;
    sci_update(pm);
    return pm->enable & EVENT_POWER_BUTTON ? 0 : -EAGAIN;
}

void pm_reset(struct pm *pm)
{
    pm->status = pm->enable = pm->control = 0;
    events_update(pm);
}

int pm_create(struct pm **out, const struct pm_config *config, struct err *err)
{
    struct pm *pm = calloc(1, sizeof(*pm));
    int ret;

    if (!pm)
        return err_set(err, -ENOMEM, "ACPI power management: out of memory");
    pm->config = *config;
    pm->alarm = (struct alarm){.executor = config->executor, .ring = alarm_ring};
    pm->toggles = timer_ticks(now_ns(pm)) >> TIMER_TOGGLE_SHIFT;
    pm->range = (struct bus_range){
        .ops = &pm_range_ops,
        .name = "ACPI power management",
        .base = config->base,
        .len = PM_PORT_COUNT,
    };
    ret = bus_add(config->bus, &pm->range, err);
    if (ret) {
        free(pm);
        return ret;
    }
    *out = pm;
    return 0;
}

void pm_stop(struct pm *pm)
{
    alarm_clear(&pm->alarm);
}

void pm_destroy(struct pm *pm)
{
    if (!pm)
        return;
    CHECK(!pm->alarm.is_spawned);
    bus_remove(pm->config.bus, &pm->range);
    free(pm);
}
