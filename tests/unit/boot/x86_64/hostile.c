/* Kernels that are cut short or damaged: hostile-guest class "hostile input before the guest
 * starts". fuzz/boot.c goes on where these end. */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "boot/x86_64/boot.h"
#include "fixture.h"

#define MIB (1ULL << 20)

enum { FLIP_ROUND_COUNT = 20000, FLIP_COUNT_MAX = 4 };

static const struct {
    const char *name;
    void (*make)(struct image *);
    size_t header_size; /* what the loader looks at */
} kinds[] = {
    {"bzImage", image_bzimage, 0x290},
    {"ELF", image_elf, sizeof(Elf64_Ehdr) + 2 * sizeof(Elf64_Phdr)},
    {"PVH", image_pvh, sizeof(((struct image *)NULL)->elf)},
};

static struct boot_config config_of(struct boot_file kernel)
{
    return (struct boot_config){.kernel = kernel,
                                .initrd = {.fd = -1},
                                .cmdline = "quiet",
                                .acpi = {.vcpu_count = 1, .com_mask = 1}};
}

static void check_line(const struct err *err)
{
    cr_assert_neq(err->text[0], '\0');
    cr_assert_null(strchr(err->text, '\n'));
}

Test(hostile_kernel, every_truncation_is_refused_before_memory_is_written)
{
    for (size_t i = 0; i < array_count(kinds); i++) {
        struct gmem *mem = ram_make(64 * MIB);
        struct boot_config config;
        struct boot_regs regs;
        struct image image;

        kinds[i].make(&image);
        config = config_of(image_file(&image));
        for (size_t size = image.size; size-- > 0;) {
            struct err err = {""};
            int ret;

            cr_assert_eq(ftruncate(config.kernel.fd, (off_t)size), 0);
            ret = boot_load(mem, &config, &regs, &err);
            cr_assert(ret == -ENODATA || ret == -ENOEXEC, "%s of %zu bytes: %d %s", kinds[i].name,
                      size, ret, err.text);
            check_line(&err);
        }
        cr_assert_eq(ram_touched(mem), 0);
        boot_file_close(&config.kernel);
        gmem_destroy(mem);
    }
}

/* xorshift: the same numbers everywhere for one seed. */
static uint64_t random_next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* RINGVM_SEED repeats a run. */
static uint64_t seed_choose(void)
{
    const char *given = getenv("RINGVM_SEED");
    uint64_t seed = 1;

    if (given)
        return strtoull(given, NULL, 0) | 1;
    cr_assert_eq(getrandom(&seed, sizeof(seed), 0), (ssize_t)sizeof(seed));
    return seed | 1;
}

/* Whatever the header says: an error with its line, or a kernel whose entry lies in RAM. */
static void load_damaged(struct gmem *mem, const struct image *image,
                         const struct boot_config *config, uint64_t seed)
{
    struct boot_regs regs;
    struct err err = {""};
    int ret;

    cr_assert_eq(pwrite(config->kernel.fd, image->bytes, image->size, 0), (ssize_t)image->size);
    ret = boot_load(mem, config, &regs, &err);
    if (ret) {
        cr_assert_lt(ret, 0);
        check_line(&err);
        return;
    }
    cr_assert_not_null(gmem_ptr(mem, gpa(regs.rip), 1), "RINGVM_SEED=%llu: entry 0x%llx",
                       (unsigned long long)seed, (unsigned long long)regs.rip);
    cr_assert(regs.rip >= LAYOUT_BIOS_END);
}

Test(hostile_kernel, damaged_headers_are_refused_or_harmless, .timeout = 120)
{
    const uint64_t seed = seed_choose();
    uint64_t state = seed;

    fprintf(stderr, "hostile_kernel: RINGVM_SEED=%llu\n", (unsigned long long)seed);
    for (size_t i = 0; i < array_count(kinds); i++) {
        struct gmem *mem = ram_make(20 * MIB);
        struct boot_config config;
        struct image image;

        kinds[i].make(&image);
        config = config_of(image_file(&image));
        for (unsigned round = 0; round < FLIP_ROUND_COUNT; round++) {
            struct image damaged = image;
            unsigned flips = 1 + random_next(&state) % FLIP_COUNT_MAX;

            while (flips-- > 0)
                damaged.bytes[random_next(&state) % kinds[i].header_size] =
                    (uint8_t)(random_next(&state) >> 32);
            load_damaged(mem, &damaged, &config, seed);
        }
        boot_file_close(&config.kernel);
        gmem_destroy(mem);
    }
}

/* Each byte of the header, one at a time, to each of the values at which things tend to break. */
Test(hostile_kernel, each_header_byte_at_its_extremes)
{
    const uint8_t values[] = {0, 1, 0x7f, 0x80, 0xff};

    for (size_t i = 0; i < array_count(kinds); i++) {
        struct gmem *mem = ram_make(20 * MIB);
        struct boot_config config;
        struct image image;

        kinds[i].make(&image);
        config = config_of(image_file(&image));
        for (size_t j = 0; j < kinds[i].header_size * array_count(values); j++) {
            struct image damaged = image;

            damaged.bytes[j / array_count(values)] = values[j % array_count(values)];
            load_damaged(mem, &damaged, &config, 0);
        }
        boot_file_close(&config.kernel);
        gmem_destroy(mem);
    }
}

static void debian_kernel_try(const char *path)
{
    struct gmem *mem = ram_make(256 * MIB);
    struct boot_config config;
    struct boot_file file;
    struct boot_regs regs;
    struct stat status;
    struct err err = {""};
    void *bytes;

    cr_assert_eq(boot_file_open(&file, "kernel", path, &err), 0, "%s", err.text);
    config = config_of(file);
    cr_assert_eq(boot_load(mem, &config, &regs, &err), 0, "%s", err.text);
    cr_assert_eq(regs.mode, BOOT_MODE_LONG);
    cr_assert_eq(regs.rip, 0x1000200);
    gmem_destroy(mem);

    /* Cut at 41 places that are no multiples of anything. */
    mem = ram_make(256 * MIB);
    cr_assert_eq(fstat(file.fd, &status), 0);
    bytes = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, file.fd, 0);
    cr_assert_neq(bytes, MAP_FAILED);
    boot_file_close(&file);
    for (int i = 0; i <= 40; i++) {
        /* Some kernels carry a signature behind the image, up to some KiB, which is not loaded. */
        size_t size = (size_t)(status.st_size - 65536) / 41 * (size_t)i + (size_t)i;

        config.kernel = file_make("kernel", bytes, size);
        cr_assert_lt(boot_load(mem, &config, &regs, &err), 0, "%zu bytes", size);
        boot_file_close(&config.kernel);
    }
    cr_assert_eq(ram_touched(mem), 0);
    munmap(bytes, (size_t)status.st_size);
    gmem_destroy(mem);
}

Test(hostile_kernel, debian_kernel_loads_whole_but_not_cut)
{
    glob_t paths;

    if (glob("build/guest/*/vmlinuz", 0, NULL, &paths))
        cr_skip_test("no kernel in build/guest: tools/kernel.sh fetches one");
    for (size_t i = 0; i < paths.gl_pathc; i++)
        debian_kernel_try(paths.gl_pathv[i]);
    globfree(&paths);
}
