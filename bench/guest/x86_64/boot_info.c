/* What PVH loaders and Linux loaders tell. */
#include <asm/bootparam.h>
#include <stddef.h>

#include "../arch.h"

/* xen/include/public/arch-x86/hvm/start_info.h */
struct hvm_start_info {
    uint32_t magic, version, flags, nr_modules;
    uint64_t modlist_paddr, cmdline_paddr, rsdp_paddr, memmap_paddr;
    uint32_t memmap_entries, reserved;
};
_Static_assert(sizeof(struct hvm_start_info) == 56, "xen: hvm/start_info.h");

struct hvm_memmap_table_entry {
    uint64_t addr, size;
    uint32_t type, reserved;
};
_Static_assert(offsetof(struct boot_params, e820_table) == 0x2d0,
               "Documentation/arch/x86/zero-page.rst");

enum { TYPE_RAM = 1 };

extern const uint8_t payload_end[];

static void region_take(struct boot_info *info, uint64_t base, uint64_t size, uint32_t type)
{
    uint64_t payload = (uintptr_t)payload_end;

    if (type == TYPE_RAM && base <= payload && payload - base < size)
        info->ram_end = base + size;
}

static const void *pointer(uint64_t address)
{
    return (const void *)(uintptr_t)address;
}

static void pvh_read(struct boot_info *info, const struct hvm_start_info *start)
{
    const struct hvm_memmap_table_entry *map = pointer(start->memmap_paddr);

    info->cmdline = start->cmdline_paddr ? pointer(start->cmdline_paddr) : "";
    info->rsdp = start->rsdp_paddr;
    for (uint32_t i = 0; start->version >= 1 && i < start->memmap_entries; i++)
        region_take(info, map[i].addr, map[i].size, map[i].type);
}

static void linux_read(struct boot_info *info, const struct boot_params *params)
{
    info->cmdline = pointer(params->hdr.cmd_line_ptr | (uint64_t)params->ext_cmd_line_ptr << 32);
    info->rsdp = params->acpi_rsdp_addr;
    for (uint32_t i = 0; i < params->e820_entries; i++)
        region_take(info, params->e820_table[i].addr, params->e820_table[i].size,
                    params->e820_table[i].type);
}

void boot_info_read(struct boot_info *info, uint64_t structure, bool is_linux)
{
    if (is_linux)
        linux_read(info, pointer(structure));
    else
        pvh_read(info, pointer(structure));
}
