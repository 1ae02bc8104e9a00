#include "legacy/i8042.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

/* Commands to the controller (IBM PS/2 Hardware Interface Technical Reference, keyboard and
 * auxiliary device controller). */
enum {
    CMD_READ_MODE = 0x20,
    CMD_WRITE_MODE = 0x60,
    CMD_AUX_DISABLE = 0xa7,
    CMD_AUX_ENABLE = 0xa8,
    CMD_AUX_TEST = 0xa9,
    CMD_SELF_TEST = 0xaa,
    CMD_KBD_TEST = 0xab,
    CMD_KBD_DISABLE = 0xad,
    CMD_KBD_ENABLE = 0xae,
    CMD_READ_OUTPUT_PORT = 0xd0,
    CMD_WRITE_OUTPUT_PORT = 0xd1,
    CMD_WRITE_KBD_OUTPUT = 0xd2, /* as if the keyboard had sent the byte; AUX likewise */
    CMD_WRITE_AUX_OUTPUT = 0xd3,
    CMD_WRITE_AUX = 0xd4,
    CMD_PULSE = 0xf0, /* to 0xff: pulls the output port's low bits that are 0 */

    SELF_TEST_PASSED = 0x55,
    KBD_TEST_PASSED = 0x00,
    AUX_TEST_NOBODY = 0x01, /* clock line stuck: there is no second port */

    STATUS_OUTPUT_FULL = 0x01,
    STATUS_SYSTEM = 0x04,
    STATUS_COMMAND = 0x08, /* the last write was to the command port */
    STATUS_NOT_LOCKED = 0x10,

    MODE_KBD_IRQ = 0x01,
    MODE_SYSTEM = 0x04,
    MODE_KBD_DISABLED = 0x10,
    MODE_AUX_DISABLED = 0x20,
    MODE_TRANSLATE = 0x40, /* scan codes of set 2 become those of set 1 */

    OUTPUT_NOT_RESET = 0x01,
    OUTPUT_A20 = 0x02,
    OUTPUT_KBD_FULL = 0x10,
};

/* Commands to the keyboard, and its answers. */
enum {
    KBD_SET_LEDS = 0xed,
    KBD_ECHO = 0xee,
    KBD_SCAN_CODE_SET = 0xf0,
    KBD_IDENTIFY = 0xf2,
    KBD_SET_RATE = 0xf3,
    KBD_ENABLE = 0xf4,
    KBD_DISABLE = 0xf5,
    KBD_DEFAULTS = 0xf6,
    KBD_RESEND = 0xfe,
    KBD_RESET = 0xff,

    KBD_ACK = 0xfa,
    KBD_TEST_PASSED_REPLY = 0xaa,
    KBD_SET_2 = 2,
    KBD_SET_2_TRANSLATED = 0x41,
};

enum { QUEUE_SIZE = 32 };

struct i8042 {
    struct bus_range data_range;
    struct bus_range command_range;
    struct bus *bus;
    struct irq_line irq;
    struct machine machine;

    /* What a reset clears. */
    struct i8042_state {
        uint8_t mode;
        uint8_t command;     /* of the controller, that takes the next data byte; 0: none */
        uint8_t kbd_command; /* of the keyboard, likewise */
        bool last_was_command;
        bool is_scanning;
        bool irq_level;
        uint8_t queue[QUEUE_SIZE]; /* what the guest will read, oldest first */
        uint8_t queue_first;
        uint8_t queue_count;
    } state;
};

static void irq_set(struct i8042 *i8042, bool level)
{
    if (level == i8042->state.irq_level)
        return;
    i8042->state.irq_level = level;
    irq_line_set(&i8042->irq, level);
}

static void update_irq(struct i8042 *i8042)
{
    irq_set(i8042, i8042->state.queue_count && i8042->state.mode & MODE_KBD_IRQ);
}

/* A guest that never reads loses what does not fit. */
static void queue_push(struct i8042 *i8042, uint8_t byte)
{
    struct i8042_state *state = &i8042->state;

    if (state->queue_count < QUEUE_SIZE)
        state->queue[(state->queue_first + state->queue_count++) % QUEUE_SIZE] = byte;
}

static void queue_push_all(struct i8042 *i8042, const uint8_t *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        queue_push(i8042, bytes[i]);
}

static uint8_t queue_pop(struct i8042 *i8042)
{
    struct i8042_state *state = &i8042->state;
    uint8_t byte = state->queue[state->queue_first];

    if (!state->queue_count)
        return byte; /* the last one once more, as the chip's buffer does */
    if (state->queue_count-- > 1)
        state->queue_first = (state->queue_first + 1) % QUEUE_SIZE;
    /* The line is edge triggered: each byte has its own edge. */
    irq_set(i8042, false);
    return byte;
}

static void machine_reset(struct i8042 *i8042)
{
    i8042->machine.report(i8042->machine.arg, MACHINE_RESET_I8042);
}

/* ---- keyboard ---- */

static void kbd_argument(struct i8042 *i8042, uint8_t command, uint8_t value)
{
    queue_push(i8042, KBD_ACK);
    if (command == KBD_SCAN_CODE_SET && !value)
        queue_push(i8042, i8042->state.mode & MODE_TRANSLATE ? KBD_SET_2_TRANSLATED : KBD_SET_2);
}

static void kbd_write(struct i8042 *i8042, uint8_t value)
{
    static const uint8_t identity[] = {KBD_ACK, 0xab, 0x83};
    static const uint8_t identity_translated[] = {KBD_ACK, 0xab, 0x41};
    static const uint8_t reset[] = {KBD_ACK, KBD_TEST_PASSED_REPLY};
    struct i8042_state *state = &i8042->state;
    uint8_t command = state->kbd_command;

    state->mode &= (uint8_t)~MODE_KBD_DISABLED;
    state->kbd_command = 0;
    if (command) {
        kbd_argument(i8042, command, value);
        return;
    }
    switch (value) {
    case KBD_IDENTIFY:
        if (state->mode & MODE_TRANSLATE)
            queue_push_all(i8042, identity_translated, sizeof(identity_translated));
        else
            queue_push_all(i8042, identity, sizeof(identity));
        break;
    case KBD_RESET:
        state->is_scanning = true;
        queue_push_all(i8042, reset, sizeof(reset));
        break;
    case KBD_ECHO:
        queue_push(i8042, KBD_ECHO);
        break;
    case KBD_SET_LEDS:
    case KBD_SET_RATE:
    case KBD_SCAN_CODE_SET:
        state->kbd_command = value;
        queue_push(i8042, KBD_ACK);
        break;
    case KBD_ENABLE:
    case KBD_DISABLE:
    case KBD_DEFAULTS:
        state->is_scanning = value != KBD_DISABLE;
        queue_push(i8042, KBD_ACK);
        break;
    default:
        queue_push(i8042, value < KBD_SET_LEDS ? KBD_RESEND : KBD_ACK);
        break;
    }
}

/* ---- controller ---- */

static void command_argument(struct i8042 *i8042, uint8_t command, uint8_t value)
{
    switch (command) {
    case CMD_WRITE_MODE:
        i8042->state.mode = value;
        break;
    case CMD_WRITE_OUTPUT_PORT:
        if (!(value & OUTPUT_NOT_RESET))
            machine_reset(i8042);
        break;
    case CMD_WRITE_KBD_OUTPUT:
    case CMD_WRITE_AUX_OUTPUT:
        /* Without a second port its bytes come back without its mark: this is how drivers tell. */
        queue_push(i8042, value);
        break;
    default: /* CMD_WRITE_AUX: nobody there */
        break;
    }
}

static void command_write(struct i8042 *i8042, uint8_t command)
{
    struct i8042_state *state = &i8042->state;

    state->command = 0;
    switch (command) {
    case CMD_READ_MODE:
        queue_push(i8042, state->mode);
        break;
    case CMD_WRITE_MODE:
    case CMD_WRITE_OUTPUT_PORT:
    case CMD_WRITE_KBD_OUTPUT:
    case CMD_WRITE_AUX_OUTPUT:
    case CMD_WRITE_AUX:
        state->command = command;
        break;
    case CMD_AUX_DISABLE:
        state->mode |= MODE_AUX_DISABLED;
        break;
    case CMD_AUX_ENABLE:
        state->mode &= (uint8_t)~MODE_AUX_DISABLED;
        break;
    case CMD_AUX_TEST:
        queue_push(i8042, AUX_TEST_NOBODY);
        break;
    case CMD_SELF_TEST:
        queue_push(i8042, SELF_TEST_PASSED);
        break;
    case CMD_KBD_TEST:
        queue_push(i8042, KBD_TEST_PASSED);
        break;
    case CMD_KBD_DISABLE:
        state->mode |= MODE_KBD_DISABLED;
        break;
    case CMD_KBD_ENABLE:
        state->mode &= (uint8_t)~MODE_KBD_DISABLED;
        break;
    case CMD_READ_OUTPUT_PORT:
        queue_push(i8042, OUTPUT_NOT_RESET | OUTPUT_A20 | OUTPUT_KBD_FULL);
        break;
    default:
        if (command >= CMD_PULSE && !(command & OUTPUT_NOT_RESET))
            machine_reset(i8042);
        break;
    }
}

static uint8_t status_read(const struct i8042 *i8042)
{
    const struct i8042_state *state = &i8042->state;
    uint8_t status = STATUS_NOT_LOCKED | (state->mode & MODE_SYSTEM ? STATUS_SYSTEM : 0);

    if (state->queue_count)
        status |= STATUS_OUTPUT_FULL;
    if (state->last_was_command)
        status |= STATUS_COMMAND;
    return status;
}

static enum bus_verdict data_access(struct bus_range *range, struct bus_access *access)
{
    struct i8042 *i8042 = container_of(range, struct i8042, data_range);
    uint8_t command = i8042->state.command;

    if (!access->is_write) {
        access->value = queue_pop(i8042);
    } else {
        i8042->state.last_was_command = false;
        i8042->state.command = 0;
        if (command)
            command_argument(i8042, command, (uint8_t)access->value);
        else
            kbd_write(i8042, (uint8_t)access->value);
    }
    update_irq(i8042);
    return BUS_DONE;
}

static enum bus_verdict command_access(struct bus_range *range, struct bus_access *access)
{
    struct i8042 *i8042 = container_of(range, struct i8042, command_range);

    if (!access->is_write) {
        access->value = status_read(i8042);
        return BUS_DONE;
    }
    i8042->state.last_was_command = true;
    command_write(i8042, (uint8_t)access->value);
    update_irq(i8042);
    return BUS_DONE;
}

static const struct bus_range_ops data_ops = {.access = data_access};
static const struct bus_range_ops command_ops = {.access = command_access};

int i8042_ctrl_alt_del(struct i8042 *i8042)
{
    static const uint8_t set_1[] = {0x1d, 0x38, 0xe0, 0x53, 0xe0, 0xd3, 0xb8, 0x9d};
    static const uint8_t set_2[] = {0x14, 0x11, 0xe0, 0x71, 0xe0, 0xf0,
                                    0x71, 0xf0, 0x11, 0xf0, 0x14};
    const struct i8042_state *state = &i8042->state;

    /* Without a driver the mode is what the reset left: no interrupts. */
    if (!state->is_scanning || state->mode & MODE_KBD_DISABLED || !(state->mode & MODE_KBD_IRQ))
        return -EAGAIN;
    if (state->queue_count)
        return -EBUSY;
    if (state->mode & MODE_TRANSLATE)
        queue_push_all(i8042, set_1, sizeof(set_1));
    else
        queue_push_all(i8042, set_2, sizeof(set_2));
    update_irq(i8042);
    return 0;
}

void i8042_reset(struct i8042 *i8042)
{
    irq_set(i8042, false);
    /* As a PC's firmware leaves it. */
    i8042->state = (struct i8042_state){
        .mode = MODE_SYSTEM | MODE_AUX_DISABLED | MODE_TRANSLATE,
        .is_scanning = true,
    };
}

int i8042_create(struct i8042 **out, const struct i8042_config *config, struct err *err)
{
    struct i8042 *i8042 = calloc(1, sizeof(*i8042));
    int ret;

    if (!i8042)
        return err_set(err, -ENOMEM, "i8042: out of memory");
    i8042->bus = config->bus;
    i8042->irq = config->irq;
    i8042->machine = config->machine;
    i8042->data_range = (struct bus_range){.ops = &data_ops,
                                           .name = "i8042 data",
                                           .base = config->data_port,
                                           .len = 1,
                                           .width_max = 1};
    i8042->command_range = (struct bus_range){.ops = &command_ops,
                                              .name = "i8042 command",
                                              .base = config->command_port,
                                              .len = 1,
                                              .width_max = 1};
    i8042_reset(i8042);
    ret = bus_add(i8042->bus, &i8042->data_range, err);
    if (ret)
        goto free_i8042;
    ret = bus_add(i8042->bus, &i8042->command_range, err);
    if (ret)
        goto remove_data;
    *out = i8042;
    return 0;

remove_data:
    bus_remove(i8042->bus, &i8042->data_range);
free_i8042:
    free(i8042);
    return ret;
}

void i8042_destroy(struct i8042 *i8042)
{
    if (!i8042)
        return;
    bus_remove(i8042->bus, &i8042->command_range);
    bus_remove(i8042->bus, &i8042->data_range);
    free(i8042);
}
