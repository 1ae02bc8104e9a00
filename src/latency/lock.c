/*
 * Two tasks that take a lock in turn. Who holds it waits until the other one queues, and who gave
 * it away waits until the other one has it: so every lock is a hand-off.
 */
#include "base/clock.h"
#include "exec/timer.h"
#include "latency/crew.h"
#include "latency/probe.h"
#include "sync/amutex.h"

/* Looks at the other one so often, for longer than a wake-up takes, before it sleeps: the other one
 * may need this cpu. */
enum { NOBODY = 2, LOOKS_BEFORE_SLEEP = 8192 };

#define SLEEP_NS (50 * NS_PER_US)

struct lock_scene;

struct lock_player {
    struct task task;
    struct lock_scene *scene;
    struct amutex_lock lock;
    struct timer timer;
    unsigned index;
    unsigned looks;
};

struct lock_scene {
    struct amutex mutex;
    struct lock_player players[2];
    struct probe_run *run; /* guarded by the mutex, as the next two */
    uint64_t unlocked_ns;
    unsigned unlocker;
    atomic_uint holder;
    atomic_bool is_over;
};

static bool scene_is_over(struct lock_scene *scene)
{
    return atomic_load_explicit(&scene->is_over, memory_order_relaxed);
}

static bool has_waiters(struct lock_scene *scene)
{
    return atomic_load_explicit(&scene->mutex.compact.state, memory_order_relaxed) &
           AMUTEX_HAS_WAITERS;
}

static bool is_holder(struct lock_player *player)
{
    return atomic_load_explicit(&player->scene->holder, memory_order_relaxed) == player->index;
}

static void take(struct lock_player *player)
{
    struct lock_scene *scene = player->scene;
    uint64_t now_ns = clock_now_ns();

    atomic_store_explicit(&scene->holder, player->index, memory_order_relaxed);
    if (scene->unlocker == !player->index && probe_record(scene->run, scene->unlocked_ns, now_ns))
        atomic_store_explicit(&scene->is_over, true, memory_order_relaxed);
}

static void give(struct lock_player *player)
{
    struct lock_scene *scene = player->scene;

    scene->unlocker = player->index;
    scene->unlocked_ns = clock_now_ns();
    amutex_unlock(&scene->mutex, AMUTEX_EXCLUSIVE);
}

/* Whether it is time to let go of the cpu: the other one may need this one. */
static bool is_impatient(struct lock_player *player)
{
    return ++player->looks % LOOKS_BEFORE_SLEEP == 0;
}

enum { PLAYER_LOCK = 1, PLAYER_HOLD, PLAYER_HOLD_SLEEP, PLAYER_GONE, PLAYER_GONE_SLEEP };

static enum task_verdict player_poll(struct task *task)
{
    struct lock_player *const player = container_of(task, struct lock_player, task);
    struct lock_scene *const scene = player->scene;

    ASYNC_BEGIN(task)
        ;
        while (!scene_is_over(scene)) {
            amutex_lock_start(&player->lock, task, &scene->mutex, AMUTEX_EXCLUSIVE);
            AWAIT(task, PLAYER_LOCK, amutex_lock_poll(&player->lock));
            take(player);
            while (!has_waiters(scene) && !scene_is_over(scene)) {
                YIELD(task, PLAYER_HOLD);
                if (is_impatient(player)) {
                    timer_sleep(&player->timer, task, SLEEP_NS);
                    AWAIT(task, PLAYER_HOLD_SLEEP, timer_has_fired(&player->timer));
                }
            }
            give(player);
            while (is_holder(player) && !scene_is_over(scene)) {
                YIELD(task, PLAYER_GONE);
                if (is_impatient(player)) {
                    timer_sleep(&player->timer, task, SLEEP_NS);
                    AWAIT(task, PLAYER_GONE_SLEEP, timer_has_fired(&player->timer));
                }
            }
        }
        ASYNC_END(task);
}

static int measure(struct probe_run *run, unsigned threads, struct err *err)
{
    static const struct task_type type = {.name = "lock player", .poll = player_poll};
    struct lock_scene scene = {.run = run, .unlocker = NOBODY, .holder = NOBODY};
    struct crew crew;
    int ret = crew_create(&crew, run, threads, run->poll_us, err);

    if (ret)
        return ret;
    for (unsigned i = 0; i < 2; i++) {
        scene.players[i].scene = &scene;
        scene.players[i].index = i;
        task_spawn(&scene.players[i].task, crew.executors[i % threads], &type);
    }
    crew_run(&crew);
    crew_destroy(&crew);
    return 0;
}

int lock_measure(struct probe_run *run, struct err *err)
{
    return measure(run, 1, err);
}

int lock_threads_measure(struct probe_run *run, struct err *err)
{
    return measure(run, 2, err);
}
