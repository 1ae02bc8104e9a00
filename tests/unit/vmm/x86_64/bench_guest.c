/* The bench guest, through both of its entries, on the real monitor. */
#include <criterion/criterion.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench/payload.h"
#include "bench/reader.h"
#include "bench/record.h"
#include "bench/scratch.h"
#include "kvm/kvm.h"
#include "vmm/run.h"

enum { CASES_MAX = 8 };

struct results {
    uint64_t depths[CASES_MAX], interrupts[CASES_MAX], operations[CASES_MAX];
    unsigned count;
    struct histogram *histogram;
};

static int take(void *arg, const char *line, struct histogram **histogram, struct err *err)
{
    struct results *results = arg;
    unsigned i = results->count++;

    (void)err;
    cr_assert_lt(i, CASES_MAX);
    cr_assert_eq(record_number(line, "depth", &results->depths[i]), 0);
    cr_assert_eq(record_number(line, "interrupts", &results->interrupts[i]), 0);
    cr_assert_eq(record_number(line, "operations", &results->operations[i]), 0);
    *histogram = results->histogram;
    return 0;
}

static void need_kvm(void)
{
    int fd = open(KVM_PATH_DEFAULT, O_RDWR | O_CLOEXEC);

    if (fd < 0)
        cr_skip_test("needs %s", KVM_PATH_DEFAULT);
    close(fd);
}

/* `params`: "-p name=value -p name=value". */
static void run_guest(int kernel, const char *disk, const char *params, struct results *results,
                      struct err *err, int code)
{
    struct reader reader = {.word = "case", .result = take, .arg = results};
    int output = memfd_create("output", MFD_CLOEXEC), ret = 0, argc = 0;
    char words[512], line[512], *argv[32];
    FILE *stream;

    snprintf(words, sizeof(words),
             "run --no-rng --exit-on-reset -m 32 --serial type=file,path=/proc/self/fd/%d "
             "--block path=%s,ro %s /proc/self/fd/%d",
             output, disk, params, kernel);
    for (char *rest = words; (argv[argc] = strsep(&rest, " ")); argc++)
        cr_assert_lt(argc, 31);
    cr_assert_eq(histogram_create(&results->histogram), 0);
    cr_assert_eq(run(argc, argv), EXIT_POWERED_OFF);
    stream = fdopen(output, "r");
    rewind(stream);
    while (!ret && fgets(line, sizeof(line), stream)) {
        line[strcspn(line, "\n")] = '\0';
        ret = reader_line(&reader, line, err);
    }
    if (!ret)
        ret = reader_finish(&reader, err);
    cr_assert_eq(ret, code, "%s", err->text);
    fclose(stream);
}

static void measure(int kernel)
{
    struct results results = {.count = 0};
    struct scratch disk;
    struct err err = {""};
    uint64_t operations = 0;

    cr_assert_eq(scratch_make(&disk, "/dev/shm", 1 << 20, &err), 0, "%s", err.text);
    run_guest(kernel, disk.path,
              "-p bench=disk -p depth=1,32 -p interrupts=0,1 -p time_ms=2 -p check=1", &results,
              &err, 0);
    cr_assert_eq(results.count, 4);
    for (unsigned i = 0; i < results.count; i++) {
        cr_assert_eq(results.depths[i], i % 2 ? 32 : 1);
        cr_assert_eq(results.interrupts[i], i / 2);
        cr_assert_geq(results.operations[i], results.depths[i]);
        operations += results.operations[i];
    }
    cr_assert_eq(histogram_count(results.histogram), operations);
    histogram_destroy(results.histogram);
    scratch_close(&disk);
}

Test(bench_guest, disk_is_measured_through_the_pvh_entry)
{
    struct err err = {""};
    int kernel;

    need_kvm();
    cr_assert_eq(payload_open(&kernel, &err), 0, "%s", err.text);
    measure(kernel);
    close(kernel);
}

/* Without its note it is a plain ELF kernel. */
Test(bench_guest, disk_is_measured_through_the_linux_entry)
{
    struct err err = {""};
    Elf64_Ehdr header;
    int kernel;

    need_kvm();
    cr_assert_eq(payload_open(&kernel, &err), 0, "%s", err.text);
    cr_assert_eq(pread(kernel, &header, sizeof(header), 0), (ssize_t)sizeof(header));
    for (unsigned i = 0; i < header.e_phnum; i++) {
        off_t at = (off_t)(header.e_phoff + i * sizeof(Elf64_Phdr));
        Elf64_Phdr segment;

        cr_assert_eq(pread(kernel, &segment, sizeof(segment), at), (ssize_t)sizeof(segment));
        if (segment.p_type == PT_NOTE)
            segment.p_type = PT_NULL;
        cr_assert_eq(pwrite(kernel, &segment, sizeof(segment), at), (ssize_t)sizeof(segment));
    }
    measure(kernel);
    close(kernel);
}

Test(bench_guest, read_of_something_else_than_was_written_is_an_error)
{
    struct results results = {.count = 0};
    struct scratch disk;
    struct err err = {""};
    const uint64_t wrong = UINT64_MAX;
    int kernel;

    need_kvm();
    cr_assert_eq(payload_open(&kernel, &err), 0, "%s", err.text);
    cr_assert_eq(scratch_make(&disk, "/dev/shm", 1 << 20, &err), 0, "%s", err.text);
    for (off_t at = 0; at < 1 << 20; at += 512)
        cr_assert_eq(pwrite(disk.fd, &wrong, sizeof(wrong), at), (ssize_t)sizeof(wrong));
    run_guest(kernel, disk.path, "-p bench=disk -p check=1 -p time_ms=2", &results, &err, -EIO);
    cr_assert_not_null(strstr(err.text, "something else than what is on the disk"));
    histogram_destroy(results.histogram);
    scratch_close(&disk);
    close(kernel);
}
