#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/arith.h"
#include "base/clock.h"
#include "bench/machine.h"
#include "bench/net.h"
#include "bench/net_link.h"
#include "bench/record.h"

/* A case takes up to 2.6 times its time: warm-up, and a flood that is to end. */
enum { TIMEOUT_FACTOR = 6, TIMEOUT_MORE_S = 60 };

const char *const net_kind_names[NET_KIND_COUNT] = {"tx", "rx", "echo"};

static void case_make(struct net_session *session, enum net_kind kind, uint64_t size,
                      uint64_t depth, bool sleeps)
{
    session->cases[session->count++] = (struct net_case){
        .kind = kind, .size = (unsigned)size, .depth = (unsigned)depth, .sleeps = sleeps};
}

static void cases_make(struct net_session *session)
{
    const struct net_options *options = session->options;

    for (unsigned sleeps = !options->polls; sleeps <= options->sleeps; sleeps++)
        for (unsigned s = 0; s < options->sizes.count; s++) {
            uint64_t size = options->sizes.values[s];

            case_make(session, NET_TX, size, 0, sleeps);
            case_make(session, NET_RX, size, 0, sleeps);
            for (unsigned d = 0; d < options->depths.count; d++)
                case_make(session, NET_ECHO, size, options->depths.values[d], sleeps);
        }
}

/* A line of the guest: "net KIND size=... depth=..." and so on. */
struct case_record {
    uint64_t size, depth, interrupts;
    uint64_t operations, lost, ns, kicks, interrupts_taken;
};

static int case_parse(const char *line, struct case_record *record)
{
    const struct {
        const char *name;
        uint64_t *value;
    } fields[] = {
        {"size", &record->size},
        {"depth", &record->depth},
        {"interrupts", &record->interrupts},
        {"operations", &record->operations},
        {"lost", &record->lost},
        {"ns", &record->ns},
        {"kicks", &record->kicks},
        {"interrupts_taken", &record->interrupts_taken},
    };

    for (size_t i = 0; i < array_count(fields); i++) {
        int ret = record_number(line, fields[i].name, fields[i].value);

        if (ret)
            return ret;
    }
    return record->ns ? 0 : -EINVAL;
}

/* NULL: nobody asked for that. */
static struct net_case *case_find(struct net_session *session, const char *line,
                                  const struct case_record *record)
{
    const char *kind = line + strlen("net ");

    for (unsigned i = 0; i < session->count; i++) {
        struct net_case *one = &session->cases[i];

        if (record_is(kind, net_kind_names[one->kind]) && one->size == record->size &&
            one->sleeps == record->interrupts &&
            (one->kind != NET_ECHO || one->depth == record->depth))
            return one;
    }
    return NULL;
}

static int case_take(void *arg, const char *line, struct histogram **histogram, struct err *err)
{
    struct case_record record;
    struct net_case *one;
    int ret = case_parse(line, &record);

    (void)err; /* the reader's */
    if (ret)
        return ret;
    one = case_find(arg, line, &record);
    if (!one)
        return -EINVAL;
    report_sample(&one->rate, (double)record.operations * (double)NS_PER_S / (double)record.ns);
    one->frames += record.operations;
    one->lost += record.lost;
    one->kicks += record.kicks;
    one->interrupts += record.interrupts_taken;
    *histogram = one->round_trip;
    return 0;
}

static int round_run(struct net_session *session, int tap_fd, struct err *err)
{
    const struct net_options *options = session->options;
    uint64_t round_ms =
        u64_max(options->common.duration_ns / options->common.rounds / NS_PER_MS, 1);
    struct reader reader = {.word = "net", .result = case_take, .arg = session};
    char params[256], net[32], sizes[96], depths[80];
    const struct machine_config config = {
        .params = params,
        .net = net,
        .packed = options->common.packed,
        .mmio = options->common.mmio,
        .kvm_path = options->common.kvm_path,
        .poll_us = options->common.poll_us,
        .mem_mib = MACHINE_MEM_MIB,
        .timeout_ns =
            TIMEOUT_FACTOR * round_ms * NS_PER_MS * session->count + TIMEOUT_MORE_S * NS_PER_S,
    };

    number_list_print(&options->sizes, sizes, sizeof(sizes));
    number_list_print(&options->depths, depths, sizeof(depths));
    snprintf(net, sizeof(net), "tap-fd=%d", tap_fd);
    snprintf(params, sizeof(params), "bench=net size=%s depth=%s interrupts=%s time_ms=%" PRIu64,
             sizes, depths, bench_wait_words(options->polls, options->sleeps), round_ms);
    return machine_run(&config, &reader, err);
}

static int rounds_run(struct net_session *session, FILE *progress, struct err *err)
{
    unsigned rounds = session->options->common.rounds;
    struct net_link link;
    int ret = net_link_create(&link, err);

    if (ret)
        return ret;
    for (unsigned round = 0; round < rounds && !ret; round++) {
        if (progress) {
            fprintf(progress, "\r\033[Kround %u of %u", round + 1, rounds);
            fflush(progress);
        }
        ret = round_run(session, link.tap_fd, err);
    }
    if (progress)
        fputs("\r\033[K", progress);
    net_link_destroy(&link);
    return ret;
}

int net_session_run(struct net_session *session, const struct net_options *options, FILE *progress,
                    struct err *err)
{
    int ret = 0;

    *session = (struct net_session){.options = options};
    cases_make(session);
    for (unsigned i = 0; i < session->count && !ret; i++)
        if (histogram_create(&session->cases[i].round_trip))
            ret = err_set(err, -ENOMEM, "not enough memory for the histograms");
    if (!ret)
        ret = rounds_run(session, progress, err);
    if (ret)
        net_session_destroy(session);
    return ret;
}

void net_session_destroy(struct net_session *session)
{
    for (unsigned i = 0; i < session->count; i++)
        histogram_destroy(session->cases[i].round_trip);
}
