/*
 * What the locks guard. Its words are plain memory, so that ThreadSanitizer sees a lock that does
 * not order; its counts are relaxed, so that they order nothing themselves.
 */
#pragma once
#include <stdint.h>

#include "base/atomic.h"
#include "stress/run.h"
#include "stress/worker.h"

enum { GUARDED_WORDS = 4 };

struct guarded {
    atomic_ulong writers;
    atomic_ulong readers;
    uint64_t words[GUARDED_WORDS]; /* all alike when no writer is inside */
};

/* Whether worker->is_exclusive says how. */
void guarded_enter(struct guarded *guarded, struct worker *worker);
void guarded_leave(struct guarded *guarded, struct worker *worker);
/* At rest. */
void guarded_check_end(const struct guarded *guarded, struct run *run);
void guarded_dump(const struct guarded *guarded, FILE *out);
