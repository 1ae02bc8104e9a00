#include "legacy/serial.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "legacy/alarm.h"

/* Registers and bits: PC16550D data sheet, table II. */
enum { REG_DATA, REG_IER, REG_IIR_FCR, REG_LCR, REG_MCR, REG_LSR, REG_MSR, REG_SCR };

enum {
    IER_RECEIVED = 0x01,
    IER_THR_EMPTY = 0x02,
    IER_LINE_STATUS = 0x04,
    IER_MODEM_STATUS = 0x08,
    IER_MASK = 0x0f,

    IIR_NONE = 0x01,
    IIR_LINE_STATUS = 0x06,
    IIR_RECEIVED = 0x04,
    IIR_TIME_OUT = 0x0c,
    IIR_THR_EMPTY = 0x02,
    IIR_MODEM_STATUS = 0x00,
    IIR_FIFO = 0xc0,

    FCR_ENABLE = 0x01,
    FCR_CLEAR_RECEIVER = 0x02,
    FCR_CLEAR_TRANSMITTER = 0x04,
    FCR_TRIGGER_SHIFT = 6,

    LCR_DLAB = 0x80,

    MCR_DTR = 0x01,
    MCR_RTS = 0x02,
    MCR_OUT1 = 0x04,
    MCR_OUT2 = 0x08,
    MCR_LOOP = 0x10,
    MCR_MASK = 0x1f,

    LSR_DATA_READY = 0x01,
    LSR_OVERRUN = 0x02,
    LSR_BREAK = 0x10,
    LSR_THR_EMPTY = 0x20,
    LSR_EMPTY = 0x40,
    LSR_FIFO_ERROR = 0x80,

    MSR_DELTA_MASK = 0x0f,
    MSR_RI_TRAILING = 0x04,
    MSR_CTS = 0x10,
    MSR_DSR = 0x20,
    MSR_RI = 0x40,
    MSR_DCD = 0x80,

    FIFO_SIZE = 16,
};
/* For drivers that leave an interrupt without a look whether there is another. */
#define PAUSE_NS NS_PER_MS

struct serial {
    struct bus_range range;
    struct bus *bus;
    struct irq_line irq;
    struct chardev *chardev;
    struct alarm pause_end;

    /* What a reset clears. */
    struct serial_state {
        uint8_t ier, fcr, lcr, mcr, msr, scratch;
        uint8_t divisor[2];
        bool overrun;
        bool thr_interrupt; /* the transmitter became empty, and nobody has looked yet */
        bool irq_level;
        bool mcr_written;
        bool is_paused;              /* the receiver, between two bytes */
        uint8_t received[FIFO_SIZE]; /* oldest first */
        uint16_t breaks;             /* bit i: received[i] is a break condition */
        uint8_t received_count;
        uint8_t to_send[FIFO_SIZE]; /* what the chardev had no room for */
        uint8_t to_send_count;
    } state;
};

/* ---- interrupts ---- */

static uint8_t receiver_trigger(const struct serial_state *state)
{
    static const uint8_t levels[] = {1, 4, 8, 14};

    return state->fcr & FCR_ENABLE ? levels[state->fcr >> FCR_TRIGGER_SHIFT] : 1;
}

static bool line_status_is_bad(const struct serial_state *state)
{
    return state->overrun || state->breaks & 1;
}

/* The pending interrupt of the highest priority. */
static uint8_t interrupt_id(const struct serial_state *state)
{
    if (state->ier & IER_LINE_STATUS && line_status_is_bad(state))
        return IIR_LINE_STATUS;
    if (state->ier & IER_RECEIVED && state->received_count >= receiver_trigger(state))
        return IIR_RECEIVED;
    if (state->ier & IER_RECEIVED && state->received_count)
        return IIR_TIME_OUT;
    if (state->ier & IER_THR_EMPTY && state->thr_interrupt)
        return IIR_THR_EMPTY;
    if (state->ier & IER_MODEM_STATUS && state->msr & MSR_DELTA_MASK)
        return IIR_MODEM_STATUS;
    return IIR_NONE;
}

/* On a PC the interrupt goes through a gate that the pin OUT2 opens; in loopback that is high. */
static void update_irq(struct serial *serial)
{
    struct serial_state *state = &serial->state;
    bool gate = (state->mcr & (MCR_OUT2 | MCR_LOOP)) == MCR_OUT2;
    bool level = gate && interrupt_id(state) != IIR_NONE;

    if (level == state->irq_level)
        return;
    state->irq_level = level;
    irq_line_set(&serial->irq, level);
}

/* ---- receiver ---- */

static uint8_t fifo_size(const struct serial_state *state)
{
    return state->fcr & FCR_ENABLE ? FIFO_SIZE : 1;
}

static void receive(struct serial_state *state, uint8_t byte, bool is_break)
{
    if (state->received_count >= fifo_size(state)) {
        state->overrun = true;
        return;
    }
    state->breaks |= (uint16_t)(is_break << state->received_count);
    state->received[state->received_count++] = byte;
}

/*
 * The other end honours RTS, so that what it has is not thrown away by a guest that clears its
 * FIFOs while it sets up the port. A guest that never touches the modem control register, or asks
 * for interrupts, is taken to listen.
 */
static bool is_listening(const struct serial_state *state)
{
    if (state->mcr & MCR_LOOP)
        return false;
    return state->mcr & MCR_RTS || state->ier & IER_RECEIVED || !state->mcr_written;
}

static void fill(struct serial *serial)
{
    struct serial_state *state = &serial->state;
    uint8_t room = fifo_size(state);

    if (!serial->chardev || !is_listening(state) || state->is_paused ||
        state->received_count >= room)
        return;
    room -= state->received_count;
    state->received_count +=
        (uint8_t)chardev_read(serial->chardev, &state->received[state->received_count], room);
}

/*
 * After a FIFO of bytes there is a gap, as there is between bytes on a wire: a handler that goes on
 * while there is more comes to an end, and the interrupt line, of which each rising edge counts,
 * rises again. The gap ends when the guest has seen that nothing is pending.
 */
static void pause_begin(struct serial *serial)
{
    if (!(serial->state.ier & IER_RECEIVED) || !serial->chardev ||
        !chardev_available(serial->chardev))
        return;
    serial->state.is_paused = true;
    alarm_set(&serial->pause_end, clock_now_ns() + PAUSE_NS);
}

static void pause_end(struct serial *serial)
{
    if (!serial->state.is_paused)
        return;
    serial->state.is_paused = false;
    alarm_clear(&serial->pause_end);
    fill(serial);
}

static void pause_is_over(struct alarm *alarm)
{
    struct serial *serial = container_of(alarm, struct serial, pause_end);

    pause_end(serial);
    update_irq(serial);
}

static uint8_t data_read(struct serial *serial)
{
    struct serial_state *state = &serial->state;
    uint8_t byte = state->received[0];

    if (!state->received_count)
        return 0;
    state->received_count--;
    memmove(&state->received[0], &state->received[1], state->received_count);
    state->breaks >>= 1;
    if (!state->received_count)
        pause_begin(serial);
    return byte;
}

static uint8_t line_status_read(struct serial *serial)
{
    struct serial_state *state = &serial->state;
    uint8_t status = 0;

    if (!(state->ier & IER_RECEIVED))
        fill(serial);
    if (state->received_count)
        status |= LSR_DATA_READY;
    if (state->overrun)
        status |= LSR_OVERRUN;
    if (state->breaks & 1)
        status |= LSR_BREAK;
    if (state->breaks && state->fcr & FCR_ENABLE)
        status |= LSR_FIFO_ERROR;
    if (!state->to_send_count)
        status |= LSR_THR_EMPTY | LSR_EMPTY;
    state->overrun = false;
    state->breaks &= (uint16_t)~1U;
    return status;
}

/* ---- transmitter ---- */

static size_t send(struct serial *serial, const uint8_t *bytes, size_t len)
{
    return serial->chardev ? chardev_write(serial->chardev, bytes, len) : len;
}

static void data_write(struct serial *serial, uint8_t byte)
{
    struct serial_state *state = &serial->state;

    if (state->mcr & MCR_LOOP)
        receive(state, byte, false);
    else if (state->to_send_count || !send(serial, &byte, 1)) {
        /* A guest that writes to a full transmitter loses what it writes. */
        if (state->to_send_count < fifo_size(state))
            state->to_send[state->to_send_count++] = byte;
    }
    state->thr_interrupt = !state->to_send_count;
}

static void serial_writable(void *arg)
{
    struct serial *serial = arg;
    struct serial_state *state = &serial->state;
    size_t sent;

    if (!state->to_send_count)
        return;
    sent = send(serial, state->to_send, state->to_send_count);
    state->to_send_count -= (uint8_t)sent;
    memmove(&state->to_send[0], &state->to_send[sent], state->to_send_count);
    state->thr_interrupt = !state->to_send_count;
    update_irq(serial);
}

/* ---- modem ---- */

/* In loopback the modem inputs are the modem outputs; else the other end is always ready. */
static uint8_t modem_inputs(const struct serial_state *state)
{
    uint8_t inputs = 0;

    if (!(state->mcr & MCR_LOOP))
        return MSR_CTS | MSR_DSR | MSR_DCD;
    if (state->mcr & MCR_RTS)
        inputs |= MSR_CTS;
    if (state->mcr & MCR_DTR)
        inputs |= MSR_DSR;
    if (state->mcr & MCR_OUT1)
        inputs |= MSR_RI;
    if (state->mcr & MCR_OUT2)
        inputs |= MSR_DCD;
    return inputs;
}

static void modem_control_write(struct serial *serial, uint8_t value)
{
    struct serial_state *state = &serial->state;
    uint8_t changed;

    state->mcr = value & MCR_MASK;
    state->mcr_written = true;
    changed = (modem_inputs(state) ^ state->msr) & (uint8_t)~MSR_DELTA_MASK;
    state->msr ^= changed;
    /* The ring indicator counts when it ends. */
    if (state->msr & MSR_RI)
        changed &= (uint8_t)~MSR_RI;
    state->msr |= changed >> 4;
    fill(serial);
}

/* ---- registers ---- */

static void interrupt_enable_write(struct serial *serial, uint8_t value)
{
    struct serial_state *state = &serial->state;
    uint8_t set = value & (uint8_t)~state->ier;

    state->ier = value & IER_MASK;
    if (!(state->ier & IER_RECEIVED))
        pause_end(serial);
    /* Enabling it while the transmitter is empty is an event: drivers start sending with it. */
    if (set & IER_THR_EMPTY && !state->to_send_count)
        state->thr_interrupt = true;
    fill(serial);
}

static uint8_t interrupt_id_read(struct serial *serial)
{
    struct serial_state *state = &serial->state;
    uint8_t id = interrupt_id(state);

    if (id == IIR_THR_EMPTY)
        state->thr_interrupt = false;
    if (id == IIR_NONE)
        pause_end(serial);
    return id | (state->fcr & FCR_ENABLE ? IIR_FIFO : 0);
}

static void fifo_control_write(struct serial *serial, uint8_t value)
{
    struct serial_state *state = &serial->state;
    bool disables = state->fcr & FCR_ENABLE && !(value & FCR_ENABLE);

    /* Enabling the FIFOs should clear them too, but then the byte in the holding register would be
     * lost to a driver that asks for interrupts first. */
    if (!(value & FCR_ENABLE))
        value = disables ? FCR_CLEAR_RECEIVER | FCR_CLEAR_TRANSMITTER : 0;
    if (value & FCR_CLEAR_RECEIVER) {
        state->received_count = 0;
        state->breaks = 0;
    }
    if (value & FCR_CLEAR_TRANSMITTER && state->to_send_count) {
        state->to_send_count = 0;
        state->thr_interrupt = true;
    }
    state->fcr = value & (FCR_ENABLE | 3 << FCR_TRIGGER_SHIFT);
    fill(serial);
}

static uint8_t register_read(struct serial *serial, uint64_t offset)
{
    struct serial_state *state = &serial->state;
    uint8_t value;

    switch (offset) {
    case REG_DATA:
        return state->lcr & LCR_DLAB ? state->divisor[0] : data_read(serial);
    case REG_IER:
        return state->lcr & LCR_DLAB ? state->divisor[1] : state->ier;
    case REG_IIR_FCR:
        return interrupt_id_read(serial);
    case REG_LCR:
        return state->lcr;
    case REG_MCR:
        return state->mcr;
    case REG_LSR:
        return line_status_read(serial);
    case REG_MSR:
        value = state->msr;
        state->msr &= (uint8_t)~MSR_DELTA_MASK;
        return value;
    default:
        return state->scratch;
    }
}

static void register_write(struct serial *serial, uint64_t offset, uint8_t value)
{
    struct serial_state *state = &serial->state;

    switch (offset) {
    case REG_DATA:
        if (state->lcr & LCR_DLAB)
            state->divisor[0] = value;
        else
            data_write(serial, value);
        break;
    case REG_IER:
        if (state->lcr & LCR_DLAB)
            state->divisor[1] = value;
        else
            interrupt_enable_write(serial, value);
        break;
    case REG_IIR_FCR:
        fifo_control_write(serial, value);
        break;
    case REG_LCR:
        state->lcr = value;
        break;
    case REG_MCR:
        modem_control_write(serial, value);
        break;
    case REG_SCR:
        state->scratch = value;
        break;
    default: /* line and modem status are read-only */
        break;
    }
}

static enum bus_verdict serial_access(struct bus_range *range, struct bus_access *access)
{
    struct serial *serial = container_of(range, struct serial, range);

    if (access->is_write)
        register_write(serial, access->offset, (uint8_t)access->value);
    else
        access->value = register_read(serial, access->offset);
    update_irq(serial);
    return BUS_DONE;
}

/* ---- the chardev's side ---- */

static void serial_readable(void *arg)
{
    struct serial *serial = arg;

    /* A guest that polls is served when it looks. */
    if (!(serial->state.ier & IER_RECEIVED))
        return;
    fill(serial);
    update_irq(serial);
}

static void serial_break_received(void *arg)
{
    struct serial *serial = arg;

    if (is_listening(&serial->state))
        receive(&serial->state, 0, true);
    update_irq(serial);
}

static const struct bus_range_ops range_ops = {.access = serial_access};
static const struct chardev_client_ops client_ops = {
    .writable = serial_writable,
    .readable = serial_readable,
    .break_received = serial_break_received,
};

void serial_reset(struct serial *serial)
{
    bool irq_level = serial->state.irq_level;

    alarm_clear(&serial->pause_end);
    serial->state = (struct serial_state){.msr = MSR_CTS | MSR_DSR | MSR_DCD};
    if (irq_level)
        irq_line_set(&serial->irq, false);
}

void serial_stop(struct serial *serial)
{
    alarm_clear(&serial->pause_end);
}

int serial_create(struct serial **out, const struct serial_config *config, struct err *err)
{
    struct serial *serial = calloc(1, sizeof(*serial));
    int ret;

    if (!serial)
        return err_set(err, -ENOMEM, "%s: out of memory", config->name);
    serial->pause_end = (struct alarm){.executor = config->executor, .ring = pause_is_over};
    serial->bus = config->bus;
    serial->irq = config->irq;
    serial->chardev = config->chardev;
    serial->range = (struct bus_range){
        .ops = &range_ops,
        .name = config->name,
        .base = config->base,
        .len = SERIAL_PORT_COUNT,
        .width_max = 1,
    };
    serial_reset(serial);
    ret = bus_add(serial->bus, &serial->range, err);
    if (ret) {
        free(serial);
        return ret;
    }
    if (serial->chardev)
        chardev_attach(serial->chardev, &client_ops, serial);
    *out = serial;
    return 0;
}

void serial_destroy(struct serial *serial)
{
    if (!serial)
        return;
    if (serial->chardev)
        chardev_attach(serial->chardev, NULL, NULL);
    bus_remove(serial->bus, &serial->range);
    free(serial);
}
