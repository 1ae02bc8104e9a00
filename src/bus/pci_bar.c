/*
 * Base address registers (PCI 3.0, section 6.2.5): the addresses they start with, and which of them
 * the buses decode.
 */
#include <errno.h>

#include <linux/pci_regs.h>

#include "base/arith.h"
#include "base/check.h"
#include "bus/pci_private.h"

enum {
    /* Memory BARs are a page apart, so that a guest can map one device, and no other, into a
     * process. */
    MEMORY_ALIGNMENT_MIN = 4096,
    IO_SIZE_MIN = 4,
    MEMORY_SIZE_MIN = 16,
    IO_FLAGS = 0x3,
    MEMORY_FLAGS = 0xf,
};

struct span {
    uint64_t base, len;
};

static bool spans_overlap(struct span a, struct span b)
{
    return a.base <= b.base + (b.len - 1) && b.base <= a.base + (a.len - 1);
}

static bool span_holds(struct span outer, struct span inner)
{
    return inner.base >= outer.base && inner.len <= outer.len &&
           inner.base - outer.base <= outer.len - inner.len;
}

static struct span window_io(const struct pci_root *root)
{
    return (struct span){root->config.io_base, root->config.io_len};
}

static struct span window_mem32(const struct pci_root *root)
{
    return (struct span){root->config.mem32_base, root->config.mem32_len};
}

static struct span window_mem64(const struct pci_root *root)
{
    return (struct span){root->config.mem64_base, root->config.mem64_len};
}

static bool bar_is_port(const struct pci_bar *bar)
{
    return bar->type == PCI_BAR_IO;
}

static struct bus *bar_bus(const struct pci_root *root, const struct pci_bar *bar)
{
    return bar_is_port(bar) ? root->config.port_bus : root->config.mmio_bus;
}

/* ---- registers ---- */

static uint32_t bar_offset(unsigned index)
{
    return PCI_BASE_ADDRESS_0 + 4 * index;
}

/* What the registers of BAR `index` in `config` (the current ones, or the config_initial) say. */
static struct span bar_span(const struct pci_function *function, const uint8_t *config,
                            unsigned index)
{
    const struct pci_bar *bar = &function->bars[index];
    uint64_t value = pci_get32(&config[bar_offset(index)]);

    if (bar->type == PCI_BAR_MEM64)
        value |= (uint64_t)pci_get32(&config[bar_offset(index + 1)]) << 32;
    value &= ~(uint64_t)(bar_is_port(bar) ? IO_FLAGS : MEMORY_FLAGS);
    return (struct span){value, bar->size};
}

static uint32_t bar_flags(const struct pci_bar *bar)
{
    uint32_t flags = bar->prefetchable ? PCI_BASE_ADDRESS_MEM_PREFETCH : 0;

    if (bar_is_port(bar))
        return PCI_BASE_ADDRESS_SPACE_IO;
    return flags | (bar->type == PCI_BAR_MEM64 ? PCI_BASE_ADDRESS_MEM_TYPE_64
                                               : PCI_BASE_ADDRESS_MEM_TYPE_32);
}

/* Low bits that cannot be written are how a guest learns the size (PCI 3.0, 6.2.5.1). */
static void bar_registers_set(struct pci_function *function, unsigned index, uint64_t base)
{
    const struct pci_bar *bar = &function->bars[index];
    uint64_t writable = ~(bar->size - 1);
    uint32_t at = bar_offset(index);

    pci_put32(&function->config[at], (uint32_t)base | bar_flags(bar));
    pci_put32(&function->writable[at], (uint32_t)writable);
    if (bar->type == PCI_BAR_MEM64) {
        pci_put32(&function->config[at + 4], (uint32_t)(base >> 32));
        pci_put32(&function->writable[at + 4], (uint32_t)(writable >> 32));
    }
}

/* ---- assignment at start ---- */

static void bar_check(const struct pci_function *function, unsigned index)
{
    const struct pci_bar *bar = &function->bars[index];

    CHECK(bar->range.ops && bar->range.name);
    CHECK(is_power_of_two(bar->size));
    CHECK_CMP(bar->size, >=, (uint64_t)(bar_is_port(bar) ? IO_SIZE_MIN : MEMORY_SIZE_MIN));
    CHECK(bar->type == PCI_BAR_MEM64 || bar->size <= UINT32_MAX);
    if (bar->type == PCI_BAR_MEM64) {
        CHECK_CMP(index + 1, <, (unsigned)PCI_BAR_COUNT);
        CHECK(function->bars[index + 1].type == PCI_BAR_NONE);
    }
}

/* The end of a BAR of `function` that was assigned inside `wanted`, or 0. */
static uint64_t function_obstacle(const struct pci_function *function, const uint8_t *config,
                                  unsigned bar_count, bool is_port, struct span wanted)
{
    for (unsigned i = 0; i < bar_count; i++) {
        const struct pci_bar *bar = &function->bars[i];
        struct span span;

        if (bar->type == PCI_BAR_NONE || bar_is_port(bar) != is_port)
            continue;
        span = bar_span(function, config, i);
        if (spans_overlap(span, wanted))
            return span.base + span.len;
    }
    return 0;
}

/* As above, of any function; of `function` itself only the BARs below `index` have addresses. */
static uint64_t obstacle(const struct pci_root *root, const struct pci_function *function,
                         unsigned index, struct span wanted)
{
    bool is_port = bar_is_port(&function->bars[index]);
    uint64_t end = function_obstacle(function, function->config, index, is_port, wanted);

    for (unsigned slot = 0; slot < PCI_SLOT_COUNT && !end; slot++) {
        const struct pci_function *other = root->functions[slot];

        if (other)
            end = function_obstacle(other, other->config_initial, PCI_BAR_COUNT, is_port, wanted);
    }
    return end;
}

/* First fit. Address 0 is left out: guests take it for "none". */
static bool window_find(const struct pci_root *root, const struct pci_function *function,
                        unsigned index, struct span window, uint64_t *base)
{
    const struct pci_bar *bar = &function->bars[index];
    uint64_t alignment = bar_is_port(bar) ? bar->size : u64_max(bar->size, MEMORY_ALIGNMENT_MIN);
    struct span wanted = {align_up(u64_max(window.base, 1), alignment), bar->size};

    while (span_holds(window, wanted)) {
        uint64_t end = obstacle(root, function, index, wanted);

        if (!end) {
            *base = wanted.base;
            return true;
        }
        wanted.base = align_up(end, alignment);
    }
    return false;
}

static int bar_assign(struct pci_root *root, struct pci_function *function, unsigned index,
                      struct err *err)
{
    struct pci_bar *bar = &function->bars[index];
    uint64_t base = 0;
    bool found;

    bar_check(function, index);
    if (bar_is_port(bar))
        found = window_find(root, function, index, window_io(root), &base);
    else if (bar->type == PCI_BAR_MEM64)
        found = window_find(root, function, index, window_mem64(root), &base) ||
                window_find(root, function, index, window_mem32(root), &base);
    else
        found = window_find(root, function, index, window_mem32(root), &base);
    if (!found)
        return err_set(err, -ENOSPC, "%s: the PCI %s window has no room for %llu KiB more",
                       function->name, bar_is_port(bar) ? "port" : "memory",
                       (unsigned long long)(bar->size + 1023) >> 10);
    bar->range.len = bar->size;
    bar_registers_set(function, index, base);
    return 0;
}

int pci_bars_assign(struct pci_root *root, struct pci_function *function, struct err *err)
{
    for (unsigned i = 0; i < PCI_BAR_COUNT; i++) {
        int ret = function->bars[i].type == PCI_BAR_NONE ? 0 : bar_assign(root, function, i, err);

        if (ret)
            return ret;
    }
    return 0;
}

/* ---- decoding ---- */

/* Where the registers of this function alone put the BAR. */
static bool bar_wants(const struct pci_root *root, const struct pci_function *function,
                      unsigned index, struct span *span)
{
    const struct pci_bar *bar = &function->bars[index];
    uint32_t command = pci_get16(&function->config[PCI_COMMAND]);

    if (bar->type == PCI_BAR_NONE || !bar_bus(root, bar))
        return false;
    *span = bar_span(function, function->config, index);
    if (bar_is_port(bar))
        return (command & PCI_COMMAND_IO) && span_holds(window_io(root), *span);
    return (command & PCI_COMMAND_MEMORY) &&
           (span_holds(window_mem32(root), *span) || span_holds(window_mem64(root), *span));
}

/* Whether a BAR before (slot, index) claimed some of `span`. */
static bool span_is_claimed(const struct pci_root *root, unsigned slot, unsigned index,
                            struct span span)
{
    bool is_port = bar_is_port(&root->functions[slot]->bars[index]);

    for (unsigned s = 0; s <= slot; s++) {
        const struct pci_function *function = root->functions[s];
        unsigned count = s == slot ? index : PCI_BAR_COUNT;

        for (unsigned i = 0; function && i < count; i++) {
            const struct pci_bar *bar = &function->bars[i];

            if (bar->claimed && bar_is_port(bar) == is_port &&
                spans_overlap((struct span){bar->claim_base, bar->size}, span))
                return true;
        }
    }
    return false;
}

/* Said once for each time that it happens, which is rare: no guest has a reason to do so. */
static void bar_obstructed(struct pci_root *root, struct pci_function *function, unsigned index)
{
    struct pci_bar *bar = &function->bars[index];

    if (!bar->obstructed)
        log_limited(&root->log_limit, LOG_WARN, "%s: the guest put BAR %u over another device",
                    function->name, index);
    bar->obstructed = true;
}

static void bar_claim(struct pci_root *root, unsigned slot, unsigned index)
{
    struct pci_function *function = root->functions[slot];
    struct pci_bar *bar = &function->bars[index];
    struct span span = {0, 0};
    bool wanted = bar_wants(root, function, index, &span);

    bar->claimed = wanted && !span_is_claimed(root, slot, index, span);
    bar->claim_base = span.base;
    if (wanted && !bar->claimed)
        bar_obstructed(root, function, index);
    if (!wanted)
        bar->obstructed = false;
}

static void bar_changed(struct pci_function *function, unsigned index)
{
    if (function->ops && function->ops->bar_changed)
        function->ops->bar_changed(function, index);
}

static void bar_leave(struct pci_root *root, unsigned slot, unsigned index)
{
    struct pci_function *function = root->functions[slot];
    struct pci_bar *bar = &function->bars[index];

    if (!bar->decoded || (bar->claimed && bar->claim_base == bar->range.base))
        return;
    bus_remove(bar_bus(root, bar), &bar->range);
    bar->decoded = false;
    bar_changed(function, index);
}

static void bar_enter(struct pci_root *root, unsigned slot, unsigned index)
{
    struct pci_function *function = root->functions[slot];
    struct pci_bar *bar = &function->bars[index];

    if (!bar->claimed || bar->decoded)
        return;
    if (bus_move(bar_bus(root, bar), &bar->range, bar->claim_base)) {
        bar_obstructed(root, function, index);
        return;
    }
    bar->decoded = true;
    bar->obstructed = false;
    bar_changed(function, index);
}

static void bars_for_each(struct pci_root *root,
                          void (*step)(struct pci_root *root, unsigned slot, unsigned index))
{
    for (unsigned slot = 0; slot < PCI_SLOT_COUNT; slot++)
        for (unsigned i = 0; root->functions[slot] && i < PCI_BAR_COUNT; i++)
            step(root, slot, i);
}

void pci_bars_update(struct pci_root *root)
{
    bars_for_each(root, bar_claim);
    bars_for_each(root, bar_leave);
    bars_for_each(root, bar_enter);
}
