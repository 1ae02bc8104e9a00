#include "legacy/reset_control.h"

enum {
    PORT = 0xcf9,
    /* As in Intel's chipsets: the edge of RESET_CPU resets; SYSTEM_RESET and FULL_RESET say how
     * much, which makes no difference here. */
    SYSTEM_RESET = 1 << 1,
    RESET_CPU = 1 << 2,
    FULL_RESET = 1 << 3,
    STORED_MASK = SYSTEM_RESET | FULL_RESET,
};

static enum bus_verdict reset_control_access(struct bus_range *range, struct bus_access *access)
{
    struct reset_control *control = container_of(range, struct reset_control, range);

    if (!access->is_write) {
        access->value = control->value;
        return BUS_DONE;
    }
    control->value = access->value & STORED_MASK;
    if (access->value & RESET_CPU)
        control->machine.report(control->machine.arg, MACHINE_RESET_CF9);
    return BUS_DONE;
}

static const struct bus_range_ops reset_control_range_ops = {.access = reset_control_access};

void reset_control_init(struct reset_control *control, struct machine machine)
{
    *control = (struct reset_control){
        .range = {.ops = &reset_control_range_ops, .name = "reset control", .base = PORT, .len = 1},
        .machine = machine,
    };
}

void reset_control_reset(struct reset_control *control)
{
    control->value = 0;
}
