/*
 * MSI-X of one function: capability, table and pending bits in one BAR, mask and pending semantics
 * (PCI 3.0, section 6.8.2). Executor thread.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/err.h"
#include "base/limits.h"
#include "bus/bus.h"
#include "bus/irq.h"
#include "bus/pci.h"

struct msix;

/*
 * Adds the capability to `function` (before pci_root_add); table at `table_offset` and pending bits
 * at `pba_offset` of BAR `bar`. `count` is 1 to MSIX_VECTOR_COUNT_MAX.
 */
must_check int msix_create(struct msix **out, struct pci_function *function, struct msi_chip chip,
                           uint16_t count, uint8_t bar, uint32_t table_offset, uint32_t pba_offset,
                           struct err *err);
void msix_destroy(struct msix *msix);

/* For the owner of the BAR: true and answered when the access falls in the table or the pending
 * bits. */
bool msix_bar_access(struct msix *msix, struct bus_access *access);
/* For function_ops.config_access: true when the access falls in the capability. */
bool msix_config_access(struct msix *msix, uint32_t offset, struct bus_access *access);

uint16_t msix_count(const struct msix *msix);
bool msix_is_enabled(const struct msix *msix);
/* Sends vector `index` (< count), or sets its pending bit while it is masked. */
void msix_signal(struct msix *msix, uint16_t index);
/*
 * The eventfd whose signal sends vector `index` (< count) without this process, as long as nothing
 * changes: after each access below ask again. -1: masked, or without a message, or the host has
 * none; then msix_signal is the way.
 */
int msix_eventfd(struct msix *msix, uint16_t index);
/* All vectors masked and unrouted, no pending bits, disabled. */
void msix_reset(struct msix *msix);
