/* The bench guest on this very program: `ringvm run` as a child. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/err.h"
#include "bench/reader.h"

struct machine_config {
    const char *params; /* the guest's command line */
    const char *disk;   /* value of --block, or NULL */
    const char *net;    /* value of --net, or NULL */
    bool packed;        /* rings of either; else split */
    bool mmio;          /* transport of either; else PCI */
    const char *kvm_path;
    const char *poll_us; /* value of --poll-us, or NULL: as it is */
    uint64_t mem_mib;
    uint64_t timeout_ns;
};

enum { MACHINE_MEM_MIB = 32 }; /* for the payload and its small things */

/* Runs the guest to its end; what it says goes to the reader. 0, or a negative errno with its line.
 */
must_check int machine_run(const struct machine_config *config, struct reader *reader,
                           struct err *err);
