#include "stress/buffer.h"

#include "stress/run.h"

enum { WORKERS_PER_ITEM = 8 };

void buffer_init(struct buffer *buffer, uint32_t worker_count)
{
    buffer->producers = (worker_count + 1) / 2;
    buffer->capacity = worker_count / WORKERS_PER_ITEM + 1;
}

static enum buffer_verdict produce(struct buffer *buffer, struct worker *worker)
{
    if (worker_is_through(worker)) {
        buffer->producers--;
        return BUFFER_ENDS;
    }
    if (buffer->count == buffer->capacity)
        return BUFFER_MUST_WAIT;
    buffer->count++;
    buffer->put++;
    return BUFFER_MOVED;
}

static enum buffer_verdict consume(struct buffer *buffer)
{
    if (!buffer->count)
        return buffer->producers ? BUFFER_MUST_WAIT : BUFFER_ENDS;
    buffer->count--;
    buffer->taken++;
    return BUFFER_MOVED;
}

enum buffer_verdict buffer_move(struct buffer *buffer, struct worker *worker)
{
    return worker_produces(worker) ? produce(buffer, worker) : consume(buffer);
}

void buffer_check_end(const struct buffer *buffer, struct run *run)
{
    if (buffer->count || buffer->put != buffer->taken)
        run_fail(run, "items: %lu were put, %lu taken, %lu are left", (unsigned long)buffer->put,
                 (unsigned long)buffer->taken, (unsigned long)buffer->count);
}

void buffer_dump(const struct buffer *buffer, FILE *out)
{
    fprintf(out, "buffer: %lu items of %lu, %lu put, %lu taken, %u producers\n",
            (unsigned long)buffer->count, (unsigned long)buffer->capacity,
            (unsigned long)buffer->put, (unsigned long)buffer->taken, buffer->producers);
}
