/* What the benchmarks' command lines have in common. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "cli/option.h"

struct bench_options {
    uint64_t duration_ns; /* of each case, in all rounds together */
    unsigned rounds;
    bool packed;         /* rings; else split */
    bool mmio;           /* transport; else PCI */
    const char *poll_us; /* NULL: as ringvm run has it */
    const char *kvm_path;
    const char *json_path; /* NULL: none */
    const char *svg_path;  /* percentiles of latency */
    bool wants_help;
};

extern const struct bench_options bench_options_default;

/* Entries of an option_table whose config begins with a struct bench_options. */
#define BENCH_OPTION_DURATION                                                                \
    {                                                                                        \
        0, "duration", "TIME", false, false,                                                 \
            "time for each case, in all rounds together (default 1s)", bench_option_duration \
    }
#define BENCH_OPTION_ROUNDS                                                             \
    {                                                                                   \
        0, "rounds", "COUNT", false, false,                                             \
            "how often the guest is started, 1 to 100 (default 5)", bench_option_rounds \
    }
#define BENCH_OPTION_RING                                                             \
    {                                                                                 \
        0, "ring", "KIND", false, false, "split (default) or packed: the virtqueues", \
            bench_option_ring                                                         \
    }
#define BENCH_OPTION_TRANSPORT                                                            \
    {                                                                                     \
        0, "transport", "NAME", false, false,                                             \
            "pci (default) or mmio, where the guest cannot sleep", bench_option_transport \
    }
#define BENCH_OPTION_POLL_US                                                                 \
    {                                                                                        \
        0, "poll-us", "MICROSECONDS", false, false, "as of ringvm run", bench_option_poll_us \
    }
#define BENCH_OPTION_KVM_DEVICE                                                     \
    {                                                                               \
        0, "kvm-device", "PATH", false, false, "the KVM device (default /dev/kvm)", \
            bench_option_kvm_device                                                 \
    }
#define BENCH_OPTION_JSON                                                              \
    {                                                                                  \
        0, "json", "FILE", false, false,                                               \
            "write all figures as JSON; -: to standard output,\ninstead of the table", \
            bench_option_json                                                          \
    }
#define BENCH_OPTION_SVG                                                                    \
    {                                                                                       \
        0, "svg", "FILE", false, false, "draw percentiles of the latency", bench_option_svg \
    }

int bench_option_duration(void *config, char *value, struct err *err);
int bench_option_rounds(void *config, char *value, struct err *err);
int bench_option_ring(void *config, char *value, struct err *err);
int bench_option_transport(void *config, char *value, struct err *err);
int bench_option_poll_us(void *config, char *value, struct err *err);
int bench_option_kvm_device(void *config, char *value, struct err *err);
int bench_option_json(void *config, char *value, struct err *err);
int bench_option_svg(void *config, char *value, struct err *err);

/* What the guest does while nothing is done: "poll", "interrupt" or "both". -EINVAL with its line.
 */
must_check int bench_wait_parse(const char *value, bool *polls, bool *sleeps, struct err *err);

/* The value of the guest's parameter interrupts= for that. */
const char *bench_wait_words(bool polls, bool sleeps);

/* option_parse, and nothing may be left over. */
must_check int bench_options_parse(const struct option_table *table, int argc, char **argv,
                                   struct bench_options *config, struct err *err);
