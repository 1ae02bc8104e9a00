/* Body of the DSDT, after its header. See acpi.h. */
#pragma once
#include <stdint.h>

#include "boot/aml.h"
#include "boot/x86_64/acpi.h"

/* `mem_size` in bytes of RAM: it decides where the 64-bit PCI window lies. */
void dsdt_append(struct aml *aml, const struct acpi_config *config, uint64_t mem_size);
