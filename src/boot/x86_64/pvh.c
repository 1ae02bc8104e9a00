#include <stddef.h>

#include "boot/x86_64/e820.h"
#include "boot/x86_64/info.h"
#include "boot/x86_64/lowmem.h"

/* xen/include/public/arch-x86/hvm/start_info.h */
struct hvm_start_info {
    uint32_t magic;
    uint32_t version;
    uint32_t flags;
    uint32_t nr_modules;
    uint64_t modlist_paddr;
    uint64_t cmdline_paddr;
    uint64_t rsdp_paddr;
    uint64_t memmap_paddr;
    uint32_t memmap_entries;
    uint32_t reserved;
};
_Static_assert(sizeof(struct hvm_start_info) == 56, "xen: hvm/start_info.h");

struct hvm_modlist_entry {
    uint64_t paddr;
    uint64_t size;
    uint64_t cmdline_paddr;
    uint64_t reserved;
};
_Static_assert(sizeof(struct hvm_modlist_entry) == 32, "xen: hvm/start_info.h");

struct hvm_memmap_table_entry {
    uint64_t addr;
    uint64_t size;
    uint32_t type;
    uint32_t reserved;
};
_Static_assert(sizeof(struct hvm_memmap_table_entry) == 24, "xen: hvm/start_info.h");

enum { HVM_START_MAGIC = 0x336ec578, HVM_START_VERSION = 1 };

struct start_info_page {
    struct hvm_start_info start;
    struct hvm_modlist_entry initrd;
    struct hvm_memmap_table_entry memmap[E820_ENTRY_COUNT_MAX];
};

gpa_t pvh_info_write(struct gmem *mem, const struct boot_info *info)
{
    struct start_info_page *page = lowmem_ptr(mem, LOWMEM_PVH_START_INFO, sizeof(*page));
    struct e820 map;

    e820_make(&map, mem);
    *page = (struct start_info_page){
        .start = {.magic = HVM_START_MAGIC,
                  .version = HVM_START_VERSION,
                  .nr_modules = info->initrd_size ? 1 : 0,
                  .modlist_paddr = LOWMEM_PVH_START_INFO + offsetof(struct start_info_page, initrd),
                  .cmdline_paddr = info->cmdline,
                  .rsdp_paddr = info->rsdp,
                  .memmap_paddr = LOWMEM_PVH_START_INFO + offsetof(struct start_info_page, memmap),
                  .memmap_entries = (uint32_t)map.count},
        .initrd = {.paddr = info->initrd_base, .size = info->initrd_size},
    };
    for (size_t i = 0; i < map.count; i++)
        page->memmap[i] = (struct hvm_memmap_table_entry){
            .addr = map.entries[i].base, .size = map.entries[i].size, .type = map.entries[i].type};
    return gpa(LOWMEM_PVH_START_INFO);
}
