#include "latency/crew.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/futex.h"
#include "report/run_delay.h"

enum { GATE_CLOSED, GATE_OPEN };

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

    /* Acquire: pairs with the release in crew_run, the tasks that were spawned are visible. */
    while (atomic_load_explicit(&crew->gate, memory_order_acquire) == GATE_CLOSED)
        futex_wait(&crew->gate, GATE_CLOSED, FUTEX_NO_DEADLINE);
    crew->run_delay_ns = run_one(crew->executors[1]);
    return NULL;
}

void crew_destroy(struct crew *crew)
{
    for (unsigned i = 0; i < crew->count; i++) {
        executor_destroy(crew->executors[i]);
        free(crew->load[i]);
    }
}

int crew_create(struct crew *crew, struct probe_run *run, unsigned count, uint32_t poll_us,
                struct err *err)
{
    const struct executor_config config = {.poll_us_max = poll_us};
    int ret;

    *crew = (struct crew){.run = run, .count = count};
    for (unsigned i = 0; i < count; i++) {
        ret = executor_create(&crew->executors[i], &config, err);
        if (ret)
            goto destroy;
        ret = load_tasks_create(&crew->load[i], run);
        if (ret) {
            ret = err_set(err, ret, "not enough memory for the load; choose fewer --load-tasks");
            goto destroy;
        }
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
    crew_destroy(crew);
    return ret;
}

void crew_run(struct crew *crew)
{
    for (unsigned i = 0; i < crew->count; i++)
        load_tasks_spawn(crew->load[i], crew->run->load_tasks, crew->executors[i]);
    atomic_store_explicit(&crew->gate, GATE_OPEN, memory_order_release);
    futex_wake(&crew->gate, 1);
    crew->run->run_delay_ns += run_one(crew->executors[0]);
    if (crew->count == CREW_SIZE_MAX)
        CHECK_CMP(pthread_join(crew->thread, NULL), ==, 0);
    crew->run->run_delay_ns += crew->run_delay_ns;
}
