#include "exec/ring.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/prctl.h>

#include "exec/executor.h"

/* From here on system call `number` fails with `error`, as under a container's seccomp profile. */
static void forbid(unsigned number, unsigned error)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog program = {array_count(code), code};

    cr_assert_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    cr_assert_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

/* The one line of a failed executor_create. */
static const char *refusal(unsigned error)
{
    static struct err err;
    struct executor *executor;

    forbid(SYS_io_uring_setup, error);
    cr_assert_eq(executor_create(&executor, NULL, &err), -(int)error);
    cr_assert_null(strchr(err.text, '\n'));
    return err.text;
}

Test(ring, a_seccomp_profile_that_forbids_io_uring_is_named)
{
    const char *text = refusal(EPERM);

    /* Unless the sysctl of this machine is in the way as well: then that is what to change. */
    cr_assert(strstr(text, "seccomp profile") || strstr(text, "kernel.io_uring_disabled"), "%s",
              text);
}

Test(ring, a_seccomp_profile_that_forbids_to_register_is_named)
{
    struct executor *executor;
    struct err err;

    forbid(SYS_io_uring_register, EPERM);
    cr_assert_eq(executor_create(&executor, NULL, &err), -EPERM);
    cr_assert(strstr(err.text, "io_uring_register is forbidden"), "%s", err.text);
    cr_assert(strstr(err.text, "seccomp profile"), "%s", err.text);
}

Test(ring, a_seccomp_profile_that_forbids_to_enter_is_named_before_anything_runs)
{
    struct executor *executor;
    struct err err;

    cr_assert_eq(executor_create(&executor, NULL, NULL), 0);
    forbid(SYS_io_uring_enter, EPERM);
    cr_assert_eq(executor_bind(executor, &err), -EPERM);
    cr_assert(strstr(err.text, "io_uring_enter is forbidden"), "%s", err.text);
    executor_destroy(executor);
}

Test(ring, a_kernel_without_io_uring_is_named)
{
    const char *text = refusal(ENOSYS);

    cr_assert(strstr(text, "CONFIG_IO_URING"), "%s", text);
    cr_assert(strstr(text, "6.1"), "%s", text);
}

Test(ring, a_kernel_that_is_too_old_is_named)
{
    cr_assert(strstr(refusal(EINVAL), "Linux 6.1 or later"));
}

Test(ring, a_lack_of_memory_or_descriptors_is_named)
{
    struct err err;

    cr_assert_eq(ring_explain(-ENOMEM, 0, &err), -ENOMEM);
    cr_assert(strstr(err.text, "ulimit -l"));
    cr_assert_eq(ring_explain(-EMFILE, 0, &err), -EMFILE);
    cr_assert(strstr(err.text, "ulimit -n"));
    cr_assert_eq(ring_explain(-EIO, 0, &err), -EIO);
    cr_assert(strstr(err.text, "Input/output error"));
}

Test(ring, the_sysctl_in_the_way_is_named_with_its_value)
{
    struct err err;

    cr_assert_eq(ring_explain(-EPERM, 2, &err), -EPERM);
    cr_assert(strstr(err.text, "kernel.io_uring_disabled=2"));
    cr_assert_eq(ring_explain(-EPERM, 1, &err), -EPERM);
    cr_assert(strstr(err.text, "kernel.io_uring_disabled=1"));
    cr_assert(strstr(err.text, "kernel.io_uring_group"));
    cr_assert_eq(ring_explain(-EPERM, 0, &err), -EPERM);
    cr_assert(strstr(err.text, "seccomp"));
    cr_assert_eq(ring_explain(-EPERM, -1, &err), -EPERM, "before 6.6 there is no such sysctl");
    cr_assert(strstr(err.text, "seccomp"));
}

Test(ring, each_error_of_enter_is_decided)
{
    struct ring ring;
    struct err err = {""};

    cr_assert_eq(ring_create(&ring, 4, 4, 0, &err), 0, "%s", err.text);
    cr_assert_eq(ring_bind(&ring, &err), 0, "%s", err.text);
    cr_assert_eq(ring_decide(&ring, -EINTR), 0);
    cr_assert_eq(ring_decide(&ring, -ETIME), 0);
    cr_assert_eq(ring_decide(&ring, -EBUSY), 0);
    cr_assert_eq(ring_decide(&ring, -EAGAIN), 0, "waits a moment for memory");
    cr_assert_eq(ring_decide(&ring, -EEXIST), -EEXIST);
    cr_assert_eq(ring_decide(&ring, -EBADFD), -EBADFD);
    ring_destroy(&ring);
}

/* It would be asked again and again, without a pause. */
Test(ring, a_ring_that_is_polled_waits_for_memory_too)
{
    struct ring ring;
    struct err err = {""};
    uint64_t begin_ns;

    cr_assert_eq(ring_create(&ring, 4, 0, IORING_SETUP_IOPOLL, &err), 0, "%s", err.text);
    ring.use = RING_IOPOLL;
    cr_assert_eq(ring_bind(&ring, &err), 0, "%s", err.text);
    begin_ns = clock_now_ns();
    cr_assert_eq(ring_decide(&ring, -EAGAIN), 0);
    cr_assert_geq(clock_now_ns() - begin_ns, NS_PER_MS);
    ring_destroy(&ring);
}

Test(ring, the_description_says_what_is_in_use)
{
    struct ring ring;
    struct err err = {""};
    char *text;
    size_t len;
    FILE *out = open_memstream(&text, &len);

    cr_assert_eq(ring_create(&ring, 16, 4, 0, &err), 0, "%s", err.text);
    cr_assert_eq(ring_bind(&ring, &err), 0, "%s", err.text);
    ring_describe(&ring, out);
    fclose(out);
    cr_assert(strstr(text, "16 submission"), "%s", text);
    cr_assert(strstr(text, "4 registered files"), "%s", text);
    free(text);
    ring_destroy(&ring);
}
