/*
 * Serial port: a 16550A UART with 16-byte FIFOs (National Semiconductor PC16550D), its host side a
 * chardev. Bytes have no duration: what the chardev has room for is sent at once; while it has none
 * the transmitter is busy, as if the other end held it by flow control. Received bytes wait in the
 * chardev until the guest has emptied the FIFO and seen that it is empty, so none is lost. The
 * receiver's time-out interrupt comes as soon as no further byte is at hand. Line settings are
 * stored and mean nothing.
 *
 * Everything: executor thread, or before it runs.
 */
#pragma once
#include "base/compiler.h"
#include "base/err.h"
#include "bus/bus.h"
#include "bus/irq.h"
#include "chardev/chardev.h"

enum { SERIAL_PORT_COUNT = 8 };

struct serial;

struct serial_config {
    const char *name; /* for messages ("serial1"); outlives the device */
    struct executor *executor;
    struct bus *bus;
    uint64_t base; /* of SERIAL_PORT_COUNT one-byte registers */
    struct irq_line irq;
    /* Its only client is this device; NULL: output vanishes, no input. Outlives the device. */
    struct chardev *chardev;
};

must_check int serial_create(struct serial **out, const struct serial_config *config,
                             struct err *err);
/* No more timers: its task, if any, ends in the executor's next turn, and then it may be destroyed.
 */
void serial_stop(struct serial *serial);
/* NULL is allowed. */
void serial_destroy(struct serial *serial);
/* As after create; bytes that the chardev has accepted or read stay there. */
void serial_reset(struct serial *serial);
