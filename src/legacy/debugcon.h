/*
 * Debug console: a port whose writes go to a chardev, byte by byte, and which reads 0xe9 (so that a
 * guest can tell that it is there). It has no flow control: bytes that find the chardev full are
 * lost, and counted in a log line. Executor thread, or before it runs.
 */
#pragma once
#include "base/compiler.h"
#include "base/err.h"
#include "bus/bus.h"
#include "chardev/chardev.h"

struct debugcon;

struct debugcon_config {
    struct bus *bus;
    uint64_t port;           /* 0x402 */
    struct chardev *chardev; /* its only client is this device; outlives it */
};

must_check int debugcon_create(struct debugcon **out, const struct debugcon_config *config,
                               struct err *err);
/* NULL is allowed. Nothing to reset. */
void debugcon_destroy(struct debugcon *debugcon);
