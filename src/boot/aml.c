#include "boot/aml.h"

#include <string.h>

#include "base/check.h"
#include "base/compiler.h"

/* ACPI 6.3, 20.3: byte values of AML. */
enum {
    AML_ZERO = 0x00,
    AML_ONE = 0x01,
    AML_NAME = 0x08,
    AML_BYTE_PREFIX = 0x0a,
    AML_WORD_PREFIX = 0x0b,
    AML_DWORD_PREFIX = 0x0c,
    AML_STRING_PREFIX = 0x0d,
    AML_QWORD_PREFIX = 0x0e,
    AML_SCOPE = 0x10,
    AML_BUFFER = 0x11,
    AML_PACKAGE = 0x12,
    AML_EXT_PREFIX = 0x5b,
    AML_EXT_DEVICE = 0x82,
};

/* ACPI 6.3, 6.4.2 and 6.4.3: the first byte of resource descriptors. */
enum {
    RESOURCE_IRQ_NO_FLAGS = 0x22,
    RESOURCE_IRQ = 0x23,
    RESOURCE_IO = 0x47,
    RESOURCE_END = 0x79,
    RESOURCE_MEMORY32_FIXED = 0x86,
    RESOURCE_DWORD_SPACE = 0x87,
    RESOURCE_WORD_SPACE = 0x88,
    RESOURCE_INTERRUPT = 0x89,
    RESOURCE_QWORD_SPACE = 0x8a,

    RESOURCE_IO_DECODE16 = 1,
    RESOURCE_IRQ_EDGE = 1 << 0,
    RESOURCE_IRQ_SHARED = 1 << 4,
    RESOURCE_INTERRUPT_CONSUMER = 1 << 0,
    RESOURCE_INTERRUPT_SHARED = 1 << 3,
    RESOURCE_READ_WRITE = 1,
    RESOURCE_IO_ENTIRE_RANGE = 3,
    /* A window: the bridge's, not consumed by it, of fixed place. */
    RESOURCE_MIN_MAX_FIXED = 1 << 2 | 1 << 3,
};

enum resource_space { SPACE_MEMORY = 0, SPACE_IO = 1, SPACE_BUS = 2 };

static void aml_bytes(struct aml *aml, const void *bytes, size_t len)
{
    CHECK_CMP(len, <=, aml->capacity - aml->size);
    memcpy(aml->bytes + aml->size, bytes, len);
    aml->size += len;
}

static void aml_byte(struct aml *aml, uint8_t byte)
{
    aml_bytes(aml, &byte, 1);
}

/* The low `len` bytes of the value, little-endian. */
static void aml_number(struct aml *aml, uint64_t value, size_t len)
{
    for (size_t i = 0; i < len; i++)
        aml_byte(aml, (uint8_t)(value >> 8 * i));
}

static void aml_insert(struct aml *aml, size_t at, const struct aml *part)
{
    CHECK_CMP(part->size, <=, aml->capacity - aml->size);
    memmove(aml->bytes + at + part->size, aml->bytes + at, aml->size - at);
    memcpy(aml->bytes + at, part->bytes, part->size);
    aml->size += part->size;
}

/* PkgLength (20.2.4) counts itself: 6 bits in one byte, or 4 bits and 8 more in each that follows.
 */
static void aml_package_length(struct aml *aml, size_t content_len)
{
    size_t more = content_len + 1 < 1 << 6 ? 0 : content_len + 2 < 1 << 12 ? 1 : 2;
    size_t len = content_len + 1 + more;

    CHECK_CMP(len, <, 1U << 20);
    if (!more) {
        aml_byte(aml, (uint8_t)len);
        return;
    }
    aml_byte(aml, (uint8_t)(more << 6 | (len & 0xf)));
    aml_number(aml, len >> 4, more);
}

static void aml_segment(struct aml *aml, const char *name)
{
    size_t len = strlen(name);

    CHECK(len >= 1 && len <= 4);
    aml_bytes(aml, name, len);
    aml_bytes(aml, "____", 4 - len);
}

void aml_integer(struct aml *aml, uint64_t value)
{
    if (value == 0 || value == 1) {
        aml_byte(aml, value ? AML_ONE : AML_ZERO);
    } else if (value <= UINT8_MAX) {
        aml_byte(aml, AML_BYTE_PREFIX);
        aml_number(aml, value, 1);
    } else if (value <= UINT16_MAX) {
        aml_byte(aml, AML_WORD_PREFIX);
        aml_number(aml, value, 2);
    } else if (value <= UINT32_MAX) {
        aml_byte(aml, AML_DWORD_PREFIX);
        aml_number(aml, value, 4);
    } else {
        aml_byte(aml, AML_QWORD_PREFIX);
        aml_number(aml, value, 8);
    }
}

void aml_string(struct aml *aml, const char *text)
{
    aml_byte(aml, AML_STRING_PREFIX);
    aml_bytes(aml, text, strlen(text) + 1);
}

static uint32_t hex_digit(char digit)
{
    const char *const digits = "0123456789ABCDEF";
    const char *found = digit ? strchr(digits, digit) : NULL;

    CHECK(found != NULL);
    return (uint32_t)(found - digits);
}

/* Three letters of 5 bits and four hexadecimal digits, most significant first (19.6.36). */
void aml_eisa_id(struct aml *aml, const char *id)
{
    uint32_t value = 0;

    CHECK(strlen(id) == 7);
    for (int i = 0; i < 3; i++) {
        CHECK(id[i] >= 'A' && id[i] <= 'Z');
        value = value << 5 | (uint32_t)(id[i] - 'A' + 1);
    }
    for (int i = 3; i < 7; i++)
        value = value << 4 | hex_digit(id[i]);
    aml_byte(aml, AML_DWORD_PREFIX);
    aml_number(aml, __builtin_bswap32(value), 4);
}

void aml_name(struct aml *aml, const char *name)
{
    aml_byte(aml, AML_NAME);
    aml_segment(aml, name);
}

size_t aml_scope_begin(struct aml *aml, const char *name)
{
    size_t mark;

    aml_byte(aml, AML_SCOPE);
    mark = aml->size;
    aml_segment(aml, name);
    return mark;
}

size_t aml_device_begin(struct aml *aml, const char *name)
{
    size_t mark;

    aml_byte(aml, AML_EXT_PREFIX);
    aml_byte(aml, AML_EXT_DEVICE);
    mark = aml->size;
    aml_segment(aml, name);
    return mark;
}

size_t aml_package_begin(struct aml *aml, uint8_t element_count)
{
    size_t mark;

    aml_byte(aml, AML_PACKAGE);
    mark = aml->size;
    aml_byte(aml, element_count);
    return mark;
}

/* The length comes before the content, but is known only now. */
void aml_end(struct aml *aml, size_t mark)
{
    uint8_t bytes[4];
    struct aml length = {bytes, sizeof(bytes), 0};

    aml_package_length(&length, aml->size - mark);
    aml_insert(aml, mark, &length);
}

size_t aml_template_begin(struct aml *aml)
{
    return aml->size;
}

void aml_template_end(struct aml *aml, size_t mark)
{
    uint8_t size_bytes[9], head_bytes[16];
    struct aml size = {size_bytes, sizeof(size_bytes), 0};
    struct aml head = {head_bytes, sizeof(head_bytes), 0};

    aml_byte(aml, RESOURCE_END);
    aml_byte(aml, 0); /* no checksum */
    aml_integer(&size, aml->size - mark);
    aml_byte(&head, AML_BUFFER);
    aml_package_length(&head, size.size + aml->size - mark);
    aml_bytes(&head, size.bytes, size.size);
    aml_insert(aml, mark, &head);
}

void aml_io(struct aml *aml, uint16_t base, uint8_t len)
{
    aml_byte(aml, RESOURCE_IO);
    aml_byte(aml, RESOURCE_IO_DECODE16);
    aml_number(aml, base, 2); /* lowest and highest base */
    aml_number(aml, base, 2);
    aml_byte(aml, 1); /* alignment */
    aml_byte(aml, len);
}

void aml_irq(struct aml *aml, uint8_t irq, bool shared)
{
    CHECK_CMP(irq, <, 16);
    aml_byte(aml, shared ? RESOURCE_IRQ : RESOURCE_IRQ_NO_FLAGS);
    aml_number(aml, 1ULL << irq, 2);
    if (shared)
        aml_byte(aml, RESOURCE_IRQ_EDGE | RESOURCE_IRQ_SHARED);
}

void aml_interrupt_shared(struct aml *aml, uint32_t gsi)
{
    aml_byte(aml, RESOURCE_INTERRUPT);
    aml_number(aml, 6, 2);
    aml_byte(aml, RESOURCE_INTERRUPT_CONSUMER | RESOURCE_INTERRUPT_SHARED);
    aml_byte(aml, 1);
    aml_number(aml, gsi, 4);
}

void aml_memory32_fixed(struct aml *aml, uint32_t base, uint32_t len)
{
    aml_byte(aml, RESOURCE_MEMORY32_FIXED);
    aml_number(aml, 9, 2);
    aml_byte(aml, RESOURCE_READ_WRITE);
    aml_number(aml, base, 4);
    aml_number(aml, len, 4);
}

/* An address space descriptor (6.4.3.5) whose five numbers have `width` bytes each. */
static void aml_window(struct aml *aml, uint8_t descriptor, size_t width, enum resource_space space,
                       uint8_t space_flags, uint64_t base, uint64_t len)
{
    const uint64_t numbers[] = {0 /* granularity */, base, base + len - 1, 0 /* translation */,
                                len};

    aml_byte(aml, descriptor);
    aml_number(aml, 3 + array_count(numbers) * width, 2);
    aml_byte(aml, (uint8_t)space);
    aml_byte(aml, RESOURCE_MIN_MAX_FIXED);
    aml_byte(aml, space_flags);
    for (size_t i = 0; i < array_count(numbers); i++)
        aml_number(aml, numbers[i], width);
}

void aml_window_bus(struct aml *aml, uint16_t first, uint16_t count)
{
    aml_window(aml, RESOURCE_WORD_SPACE, 2, SPACE_BUS, 0, first, count);
}

void aml_window_io(struct aml *aml, uint16_t base, uint16_t len)
{
    aml_window(aml, RESOURCE_WORD_SPACE, 2, SPACE_IO, RESOURCE_IO_ENTIRE_RANGE, base, len);
}

void aml_window_memory32(struct aml *aml, uint32_t base, uint32_t len)
{
    aml_window(aml, RESOURCE_DWORD_SPACE, 4, SPACE_MEMORY, RESOURCE_READ_WRITE, base, len);
}

void aml_window_memory64(struct aml *aml, uint64_t base, uint64_t len)
{
    aml_window(aml, RESOURCE_QWORD_SPACE, 8, SPACE_MEMORY, RESOURCE_READ_WRITE, base, len);
}
