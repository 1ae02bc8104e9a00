#include "latency/probe.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

static struct probe_run create(uint64_t samples)
{
    struct probe_run run = {
        .deadline_ns = clock_now_ns() + 60 * NS_PER_S,
        .samples_left = samples,
        .random = 1,
        .poll_us = 50,
        .warm_up_left = PROBE_WARM_UP,
    };

    cr_assert_eq(histogram_create(&run.histogram), 0);
    return run;
}

Test(probe, warm_up_samples_are_dropped)
{
    struct probe_run run = create(3);

    for (unsigned i = 0; i < PROBE_WARM_UP; i++)
        cr_assert_not(probe_record(&run, 0, 1000));
    cr_assert_eq(histogram_count(run.histogram), 0);
    cr_assert_not(probe_record(&run, 10, 30));
    cr_assert_eq(histogram_max(run.histogram), 20);
    histogram_destroy(run.histogram);
}

Test(probe, ends_with_the_last_sample_and_records_none_after_it)
{
    struct probe_run run = create(2);

    run.warm_up_left = 0;
    cr_assert_not(probe_record(&run, 0, 1));
    cr_assert(probe_record(&run, 0, 2));
    cr_assert(probe_record(&run, 0, 3));
    cr_assert_eq(histogram_count(run.histogram), 2);
    cr_assert_eq(histogram_max(run.histogram), 2);
    histogram_destroy(run.histogram);
}

Test(probe, ends_at_the_deadline_but_not_without_a_sample)
{
    struct probe_run run = create(1000);

    run.deadline_ns = 50;
    run.warm_up_left = 1;
    cr_assert_not(probe_record(&run, 0, 100));
    cr_assert(probe_record(&run, 0, 100));
    cr_assert_eq(histogram_count(run.histogram), 1);
    histogram_destroy(run.histogram);
}

Test(probe, a_clock_that_seems_to_go_back_is_zero)
{
    struct probe_run run = create(10);

    run.warm_up_left = 0;
    probe_record(&run, 100, 90);
    cr_assert_eq(histogram_max(run.histogram), 0);
    histogram_destroy(run.histogram);
}

Test(probe, names_and_titles_are_unique)
{
    for (unsigned i = 0; i < PROBE_COUNT; i++)
        for (unsigned other = 0; other < i; other++) {
            cr_assert_str_neq(probes[i].name, probes[other].name);
            cr_assert_str_neq(probes[i].title, probes[other].title);
        }
}

Test(probe, random_numbers_stay_within_and_repeat_with_the_seed)
{
    uint64_t first = 7, again = 7;
    bool low = false, high = false;

    for (unsigned i = 0; i < 1000; i++) {
        uint64_t number = random_between(&first, 5, 8);

        cr_assert_geq(number, 5);
        cr_assert_leq(number, 8);
        low |= number == 5;
        high |= number == 8;
        cr_assert_eq(random_between(&again, 5, 8), number);
    }
    cr_assert(low);
    cr_assert(high);
}

/* Each one takes exactly the samples that it was asked for, and leaves nothing behind. */
static void assert_measures(const char *name)
{
    struct files files;
    struct err err = {""};
    unsigned found = 0;

    cr_assert_eq(files_open(&files, "/tmp", &err), 0, "%s", err.text);
    for (unsigned i = 0; i < PROBE_COUNT; i++) {
        struct probe_run run = create(40);

        run.files = &files;
        if (!strcmp(probes[i].name, name)) {
            found++;
            cr_assert_eq(probes[i].measure(&run, &err), 0, "%s", err.text);
            cr_assert_eq(histogram_count(run.histogram), 40);
        }
        histogram_destroy(run.histogram);
    }
    cr_assert_eq(found, 1);
    files_close(&files);
}

Test(probe, wake_takes_its_samples)
{
    assert_measures("wake");
}

Test(probe, lock_takes_its_samples)
{
    assert_measures("lock");
}

Test(probe, channel_takes_its_samples)
{
    assert_measures("channel");
}

Test(probe, nop_takes_its_samples)
{
    assert_measures("nop");
}

Test(probe, read_takes_its_samples)
{
    assert_measures("read");
}

Test(probe, disk_takes_its_samples)
{
    assert_measures("disk");
}

Test(probe, lock_between_threads_takes_its_samples)
{
    assert_measures("lock-threads");
}

Test(probe, channel_between_threads_takes_its_samples)
{
    assert_measures("channel-threads");
}

Test(probe, post_takes_its_samples)
{
    assert_measures("post");
}

Test(probe, post_asleep_takes_its_samples)
{
    assert_measures("post-asleep");
}

Test(probe, timer_takes_its_samples)
{
    assert_measures("timer");
}

Test(probe, a_failed_read_is_an_error_and_leaves_nothing_in_flight)
{
    struct files files = {.memory_fd = -1, .disk_fd = -1};
    struct probe_run run = create(1);
    struct err err = {""};

    files.memory_fd = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    cr_assert_geq(files.memory_fd, 0);
    run.files = &files;
    cr_assert_eq(read_measure(&run, &err), -EISDIR);
    cr_assert_not_null(strstr(err.text, "read of 4 KiB"), "%s", err.text);
    cr_assert_eq(histogram_count(run.histogram), 0);
    histogram_destroy(run.histogram);
    close(files.memory_fd);
}
