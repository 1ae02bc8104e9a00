/*
 * Keyboard controller (8042) with a keyboard and no mouse: just enough that a guest finds them
 * quickly, can be told Ctrl-Alt-Del, and can reset the machine through it (command 0xfe, or the
 * output port's reset line). Executor thread, or before it runs.
 */
#pragma once
#include "base/compiler.h"
#include "base/err.h"
#include "bus/bus.h"
#include "bus/irq.h"
#include "legacy/machine.h"

struct i8042;

struct i8042_config {
    struct bus *bus;
    uint64_t data_port;    /* 0x60 */
    uint64_t command_port; /* 0x64 */
    struct irq_line irq;   /* keyboard: 1 */
    struct machine machine;
};

must_check int i8042_create(struct i8042 **out, const struct i8042_config *config, struct err *err);
/* NULL is allowed. */
void i8042_destroy(struct i8042 *i8042);
void i8042_reset(struct i8042 *i8042);

/* Presses and releases Ctrl-Alt-Del. -EAGAIN when the guest does not listen to its keyboard, -EBUSY
 * when earlier keys are still unread. */
must_check int i8042_ctrl_alt_del(struct i8042 *i8042);
