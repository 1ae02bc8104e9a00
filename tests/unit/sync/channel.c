#include "sync/channel.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>

#include "base/clock.h"
#include "rig.h"

enum { CAPACITY = 3 };

static struct channel channel;
static unsigned room[CAPACITY];

#define RigTest(name, ...) Test(channel, name, .init = start, .fini = rig_stop, ##__VA_ARGS__)

static void start(void)
{
    rig_start();
    channel_init(&channel, room, sizeof(room[0]), CAPACITY);
}

static void assert_state(unsigned long expected)
{
    cr_assert_eq(atomic_load(&channel.compact.state), expected);
}

static struct task *next_task(void)
{
    static unsigned next;

    return rig_task(next++ % RIG_TASKS);
}

static void put(unsigned item)
{
    cr_assert_eq(channel_try_send(&channel, &item), 0);
}

static void expect(unsigned expected)
{
    unsigned item = ~expected;

    cr_assert_eq(channel_try_recv(&channel, &item), 0);
    cr_assert_eq(item, expected);
}

static void fill(void)
{
    for (unsigned i = 0; i < CAPACITY; i++)
        put(i);
}

static void queue_send(struct channel_send *send, const unsigned *item)
{
    channel_send_start(send, next_task(), &channel, item);
    cr_assert_not(channel_send_poll(send));
    cr_assert(is_queued(&send->waiter));
}

static void queue_recv(struct channel_recv *recv, unsigned *item)
{
    *item = 0xffff;
    channel_recv_start(recv, next_task(), &channel, item);
    cr_assert_not(channel_recv_poll(recv));
    cr_assert(is_queued(&recv->waiter));
}

static void end_send(struct channel_send *send, int result)
{
    cr_assert(channel_send_poll(send));
    cr_assert_eq(send->result, result);
    cr_assert(channel_send_poll(send));
    cr_assert_eq(send->result, result, "and stays");
}

static void end_recv(struct channel_recv *recv, int result)
{
    cr_assert(channel_recv_poll(recv));
    cr_assert_eq(recv->result, result);
    cr_assert(channel_recv_poll(recv));
    cr_assert_eq(recv->result, result, "and stays");
}

RigTest(items_come_out_in_order_around_the_ring)
{
    unsigned item;

    for (unsigned round = 0; round < 5; round++) {
        cr_assert_eq(channel_try_recv(&channel, &item), -EAGAIN);
        put(10);
        put(11);
        expect(10);
        put(12);
        put(13);
        cr_assert_eq(channel_try_send(&channel, &item), -EAGAIN);
        expect(11);
        expect(12);
        expect(13);
        assert_state(0);
    }
}

RigTest(futures_need_not_wait_when_there_is_room_and_an_item)
{
    struct channel_send send;
    struct channel_recv recv;
    unsigned in = 7, out = 0;

    channel_send_start(&send, next_task(), &channel, &in);
    cr_assert_eq(channel_try_recv(&channel, &out), -EAGAIN, "nothing before the poll");
    end_send(&send, 0);
    channel_recv_start(&recv, next_task(), &channel, &out);
    cr_assert_eq(out, 0);
    end_recv(&recv, 0);
    cr_assert_eq(out, 7);
    assert_state(0);
}

RigTest(senders_that_wait_go_in_in_order)
{
    const unsigned items[] = {20, 21};
    struct channel_send sends[2];
    unsigned more = 99;

    fill();
    queue_send(&sends[0], &items[0]);
    queue_send(&sends[1], &items[1]);
    expect(0);
    cr_assert(is_woken(&sends[0].waiter));
    cr_assert(is_queued(&sends[1].waiter));
    cr_assert_eq(channel_try_send(&channel, &more), -EAGAIN, "the room was the first sender's");
    end_send(&sends[0], 0);
    expect(1);
    end_send(&sends[1], 0);
    expect(2);
    expect(20);
    expect(21);
    assert_state(0);
}

RigTest(receivers_that_wait_are_woken_in_order_and_nobody_takes_their_items)
{
    struct channel_recv recvs[2];
    unsigned items[2], item;

    queue_recv(&recvs[0], &items[0]);
    queue_recv(&recvs[1], &items[1]);
    put(1);
    cr_assert(is_woken(&recvs[0].waiter));
    cr_assert(is_queued(&recvs[1].waiter));
    cr_assert_eq(items[0], 0xffff, "not before its poll");
    cr_assert_eq(channel_try_recv(&channel, &item), -EAGAIN);
    put(2);
    put(3);
    expect(1);
    end_recv(&recvs[1], 0);
    end_recv(&recvs[0], 0);
    cr_assert_eq(items[0] + items[1], 5);
    assert_state(0);
}

RigTest(a_sender_meets_a_receiver_that_waits_at_a_full_channel)
{
    struct channel_send send;
    struct channel_recv recvs[CAPACITY];
    unsigned items[CAPACITY];
    const unsigned last = 50;

    for (unsigned i = 0; i < CAPACITY; i++)
        queue_recv(&recvs[i], &items[i]);
    fill();
    queue_send(&send, &last);
    for (unsigned i = 0; i < CAPACITY; i++) {
        end_recv(&recvs[i], 0);
        cr_assert_eq(items[i], i);
    }
    end_send(&send, 0);
    expect(50);
    assert_state(0);
}

/* ---- close ---- */

RigTest(after_a_close_nothing_goes_in_and_what_is_inside_comes_out)
{
    struct channel_send sends[2];
    struct channel_recv recv;
    unsigned item = 30;

    fill();
    queue_send(&sends[0], &item);
    channel_close(&channel);
    channel_close(&channel);
    assert_state(CHANNEL_CLOSED);
    end_send(&sends[0], -EPIPE);
    cr_assert_eq(channel_try_send(&channel, &item), -EPIPE);
    channel_send_start(&sends[1], next_task(), &channel, &item);
    end_send(&sends[1], -EPIPE);
    for (unsigned i = 0; i < CAPACITY; i++) {
        channel_recv_start(&recv, next_task(), &channel, &item);
        end_recv(&recv, 0);
        cr_assert_eq(item, i);
    }
    channel_recv_start(&recv, next_task(), &channel, &item);
    end_recv(&recv, -EPIPE);
    cr_assert_eq(channel_try_recv(&channel, &item), -EPIPE);
    assert_state(CHANNEL_CLOSED);
}

RigTest(a_close_ends_the_wait_of_receivers)
{
    struct channel_recv recvs[2];
    unsigned items[2];

    queue_recv(&recvs[0], &items[0]);
    queue_recv(&recvs[1], &items[1]);
    channel_close(&channel);
    end_recv(&recvs[0], -EPIPE);
    end_recv(&recvs[1], -EPIPE);
}

RigTest(after_a_close_receivers_wait_until_the_last_item_is_taken)
{
    struct channel_recv recvs[3];
    unsigned items[3], item;

    for (unsigned i = 0; i < 2; i++)
        queue_recv(&recvs[i], &items[i]);
    put(8);
    channel_close(&channel);
    queue_recv(&recvs[2], &items[2]);
    cr_assert_eq(channel_try_recv(&channel, &item), -EAGAIN, "it has an owner, who may give it up");
    cr_assert(is_queued(&recvs[1].waiter));
    end_recv(&recvs[0], 0);
    cr_assert_eq(items[0], 8);
    end_recv(&recvs[1], -EPIPE);
    end_recv(&recvs[2], -EPIPE);
    cr_assert_eq(channel_try_recv(&channel, &item), -EPIPE);
}

RigTest(after_a_close_a_receiver_that_is_cancelled_still_passes_its_item_on)
{
    struct channel_recv recvs[2];
    unsigned items[2];

    queue_recv(&recvs[0], &items[0]);
    put(8);
    channel_close(&channel);
    queue_recv(&recvs[1], &items[1]);
    channel_recv_cancel(&recvs[0]);
    end_recv(&recvs[0], -ECANCELED);
    end_recv(&recvs[1], 0);
    cr_assert_eq(items[1], 8);
    assert_state(CHANNEL_CLOSED);
}

/* ---- cancel ---- */

RigTest(a_sender_that_is_cancelled_in_time_sends_nothing)
{
    const unsigned items[] = {40, 41};
    struct channel_send sends[2], early;

    fill();
    queue_send(&sends[0], &items[0]);
    queue_send(&sends[1], &items[1]);
    channel_send_cancel(&sends[0]);
    end_send(&sends[0], -ECANCELED);
    expect(0);
    end_send(&sends[1], 0);
    expect(1);
    expect(2);
    expect(41);
    channel_send_start(&early, next_task(), &channel, &items[0]);
    channel_send_cancel(&early);
    end_send(&early, -ECANCELED);
    cr_assert_eq(channel.compact.count, 0);
}

RigTest(a_sender_that_is_cancelled_too_late_says_so)
{
    const unsigned item = 42;
    struct channel_send send;

    fill();
    queue_send(&send, &item);
    expect(0);
    channel_send_cancel(&send);
    end_send(&send, 0);
    expect(1);
    expect(2);
    expect(42);

    fill();
    queue_send(&send, &item);
    channel_close(&channel);
    channel_send_cancel(&send);
    end_send(&send, -EPIPE);
}

RigTest(a_receiver_that_is_cancelled_passes_its_item_on)
{
    struct channel_recv recvs[4];
    unsigned items[4];

    for (unsigned i = 0; i < 4; i++)
        queue_recv(&recvs[i], &items[i]);
    channel_recv_cancel(&recvs[2]);
    put(1);
    channel_recv_cancel(&recvs[0]);
    end_recv(&recvs[0], -ECANCELED);
    cr_assert_eq(items[0], 0xffff);
    cr_assert(is_queued(&recvs[3].waiter));
    end_recv(&recvs[1], 0);
    cr_assert_eq(items[1], 1);
    put(2);
    channel_recv_cancel(&recvs[3]);
    end_recv(&recvs[3], -ECANCELED);
    expect(2);
    end_recv(&recvs[2], -ECANCELED);
    assert_state(0);
}

RigTest(a_receiver_is_cancelled_before_its_first_poll_and_after_a_close)
{
    struct channel_recv recv;
    unsigned item;

    put(1);
    channel_recv_start(&recv, next_task(), &channel, &item);
    channel_recv_cancel(&recv);
    end_recv(&recv, -ECANCELED);
    expect(1);
    queue_recv(&recv, &item);
    channel_close(&channel);
    channel_recv_cancel(&recv);
    end_recv(&recv, -ECANCELED);
}

/* ---- plain threads ---- */

enum { ITEMS = 5000, THREADS = 3 };

static void *producer_main(void *arg)
{
    unsigned first = *(const unsigned *)arg;

    for (unsigned i = 0; i < ITEMS; i++) {
        unsigned item = first + i;

        cr_assert_eq(channel_send_blocking(&channel, &item), 0);
    }
    return NULL;
}

static void *consumer_main(void *arg)
{
    unsigned char *seen = arg;
    unsigned item;

    while (channel_recv_blocking(&channel, &item) == 0)
        seen[item]++;
    return NULL;
}

Test(channel, every_item_of_many_threads_arrives_once, .timeout = 60)
{
    static unsigned char seen[THREADS * ITEMS];
    pthread_t producers[THREADS], consumers[THREADS];
    unsigned firsts[THREADS];

    channel_init(&channel, room, sizeof(room[0]), CAPACITY);
    for (unsigned i = 0; i < THREADS; i++) {
        firsts[i] = i * ITEMS;
        cr_assert_eq(pthread_create(&producers[i], NULL, producer_main, &firsts[i]), 0);
        cr_assert_eq(pthread_create(&consumers[i], NULL, consumer_main, seen), 0);
    }
    for (unsigned i = 0; i < THREADS; i++)
        cr_assert_eq(pthread_join(producers[i], NULL), 0);
    channel_close(&channel);
    for (unsigned i = 0; i < THREADS; i++)
        cr_assert_eq(pthread_join(consumers[i], NULL), 0);
    for (unsigned i = 0; i < THREADS * ITEMS; i++)
        cr_assert_eq(seen[i], 1, "item %u", i);
    assert_state(CHANNEL_CLOSED);
}

Test(channel, a_plain_thread_times_out)
{
    unsigned item = 0;

    channel_init(&channel, room, sizeof(room[0]), CAPACITY);
    cr_assert_eq(channel_recv_blocking_until(&channel, &item, clock_now_ns() + NS_PER_MS),
                 -ETIMEDOUT);
    fill();
    cr_assert_eq(channel_send_blocking_until(&channel, &item, clock_now_ns() + NS_PER_MS),
                 -ETIMEDOUT);
    cr_assert_eq(channel.compact.count, CAPACITY);
    channel_close(&channel);
    cr_assert_eq(channel_send_blocking(&channel, &item), -EPIPE);
}

Test(channel, items_larger_than_the_limit_are_a_bug, .signal = SIGABRT)
{
    channel_init(&channel, room, CHANNEL_ITEM_SIZE_MAX + 1, 1);
}
