/*
 * A counted buffer between producers and consumers, guarded by a lock: what condition variables are
 * stressed with. Even workers produce, odd ones consume. All calls with the lock held.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "stress/worker.h"

struct buffer {
    uint32_t producers; /* that have not ended */
    uint64_t capacity;
    uint64_t count;
    uint64_t put, taken;
};

enum buffer_verdict { BUFFER_MOVED, BUFFER_MUST_WAIT, BUFFER_ENDS };

static inline bool worker_produces(const struct worker *worker)
{
    return worker->index % 2 == 0;
}

void buffer_init(struct buffer *buffer, uint32_t worker_count);
/* Puts or takes one, if it can. After the last producer's BUFFER_ENDS consumers end, too. */
enum buffer_verdict buffer_move(struct buffer *buffer, struct worker *worker);
/* At rest. */
void buffer_check_end(const struct buffer *buffer, struct run *run);
void buffer_dump(const struct buffer *buffer, FILE *out);
