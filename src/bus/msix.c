#include "bus/msix.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <linux/pci_regs.h>

#include "base/check.h"
#include "base/log.h"

/* Table entry (PCI 3.0, section 6.8.2.6), as the guest sees it. */
struct msix_entry {
    uint32_t address_low;
    uint32_t address_high;
    uint32_t data;
    uint32_t control;
};
_Static_assert(sizeof(struct msix_entry) == PCI_MSIX_ENTRY_SIZE, "MSI-X table entry");

struct msix_vector {
    struct msi_message routed; /* what the chip was told last */
    uint32_t chip_vector;
    bool is_routed;
};

struct msix {
    struct pci_function *function;
    struct msi_chip chip;
    uint16_t count;
    uint8_t capability; /* offset in config space */
    uint32_t table_offset;
    uint32_t pending_offset;
    bool enabled;
    bool masked; /* the whole function */
    struct log_limit log_limit;
    uint64_t pending; /* bit per vector */
    struct msix_entry table[MSIX_VECTOR_COUNT_MAX];
    struct msix_vector vectors[MSIX_VECTOR_COUNT_MAX];
};
_Static_assert(MSIX_VECTOR_COUNT_MAX <= 64, "pending bits are one word");

static void table_reset(struct msix *msix)
{
    memset(msix->table, 0, sizeof(msix->table));
    for (unsigned i = 0; i < msix->count; i++)
        msix->table[i].control = PCI_MSIX_ENTRY_CTRL_MASKBIT;
    msix->pending = 0;
    msix->enabled = false;
    msix->masked = false;
}

int msix_create(struct msix **out, struct pci_function *function, struct msi_chip chip,
                uint16_t count, uint8_t bar, uint32_t table_offset, uint32_t pba_offset,
                struct err *err)
{
    struct {
        uint16_t header;
        uint16_t control;
        uint32_t table;
        uint32_t pending;
    } body, writable = {.control = PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL};
    struct msix *msix;
    int ret;

    CHECK(count && count <= MSIX_VECTOR_COUNT_MAX);
    CHECK(!(table_offset % 8) && !(pba_offset % 8));
    _Static_assert(sizeof(body) == PCI_CAP_MSIX_SIZEOF, "MSI-X capability");
    msix = calloc(1, sizeof(*msix));
    if (!msix)
        return err_set(err, -ENOMEM, "%s: out of memory", function->name);
    msix->function = function;
    msix->chip = chip;
    msix->table_offset = table_offset;
    msix->pending_offset = pba_offset;
    body.header = 0;
    body.control = (uint16_t)(count - 1);
    body.table = table_offset | bar;
    body.pending = pba_offset | bar;
    ret = pci_function_add_capability(function, PCI_CAP_ID_MSIX, &body, sizeof(body), &writable,
                                      &msix->capability);
    if (ret) {
        err_set(err, ret, "%s: no room for the MSI-X capability", function->name);
        goto fail;
    }
    for (; msix->count < count; msix->count++) {
        ret = chip.ops->alloc(chip.chip, &msix->vectors[msix->count].chip_vector);
        if (ret) {
            err_set(err, ret, "%s: no interrupt vector left (%s); use fewer devices or queues",
                    function->name, strerror(-ret));
            goto fail;
        }
    }
    table_reset(msix);
    *out = msix;
    return 0;
fail:
    msix_destroy(msix);
    return ret;
}

void msix_destroy(struct msix *msix)
{
    if (!msix)
        return;
    for (unsigned i = 0; i < msix->count; i++)
        msix->chip.ops->free(msix->chip.chip, msix->vectors[i].chip_vector);
    free(msix);
}

uint16_t msix_count(const struct msix *msix)
{
    return msix->count;
}

bool msix_is_enabled(const struct msix *msix)
{
    return msix->enabled;
}

static bool vector_is_open(const struct msix *msix, unsigned index)
{
    return msix->enabled && !msix->masked &&
           !(msix->table[index].control & PCI_MSIX_ENTRY_CTRL_MASKBIT);
}

/* Tells the chip what the entry says, if that is news. False when the chip refuses. */
static bool vector_route(struct msix *msix, unsigned index)
{
    const struct msix_entry *entry = &msix->table[index];
    struct msix_vector *vector = &msix->vectors[index];
    struct msi_message message = {
        .address = entry->address_low | (uint64_t)entry->address_high << 32,
        .data = entry->data,
        .device_id = (uint32_t)msix->function->slot << 3,
    };
    int ret;

    if (vector->is_routed && vector->routed.address == message.address &&
        vector->routed.data == message.data)
        return true;
    ret = msix->chip.ops->route(msix->chip.chip, vector->chip_vector, &message);
    vector->is_routed = ret == 0;
    vector->routed = message;
    if (ret)
        log_limited(&msix->log_limit, LOG_WARN, "%s: guest's MSI-X vector %u has no valid message",
                    msix->function->name, index);
    return vector->is_routed;
}

/* After an entry or a mask changed: an open vector gets its route and what was pending. */
static void vector_update(struct msix *msix, unsigned index)
{
    if (!vector_is_open(msix, index) || !vector_route(msix, index))
        return;
    if (msix->pending >> index & 1) {
        msix->pending &= ~(1ULL << index);
        msix->chip.ops->signal(msix->chip.chip, msix->vectors[index].chip_vector);
    }
}

void msix_signal(struct msix *msix, uint16_t index)
{
    CHECK_CMP(index, <, msix->count);
    if (!msix->enabled)
        return;
    if (!vector_is_open(msix, index))
        msix->pending |= 1ULL << index;
    else if (msix->vectors[index].is_routed)
        msix->chip.ops->signal(msix->chip.chip, msix->vectors[index].chip_vector);
}

int msix_eventfd(struct msix *msix, uint16_t index)
{
    int fd;

    CHECK_CMP(index, <, msix->count);
    if (!vector_is_open(msix, index) || !msix->vectors[index].is_routed)
        return -1;
    fd = msix->chip.ops->eventfd(msix->chip.chip, msix->vectors[index].chip_vector);
    return fd < 0 ? -1 : fd;
}

void msix_reset(struct msix *msix)
{
    table_reset(msix);
}

static bool within(uint64_t offset, uint8_t size, uint64_t start, uint64_t len)
{
    return offset >= start && offset - start < len && size <= len - (offset - start);
}

/* Section 6.8.2: software accesses whole aligned dwords or qwords. Others read all ones and write
 * nothing. */
static bool width_is_valid(const struct bus_access *access)
{
    return (access->size == 4 || access->size == 8) && access->offset % access->size == 0;
}

static void table_write(struct msix *msix, uint32_t offset, const struct bus_access *access)
{
    unsigned index = offset / PCI_MSIX_ENTRY_SIZE;
    uint8_t *entry = (uint8_t *)&msix->table[index];

    memcpy(entry + offset % PCI_MSIX_ENTRY_SIZE, &access->value, access->size);
    /* The other bits of the control word are reserved. */
    msix->table[index].control &= PCI_MSIX_ENTRY_CTRL_MASKBIT;
    vector_update(msix, index);
}

bool msix_bar_access(struct msix *msix, struct bus_access *access)
{
    uint64_t pending_len = sizeof(msix->pending);
    uint32_t offset;

    if (within(access->offset, access->size, msix->table_offset,
               (uint64_t)msix->count * PCI_MSIX_ENTRY_SIZE)) {
        offset = (uint32_t)access->offset - msix->table_offset;
        if (!width_is_valid(access))
            return true;
        if (access->is_write) {
            table_write(msix, offset, access);
        } else {
            access->value = 0;
            memcpy(&access->value, (const uint8_t *)msix->table + offset, access->size);
        }
        return true;
    }
    if (within(access->offset, access->size, msix->pending_offset, pending_len)) {
        offset = (uint32_t)access->offset - msix->pending_offset;
        if (width_is_valid(access) && !access->is_write) {
            access->value = 0;
            memcpy(&access->value, (const uint8_t *)&msix->pending + offset, access->size);
        }
        return true;
    }
    return false;
}

bool msix_config_access(struct msix *msix, uint32_t offset, struct bus_access *access)
{
    uint32_t control = msix->capability + PCI_MSIX_FLAGS;
    uint8_t flags;

    if (offset >= control + 2 || offset + access->size <= control)
        return false;
    pci_function_config_plain(msix->function, offset, access);
    /* Enable and function mask are the top bits of the control word. */
    flags = msix->function->config[control + 1];
    msix->enabled = flags & PCI_MSIX_FLAGS_ENABLE >> 8;
    msix->masked = flags & PCI_MSIX_FLAGS_MASKALL >> 8;
    /* What was pending for one driver is nothing that the next one should hear of. */
    if (!msix->enabled)
        msix->pending = 0;
    for (unsigned i = 0; access->is_write && i < msix->count; i++)
        vector_update(msix, i);
    return true;
}
