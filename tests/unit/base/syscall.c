#include "base/syscall.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

Test(syscall, passes_six_arguments_and_returns_the_result)
{
    static const char page_two[] = "second";
    int fd = memfd_create("syscall", MFD_CLOEXEC);
    long page = sysconf(_SC_PAGESIZE);
    long address;

    cr_assert_geq(fd, 0);
    cr_assert_eq(pwrite(fd, page_two, sizeof(page_two), page), (ssize_t)sizeof(page_two));
    address = syscall_6(SYS_mmap, 0, page, PROT_READ, MAP_PRIVATE, fd, page);
    cr_assert_gt(address, 0);
    cr_assert_str_eq((const char *)(uintptr_t)address, page_two);
    cr_assert_eq(syscall_6(SYS_munmap, address, page, 0, 0, 0, 0), 0);
    close(fd);
}

Test(syscall, an_error_is_the_result_and_leaves_errno_alone)
{
    errno = 0;
    cr_assert_eq(syscall_6(SYS_close, -1, 0, 0, 0, 0, 0), -EBADF);
    cr_assert_eq(errno, 0);
}
