#include "stress/guarded.h"

static void check_words(const struct guarded *guarded, struct worker *worker)
{
    for (unsigned i = 1; i < GUARDED_WORDS; i++)
        if (guarded->words[i] != guarded->words[0])
            run_fail(worker->run,
                     "mutual exclusion: worker %u holds the lock and sees a write half done",
                     worker->index);
}

void guarded_enter(struct guarded *guarded, struct worker *worker)
{
    atomic_ulong *mine = worker->is_exclusive ? &guarded->writers : &guarded->readers;
    unsigned long others = atomic_fetch_add_explicit(mine, 1, memory_order_relaxed);
    unsigned long writers = atomic_load_explicit(&guarded->writers, memory_order_relaxed);
    unsigned long readers = atomic_load_explicit(&guarded->readers, memory_order_relaxed);

    if (worker->is_exclusive ? others || readers : writers)
        run_fail(worker->run,
                 "mutual exclusion: worker %u has the lock %s, beside which there are %lu writers "
                 "and %lu readers",
                 worker->index, worker->is_exclusive ? "exclusively" : "shared",
                 writers - worker->is_exclusive, readers - !worker->is_exclusive);
    check_words(guarded, worker);
    if (worker->is_exclusive) {
        guarded->words[0]++;
        guarded->words[1]++;
    }
}

void guarded_leave(struct guarded *guarded, struct worker *worker)
{
    if (worker->is_exclusive) {
        for (unsigned i = 2; i < GUARDED_WORDS; i++)
            guarded->words[i]++;
        worker->writes++;
    }
    check_words(guarded, worker);
    atomic_fetch_sub_explicit(worker->is_exclusive ? &guarded->writers : &guarded->readers, 1,
                              memory_order_relaxed);
}

void guarded_check_end(const struct guarded *guarded, struct run *run)
{
    uint64_t writes = 0;

    for (uint32_t i = 0; i < run->worker_count; i++)
        writes += run->workers[i].writes;
    if (guarded->words[0] != writes)
        run_fail(run, "mutual exclusion: %lu writes under the lock left a count of %lu",
                 (unsigned long)writes, (unsigned long)guarded->words[0]);
}

void guarded_dump(const struct guarded *guarded, FILE *out)
{
    fprintf(out, "inside the lock: %lu writers, %lu readers\n",
            atomic_load_explicit(&guarded->writers, memory_order_relaxed),
            atomic_load_explicit(&guarded->readers, memory_order_relaxed));
}
