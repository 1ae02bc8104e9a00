#include "boot/file.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

Test(boot_file, missing_file_is_named)
{
    struct boot_file file;
    struct err err = {""};

    cr_assert_eq(boot_file_open(&file, "kernel", "/no/such/vmlinuz", &err), -ENOENT);
    cr_assert_str_eq(err.text, "kernel /no/such/vmlinuz: no such file; check the path");
}

Test(boot_file, directory_is_refused)
{
    struct boot_file file;
    struct err err = {""};

    cr_assert_eq(boot_file_open(&file, "initrd", "/", &err), -EISDIR);
    cr_assert_str_eq(err.text, "initrd /: is a directory; name a file in it");
}

Test(boot_file, device_and_fifo_are_refused_without_waiting)
{
    char folder[] = "/tmp/ringvm-file-XXXXXX", path[64];
    struct boot_file file;
    struct err err = {""};

    cr_assert_eq(boot_file_open(&file, "kernel", "/dev/zero", &err), -EINVAL);
    cr_assert_not_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/fifo", folder);
    cr_assert_eq(mkfifo(path, 0600), 0);
    cr_assert_eq(boot_file_open(&file, "kernel", path, &err), -EINVAL);
    cr_assert_eq(unlink(path), 0);
    cr_assert_eq(rmdir(folder), 0);
}

Test(boot_file, file_without_permission_is_refused)
{
    char path[] = "/tmp/ringvm-file-XXXXXX";
    struct boot_file file;
    struct err err = {""};
    int fd = mkstemp(path);

    cr_assert(fd >= 0);
    close(fd);
    cr_assert_eq(chmod(path, 0), 0);
    if (geteuid() == 0)
        cr_assert_eq(seteuid(65534), 0);
    cr_assert_eq(boot_file_open(&file, "kernel", path, &err), -EACCES);
    cr_assert_not_null(strstr(err.text, "no permission"));
    if (getuid() == 0)
        cr_assert_eq(seteuid(0), 0);
    unlink(path);
}

Test(boot_file, reading_past_the_end_is_an_error)
{
    struct boot_file file = {memfd_create("boot", 0), "kernel", "/boot/vmlinuz"};
    char buffer[8];
    uint64_t size;
    struct err err = {""};

    cr_assert_eq(boot_file_size(&file, &size, &err), -ENODATA, "empty");
    cr_assert_eq(write(file.fd, "abcdef", 6), 6);
    cr_assert_eq(boot_file_size(&file, &size, NULL), 0);
    cr_assert_eq(size, 6);
    cr_assert_eq(boot_file_read(&file, 2, buffer, 4, NULL), 0);
    cr_assert_arr_eq(buffer, "cdef", 4);
    cr_assert_eq(boot_file_read(&file, 2, buffer, 5, &err), -ENODATA);
    cr_assert_str_eq(err.text, "kernel /boot/vmlinuz: ends after 6 bytes, before what it announces;"
                               " copy it again");
    boot_file_close(&file);
    cr_assert_eq(file.fd, -1);
    boot_file_close(&file);
}
