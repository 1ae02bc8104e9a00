#include "latency/crew.h"

#include <string.h>

#include "base/check.h"
#include "base/futex.h"
#include "report/run_delay.h"

enum { GATE_CLOSED, GATE_OPEN, GATE_DISMISSED };

/* How long it waited for a cpu. */
static uint64_t run_one(struct executor *executor)
{
    uint64_t before_ns = run_delay_ns();

    /* A ring that was set up fails only where our own calls are wrong. */
    CHECK_CMP(executor_run(executor), ==, 0);
    return run_delay_ns() - before_ns;
}

static void *second_main(void *arg)
{
    struct crew *crew = arg;
    unsigned gate;

    /* Acquire: pairs with the release in gate_set, the tasks that were spawned are visible. */
    while ((gate = atomic_load_explicit(&crew->gate, memory_order_acquire)) == GATE_CLOSED)
        futex_wait(&crew->gate, GATE_CLOSED, FUTEX_NO_DEADLINE);
    if (gate == GATE_OPEN)
        crew->run_delay_ns = run_one(crew->executors[1]);
    return NULL;
}

static void gate_set(struct crew *crew, unsigned gate)
{
    atomic_store_explicit(&crew->gate, gate, memory_order_release);
    futex_wake(&crew->gate, 1);
}

static void second_join(struct crew *crew)
{
    if (crew->count == CREW_SIZE_MAX)
        pthread_join(crew->thread, NULL);
}

int crew_create(struct crew *crew, unsigned count, uint32_t poll_us, struct err *err)
{
    const struct executor_config config = {.poll_us_max = poll_us};
    int ret;

    *crew = (struct crew){.count = count};
    for (unsigned i = 0; i < count; i++) {
        ret = executor_create(&crew->executors[i], &config, err);
        if (ret)
            goto destroy;
    }
    if (count == CREW_SIZE_MAX) {
        ret = -pthread_create(&crew->thread, NULL, second_main, crew);
        if (ret) {
            ret = err_set(err, ret, "cannot start a thread: %s", strerror(-ret));
            goto destroy;
        }
    }
    return 0;

destroy:
    for (unsigned i = 0; i < count; i++)
        executor_destroy(crew->executors[i]);
    return ret;
}

void crew_run(struct crew *crew, uint64_t *delay_ns)
{
    gate_set(crew, GATE_OPEN);
    *delay_ns += run_one(crew->executors[0]);
    second_join(crew);
    *delay_ns += crew->run_delay_ns;
}

void crew_destroy(struct crew *crew)
{
    /* Of one that has run the thread is gone already. */
    if (atomic_load_explicit(&crew->gate, memory_order_relaxed) == GATE_CLOSED) {
        gate_set(crew, GATE_DISMISSED);
        second_join(crew);
    }
    for (unsigned i = 0; i < crew->count; i++)
        executor_destroy(crew->executors[i]);
}
