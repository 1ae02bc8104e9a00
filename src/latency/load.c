#include "latency/load.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/futex.h"

/* ---- threads ---- */

enum { LOAD_SLEEPS, LOAD_WORKS, LOAD_ENDS };

/* Larger than a first-level cache, so that it takes more than cycles from its neighbours. */
enum { WORK_WORDS = 1 << 15 };

static void work(volatile uint64_t *words)
{
    for (unsigned i = 0; i < WORK_WORDS; i++)
        words[i] = words[i] * 6364136223846793005ULL + i;
}

static void *load_main(void *arg)
{
    struct load *load = arg;
    uint64_t words[WORK_WORDS] = {0};
    unsigned state;

    while ((state = atomic_load_explicit(&load->state, memory_order_relaxed)) != LOAD_ENDS) {
        if (state == LOAD_WORKS)
            work(words);
        else
            futex_wait(&load->state, LOAD_SLEEPS, FUTEX_NO_DEADLINE);
    }
    return NULL;
}

static void state_set(struct load *load, unsigned state)
{
    atomic_store_explicit(&load->state, state, memory_order_relaxed);
    futex_wake(&load->state, INT_MAX);
}

int load_create(struct load *load, unsigned count, struct err *err)
{
    CHECK_CMP(count, <=, (unsigned)LOAD_THREADS_MAX);
    load->count = 0;
    atomic_init(&load->state, LOAD_SLEEPS);
    while (load->count < count) {
        int ret = -pthread_create(&load->threads[load->count], NULL, load_main, load);

        if (ret) {
            load_destroy(load);
            return err_set(err, ret, "cannot start %u threads: %s; choose a smaller --load", count,
                           strerror(-ret));
        }
        load->count++;
    }
    return 0;
}

void load_set_busy(struct load *load, bool busy)
{
    state_set(load, busy ? LOAD_WORKS : LOAD_SLEEPS);
}

void load_destroy(struct load *load)
{
    state_set(load, LOAD_ENDS);
    while (load->count)
        pthread_join(load->threads[--load->count], NULL);
}

/* ---- tasks ---- */

enum { TURN_WORDS = 256, TURN_ROUNDS_MAX = 16 };

struct load_task {
    struct task task;
    struct probe_run *run;
    uint64_t random;
    uint64_t words[TURN_WORDS];
};

/* A fraction of a microsecond to a few. */
static void compute(struct load_task *load)
{
    volatile uint64_t *const words = load->words;
    uint64_t rounds = random_between(&load->random, 1, TURN_ROUNDS_MAX);

    for (uint64_t i = 0; i < rounds * TURN_WORDS; i++)
        words[i % TURN_WORDS] = words[i % TURN_WORDS] * 6364136223846793005ULL + i;
}

static enum task_verdict load_poll(struct task *task)
{
    struct load_task *const load = container_of(task, struct load_task, task);

    if (probe_is_over(load->run))
        return TASK_DONE;
    compute(load);
    task_wake(task);
    return TASK_PENDING;
}

int load_tasks_create(struct load_task **tasks, struct probe_run *run)
{
    *tasks = NULL;
    if (!run->load_tasks)
        return 0;
    *tasks = calloc(run->load_tasks, sizeof(**tasks));
    if (!*tasks)
        return -ENOMEM;
    for (uint32_t i = 0; i < run->load_tasks; i++) {
        (*tasks)[i].run = run;
        (*tasks)[i].random = random_next(&run->random);
    }
    return 0;
}

void load_tasks_spawn(struct load_task *tasks, uint32_t count, struct executor *executor)
{
    static const struct task_type type = {.name = "load", .poll = load_poll};

    for (uint32_t i = 0; i < count; i++)
        task_spawn(&tasks[i].task, executor, &type);
}
