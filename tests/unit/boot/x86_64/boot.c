#include "boot/x86_64/boot.h"

#include <errno.h>

#include "fixture.h"

#define MIB (1ULL << 20)
#define GIB (1ULL << 30)

struct fixture {
    struct image image;
    struct gmem *mem;
    struct boot_config config;
    struct boot_regs regs;
    struct err err;
};

static void start(struct fixture *f, void (*make)(struct image *), uint64_t mem_size)
{
    *f = (struct fixture){.mem = ram_make(mem_size),
                          .config = {.kernel = {.fd = -1},
                                     .initrd = {.fd = -1},
                                     .cmdline = "console=ttyS0",
                                     .acpi = {.vcpu_count = 2, .com_mask = 1}}};
    make(&f->image);
}

static int load(struct fixture *f)
{
    boot_file_close(&f->config.kernel);
    f->config.kernel = image_file(&f->image);
    return boot_load(f->mem, &f->config, &f->regs, &f->err);
}

static void end(struct fixture *f)
{
    boot_file_close(&f->config.kernel);
    boot_file_close(&f->config.initrd);
    gmem_destroy(f->mem);
}

/* A sparse initrd whose last bytes are known. */
static void initrd_make(struct fixture *f, uint64_t size)
{
    f->config.initrd = file_make("initrd", "first", 5);
    cr_assert_eq(ftruncate(f->config.initrd.fd, (off_t)size), 0);
    cr_assert_eq(pwrite(f->config.initrd.fd, "last", 4, (off_t)size - 4), 4);
}

static const void *ram(const struct fixture *f, uint64_t addr, uint64_t len)
{
    const void *host = gmem_ptr(f->mem, gpa(addr), len);

    cr_assert_not_null(host, "0x%llx is RAM", (unsigned long long)addr);
    return host;
}

static const struct boot_params *params(const struct fixture *f)
{
    return ram(f, f->regs.rsi, sizeof(struct boot_params));
}

/* Walks the guest's page tables as the processor does; 2 MiB pages. */
static uint64_t translate(const struct fixture *f, uint64_t addr)
{
    const uint64_t *table = ram(f, f->regs.cr3, 4096);

    for (int shift = 39; shift > 21; shift -= 9) {
        uint64_t entry = table[addr >> shift & 511];

        cr_assert_eq(entry & 0x83, 3, "a table, present and writable");
        table = ram(f, entry & ~0xfffULL, 4096);
    }
    cr_assert_eq(table[addr >> 21 & 511] & 0x83, 0x83, "a large page, present and writable");
    return (table[addr >> 21 & 511] & ~0x1fffffULL) | (addr & 0x1fffff);
}

Test(boot, bzimage_is_entered_512_bytes_after_its_start)
{
    struct fixture f;

    start(&f, image_bzimage, 64 * MIB);
    cr_assert_eq(load(&f), 0, "%s", f.err.text);
    cr_assert_eq(f.regs.mode, BOOT_MODE_LONG);
    cr_assert_eq(f.regs.rip, IMAGE_BASE + 0x200);
    cr_assert_arr_eq(ram(&f, IMAGE_BASE, IMAGE_CODE_SIZE), f.image.bytes + IMAGE_SETUP_SIZE,
                     IMAGE_CODE_SIZE);
    end(&f);
}

Test(boot, long_mode_maps_4_gib_to_themselves)
{
    struct fixture f;

    start(&f, image_bzimage, 64 * MIB);
    cr_assert_eq(load(&f), 0, "%s", f.err.text);
    for (uint64_t addr = 0x1234; addr < 4 * GIB; addr += 2 * MIB)
        cr_assert_eq(translate(&f, addr), addr);
    end(&f);
}

/* Documentation/arch/x86/boot.rst: __BOOT_CS is 0x10 and execute/read, __BOOT_DS is 0x18 and
 * read/write, both flat. */
Test(boot, descriptors_agree_with_the_selectors)
{
    struct fixture f;
    const uint64_t *gdt;

    start(&f, image_bzimage, 64 * MIB);
    cr_assert_eq(load(&f), 0, "%s", f.err.text);
    cr_assert_eq(f.regs.code_selector, 0x10);
    cr_assert_eq(f.regs.data_selector, 0x18);
    cr_assert(f.regs.task_selector + 15 <= f.regs.gdt_limit);
    gdt = ram(&f, f.regs.gdt.addr, f.regs.gdt_limit + 1ULL);
    cr_assert_eq(gdt[0], 0);
    cr_assert_eq(gdt[2], 0x00af9b000000ffff);
    cr_assert_eq(gdt[3], 0x00cf93000000ffff);
    cr_assert_eq(gdt[4] >> 40 & 0xff, 0x8b, "a busy task");
    image_pvh(&f.image);
    cr_assert_eq(load(&f), 0, "%s", f.err.text);
    cr_assert_eq(gdt[2], 0x00cf9b000000ffff, "32-bit code");
    end(&f);
}

Test(boot, boot_params_hold_the_header_and_what_the_loader_adds)
{
    struct fixture f;
    const struct boot_params *p;

    start(&f, image_bzimage, 64 * MIB);
    initrd_make(&f, 100000);
    cr_assert_eq(load(&f), 0, "%s", f.err.text);
    p = params(&f);
    cr_assert_eq(p->hdr.header, 0x53726448);
    cr_assert_eq(p->hdr.init_size, IMAGE_INIT_SIZE);
    cr_assert_eq(p->hdr.type_of_loader, 0xff);
    cr_assert_eq(p->hdr.vid_mode, 0xffff);
    cr_assert_eq(p->hdr.code32_start, IMAGE_BASE);
    cr_assert_eq(p->sentinel, 0);
    cr_assert_str_eq(ram(&f, p->hdr.cmd_line_ptr, 64), "console=ttyS0");
    cr_assert_arr_eq(ram(&f, p->acpi_rsdp_addr, 8), "RSD PTR ", 8);
    cr_assert_eq(p->hdr.ramdisk_size, 100000);
    cr_assert_eq(p->ext_ramdisk_image, 0);
    cr_assert_arr_eq(ram(&f, p->hdr.ramdisk_image, 5), "first", 5);
    cr_assert_arr_eq(ram(&f, p->hdr.ramdisk_image + 100000 - 4, 4), "last", 4);
    end(&f);
}

Test(boot, seed_of_random_numbers_differs_from_one_start_to_the_next)
{
    const struct setup_data *seed;
    uint8_t first[32];
    struct fixture f;

    start(&f, image_bzimage, 64 * MIB);
    cr_assert_eq(load(&f), 0, "%s", f.err.text);
    seed = ram(&f, params(&f)->hdr.setup_data, sizeof(*seed) + 32);
    cr_assert_eq(seed->type, SETUP_RNG_SEED);
    cr_assert_eq(seed->len, 32);
    cr_assert_eq(seed->next, 0);
    memcpy(first, seed->data, sizeof(first));
    cr_assert_eq(load(&f), 0, "%s", f.err.text);
    cr_assert_neq(memcmp(first, seed->data, sizeof(first)), 0);
    end(&f);
}

static void check_map(const struct fixture *f, size_t count, const struct boot_e820_entry *expected)
{
    const struct boot_params *p = params(f);

    cr_assert_eq(p->e820_entries, count);
    for (size_t i = 0; i < count; i++) {
        struct boot_e820_entry entry = p->e820_table[i];

        cr_assert_eq(entry.addr, expected[i].addr, "entry %zu", i);
        cr_assert_eq(entry.size, expected[i].size, "entry %zu", i);
        cr_assert_eq(entry.type, expected[i].type, "entry %zu", i);
    }
}

Test(boot, memory_map_of_a_small_guest)
{
    const struct boot_e820_entry expected[] = {
        {0, 0x9fc00, 1},         {0x9fc00, 0x60400, 2},
        {0x100000, 63 * MIB, 1}, {LAYOUT_ECAM_BASE, LAYOUT_ECAM_LEN, 2},
        {0xfffbc000, 0x4000, 2},
    };
    struct fixture f;

    start(&f, image_bzimage, 64 * MIB);
    cr_assert_eq(load(&f), 0, "%s", f.err.text);
    check_map(&f, array_count(expected), expected);
    end(&f);
}

Test(boot, memory_map_of_a_large_guest_goes_around_the_gap)
{
    const struct boot_e820_entry expected[] = {
        {0, 0x9fc00, 1},
        {0x9fc00, 0x60400, 2},
        {0x100000, 3 * GIB - MIB, 1},
        {LAYOUT_ECAM_BASE, LAYOUT_ECAM_LEN, 2},
        {0xfffbc000, 0x4000, 2},
        {4 * GIB, 5 * GIB, 1},
    };
    struct fixture f;

    start(&f, image_bzimage, 8 * GIB);
    cr_assert_eq(load(&f), 0, "%s", f.err.text);
    check_map(&f, array_count(expected), expected);
    end(&f);
}

Test(boot, command_line_may_be_as_long_as_the_kernel_allows)
{
    char cmdline[IMAGE_CMDLINE_MAX + 2];
    struct fixture f;

    start(&f, image_bzimage, 64 * MIB);
    memset(cmdline, 'a', sizeof(cmdline));
    cmdline[IMAGE_CMDLINE_MAX + 1] = '\0';
    f.config.cmdline = cmdline;
    cr_assert_eq(load(&f), -E2BIG);
    cr_assert_not_null(strstr(f.err.text, "takes at most 2047"));
    cr_assert_eq(ram_touched(f.mem), 0);
    cmdline[IMAGE_CMDLINE_MAX] = '\0';
    cr_assert_eq(load(&f), 0, "%s", f.err.text);
    cr_assert_str_eq(ram(&f, params(&f)->hdr.cmd_line_ptr, sizeof(cmdline)), cmdline);
    end(&f);
}

/* A kernel that claims no limit does not get one beyond the room that there is. */
Test(boot, command_line_is_limited_by_its_room)
{
    static char cmdline[0x10000 + 1];
    struct fixture f;

    start(&f, image_bzimage, 64 * MIB);
    f.image.linux_image.header.cmdline_size = UINT32_MAX;
    memset(cmdline, 'a', sizeof(cmdline) - 1);
    f.config.cmdline = cmdline;
    cr_assert_eq(load(&f), -E2BIG);
    cmdline[0xffff] = '\0';
    cr_assert_eq(load(&f), 0, "%s", f.err.text);
    cr_assert_eq(strlen(ram(&f, params(&f)->hdr.cmd_line_ptr, 0x10000)), 0xffff);
    end(&f);
}

Test(boot, initrd_lies_as_high_as_the_kernel_allows)
{
    struct fixture f;

    start(&f, image_bzimage, 64 * MIB);
    initrd_make(&f, MIB + 1);
    cr_assert_eq(load(&f), 0, "%s", f.err.text);
    cr_assert_eq(params(&f)->hdr.ramdisk_image, 63 * MIB - 4096);

    f.image.linux_image.header.initrd_addr_max = 0x2ffffff;
    cr_assert_eq(load(&f), 0, "%s", f.err.text);
    cr_assert_eq(params(&f)->hdr.ramdisk_image, 47 * MIB - 4096);
    end(&f);
}

Test(boot, initrd_fills_all_that_the_kernel_leaves)
{
    const uint64_t room = 64 * MIB - IMAGE_BASE - IMAGE_INIT_SIZE;
    struct fixture f;

    start(&f, image_bzimage, 64 * MIB);
    initrd_make(&f, room);
    cr_assert_eq(load(&f), 0, "%s", f.err.text);
    cr_assert_eq(params(&f)->hdr.ramdisk_image, IMAGE_BASE + IMAGE_INIT_SIZE);
    boot_file_close(&f.config.initrd);
    end(&f);

    start(&f, image_bzimage, 64 * MIB);
    initrd_make(&f, room + 1);
    cr_assert_eq(load(&f), -ENOMEM);
    cr_assert_not_null(strstr(f.err.text, "initrd /boot/file: 46 MiB do not fit"), "%s",
                       f.err.text);
    cr_assert_not_null(strstr(f.err.text, "(45 MiB are left"), "%s", f.err.text);
    cr_assert_eq(ram_touched(f.mem), 0);
    end(&f);
}

/* Its pages are holes in the file, so that this costs no memory to speak of. */
Test(boot, initrd_too_large_for_low_memory_goes_above_4_gib)
{
    struct fixture f;

    start(&f, image_bzimage, 6 * GIB);
    f.image.linux_image.header.initrd_addr_max = 0x1ffffff;
    initrd_make(&f, 16 * MIB);
    cr_assert_eq(load(&f), 0, "%s", f.err.text);
    cr_assert_eq(params(&f)->hdr.ramdisk_image, 7 * GIB - 16 * MIB - 4 * GIB);
    cr_assert_eq(params(&f)->ext_ramdisk_image, 1);
    cr_assert_arr_eq(ram(&f, 7 * GIB - 4, 4), "last", 4);

    f.image.linux_image.header.xloadflags = XLF_KERNEL_64;
    cr_assert_eq(load(&f), -ENOMEM, "this kernel does not look there");
    end(&f);
}

Test(boot, empty_initrd_is_refused)
{
    struct fixture f;

    start(&f, image_bzimage, 64 * MIB);
    f.config.initrd = file_make("initrd", "", 0);
    cr_assert_eq(load(&f), -ENODATA);
    cr_assert_not_null(strstr(f.err.text, "initrd /boot/file: is empty"));
    cr_assert_eq(ram_touched(f.mem), 0);
    end(&f);
}

Test(boot, elf_kernel_is_entered_at_its_entry_point)
{
    struct fixture f;
    const uint8_t *data;

    start(&f, image_elf, 64 * MIB);
    memset(gmem_ptr(f.mem, gpa(IMAGE_BASE), 0x20000), 0xff, 0x20000);
    cr_assert_eq(load(&f), 0, "%s", f.err.text);
    cr_assert_eq(f.regs.mode, BOOT_MODE_LONG);
    cr_assert_eq(f.regs.rip, IMAGE_ENTRY);
    cr_assert_arr_eq(ram(&f, IMAGE_BASE, 4096), f.image.bytes + 4096, 4096);
    data = ram(&f, IMAGE_BASE + 0x10000, 4097);
    cr_assert_arr_eq(data, f.image.bytes + 8192, 2048);
    for (size_t i = 2048; i < 4096; i++)
        cr_assert_eq(data[i], 0, "uninitialised data is zero after a reboot, too");
    cr_assert_eq(data[4096], 0xff, "what follows is left alone");
    cr_assert_eq(params(&f)->hdr.boot_flag, 0xaa55);
    cr_assert_eq(params(&f)->hdr.header, 0x53726448);
    cr_assert_eq(params(&f)->hdr.type_of_loader, 0xff);
    end(&f);
}

Test(boot, pvh_kernel_gets_its_start_info)
{
    /* struct hvm_start_info of Xen's public headers, by its offsets. */
    const uint8_t *info, *initrd, *map;
    struct fixture f;
    uint64_t value;

    start(&f, image_pvh, 64 * MIB);
    initrd_make(&f, 5000);
    cr_assert_eq(load(&f), 0, "%s", f.err.text);
    cr_assert_eq(f.regs.mode, BOOT_MODE_PROTECTED);
    cr_assert_eq(f.regs.rip, IMAGE_PVH_ENTRY);
    info = ram(&f, f.regs.rbx, 56);
    cr_assert_arr_eq(info, "\x78\xc5\x6e\x33\x01\0\0\0\0\0\0\0\x01\0\0\0", 16);
    memcpy(&value, info + 16, 8);
    initrd = ram(&f, value, 32);
    memcpy(&value, initrd, 8);
    cr_assert_arr_eq(ram(&f, value, 5), "first", 5);
    memcpy(&value, initrd + 8, 8);
    cr_assert_eq(value, 5000);
    memcpy(&value, info + 24, 8);
    cr_assert_str_eq(ram(&f, value, 64), "console=ttyS0");
    memcpy(&value, info + 32, 8);
    cr_assert_arr_eq(ram(&f, value, 8), "RSD PTR ", 8);
    memcpy(&value, info + 40, 8);
    map = ram(&f, value, 5 * 24);
    cr_assert_eq(info[48], 5);
    memcpy(&value, map + 2 * 24, 8);
    cr_assert_eq(value, MIB);
    memcpy(&value, map + 2 * 24 + 8, 8);
    cr_assert_eq(value, 63 * MIB);
    cr_assert_eq(map[2 * 24 + 16], 1);
    end(&f);
}

Test(boot, reboot_loads_the_same_again)
{
    struct boot_regs first;
    struct fixture f;

    start(&f, image_bzimage, 64 * MIB);
    initrd_make(&f, 5000);
    cr_assert_eq(load(&f), 0, "%s", f.err.text);
    first = f.regs;
    memset(gmem_ptr(f.mem, gpa(0), 64 * MIB), 0xa5, 64 * MIB);
    cr_assert_eq(boot_load(f.mem, &f.config, &f.regs, &f.err), 0, "%s", f.err.text);
    cr_assert_eq(f.regs.rip, first.rip);
    cr_assert_eq(f.regs.rsi, first.rsi);
    cr_assert_eq(f.regs.cr3, first.cr3);
    cr_assert_arr_eq(ram(&f, IMAGE_BASE, IMAGE_CODE_SIZE), f.image.bytes + IMAGE_SETUP_SIZE,
                     IMAGE_CODE_SIZE);
    cr_assert_eq(params(&f)->sentinel, 0);
    cr_assert_eq(params(&f)->e820_entries, 5);
    cr_assert_eq(translate(&f, GIB), GIB);
    end(&f);
}
