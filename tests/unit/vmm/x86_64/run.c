/*
 * Whole runs of `ringvm run` on payloads of a few instructions, which any KVM executes: how each
 * end of a guest becomes an exit status, and what a user is told when there is no run.
 */
#include "vmm/run.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "../../boot/x86_64/image.h"
#include "vmm/guest_private.h"

/* 32-bit code at the PVH entry. */
#define PAYLOAD(name, code)                                                                   \
    __asm__(".pushsection .rodata\n.intel_syntax noprefix\n.code32\n" #name ":\n" code        \
            "\n0: hlt\n jmp 0b\n" #name "_end:\n.att_syntax prefix\n.code64\n.popsection\n"); \
    extern const uint8_t name[], name##_end[]

#define POWER_OFF "mov dx, 0x604\n mov ax, 0x3400\n out dx, ax\n"
#define RESET_CF9 "mov dx, 0xcf9\n mov al, 6\n out dx, al\n"

PAYLOAD(power_off, POWER_OFF);
PAYLOAD(reset_i8042, "mov al, 0xfe\n out 0x64, al\n");
PAYLOAD(reset_cf9, RESET_CF9);
PAYLOAD(reset_acpi, "mov dx, 0x60c\n mov al, 1\n out dx, al\n");
/* A selector beyond the table, and no table of interrupts. */
PAYLOAD(triple_fault, "mov ax, 0xff8\n mov ds, ax\n");
PAYLOAD(panic, "mov dx, 0x505\n mov al, 1\n out dx, al\n");
PAYLOAD(lost, "mov eax, 0xd0000000\n jmp eax\n");
PAYLOAD(idle, "");
PAYLOAD(asks_silent_port, "mov dx, 0x7000\n out dx, al\n");
PAYLOAD(power_button_ends, "mov dx, 0x600\n1: in ax, dx\n test ah, 1\n je 1b\n" POWER_OFF);
/* The clock's memory outlives a reset, so a byte of it counts the starts. */
PAYLOAD(third_start_ends, "mov al, 0x60\n out 0x70, al\n in al, 0x71\n inc al\n out 0x71, al\n"
                          "cmp al, 3\n je 1f\n" RESET_CF9 "0: hlt\n jmp 0b\n1: " POWER_OFF);

static const char *kernel_make(const uint8_t *code, const uint8_t *end)
{
    static char path[32];
    struct image image;
    int fd = memfd_create("kernel", MFD_CLOEXEC);

    image_pvh(&image);
    memcpy(&image.bytes[4096 + IMAGE_PVH_ENTRY - IMAGE_BASE], code, (size_t)(end - code));
    cr_assert_eq(write(fd, image.bytes, image.size), (ssize_t)image.size);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    return path;
}

static void need_kvm(void)
{
    int fd = open(KVM_PATH_DEFAULT, O_RDWR | O_CLOEXEC);

    if (fd < 0)
        cr_skip_test("needs %s", KVM_PATH_DEFAULT);
    close(fd);
}

/* `options`, cut at blanks, then the kernel. */
static enum exit_status run_words(const char *options, const char *kernel)
{
    static char line[16384];
    char *argv[16];
    int argc = 0;

    snprintf(line, sizeof(line), "run %s%s%s", options, *options ? " " : "", kernel);
    for (char *rest = line; (argv[argc] = strsep(&rest, " ")); argc++)
        cr_assert_lt(argc, 15);
    return run(argc, argv);
}

static enum exit_status run_payload(const uint8_t *code, const uint8_t *end, const char *option)
{
    char options[64];

    snprintf(options, sizeof(options), "-m 32 --serial type=sink %s", option);
    return run_words(options, kernel_make(code, end));
}

#define RUN(payload, option) run_payload(payload, payload##_end, option)

Test(run, each_end_of_a_guest_has_its_exit_status)
{
    need_kvm();
    cr_assert_eq(RUN(power_off, "--no-rng"), EXIT_POWERED_OFF);
    cr_assert_eq(RUN(reset_i8042, "--exit-on-reset"), EXIT_RESET_I8042);
    cr_assert_eq(RUN(reset_cf9, "--exit-on-reset"), EXIT_RESET_CF9);
    cr_assert_eq(RUN(reset_acpi, "--exit-on-reset"), EXIT_RESET_ACPI);
    cr_assert_eq(RUN(triple_fault, "--exit-on-reset"), EXIT_RESET_TRIPLE_FAULT);
    cr_assert_eq(RUN(panic, "--no-rng"), EXIT_GUEST_PANIC);
}

Test(run, code_that_cannot_run_is_a_crash)
{
    need_kvm();
    cr_assert_eq(RUN(lost, "--no-rng"), EXIT_CRASH);
}

Test(run, reset_restarts_the_guest_in_place)
{
    need_kvm();
    cr_assert_eq(RUN(third_start_ends, "--no-rng"), EXIT_POWERED_OFF);
}

/* Before the run, so that it comes as soon as somebody listens. */
static void signal_self(int number)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, number);
    cr_assert_eq(sigprocmask(SIG_BLOCK, &set, NULL), 0);
    kill(getpid(), number);
}

Test(run, signal_ends_a_guest_that_idles)
{
    need_kvm();
    signal_self(SIGTERM);
    cr_assert_eq(RUN(idle, "--no-rng"), EXIT_STOPPED);
}

Test(run, signal_presses_the_power_button)
{
    need_kvm();
    signal_self(SIGPWR);
    cr_assert_eq(RUN(power_button_ends, "--no-rng"), EXIT_POWERED_OFF);
}

Test(run, closed_standard_descriptors_are_not_given_to_a_disk)
{
    const char *kernel = kernel_make(power_off, power_off_end);
    int image = memfd_create("disk", MFD_CLOEXEC), saved[3];
    enum exit_status status;
    bool is_null = true;
    char option[128];
    struct stat file;

    need_kvm();
    cr_assert_eq(ftruncate(image, 4096), 0);
    snprintf(option, sizeof(option), "--serial type=sink --block /proc/self/fd/%d", image);
    for (int fd = 0; fd < 3; fd++) {
        saved[fd] = fcntl(fd, F_DUPFD_CLOEXEC, 10);
        close(fd);
    }
    status = run_words(option, kernel);
    for (int fd = 0; fd < 3; fd++) {
        is_null &= !fstat(fd, &file) && file.st_rdev == makedev(1, 3);
        dup2(saved[fd], fd);
    }
    cr_assert_eq(status, EXIT_POWERED_OFF);
    cr_assert(is_null);
}

static bool guest_is_ending(void *arg)
{
    const struct guest *guest = arg;

    return guest->is_ending;
}

static void guest_has_ended(void *arg)
{
    *(bool *)arg = true;
}

/* A guest that does nothing but restart could not be stopped otherwise. */
Test(run, stop_during_a_reset_is_not_forgotten)
{
    struct run_config config = {
        .mem_size = 32 << 20, .vcpu_count = 1, .kvm_path = KVM_PATH_DEFAULT, .no_rng = true};
    bool ended = false;
    struct guest_host host = {.config = &config, .ended = guest_has_ended, .arg = &ended};
    struct guest *guest;
    const char *detail;
    struct err err;

    need_kvm();
    config.kernel_path = kernel_make(reset_cf9, reset_cf9_end);
    cr_assert_eq(kvm_open(&host.kvm, config.kvm_path, &err), 0, "%s", err.text);
    cr_assert_eq(executor_create(&host.executor, NULL, &err), 0, "%s", err.text);
    cr_assert_eq(guest_create(&guest, &host, &err), 0, "%s", err.text);
    cr_assert_eq(guest_start(guest, &err), 0, "%s", err.text);
    cr_assert_eq(executor_run_until(host.executor, guest_is_ending, guest), 0);
    cr_assert_not(ended);
    guest_stop(guest);
    cr_assert_eq(executor_run(host.executor), 0);
    cr_assert(ended);
    cr_assert_eq(guest_end(guest, &detail), EXIT_STOPPED);
    guest_destroy(guest);
    executor_destroy(host.executor);
    kvm_close(host.kvm);
}

static char hung_detail[256];

static void guest_is_hung(void *arg, const char *detail)
{
    (void)arg;
    snprintf(hung_detail, sizeof(hung_detail), "%s", detail);
}

/* Where a process would end in the callback, the test goes on. */
Test(run, a_second_stop_waits_for_nothing)
{
    struct run_config config = {
        .mem_size = 32 << 20, .vcpu_count = 1, .kvm_path = KVM_PATH_DEFAULT, .no_rng = true};
    bool ended = false;
    struct guest_host host = {
        .config = &config, .ended = guest_has_ended, .hung = guest_is_hung, .arg = &ended};
    struct guest *guest;
    uint64_t begin_ns;
    struct err err;

    need_kvm();
    config.kernel_path = kernel_make(idle, idle_end);
    cr_assert_eq(kvm_open(&host.kvm, config.kvm_path, &err), 0, "%s", err.text);
    cr_assert_eq(executor_create(&host.executor, NULL, &err), 0, "%s", err.text);
    cr_assert_eq(guest_create(&guest, &host, &err), 0, "%s", err.text);
    cr_assert_eq(guest_start(guest, &err), 0, "%s", err.text);
    begin_ns = clock_now_ns();
    guest_stop(guest);
    guest_stop(guest);
    cr_assert(!*hung_detail || clock_now_ns() - begin_ns >= GUEST_STOP_REPEAT_NS, "a repeat");
    while (!*hung_detail)
        guest_stop(guest);
    cr_assert_geq(clock_now_ns() - begin_ns, GUEST_STOP_REPEAT_NS);
    cr_assert(strstr(hung_detail, "told to end twice"), "%s", hung_detail);
    cr_assert_eq(executor_run(host.executor), 0);
    cr_assert(ended);
    guest_destroy(guest);
    executor_destroy(host.executor);
    kvm_close(host.kvm);
}

/* A device whose answer a vCPU waits for, as for a reset of one whose disk hangs. */
struct silent_port {
    struct bus_range range;
    struct bus_access *access;
    struct guest *guest;
};

static enum bus_verdict silent_access(struct bus_range *range, struct bus_access *access)
{
    container_of(range, struct silent_port, range)->access = access;
    return BUS_DEFER;
}

static bool silent_is_asked(void *arg)
{
    return ((struct silent_port *)arg)->access;
}

static bool patience_is_limited(void *arg)
{
    return timer_is_armed(&((struct silent_port *)arg)->guest->patience);
}

static bool patience_began_again(void *arg)
{
    return ((struct silent_port *)arg)->guest->in_flight == 1;
}

static bool patience_is_fresh(void *arg)
{
    return ((struct silent_port *)arg)->guest->in_flight == 0;
}

static bool guest_was_given_up(void *arg)
{
    (void)arg;
    return *hung_detail;
}

/* As if the time had passed. */
static void patience_end(struct guest *guest)
{
    timer_arm(&guest->patience, &guest->lifecycle, clock_now_ns());
}

Test(run, one_stop_ends_a_guest_whose_vcpu_waits_for_a_disk_that_hangs)
{
    static const struct bus_range_ops ops = {.access = silent_access};
    struct run_config config = {.mem_size = 32 << 20,
                                .vcpu_count = 1,
                                .kvm_path = KVM_PATH_DEFAULT,
                                .disk_count = 1,
                                .no_rng = true};
    struct silent_port port = {.range = {.ops = &ops, .name = "silent", .base = 0x7000, .len = 1}};
    int image = memfd_create("disk", MFD_CLOEXEC);
    struct list request;
    bool ended = false;
    struct guest_host host = {
        .config = &config, .ended = guest_has_ended, .hung = guest_is_hung, .arg = &ended};
    struct virtio_device *device;
    enum virtio_phase phase;
    char path[32];
    struct err err;

    need_kvm();
    cr_assert_eq(ftruncate(image, 4096), 0);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", image);
    config.disks[0] = (struct disk_option){.path = path};
    config.kernel_path = kernel_make(asks_silent_port, asks_silent_port_end);
    cr_assert_eq(kvm_open(&host.kvm, config.kvm_path, &err), 0, "%s", err.text);
    cr_assert_eq(executor_create(&host.executor, NULL, &err), 0, "%s", err.text);
    cr_assert_eq(guest_create(&port.guest, &host, &err), 0, "%s", err.text);
    cr_assert_eq(bus_add(port.guest->port_bus, &port.range, &err), 0, "%s", err.text);
    cr_assert_eq(guest_start(port.guest, &err), 0, "%s", err.text);
    cr_assert_eq(executor_run_until(host.executor, silent_is_asked, &port), 0);
    guest_stop(port.guest);
    cr_assert_eq(executor_run_until(host.executor, patience_is_limited, &port), 0);

    /* No disk is waited for: whatever else it is, it takes its time. */
    port.guest->in_flight = 1;
    patience_end(port.guest);
    cr_assert_eq(executor_run_until(host.executor, patience_is_fresh, &port), 0);
    cr_assert_not(*hung_detail, "%s", hung_detail);

    /* The disk is reset, and has answered something meanwhile: one request less than before. */
    device = port.guest->virtio[0].device;
    phase = device->phase;
    device->phase = VIRTIO_STOPPING;
    port.guest->in_flight = 2;
    list_push_back(&device->queues[0].in_flight, &request);
    patience_end(port.guest);
    cr_assert_eq(executor_run_until(host.executor, patience_began_again, &port), 0);
    cr_assert_not(*hung_detail, "%s", hung_detail);

    patience_end(port.guest);
    cr_assert_eq(executor_run_until(host.executor, guest_was_given_up, &port), 0);
    cr_assert(strstr(hung_detail, "does not answer"), "%s", hung_detail);
    device->phase = phase;
    list_remove(&request);
    bus_access_complete(port.access);
    cr_assert_eq(executor_run(host.executor), 0);
    cr_assert(ended);
    bus_remove(port.guest->port_bus, &port.range);
    guest_destroy(port.guest);
    executor_destroy(host.executor);
    kvm_close(host.kvm);
}

static void forbid_io_uring(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog program = {array_count(code), code};

    cr_assert_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    cr_assert_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

/* The run starts no guest, and says why in one line with `words`. */
static void refused(enum exit_status status, const char *words, const char *options,
                    const char *kernel)
{
    int saved = dup(STDERR_FILENO), file = memfd_create("stderr", MFD_CLOEXEC);
    enum exit_status found;
    char text[1024] = "";

    dup2(file, STDERR_FILENO);
    found = run_words(options, kernel);
    dup2(saved, STDERR_FILENO);
    cr_assert_gt(pread(file, text, sizeof(text) - 1, 0), 0, "%s: silent", words);
    cr_assert_eq(found, status, "%d: %s", found, text);
    cr_assert(strstr(text, words), "'%s' lacks '%s'", text, words);
    cr_assert_eq(strchr(text, '\n'), text + strlen(text) - 1, "not one line: %s", text);
    close(file);
    close(saved);
}

Test(run, host_without_io_uring_is_told_in_one_line)
{
    const char *kernel = kernel_make(power_off, power_off_end);

    need_kvm();
    forbid_io_uring();
    refused(EXIT_HOST_ERROR, "io_uring", "--serial type=sink", kernel);
}

/* Registered memory is an option that helps where it can. */
Test(run, memory_that_may_not_be_locked_is_told_and_not_registered)
{
    const char *kernel = kernel_make(power_off, power_off_end);
    cap_t none = cap_init();
    struct rlimit limit;

    need_kvm();
    cr_assert_eq(RUN(power_off, "--register-memory"), EXIT_POWERED_OFF);
    getrlimit(RLIMIT_MEMLOCK, &limit);
    limit.rlim_cur = limit.rlim_max < 4 << 20 ? limit.rlim_max : 4 << 20;
    cr_assert_eq(setrlimit(RLIMIT_MEMLOCK, &limit), 0);
    cr_assert_eq(cap_set_proc(none), 0);
    cap_free(none);
    refused(EXIT_POWERED_OFF, "KiB, is below --mem; goes on without",
            "-m 32 --serial type=sink --register-memory", kernel);
}

Test(run, what_a_user_does_wrong_gets_one_line_and_its_status)
{
    const char *kernel = kernel_make(power_off, power_off_end);
    static char params[9000] = "-p ";

    need_kvm();
    memset(params + 3, 'x', sizeof(params) - 4);
    refused(EXIT_BAD_ARGUMENTS, "no kernel given", "", "");
    refused(EXIT_BAD_ARGUMENTS, "unknown option --frob", "--frob", kernel);
    refused(EXIT_BAD_ARGUMENTS, "unknown key 'color'", "-b a,color=red", kernel);
    refused(EXIT_BAD_ARGUMENTS, "both a and b are root", "-b a,root -b b,root", kernel);
    refused(EXIT_HOST_ERROR, "kernel /nonexistent: no such file", "", "/nonexistent");
    refused(EXIT_HOST_ERROR, "kernel /tmp: is a directory", "", "/tmp");
    refused(EXIT_HOST_ERROR, "initrd /nonexistent: no such file", "-i /nonexistent", kernel);
    refused(EXIT_HOST_ERROR, "kernel command line: ", params, kernel);
    refused(EXIT_HOST_ERROR, "--mem: ", "-m 100000000", kernel);
    refused(EXIT_HOST_ERROR, "disk /nonexistent: no such file", "-b /nonexistent", kernel);
    refused(EXIT_HOST_ERROR, "disk /tmp: is a directory", "-b /tmp", kernel);
    refused(EXIT_HOST_ERROR, "/nonexistent: no such device", "--kvm-device /nonexistent", kernel);
    refused(EXIT_HOST_ERROR, "/dev/null: not a KVM device", "--kvm-device /dev/null", kernel);
    refused(EXIT_HOST_ERROR, "serial1: /tmp is a directory", "--serial type=file,path=/tmp",
            kernel);
}
