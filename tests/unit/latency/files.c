#include "latency/files.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

Test(files, have_their_size_and_no_name)
{
    struct files files;
    struct stat stat;
    struct err err = {""};

    cr_assert_eq(files_open(&files, "/tmp", &err), 0, "%s", err.text);
    cr_assert_eq(fstat(files.memory_fd, &stat), 0);
    cr_assert_eq(stat.st_size, FILES_BLOCK_COUNT * FILES_BLOCK_SIZE);
    cr_assert_eq(fstat(files.disk_fd, &stat), 0);
    cr_assert_eq(stat.st_size, FILES_BLOCK_COUNT * FILES_BLOCK_SIZE);
    cr_assert_eq(stat.st_nlink, 0);
    files_close(&files);
    cr_assert_eq(files.disk_fd, -1);
}

Test(files, without_a_directory_there_is_none_on_disk)
{
    struct files files;
    struct err err = {""};

    cr_assert_eq(files_open(&files, NULL, &err), 0, "%s", err.text);
    cr_assert_geq(files.memory_fd, 0);
    cr_assert_eq(files.disk_fd, -1);
    files_close(&files);
}

/* What stands in for O_TMPFILE. */
Test(files, one_that_had_a_name_leaves_none_behind)
{
    char directory[] = "/tmp/ringvm-files-XXXXXX";
    struct stat stat;
    int fd;

    cr_assert_not_null(mkdtemp(directory));
    fd = files_create_named(directory, 0);
    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, "x", 1), 1);
    cr_assert_eq(fstat(fd, &stat), 0);
    cr_assert_eq(stat.st_nlink, 0);
    close(fd);
    cr_assert_eq(rmdir(directory), 0, "nothing is left in it");
    cr_assert_eq(files_create_named(directory, 0), -ENOENT);
}

Test(files, an_error_names_the_directory_and_the_option)
{
    struct files files;
    struct err err = {""};

    cr_assert_eq(files_open(&files, "/nowhere", &err), -ENOENT);
    cr_assert_not_null(strstr(err.text, "/nowhere"), "%s", err.text);
    cr_assert_not_null(strstr(err.text, "--directory"), "%s", err.text);
    cr_assert_eq(files.memory_fd, -1);
}
