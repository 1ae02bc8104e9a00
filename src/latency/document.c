/* The JSON of result.h. */
#include "base/compiler.h"
#include "latency/result.h"

/* A point of the curve that differs from the last one by less is left out. */
enum { CURVE_VALUE_STEP_SHARE = 50 };

/* [[percent, ns], ...]: so many percent took at most so long. NULL when there is no memory. */
static json_t *curve_to_json(const struct histogram *histogram)
{
    uint64_t count = histogram_count(histogram), last_value = 0, last_beyond = UINT64_MAX;
    struct histogram_cursor cursor = {0};
    json_t *curve = json_array();

    while (histogram_next(histogram, &cursor)) {
        uint64_t beyond = count - cursor.below_or_equal;
        double percent = 100 * (double)cursor.below_or_equal / (double)count;

        if (beyond && beyond > last_beyond / 2 &&
            cursor.value <= last_value + last_value / CURVE_VALUE_STEP_SHARE)
            continue;
        last_value = cursor.value;
        last_beyond = beyond;
        if (json_array_append_new(curve, json_pack("[f, I]", percent, (json_int_t)cursor.value))) {
            json_decref(curve);
            return NULL;
        }
    }
    return curve;
}

static json_t *percentile_to_json(const struct histogram *histogram, uint32_t milli_percent)
{
    return histogram_resolves(histogram, milli_percent)
               ? json_integer((json_int_t)histogram_percentile(histogram, milli_percent))
               : json_null();
}

/* Takes over `object`: returns it, or NULL when there is no memory. */
static json_t *percentiles_add(json_t *object, const struct histogram *histogram)
{
    for (unsigned i = 0; i < RESULT_PERCENTILE_COUNT; i++) {
        const struct result_percentile *percentile = &result_percentiles[i];

        if (json_object_set_new(object, percentile->name,
                                percentile_to_json(histogram, percentile->milli_percent))) {
            json_decref(object);
            return NULL;
        }
    }
    return object;
}

static json_t *case_to_json(const struct session *session, const struct probe *probe,
                            const struct session_case *one, enum session_condition condition)
{
    const struct histogram *histogram = one->histogram;
    const struct load_size load =
        condition == SESSION_LOADED ? session->options->load : (struct load_size){0};
    json_t *object =
        json_pack("{s:s, s:s, s:i, s:i, s:s, s:I, s:I, s:f}", "name", probe->name, "title",
                  probe->title, "load_threads", (int)load.threads, "load_tasks", (int)load.tasks,
                  "unit", "ns", "samples", (json_int_t)histogram_count(histogram), "min",
                  (json_int_t)histogram_min(histogram), "mean", histogram_mean(histogram));

    object = percentiles_add(object, histogram);
    if (!object ||
        json_object_update_new(
            object, json_pack("{s:I, s:f, s:b, s:o}", "max", (json_int_t)histogram_max(histogram),
                              "run_delay_share",
                              (double)one->run_delay_ns / (double)(one->wall_ns + !one->wall_ns),
                              "disturbed", session_case_is_disturbed(one, condition), "curve",
                              curve_to_json(histogram)))) {
        json_decref(object);
        return NULL;
    }
    return object;
}

json_t *result_to_json(const struct session *session)
{
    const struct latency_options *options = session->options;
    struct result_host host = result_host_get();
    json_t *cases = json_array();

    for (unsigned i = 0; i < PROBE_COUNT; i++)
        for (unsigned condition = 0; condition < SESSION_CONDITION_COUNT; condition++) {
            const struct session_case *one = &session->cases[i][condition];

            if (one->histogram &&
                json_array_append_new(cases, case_to_json(session, &probes[i], one, condition))) {
                json_decref(cases);
                return NULL;
            }
        }
    return json_pack("{s:s, s:i, s:I, s:i, s:i, s:i, s:f, s:b, s:o}", "kernel", host.kernel, "cpus",
                     (int)host.cpus, "seed", (json_int_t)options->seed, "load_threads",
                     (int)options->load.threads, "load_tasks", (int)options->load.tasks, "poll_us",
                     (int)options->poll_us, "clock_ns", session->clock_ns, "disk_is_direct",
                     session->disk_is_direct, "measurements", cases);
}
