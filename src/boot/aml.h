/*
 * Encoder of ACPI Machine Language (ACPI 6.3, chapter 20): the objects that describe devices, not
 * the operators that compute. It appends to a buffer of the caller's and chooses the shortest
 * encoding, as the ASL compiler does. Input is trusted: a full buffer or a malformed name is a bug
 * (CHECK). Any thread.
 *
 *     size_t device = aml_device_begin(&aml, "COM1");
 *     aml_name(&aml, "_HID");
 *     aml_eisa_id(&aml, "PNP0501");
 *     aml_name(&aml, "_CRS");
 *     size_t template = aml_template_begin(&aml);
 *     aml_io(&aml, 0x3f8, 8);
 *     aml_template_end(&aml, template);
 *     aml_end(&aml, device);
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct aml {
    uint8_t *bytes;
    size_t capacity;
    size_t size; /* bytes used */
};

/* Objects. A name is one segment of up to 4 characters. */
void aml_integer(struct aml *aml, uint64_t value);
void aml_string(struct aml *aml, const char *text);
/* The compressed form of an identifier such as "PNP0A08". */
void aml_eisa_id(struct aml *aml, const char *id);
/* Name (name, object): the object is what is appended next. */
void aml_name(struct aml *aml, const char *name);

/* What holds other objects: begin returns a mark for aml_end; marks nest. */
size_t aml_scope_begin(struct aml *aml, const char *name);
size_t aml_device_begin(struct aml *aml, const char *name);
size_t aml_package_begin(struct aml *aml, uint8_t element_count);
void aml_end(struct aml *aml, size_t mark);

/* ResourceTemplate (ACPI 6.3, 6.4): descriptors between begin and end, nothing else. */
size_t aml_template_begin(struct aml *aml);
void aml_template_end(struct aml *aml, size_t mark);

/* Ports [base, base + len), 16-bit decode. */
void aml_io(struct aml *aml, uint16_t base, uint8_t len);
/* An ISA interrupt, edge triggered and active high, alone on its line or not. */
void aml_irq(struct aml *aml, uint8_t irq, bool shared);
/* Any input of the interrupt chips, level triggered, active high, shared. */
void aml_interrupt_shared(struct aml *aml, uint32_t gsi);
/* A block of memory that the device itself uses. */
void aml_memory32_fixed(struct aml *aml, uint32_t base, uint32_t len);
/* What a bridge passes on to its bus; len > 0. */
void aml_window_bus(struct aml *aml, uint16_t first, uint16_t count);
void aml_window_io(struct aml *aml, uint16_t base, uint16_t len);
void aml_window_memory32(struct aml *aml, uint32_t base, uint32_t len);
void aml_window_memory64(struct aml *aml, uint64_t base, uint64_t len);
