#include "bench/percentiles.h"

#include "base/compiler.h"
#include "report/quantity.h"

static const struct {
    const char *name;
    uint32_t milli_percent;
} percentiles[] = {{"p50", 50000}, {"p99", 99000}, {"p99.9", 99900}};

void percentiles_print(struct table *table, const struct histogram *histogram)
{
    for (size_t i = 0; i < array_count(percentiles); i++) {
        uint32_t milli_percent = percentiles[i].milli_percent;

        table_cell(table, "%s",
                   histogram_resolves(histogram, milli_percent)
                       ? quantity_of_ns(histogram_percentile(histogram, milli_percent)).text
                       : "–");
    }
    table_cell(table, "%s",
               histogram_count(histogram) ? quantity_of_ns(histogram_max(histogram)).text : "–");
}

json_t *percentiles_to_json(const struct histogram *histogram)
{
    json_t *object =
        json_pack("{s:I, s:I, s:f}", "samples", (json_int_t)histogram_count(histogram), "min",
                  (json_int_t)histogram_min(histogram), "mean", histogram_mean(histogram));
    int ret = object ? 0 : -1;

    for (size_t i = 0; i < array_count(percentiles) && !ret; i++) {
        uint32_t milli_percent = percentiles[i].milli_percent;

        ret = json_object_set_new(
            object, percentiles[i].name,
            histogram_resolves(histogram, milli_percent)
                ? json_integer((json_int_t)histogram_percentile(histogram, milli_percent))
                : json_null());
    }
    if (!ret)
        ret =
            json_object_set_new(object, "max", json_integer((json_int_t)histogram_max(histogram)));
    if (!ret)
        return object;
    json_decref(object);
    return NULL;
}
