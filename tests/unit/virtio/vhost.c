#include "virtio/vhost.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void assert_refused(const char *path, int code, const char *words)
{
    const struct gmem_range range = {gpa(0), 1 << 20};
    struct err err = {""};
    struct gmem *mem;
    int fd, ret;

    cr_assert_eq(gmem_create(&mem, &range, 1, &err), 0);
    ret = vhost_open(&fd, path, "net0", mem, &err);
    cr_assert_eq(ret, code, "%d: %s", ret, err.text);
    cr_assert_not_null(strstr(err.text, words), "'%s' lacks '%s'", err.text, words);
    cr_assert_not_null(strstr(err.text, "net0"));
    cr_assert_null(strchr(err.text, '\n'));
    gmem_destroy(mem);
}

Test(vhost, missing_driver_is_named_with_its_module)
{
    assert_refused("/dev/no-such-vhost", -ENODEV, "modprobe vhost_net");
}

Test(vhost, something_else_is_refused)
{
    assert_refused("/dev/null", -ENOTTY, "/dev/null");
}

Test(vhost, missing_permission_is_named)
{
    char path[] = "/tmp/vhost-XXXXXX";
    int fd = mkstemp(path);

    cr_assert_geq(fd, 0);
    cr_assert_eq(fchmod(fd, 0), 0);
    close(fd);
    if (geteuid() == 0)
        cr_assert_eq(seteuid(65534), 0);
    assert_refused(path, -EPERM, "no permission");
    (void)!seteuid(getuid());
    cr_assert_eq(unlink(path), 0);
}
