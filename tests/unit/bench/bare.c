#include "bench/bare.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "bench/scratch.h"

Test(bare, mixed_requests_run_on_a_file_of_ours)
{
    struct scratch scratch;
    struct err err = {""};
    double iops = 0;

    cr_assert_eq(scratch_make(&scratch, "/dev/shm", 1 << 20, &err), 0, "%s", err.text);

    const struct bare_config config = {
        .path = scratch.path,
        .size = scratch.size,
        .duration_ns = NS_PER_MS,
        .seed = 1,
        .depth = 4,
        .block = 4096,
        .read_percent = 50,
    };

    cr_assert_eq(bare_run(&config, &iops, &err), 0, "%s", err.text);
    cr_assert_gt(iops, 0);
    scratch_close(&scratch);
}

Test(bare, file_that_is_shorter_than_it_should_be_is_an_error)
{
    int fd = memfd_create("short", MFD_CLOEXEC);
    char path[32];
    struct bare_config config = {.path = path,
                                 .size = 1 << 20,
                                 .duration_ns = NS_PER_S,
                                 .seed = 1,
                                 .depth = 4,
                                 .block = 4096,
                                 .read_percent = 100};
    struct err err = {""};
    double iops;

    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    cr_assert_eq(bare_run(&config, &iops, &err), -EIO);
    cr_assert_not_null(strstr(err.text, "bare io_uring loop"));
    close(fd);
}

Test(scratch, each_sector_begins_with_its_number)
{
    struct scratch scratch;
    struct err err = {""};

    cr_assert_eq(scratch_make(&scratch, "/dev/shm", 2 << 20, &err), 0, "%s", err.text);
    cr_assert(scratch.is_tagged);
    for (uint64_t sector = 0; sector < (2 << 20) / 512; sector++) {
        uint64_t found;

        cr_assert_eq(pread(scratch.fd, &found, sizeof(found), (off_t)sector * 512), 8);
        cr_assert_eq(found, sector);
    }
    scratch_close(&scratch);
}

Test(scratch, errors_name_the_option)
{
    struct scratch scratch;
    struct err err = {""};

    cr_assert_eq(scratch_make(&scratch, "/nonexistent", 1 << 20, &err), -ENOENT);
    cr_assert_not_null(strstr(err.text, "--directory /nonexistent"));
    cr_assert_eq(scratch_open(&scratch, "/nonexistent", &err), -ENOENT);
    cr_assert_not_null(strstr(err.text, "--file /nonexistent"));
    cr_assert_eq(scratch_open(&scratch, "/dev/null", &err), -EINVAL);
    cr_assert_not_null(strstr(err.text, "it is empty"));
}
