#include "virtio/disk.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <linux/magic.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#define IMAGE_SIZE ((off_t)1 << 20)

static char directory[64];

static void make_directory(void)
{
    snprintf(directory, sizeof(directory), "/tmp/ringvm-disk-XXXXXX");
    cr_assert_not_null(mkdtemp(directory));
}

static void remove_directory(void)
{
    char path[128];

    snprintf(path, sizeof(path), "%s/image", directory);
    unlink(path);
    rmdir(directory);
}

/* Path of a new image of `size` bytes in the test's own directory. */
static const char *make_image(off_t size)
{
    static char path[128];
    int fd;

    snprintf(path, sizeof(path), "%s/image", directory);
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    cr_assert_geq(fd, 0);
    cr_assert_eq(ftruncate(fd, size), 0);
    close(fd);
    return path;
}

static int open_image(struct disk *disk, const char *path, bool read_only, struct err *err)
{
    const struct disk_config config = {.path = path, .read_only = read_only};

    return disk_open(disk, &config, err);
}

static void assert_refused(const struct disk_config *config, int code, const char *words)
{
    struct disk disk;
    struct err err = {""};
    int ret = disk_open(&disk, config, &err);

    cr_assert_eq(ret, code, "%d: %s", ret, err.text);
    cr_assert_not_null(strstr(err.text, config->path), "%s", err.text);
    cr_assert_not_null(strstr(err.text, words), "'%s' lacks '%s'", err.text, words);
    cr_assert_null(strchr(err.text, '\n'));
}

static bool become_nobody(void)
{
    return !geteuid() && !setegid(65534) && !seteuid(65534);
}

#define DiskTest(name, ...) \
    Test(disk, name, .init = make_directory, .fini = remove_directory, ##__VA_ARGS__)

DiskTest(regular_file_is_measured)
{
    struct disk disk;
    struct err err;

    cr_assert_eq(open_image(&disk, make_image(IMAGE_SIZE), false, &err), 0, "%s", err.text);
    cr_assert_eq(disk.size, IMAGE_SIZE);
    cr_assert_eq(disk.block_size, 512);
    cr_assert_eq(disk.physical_block_size, 4096);
    cr_assert_eq(disk.memory_align, 1);
    cr_assert(fcntl(disk.fd, F_GETFL) & O_NOATIME, "the owner of a file is spared access times");
    cr_assert_not(disk.read_only);
    disk_close(&disk);
}

DiskTest(chosen_block_size_is_used)
{
    const struct disk_config config = {.path = make_image(IMAGE_SIZE), .block_size = 4096};
    struct disk disk;

    cr_assert_eq(disk_open(&disk, &config, NULL), 0);
    cr_assert_eq(disk.block_size, 4096);
    disk_close(&disk);
}

DiskTest(size_that_is_no_multiple_of_the_block_size_is_refused)
{
    struct disk_config config = {.path = make_image(1000)};

    assert_refused(&config, -EINVAL, "truncate -s %512");
    config.block_size = 4096;
    make_image(4096 + 512);
    assert_refused(&config, -EINVAL, "truncate -s %4096");
}

DiskTest(what_is_no_disk_is_refused)
{
    struct disk_config config = {.path = "/tmp/ringvm no such file"};

    assert_refused(&config, -ENOENT, "no such file");
    config.path = directory;
    assert_refused(&config, -EISDIR, "directory");
    config.read_only = true;
    assert_refused(&config, -EISDIR, "directory");
    config.path = "/dev/null";
    assert_refused(&config, -EINVAL, "neither");
    config.path = make_image(0);
    assert_refused(&config, -EINVAL, "empty");
}

DiskTest(fifo_is_refused_without_waiting_for_its_other_end, .timeout = 10)
{
    char path[128];
    const struct disk_config config = {.path = path, .read_only = true};

    snprintf(path, sizeof(path), "%s/image", directory);
    cr_assert_eq(mkfifo(path, 0600), 0);
    assert_refused(&config, -EINVAL, "neither");
}

DiskTest(file_without_permission_is_refused)
{
    struct disk_config config = {.path = make_image(4096)};

    cr_assert_eq(chmod(directory, 0755), 0);
    cr_assert_eq(chmod(config.path, 0644), 0);
    if (!become_nobody())
        cr_skip_test("needs root, to become somebody without permission");
    assert_refused(&config, -EACCES, "no permission to write");
    cr_assert_eq(seteuid(0), 0);
    cr_assert_eq(chmod(config.path, 0600), 0);
    cr_assert(become_nobody());
    assert_refused(&config, -EACCES, "no permission to read");
    cr_assert_eq(seteuid(0), 0);
}

DiskTest(read_only_file_system_needs_ro)
{
    struct disk_config config = {.path = make_image(4096)};
    struct disk disk;

    if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
        mount(directory, directory, NULL, MS_BIND, NULL) ||
        mount(NULL, directory, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL))
        cr_skip_test("needs root, to mount a read-only file system");
    assert_refused(&config, -EROFS, "add ro");
    config.read_only = true;
    cr_assert_eq(disk_open(&disk, &config, NULL), 0);
    cr_assert_eq(disk.discard_granularity, 0);
    disk_close(&disk);
    cr_assert_eq(umount(directory), 0);
}

DiskTest(writable_disk_is_locked_against_every_other_guest)
{
    struct disk_config config = {.path = make_image(4096)};
    struct disk disk;

    cr_assert_eq(open_image(&disk, config.path, false, NULL), 0);
    assert_refused(&config, -EBUSY, "locked by another guest");
    config.read_only = true;
    assert_refused(&config, -EBUSY, "locked by another guest");
    disk_close(&disk);
    cr_assert_eq(open_image(&disk, config.path, false, NULL), 0, "the lock went with its disk");
    disk_close(&disk);
}

DiskTest(read_only_disk_is_shared_with_readers_only)
{
    struct disk_config config = {.path = make_image(4096)};
    struct disk disks[2];

    cr_assert_eq(open_image(&disks[0], config.path, true, NULL), 0);
    cr_assert_eq(open_image(&disks[1], config.path, true, NULL), 0);
    assert_refused(&config, -EBUSY, "locked by another guest");
    disk_close(&disks[0]);
    disk_close(&disks[1]);
}

DiskTest(passed_descriptor_is_used_as_it_is)
{
    int fd = memfd_create("disk", MFD_CLOEXEC);
    char path[64];
    const struct disk_config config = {.path = path};
    char byte = 'x';
    struct disk disk;

    cr_assert_eq(ftruncate(fd, 8192), 0);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    cr_assert_eq(open_image(&disk, path, false, NULL), 0);
    cr_assert_eq(disk.size, 8192);
    cr_assert_eq(pwrite(disk.fd, &byte, 1, 0), 1);
    disk_close(&disk);
    cr_assert_eq(pread(fd, &byte, 1, 0), 1);
    cr_assert_eq(byte, 'x');
    close(fd);
    assert_refused(&config, -EBADF, "is not open");
}

DiskTest(passed_descriptor_must_be_open_for_what_the_disk_does)
{
    char path[64];
    const struct disk_config config = {.path = path};
    int fd = open(make_image(4096), O_RDONLY | O_CLOEXEC);
    struct disk disk;

    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    assert_refused(&config, -EBADF, "add ro");
    cr_assert_eq(open_image(&disk, path, true, NULL), 0);
    disk_close(&disk);
    close(fd);
}

DiskTest(tmpfs_is_read_at_once_and_other_files_never_block)
{
    int fd = memfd_create("disk", MFD_CLOEXEC);
    struct statfs fs;
    struct disk disk;
    char path[64];

    cr_assert_eq(ftruncate(fd, 4096), 0);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    cr_assert_eq(open_image(&disk, path, false, NULL), 0);
    cr_assert(fcntl(disk.fd, F_GETFL) & O_NONBLOCK);
    cr_assert_eq(disk.discard_granularity, 4096, "tmpfs can punch holes");
    disk_close(&disk);
    close(fd);
    cr_assert_eq(open_image(&disk, make_image(4096), false, NULL), 0);
    cr_assert_eq(fstatfs(disk.fd, &fs), 0);
    cr_assert_eq(fs.f_type == TMPFS_MAGIC, !!(fcntl(disk.fd, F_GETFL) & O_NONBLOCK));
    if (fs.f_type != TMPFS_MAGIC)
        cr_assert_not(fcntl(disk.fd, F_GETFL) & O_DIRECT, "only where somebody asked for it");
    disk_close(&disk);
}

DiskTest(measuring_changes_no_content)
{
    const char *path = make_image(3072);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    uint8_t before[3072], after[3072];
    struct disk disk;
    struct stat status;

    memset(before, 0xa5, sizeof(before));
    cr_assert_eq(pwrite(fd, before, sizeof(before), 0), sizeof(before));
    cr_assert_eq(open_image(&disk, path, false, NULL), 0);
    disk_close(&disk);
    cr_assert_eq(pread(fd, after, sizeof(after), 0), sizeof(after));
    cr_assert_arr_eq(before, after, sizeof(before));
    cr_assert_eq(fstat(fd, &status), 0);
    cr_assert_eq(status.st_size, 3072);
    close(fd);
}

DiskTest(a_device_that_cannot_be_polled_is_named)
{
    const struct disk_config config = {
        .path = make_image(IMAGE_SIZE), .direct = true, .iopoll = true};
    struct disk disk;
    struct err err = {""};
    int ret = disk_open(&disk, &config, &err);

    if (!ret || ret == -EINVAL) {
        if (!ret)
            disk_close(&disk);
        cr_skip_test("its file system is on a device that can be polled, or has no direct I/O");
    }
    cr_assert_eq(ret, -EOPNOTSUPP);
    cr_assert(strstr(err.text, "drop iopoll"), "%s", err.text);
}

/* Rather than errors of each read in the guest. */
DiskTest(a_file_system_that_cannot_poll_is_refused_by_a_trial)
{
    struct disk_config config = {.direct = true, .iopoll = true};
    int file = open("/dev/shm", O_TMPFILE | O_RDWR | O_DIRECT | O_CLOEXEC, 0600);
    char path[32];

    if (file < 0)
        cr_skip_test("files in memory have no direct I/O before Linux 6.6");
    cr_assert_eq(ftruncate(file, IMAGE_SIZE), 0);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
    config.path = path;
    assert_refused(&config, -EOPNOTSUPP, "a first read was refused");
    close(file);
}

DiskTest(direct_disk_tells_what_alignment_it_needs)
{
    const struct disk_config config = {.path = make_image(IMAGE_SIZE), .direct = true};
    uint8_t *buffer = aligned_alloc(4096, 8192);
    struct disk disk;
    struct err err;
    int ret = disk_open(&disk, &config, &err);

    if (ret)
        cr_skip_test("the file system of /tmp has no O_DIRECT");
    cr_assert_geq(disk.memory_align, disk.block_size);
    cr_assert_eq(pwrite(disk.fd, buffer + disk.memory_align, disk.block_size, disk.block_size),
                 disk.block_size);
    disk_close(&disk);
    free(buffer);
}

DiskTest(direct_is_refused_where_the_file_system_has_none)
{
    struct disk_config config = {.direct = true};

    if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
        mount("ramfs", directory, "ramfs", 0, NULL))
        cr_skip_test("needs root, to mount a file system without O_DIRECT");
    config.path = make_image(4096);
    assert_refused(&config, -EINVAL, "drop direct");
    cr_assert_eq(umount2(directory, MNT_DETACH), 0);
}

/* Path of a loop device on a new image, with logical blocks of 4096 bytes; NULL if impossible. */
static const char *attach_loop(int *loop_fd, off_t size)
{
    static char path[32];
    struct loop_config config = {.block_size = 4096};
    int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
    int number = control < 0 ? -1 : ioctl(control, LOOP_CTL_GET_FREE);
    int ret;

    if (number < 0)
        return NULL;
    snprintf(path, sizeof(path), "/dev/loop%d", number);
    *loop_fd = open(path, O_RDWR | O_CLOEXEC);
    config.fd = (uint32_t)open(make_image(size), O_RDWR | O_CLOEXEC);
    ret = *loop_fd < 0 ? -1 : ioctl(*loop_fd, LOOP_CONFIGURE, &config);
    close((int)config.fd);
    close(control);
    return ret ? NULL : path;
}

DiskTest(block_device_is_measured_and_taken_exclusively)
{
    struct disk_config config = {0};
    struct disk disk, other;
    struct err err;
    int loop_fd;

    config.path = attach_loop(&loop_fd, IMAGE_SIZE);
    if (!config.path)
        cr_skip_test("needs root and a loop device");
    cr_assert_eq(disk_open(&disk, &config, &err), 0, "%s", err.text);
    cr_assert_eq(disk.size, IMAGE_SIZE);
    cr_assert_eq(disk.block_size, 4096);
    cr_assert_geq(disk.physical_block_size, 4096);
    cr_assert_eq(disk.discard_granularity, 4096);
    assert_refused(&config, -EBUSY, "in use on this host");
    disk_close(&disk);
    config.read_only = true;
    cr_assert_eq(disk_open(&disk, &config, &err), 0, "%s", err.text);
    cr_assert_eq(disk_open(&other, &config, &err), 0, "%s", err.text);
    disk_close(&disk);
    disk_close(&other);
    cr_assert_eq(ioctl(loop_fd, LOOP_CLR_FD), 0);
    close(loop_fd);
}

DiskTest(direct_block_device_refuses_blocks_smaller_than_its_own)
{
    struct disk_config config = {.direct = true, .block_size = 512};
    struct disk disk;
    struct err err;
    int loop_fd;

    config.path = attach_loop(&loop_fd, IMAGE_SIZE);
    if (!config.path)
        cr_skip_test("needs root and a loop device");
    assert_refused(&config, -EINVAL, "block-size 512 is too small");
    config.block_size = 0;
    cr_assert_eq(disk_open(&disk, &config, &err), 0, "%s", err.text);
    cr_assert_eq(disk.block_size, 4096);
    disk_close(&disk);
    cr_assert_eq(ioctl(loop_fd, LOOP_CLR_FD), 0);
    close(loop_fd);
}
