#include "latency/probe.h"

#include "base/arith.h"

const struct probe probes[] = {
    {"wake", "wake to run", "from task_wake until the task runs, in one executor", wake_measure},
    {"lock", "lock hand-off", "from the unlock until the waiting task has the lock", lock_measure},
    {"channel", "channel hop", "from the send until the receiving task has the item",
     channel_measure},
    {"nop", "I/O: no-op", "from the start of a no-op until its task runs again", nop_measure},
    {"read", "I/O: 4 KiB from memory", "the same for a read of a file in memory (tmpfs)",
     read_measure},
    {"disk", "I/O: 4 KiB from disk", "the same for a read of a file past the page cache",
     disk_measure},
    {"lock-threads", "lock hand-off, two threads", "as lock, between executors on two threads",
     lock_threads_measure},
    {"channel-threads", "channel hop, two threads", "as channel, between executors on two threads",
     channel_threads_measure},
    {"post", "post and reply, polling",
     "a thread posts to a task and has its reply, both polling first", post_polling_measure},
    {"post-asleep", "post and reply, asleep", "the same when both sides sleep at once",
     post_asleep_measure},
    {"timer", "timer overshoot", "from the deadline of a timer until its task runs", timer_measure},
};

_Static_assert(array_count(probes) == PROBE_COUNT, "PROBE_COUNT says how many there are");

bool probe_record(struct probe_run *run, uint64_t begin_ns, uint64_t end_ns)
{
    if (probe_is_over(run))
        return true;
    if (run->warm_up_left) {
        run->warm_up_left--;
        return false;
    }
    /* Clocks of two cpus may differ by a few nanoseconds. */
    histogram_record(run->histogram, end_ns - u64_min(begin_ns, end_ns));
    if (!--run->samples_left || end_ns >= run->deadline_ns)
        probe_end(run);
    return probe_is_over(run);
}
