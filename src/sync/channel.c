#include "sync/channel.h"

#include <errno.h>
#include <string.h>

#include "base/check.h"

static struct channel_send *send_of(struct waiter *waiter)
{
    return container_of(waiter, struct channel_send, waiter);
}

static struct channel_recv *recv_of(struct waiter *waiter)
{
    return container_of(waiter, struct channel_recv, waiter);
}

void channel_init(union channel_ref channel, void *items, uint32_t item_size, uint32_t capacity)
{
    CHECK_CMP(item_size, >, 0U);
    CHECK_CMP(item_size, <=, (uint32_t)CHANNEL_ITEM_SIZE_MAX);
    CHECK_CMP(capacity, >, 0U);
    *channel.compact =
        (struct channel_compact){.items = items, .item_size = item_size, .capacity = capacity};
}

/* ---- under the spinlock ---- */

static unsigned char *slot(const struct channel_compact *channel, uint64_t index)
{
    return channel->items + index % channel->capacity * channel->item_size;
}

/* There is an item without an owner: it is for the first receiver that waits. */
static void offer(struct channel_compact *channel, struct wave *wave)
{
    struct waiter *receiver = channel->receivers.first;

    if (!receiver)
        return;
    recv_of(receiver)->has_claim = true;
    channel->claimed++;
    wave_take(wave, &channel->receivers, receiver);
}

/* There is room. */
static void put(struct channel_compact *channel, const void *item, struct wave *wave)
{
    memcpy(slot(channel, (uint64_t)channel->first + channel->count), item, channel->item_size);
    channel->count++;
    offer(channel, wave);
}

/* It is closed: receivers that still wait do so for items whose owners may yet give them up. */
static void end_if_empty(struct channel_compact *channel, struct wave *wave)
{
    while (!channel->count && !waitlist_is_empty(&channel->receivers))
        wave_take(wave, &channel->receivers, channel->receivers.first);
}

/* There is an item. The first sender that waits has its room. */
static void take(struct channel_compact *channel, unsigned long state, void *item,
                 struct wave *wave)
{
    struct waiter *sender = channel->senders.first;

    memcpy(item, slot(channel, channel->first), channel->item_size);
    channel->first = (channel->first + 1) % channel->capacity;
    channel->count--;
    if (sender) {
        wave_take(wave, &channel->senders, sender);
        send_of(sender)->outcome = 0;
        put(channel, send_of(sender)->item, wave);
    } else if (state & CHANNEL_CLOSED) {
        end_if_empty(channel, wave);
    }
}

/* 0, -EAGAIN or -EPIPE. Nobody waits for room unless the channel is full. */
static int try_send(struct channel_compact *channel, unsigned long state, const void *item,
                    struct wave *wave)
{
    if (state & CHANNEL_CLOSED)
        return -EPIPE;
    if (channel->count == channel->capacity)
        return -EAGAIN;
    put(channel, item, wave);
    return 0;
}

/* The same. Nobody waits for items unless all that are there have an owner. */
static int try_recv(struct channel_compact *channel, unsigned long state, void *item,
                    struct wave *wave)
{
    if (channel->count > channel->claimed) {
        take(channel, state, item, wave);
        return 0;
    }
    return state & CHANNEL_CLOSED && !channel->count ? -EPIPE : -EAGAIN;
}

/* ---- calls ---- */

int channel_try_send(union channel_ref channel, const void *item)
{
    unsigned long state = state_lock(&channel.compact->state);
    struct wave wave = {0};
    int ret = try_send(channel.compact, state, item, &wave);

    state_unlock(&channel.compact->state, state);
    wave_wake(&wave);
    return ret;
}

int channel_try_recv(union channel_ref channel, void *item)
{
    unsigned long state = state_lock(&channel.compact->state);
    struct wave wave = {0};
    int ret = try_recv(channel.compact, state, item, &wave);

    state_unlock(&channel.compact->state, state);
    wave_wake(&wave);
    return ret;
}

void channel_close(union channel_ref ref)
{
    struct channel_compact *const channel = ref.compact;
    struct wave wave = {0};
    struct waiter *waiter;

    state_lock(&channel->state);
    while ((waiter = channel->senders.first)) {
        send_of(waiter)->outcome = -EPIPE;
        wave_take(&wave, &channel->senders, waiter);
    }
    end_if_empty(channel, &wave);
    state_unlock(&channel->state, CHANNEL_CLOSED);
    wave_wake(&wave);
}

/* ---- send ---- */

void channel_send_start(struct channel_send *send, struct task *task, union channel_ref channel,
                        const void *item)
{
    waiter_init(&send->waiter, task);
    send->channel = channel.compact;
    send->item = item;
    send->result = 0;
}

static bool send_or_queue(struct waiter *waiter)
{
    struct channel_send *const send = send_of(waiter);
    struct channel_compact *const channel = send->channel;
    unsigned long state = state_lock(&channel->state);
    struct wave wave = {0};
    int ret = try_send(channel, state, send->item, &wave);

    if (ret == -EAGAIN)
        waitlist_push_back(&channel->senders, waiter);
    else
        send->outcome = ret;
    state_unlock(&channel->state, state);
    wave_wake(&wave);
    return ret != -EAGAIN;
}

bool channel_send_poll(struct channel_send *send)
{
    if (waiter_status(&send->waiter) == WAITER_DONE)
        return true;
    if (!waiter_poll(&send->waiter, send_or_queue))
        return false;
    send->result = send->outcome;
    return true;
}

void channel_send_cancel(struct channel_send *send)
{
    struct channel_compact *const channel = send->channel;
    unsigned long state;

    if (!waiter_begin_cancel(&send->waiter, &send->result))
        return;
    state = state_lock(&channel->state);
    if (waiter_status(&send->waiter) == WAITER_QUEUED)
        waitlist_remove(&channel->senders, &send->waiter);
    else
        send->result = send->outcome;
    state_unlock(&channel->state, state);
    waiter_leave(&send->waiter);
}

int channel_send_blocking_until(union channel_ref channel, const void *item, uint64_t deadline_ns)
{
    struct channel_send send;

    channel_send_start(&send, NULL, channel, item);
    return waiter_block(&send.waiter, channel_send_future(&send), &send.result, deadline_ns);
}

int channel_send_blocking(union channel_ref channel, const void *item)
{
    return channel_send_blocking_until(channel, item, FUTEX_NO_DEADLINE);
}

DEFINE_FUTURE(channel_send);

/* ---- receive ---- */

void channel_recv_start(struct channel_recv *recv, struct task *task, union channel_ref channel,
                        void *item)
{
    waiter_init(&recv->waiter, task);
    recv->channel = channel.compact;
    recv->item = item;
    recv->has_claim = false;
    recv->result = 0;
}

/* -EAGAIN: it waits. */
static int recv_or_queue(struct channel_recv *recv)
{
    struct channel_compact *const channel = recv->channel;
    unsigned long state = state_lock(&channel->state);
    struct wave wave = {0};
    int ret;

    if (recv->has_claim) {
        recv->has_claim = false;
        channel->claimed--;
        take(channel, state, recv->item, &wave);
        ret = 0;
    } else {
        ret = try_recv(channel, state, recv->item, &wave);
        if (ret == -EAGAIN)
            waitlist_push_back(&channel->receivers, &recv->waiter);
    }
    state_unlock(&channel->state, state);
    wave_wake(&wave);
    return ret;
}

bool channel_recv_poll(struct channel_recv *recv)
{
    int ret;

    switch (waiter_status(&recv->waiter)) {
    case WAITER_DONE:
        return true;
    case WAITER_START:
        break;
    default:
        if (!waiter_take_wake(&recv->waiter))
            return false;
    }
    ret = recv_or_queue(recv);
    if (ret == -EAGAIN)
        return false;
    waiter_finish(&recv->waiter);
    recv->result = ret;
    return true;
}

void channel_recv_cancel(struct channel_recv *recv)
{
    struct channel_compact *const channel = recv->channel;
    struct wave wave = {0};
    unsigned long state;

    if (!waiter_begin_cancel(&recv->waiter, &recv->result))
        return;
    state = state_lock(&channel->state);
    if (waiter_status(&recv->waiter) == WAITER_QUEUED) {
        waitlist_remove(&channel->receivers, &recv->waiter);
    } else if (recv->has_claim) {
        recv->has_claim = false;
        channel->claimed--;
        offer(channel, &wave);
    }
    state_unlock(&channel->state, state);
    wave_wake(&wave);
    waiter_leave(&recv->waiter);
}

int channel_recv_blocking_until(union channel_ref channel, void *item, uint64_t deadline_ns)
{
    struct channel_recv recv;

    channel_recv_start(&recv, NULL, channel, item);
    return waiter_block(&recv.waiter, channel_recv_future(&recv), &recv.result, deadline_ns);
}

int channel_recv_blocking(union channel_ref channel, void *item)
{
    return channel_recv_blocking_until(channel, item, FUTEX_NO_DEADLINE);
}

DEFINE_FUTURE(channel_recv);
