#include "stress/lockstep.h"

#include <errno.h>
#include <stdlib.h>

int lockstep_init(struct lockstep *lockstep, struct run *run)
{
    atomic_store(&lockstep->end, UINT64_MAX);
    for (unsigned i = 0; i < array_count(lockstep->marks); i++) {
        lockstep->marks[i] = calloc(run->worker_count, sizeof(*lockstep->marks[i]));
        if (!lockstep->marks[i]) {
            lockstep_fini(lockstep);
            return -ENOMEM;
        }
    }
    return 0;
}

void lockstep_fini(struct lockstep *lockstep)
{
    for (unsigned i = 0; i < array_count(lockstep->marks); i++)
        free(lockstep->marks[i]);
}

bool lockstep_begin(struct lockstep *lockstep, struct worker *worker)
{
    unsigned long never = UINT64_MAX;

    /* Relaxed: it was written before its writer arrived at the generation before. */
    if (worker->generation >= atomic_load_explicit(&lockstep->end, memory_order_relaxed))
        return false;
    if (worker_is_through(worker))
        atomic_compare_exchange_strong_explicit(&lockstep->end, &never, worker->generation + 1,
                                                memory_order_relaxed, memory_order_relaxed);
    lockstep->marks[worker->generation % 2][worker->index] = worker->generation + 1;
    return true;
}

void lockstep_finish(struct lockstep *lockstep, struct worker *worker)
{
    uint32_t other = worker_random(worker, worker->run->worker_count);
    uint64_t mark = lockstep->marks[worker->generation % 2][other];

    if (mark != worker->generation + 1)
        run_fail(worker->run,
                 "order: worker %u is through generation %lu, at which worker %u "
                 "has not arrived",
                 worker->index, (unsigned long)worker->generation, other);
    worker->generation++;
}

void lockstep_dump(const struct lockstep *lockstep, const struct run *run, FILE *out)
{
    uint64_t first = UINT64_MAX, last = 0;

    (void)lockstep;
    for (uint32_t i = 0; i < run->worker_count; i++) {
        uint64_t generation = run->workers[i].generation;

        first = generation < first ? generation : first;
        last = generation > last ? generation : last;
    }
    fprintf(out, "generations: %lu to %lu\n", (unsigned long)first, (unsigned long)last);
}
