/*
 * Producers and consumers on two threads, with a cancel in between.
 *
 *     pipeline
 *
 * Three producers send numbers through a channel to four consumers, whose executor is another
 * thread's. When the consumers have had enough the producers are cancelled, wherever they are. What
 * they have sent until then still arrives: both sides count, and the sums must agree.
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include <ringvm/async.h>

enum { PRODUCERS = 3, CONSUMERS = 4, SLOTS = 16, ENOUGH = 10000 };

struct sums {
    uint64_t count, sum;
};

struct pipeline {
    struct channel channel;
    uint64_t slots[SLOTS];
    struct semaphore enough;
    struct sums sent;     /* by the producers' thread */
    struct sums received; /* by the consumers' thread */
};

static void sums_add(struct sums *sums, uint64_t item)
{
    sums->count++;
    sums->sum += item;
}

/* ---- producers: jobs, which can be cancelled ---- */

struct producer {
    struct job job;
    struct pipeline *pipeline;
    struct channel_send send;
    uint64_t item;
};

enum { PRODUCER_SEND = 1 };

static enum task_verdict producer_poll(struct task *task)
{
    struct producer *const producer = container_of(task, struct producer, job.task);

    ASYNC_BEGIN(task)
        for (;;) {
            channel_send_start(&producer->send, task, &producer->pipeline->channel,
                               &producer->item);
            JOB_AWAIT(&producer->job, PRODUCER_SEND, channel_send_future(&producer->send));
            /* Cancelled: the item did not go in. */
            if (producer->send.result < 0)
                break;
            sums_add(&producer->pipeline->sent, producer->item);
            producer->item += PRODUCERS;
        }
        ASYNC_END(task);
}

static const struct job_type producer_type = JOB_TYPE("producer", producer_poll, NULL);

struct source {
    struct task task;
    struct pipeline *pipeline;
    struct job_group group;
    struct producer producers[PRODUCERS];
    struct semaphore_acquire enough;
};

enum { SOURCE_RUN = 1, SOURCE_STOP };

static enum task_verdict source_poll(struct task *task)
{
    struct source *const source = container_of(task, struct source, task);

    ASYNC_BEGIN(task)
        group_start(&source->group, task, GROUP_RUNS_ALL);
        for (unsigned i = 0; i < PRODUCERS; i++) {
            source->producers[i].pipeline = source->pipeline;
            source->producers[i].item = i;
            group_spawn(&source->group, &source->producers[i].job, &producer_type);
        }
        semaphore_acquire_start(&source->enough, task, &source->pipeline->enough, 1);
        AWAIT(task, SOURCE_RUN, semaphore_acquire_poll(&source->enough));
        group_cancel(&source->group);
        AWAIT(task, SOURCE_STOP, group_is_done(&source->group));
        channel_close(&source->pipeline->channel);
        ASYNC_END(task);
}

/* ---- consumers: plain tasks, which end with the channel ---- */

struct consumer {
    struct task task;
    struct pipeline *pipeline;
    struct channel_recv recv;
    uint64_t item;
};

enum { CONSUMER_RECV = 1 };

static enum task_verdict consumer_poll(struct task *task)
{
    struct consumer *const consumer = container_of(task, struct consumer, task);
    struct pipeline *const pipeline = consumer->pipeline;

    ASYNC_BEGIN(task)
        for (;;) {
            channel_recv_start(&consumer->recv, task, &pipeline->channel, &consumer->item);
            AWAIT(task, CONSUMER_RECV, channel_recv_poll(&consumer->recv));
            if (consumer->recv.result < 0)
                break;
            sums_add(&pipeline->received, consumer->item);
            if (pipeline->received.count == ENOUGH)
                semaphore_release(&pipeline->enough, 1);
        }
        ASYNC_END(task);
}

/* ---- the program ---- */

static struct executor *create(void)
{
    struct executor *executor;
    struct err err;

    if (executor_create(&executor, NULL, &err) < 0) {
        fprintf(stderr, "pipeline: %s\n", err.text);
        exit(1);
    }
    return executor;
}

static void *run(void *executor)
{
    return executor_run(executor) < 0 ? executor : NULL;
}

int main(void)
{
    static const struct task_type source_type = {.name = "source", .poll = source_poll};
    static const struct task_type consumer_type = {.name = "consumer", .poll = consumer_poll};
    static struct pipeline pipeline;
    static struct source source;
    static struct consumer consumers[CONSUMERS];
    struct executor *here = create(), *there = create();
    pthread_t thread;
    void *failed;

    channel_init(&pipeline.channel, pipeline.slots, sizeof(pipeline.slots[0]), SLOTS);
    source.pipeline = &pipeline;
    task_spawn(&source.task, here, &source_type);
    for (unsigned i = 0; i < CONSUMERS; i++) {
        consumers[i].pipeline = &pipeline;
        task_spawn(&consumers[i].task, there, &consumer_type);
    }
    if (pthread_create(&thread, NULL, run, there)) {
        fprintf(stderr, "pipeline: no thread\n");
        return 1;
    }
    if (executor_run(here) < 0)
        return 1;
    pthread_join(thread, &failed);
    /* Only now: each thread may wake tasks of the other's executor while it runs. */
    executor_destroy(here);
    executor_destroy(there);
    printf("%" PRIu64 " items sent, %" PRIu64 " received, sums %s\n", pipeline.sent.count,
           pipeline.received.count,
           pipeline.sent.sum == pipeline.received.sum ? "agree" : "DIFFER");
    return failed || pipeline.sent.count < ENOUGH ||
           pipeline.sent.count != pipeline.received.count ||
           pipeline.sent.sum != pipeline.received.sum;
}
