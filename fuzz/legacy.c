/*
 * Every legacy chip on one port bus, and accesses that the fuzzer chooses: port, width, value, and
 * now and then something from outside (a key, the power button, a reset, time going by).
 * Whatever comes, an access is answered at once, and afterwards the executor has nothing left to
 * do.
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "legacy/debugcon.h"
#include "legacy/i8042.h"
#include "legacy/irq_share.h"
#include "legacy/pm.h"
#include "legacy/pvpanic.h"
#include "legacy/rtc.h"
#include "legacy/serial.h"

enum { PORT_COM1, PORT_COM3, PORT_DEBUGCON, PORT_KBD, PORT_RTC, PORT_PM, PORT_PVPANIC, PORT_COUNT };

static const uint16_t ports[PORT_COUNT] = {0x3f8, 0x3e8, 0x402, 0x60, 0x70, 0x600, 0x505};

struct board {
    struct executor *executor;
    struct bus *bus;
    struct chardev *sink;
    struct irq_share share;
    struct serial *com1, *com3;
    struct debugcon *debugcon;
    struct i8042 *i8042;
    struct rtc *rtc;
    struct pm *pm;
    struct pvpanic *pvpanic;
    uint64_t now_ns;
    uint32_t lines; /* levels by gsi */
};

static void require(bool condition)
{
    if (!condition)
        abort();
}

static void line_set(void *chip, uint32_t gsi, bool level)
{
    struct board *board = chip;

    require(gsi < 16 && (board->lines >> gsi & 1) != level);
    board->lines ^= 1U << gsi;
}

static const struct irq_line_ops line_ops = {.set = line_set};

static void report(void *arg, enum machine_report report)
{
    (void)arg;
    require(report < MACHINE_REPORT_COUNT);
}

static uint64_t now_ns(void *arg)
{
    return ((struct board *)arg)->now_ns;
}

static struct irq_line line(struct board *board, uint32_t gsi)
{
    return (struct irq_line){.ops = &line_ops, .chip = board, .gsi = gsi};
}

static void serials_create(struct board *board)
{
    struct serial_config config = {.name = "COM1",
                                   .executor = board->executor,
                                   .bus = board->bus,
                                   .base = ports[PORT_COM1],
                                   .chardev = board->sink};

    board->share.output = line(board, 4);
    config.irq = irq_share_input(&board->share, 0);
    require(!serial_create(&board->com1, &config, NULL));
    config.name = "COM3";
    config.base = ports[PORT_COM3];
    config.chardev = NULL;
    config.irq = irq_share_input(&board->share, 1);
    require(!serial_create(&board->com3, &config, NULL));
}

static void board_create(struct board *board)
{
    const struct chardev_config sink = {.type = CHARDEV_SINK, .name = "sink"};
    const struct machine machine = {.report = report};

    require(!chardev_create(&board->sink, board->executor, &sink, NULL));
    require(!bus_create(&board->bus, "port", NULL));
    serials_create(board);
    require(!debugcon_create(&board->debugcon,
                             &(struct debugcon_config){.bus = board->bus,
                                                       .port = ports[PORT_DEBUGCON],
                                                       .chardev = board->sink},
                             NULL));
    require(!i8042_create(&board->i8042,
                          &(struct i8042_config){.bus = board->bus,
                                                 .data_port = ports[PORT_KBD],
                                                 .command_port = ports[PORT_KBD] + 4U,
                                                 .irq = line(board, 1),
                                                 .machine = machine},
                          NULL));
    require(!rtc_create(&board->rtc,
                        &(struct rtc_config){.executor = board->executor,
                                             .bus = board->bus,
                                             .base = ports[PORT_RTC],
                                             .irq = line(board, 8),
                                             .mem_below_4g = 1 << 30,
                                             .now_ns = now_ns,
                                             .now_arg = board},
                        NULL));
    require(!pm_create(&board->pm,
                       &(struct pm_config){.executor = board->executor,
                                           .bus = board->bus,
                                           .base = ports[PORT_PM],
                                           .sci = line(board, 9),
                                           .sleep_type_s5 = 5,
                                           .machine = machine,
                                           .now_ns = now_ns,
                                           .now_arg = board},
                       NULL));
    require(!pvpanic_create(&board->pvpanic,
                            &(struct pvpanic_config){
                                .bus = board->bus, .base = ports[PORT_PVPANIC], .machine = machine},
                            NULL));
}

static void board_reset(struct board *board)
{
    serial_reset(board->com1);
    serial_reset(board->com3);
    i8042_reset(board->i8042);
    rtc_reset(board->rtc);
    pm_reset(board->pm);
}

static void board_destroy(struct board *board)
{
    serial_stop(board->com1);
    serial_stop(board->com3);
    rtc_stop(board->rtc);
    pm_stop(board->pm);
    require(!executor_run(board->executor));
    board_reset(board);
    require(!(board->lines & ~(1U << 9)));
    require(!executor_run(board->executor));
    pvpanic_destroy(board->pvpanic);
    pm_destroy(board->pm);
    rtc_destroy(board->rtc);
    i8042_destroy(board->i8042);
    debugcon_destroy(board->debugcon);
    serial_destroy(board->com3);
    serial_destroy(board->com1);
    bus_destroy(board->bus);
    chardev_destroy(board->sink);
}

/* What does not come from the guest. */
static void outside(struct board *board, uint8_t what, uint32_t value)
{
    switch (what % 4) {
    case 0:
        require(i8042_ctrl_alt_del(board->i8042) <= 0);
        break;
    case 1:
        require(pm_press_power_button(board->pm) <= 0);
        break;
    case 2:
        board_reset(board);
        break;
    case 3:
        board->now_ns += (uint64_t)value << (what >> 2 & 15);
        break;
    }
}

struct step {
    uint8_t what; /* chip, or PORT_COUNT: from outside */
    uint8_t how;  /* bits 0 to 3: offset; 4 and 5: width; 6: write */
    uint32_t value;
} __attribute__((packed));

static void step_take(struct board *board, const struct step *step)
{
    unsigned chip = step->what % (PORT_COUNT + 1U);
    struct bus_access access = {
        .size = (uint8_t)(1 << (step->how >> 4 & 3)),
        .is_write = step->how >> 6 & 1,
        .value = step->value | (uint64_t)step->value << 32,
    };

    if (chip == PORT_COUNT) {
        outside(board, step->how, step->value);
        return;
    }
    access.addr = ports[chip] + (step->how & 15U);
    require(bus_dispatch(board->bus, &access) == BUS_DONE);
    require(access.size == 8 || access.is_write || !(access.value >> (8 * access.size)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct executor *executor;
    struct board board = {.now_ns = 1795231559ULL * NS_PER_S};
    struct step step;

    if (!executor) {
        log_set_level(LOG_ERROR);
        require(!executor_create(&executor, NULL, NULL));
    }
    board.executor = executor;
    board_create(&board);
    for (; size >= sizeof(step); data += sizeof(step), size -= sizeof(step)) {
        memcpy(&step, data, sizeof(step));
        step_take(&board, &step);
    }
    board_destroy(&board);
    return 0;
}
