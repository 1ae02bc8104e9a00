#include "bench/reader.h"

#include <errno.h>
#include <string.h>

#include "bench/record.h"

static const char greeting[] = "ringvm-bench-guest 1";
static const char error_word[] = "error ";

static int malformed(const char *line, struct err *err)
{
    return err_set(err, -EPROTO,
                   "bench guest: cannot read its line '%.80s'; is it of another "
                   "version?",
                   line);
}

static int bucket_read(struct reader *reader, const char *line, struct err *err)
{
    uint64_t ns, count;

    if (!reader->histogram || record_bucket(line, &ns, &count))
        return malformed(line, err);
    histogram_record_many(reader->histogram, ns, count);
    return 0;
}

int reader_line(void *arg, const char *line, struct err *err)
{
    struct reader *reader = arg;
    int ret;

    if (!reader->greeted) {
        /* Behind the last line of a firmware that did not end it. */
        reader->greeted = strstr(line, greeting) != NULL;
        return 0;
    }
    if (!strncmp(line, error_word, strlen(error_word)))
        return err_set(err, -EIO, "bench guest: %s", line + strlen(error_word));
    if (record_is(line, "h"))
        return bucket_read(reader, line, err);
    if (record_is(line, "end"))
        reader->ended = true;
    if (!record_is(line, reader->word))
        return 0;
    reader->histogram = NULL;
    ret = reader->result(reader->arg, line, &reader->histogram, err);
    return ret == -ENOENT || ret == -EINVAL ? malformed(line, err) : ret;
}

int reader_finish(const struct reader *reader, struct err *err)
{
    if (reader->ended)
        return 0;
    return err_set(err, -EIO, "bench guest: %s",
                   reader->greeted ? "it ended early" : "it was never heard of; did it start?");
}
