#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/random.h>

#include "boot/x86_64/e820.h"
#include "boot/x86_64/info.h"
#include "boot/x86_64/lowmem.h"

enum {
    LOADER_UNDEFINED = 0xff, /* one without a number of its own */
    VIDEO_MODE_NORMAL = 0xffff,
    RNG_SEED_SIZE = 32,
};
_Static_assert(sizeof(struct boot_params) == 4096, "Documentation/arch/x86/zero-page.rst");
_Static_assert(offsetof(struct boot_params, acpi_rsdp_addr) == 0x70,
               "Documentation/arch/x86/zero-page.rst");
_Static_assert(offsetof(struct boot_params, e820_table) == 0x2d0,
               "Documentation/arch/x86/zero-page.rst");
_Static_assert(E820_ENTRY_COUNT_MAX <= E820_MAX_ENTRIES_ZEROPAGE, "all fits into boot_params");

/* Linux mixes it in before it needs its first random number, and clears it. */
static int rng_seed_write(struct gmem *mem, struct err *err)
{
    struct setup_data *seed = lowmem_ptr(mem, LOWMEM_RNG_SEED, sizeof(*seed) + RNG_SEED_SIZE);
    ssize_t ret = getrandom(seed->data, RNG_SEED_SIZE, 0);

    if (ret != RNG_SEED_SIZE)
        return err_set(err, ret < 0 ? -errno : -EIO,
                       "getrandom(2): cannot get a seed for the guest; is it forbidden here?");
    *seed = (struct setup_data){.type = SETUP_RNG_SEED, .len = RNG_SEED_SIZE};
    return 0;
}

static void e820_write(struct boot_params *params, const struct gmem *mem)
{
    struct e820 map;

    e820_make(&map, mem);
    for (size_t i = 0; i < map.count; i++)
        params->e820_table[i] =
            (struct boot_e820_entry){map.entries[i].base, map.entries[i].size, map.entries[i].type};
    params->e820_entries = (uint8_t)map.count;
}

int linux_info_write(struct gmem *mem, const struct kernel *kernel, const struct boot_info *info,
                     gpa_t *boot_params, struct err *err)
{
    struct boot_params *params = lowmem_ptr(mem, LOWMEM_BOOT_PARAMS, sizeof(*params));
    struct setup_header *header = &params->hdr;
    int ret;

    ret = rng_seed_write(mem, err);
    if (ret)
        return ret;
    memset(params, 0, sizeof(*params));
    *header = kernel->header;
    header->type_of_loader = LOADER_UNDEFINED;
    header->vid_mode = VIDEO_MODE_NORMAL;
    header->code32_start = (uint32_t)kernel->base;
    header->cmd_line_ptr = (uint32_t)info->cmdline;
    header->ramdisk_image = (uint32_t)info->initrd_base;
    header->ramdisk_size = (uint32_t)info->initrd_size;
    header->setup_data = LOWMEM_RNG_SEED;
    params->ext_ramdisk_image = (uint32_t)(info->initrd_base >> 32);
    params->ext_ramdisk_size = (uint32_t)(info->initrd_size >> 32);
    params->acpi_rsdp_addr = info->rsdp;
    e820_write(params, mem);
    *boot_params = gpa(LOWMEM_BOOT_PARAMS);
    return 0;
}
