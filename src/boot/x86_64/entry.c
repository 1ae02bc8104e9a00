#include "boot/x86_64/entry.h"

#include <string.h>

#include "boot/x86_64/lowmem.h"

enum {
    /* Linux's __BOOT_CS, __BOOT_DS and __BOOT_TSS. */
    SELECTOR_CODE = 0x10,
    SELECTOR_DATA = 0x18,
    SELECTOR_TASK = 0x20,
    GDT_ENTRY_COUNT = 6, /* a task segment takes two entries in long mode */
};

/* Intel SDM volume 3, 3.4.5: descriptors of base 0, present, of privilege 0. */
#define DESCRIPTOR_CODE_64 0x00af9b000000ffffULL /* to the end, L, code, accessed */
#define DESCRIPTOR_CODE_32 0x00cf9b000000ffffULL /* to the end, D, code, accessed */
#define DESCRIPTOR_DATA    0x00cf93000000ffffULL /* to the end, B, writable, accessed */
#define DESCRIPTOR_TASK    0x00008b0000000067ULL /* busy task, of the least size */

/* Intel SDM volume 3, 4.5. */
enum {
    PAGE_TABLE_SIZE = 4096,
    PAGE_TABLE_ENTRY_COUNT = 512,
    DIRECTORY_COUNT = 4, /* of 1 GiB each */
    PTE_PRESENT = 1 << 0,
    PTE_WRITABLE = 1 << 1,
    PTE_LARGE = 1 << 7,
    LARGE_PAGE_SIZE = 1 << 21,
};

struct page_tables {
    uint64_t level4[PAGE_TABLE_ENTRY_COUNT];
    uint64_t level3[PAGE_TABLE_ENTRY_COUNT];
    uint64_t directories[DIRECTORY_COUNT][PAGE_TABLE_ENTRY_COUNT];
};
_Static_assert(LOWMEM_PAGE_TABLES + sizeof(struct page_tables) <= LOWMEM_BOOT_PARAMS,
               "room for the page tables");

static void gdt_write(struct gmem *mem, uint64_t code, struct boot_regs *regs)
{
    const uint64_t gdt[GDT_ENTRY_COUNT] = {
        [SELECTOR_CODE / 8] = code,
        [SELECTOR_DATA / 8] = DESCRIPTOR_DATA,
        [SELECTOR_TASK / 8] = DESCRIPTOR_TASK,
    };

    memcpy(lowmem_ptr(mem, LOWMEM_GDT, sizeof(gdt)), gdt, sizeof(gdt));
    regs->gdt = gpa(LOWMEM_GDT);
    regs->gdt_limit = sizeof(gdt) - 1;
    regs->code_selector = SELECTOR_CODE;
    regs->data_selector = SELECTOR_DATA;
    regs->task_selector = SELECTOR_TASK;
}

static void page_tables_write(struct gmem *mem)
{
    struct page_tables *tables = lowmem_ptr(mem, LOWMEM_PAGE_TABLES, sizeof(*tables));
    const uint64_t level3 = LOWMEM_PAGE_TABLES + offsetof(struct page_tables, level3);
    const uint64_t directories = LOWMEM_PAGE_TABLES + offsetof(struct page_tables, directories);

    memset(tables, 0, sizeof(*tables));
    tables->level4[0] = level3 | PTE_PRESENT | PTE_WRITABLE;
    for (uint64_t i = 0; i < DIRECTORY_COUNT; i++) {
        tables->level3[i] = (directories + i * PAGE_TABLE_SIZE) | PTE_PRESENT | PTE_WRITABLE;
        for (uint64_t j = 0; j < PAGE_TABLE_ENTRY_COUNT; j++)
            tables->directories[i][j] = (i * PAGE_TABLE_ENTRY_COUNT + j) * LARGE_PAGE_SIZE |
                                        PTE_PRESENT | PTE_WRITABLE | PTE_LARGE;
    }
}

void entry_long(struct gmem *mem, uint64_t rip, gpa_t boot_params, struct boot_regs *regs)
{
    *regs = (struct boot_regs){
        .mode = BOOT_MODE_LONG,
        .rip = rip,
        .rsp = LOWMEM_STACK_TOP,
        .rsi = boot_params.addr,
        .cr3 = LOWMEM_PAGE_TABLES,
    };
    page_tables_write(mem);
    gdt_write(mem, DESCRIPTOR_CODE_64, regs);
}

void entry_protected(struct gmem *mem, uint64_t rip, gpa_t start_info, struct boot_regs *regs)
{
    *regs = (struct boot_regs){
        .mode = BOOT_MODE_PROTECTED,
        .rip = rip,
        .rsp = LOWMEM_STACK_TOP,
        .rbx = start_info.addr,
    };
    gdt_write(mem, DESCRIPTOR_CODE_32, regs);
}
