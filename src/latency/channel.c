/* Two tasks that send each other the time at which they sent it. */
#include <errno.h>

#include "base/check.h"
#include "base/clock.h"
#include "latency/crew.h"
#include "latency/probe.h"
#include "sync/channel.h"

struct channel_scene;

struct channel_player {
    struct task task;
    struct channel_scene *scene;
    struct channel *in, *out;
    struct channel_send send;
    struct channel_recv recv;
    uint64_t sent_ns;     /* of the item on its way out */
    uint64_t received_ns; /* the item that came in: when it was sent */
    bool serves;          /* sends without an item that came before */
};

struct channel_scene {
    struct channel channels[2];
    uint64_t items[2];
    struct channel_player players[2];
    struct probe_run *run; /* of whom received last */
};

enum { PLAYER_RECV = 1, PLAYER_SEND };

static enum task_verdict player_poll(struct task *task)
{
    struct channel_player *const player = container_of(task, struct channel_player, task);

    ASYNC_BEGIN(task)
        ;
        for (;;) {
            if (!player->serves) {
                channel_recv_start(&player->recv, task, player->in, &player->received_ns);
                AWAIT(task, PLAYER_RECV, channel_recv_poll(&player->recv));
                if (player->recv.result == -EPIPE)
                    return TASK_DONE;
                if (probe_record(player->scene->run, player->received_ns, clock_now_ns())) {
                    channel_close(player->out);
                    return TASK_DONE;
                }
            }
            player->serves = false;
            player->sent_ns = clock_now_ns();
            channel_send_start(&player->send, task, player->out, &player->sent_ns);
            AWAIT(task, PLAYER_SEND, channel_send_poll(&player->send));
            CHECK_CMP(player->send.result, ==, 0);
        }
        ASYNC_END(task);
}

static int measure(struct probe_run *run, unsigned threads, struct err *err)
{
    static const struct task_type type = {.name = "channel player", .poll = player_poll};
    struct channel_scene scene = {.run = run};
    struct crew crew;
    int ret = crew_create(&crew, run, threads, run->poll_us, err);

    if (ret)
        return ret;
    for (unsigned i = 0; i < 2; i++)
        channel_init(&scene.channels[i], &scene.items[i], sizeof(scene.items[i]), 1);
    for (unsigned i = 0; i < 2; i++) {
        struct channel_player *player = &scene.players[i];

        player->scene = &scene;
        player->in = &scene.channels[i];
        player->out = &scene.channels[!i];
        player->serves = i == 0;
        task_spawn(&player->task, crew.executors[i % threads], &type);
    }
    crew_run(&crew);
    crew_destroy(&crew);
    return 0;
}

int channel_measure(struct probe_run *run, struct err *err)
{
    return measure(run, 1, err);
}

int channel_threads_measure(struct probe_run *run, struct err *err)
{
    return measure(run, 2, err);
}
