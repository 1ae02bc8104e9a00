#include "boot/aml.h"

#include <criterion/criterion.h>

struct sample {
    uint8_t bytes[8192];
    struct aml aml;
};

static struct aml *sample_init(struct sample *sample)
{
    sample->aml = (struct aml){sample->bytes, sizeof(sample->bytes), 0};
    return &sample->aml;
}

static void expect(const struct sample *sample, const void *bytes, size_t len)
{
    cr_assert_eq(sample->aml.size, len, "%zu bytes", sample->aml.size);
    cr_assert_arr_eq(sample->bytes, bytes, len);
}

#define EXPECT(sample, ...) \
    expect(sample, (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

Test(aml, integers_take_the_shortest_form)
{
    struct sample sample;
    struct aml *aml = sample_init(&sample);

    aml_integer(aml, 0);
    aml_integer(aml, 1);
    aml_integer(aml, 2);
    aml_integer(aml, 0xff);
    aml_integer(aml, 0x100);
    aml_integer(aml, 0x10000);
    aml_integer(aml, 0x123456789a);
    EXPECT(&sample, 0x00, 0x01, 0x0a, 2, 0x0a, 0xff, 0x0b, 0, 1, 0x0c, 0, 0, 1, 0, 0x0e, 0x9a, 0x78,
           0x56, 0x34, 0x12, 0, 0, 0);
}

Test(aml, identifiers_are_compressed)
{
    struct sample sample;

    aml_eisa_id(sample_init(&sample), "PNP0A08");
    EXPECT(&sample, 0x0c, 0x41, 0xd0, 0x0a, 0x08);
}

Test(aml, names_are_padded_to_four)
{
    struct sample sample;
    struct aml *aml = sample_init(&sample);

    aml_name(aml, "_S5");
    aml_name(aml, "_HID");
    EXPECT(&sample, 0x08, '_', 'S', '5', '_', 0x08, '_', 'H', 'I', 'D');
}

/* PkgLength has one byte up to 63, two up to 4095, three beyond; it counts itself. */
Test(aml, length_of_a_package_grows_with_its_content)
{
    for (size_t content = 0; content < 5000; content++) {
        struct sample sample;
        struct aml *aml = sample_init(&sample);
        size_t mark = aml_device_begin(aml, "DEV");
        size_t decoded, len;

        for (size_t i = 0; i < content; i++)
            aml_integer(aml, 0);
        aml_end(aml, mark);

        len = sample.bytes[2] >> 6;
        decoded = len ? (size_t)(sample.bytes[2] & 0xf) : sample.bytes[2];
        for (size_t i = 0; i < len; i++)
            decoded |= (size_t)sample.bytes[3 + i] << (4 + 8 * i);
        cr_assert_eq(decoded, aml->size - 2, "content of %zu bytes", content);
        cr_assert_eq(len, decoded < 64 ? 0U : decoded < 4096 ? 1U : 2U);
        cr_assert_arr_eq(sample.bytes + 3 + len, "DEV_", 4);
        cr_assert_eq(aml->size, 7 + len + content);
    }
}

Test(aml, template_holds_its_descriptors_and_an_end_tag)
{
    struct sample sample;
    struct aml *aml = sample_init(&sample);
    size_t template = aml_template_begin(aml);

    aml_io(aml, 0x3f8, 8);
    aml_irq(aml, 4, true);
    aml_irq(aml, 8, false);
    aml_template_end(aml, template);
    EXPECT(&sample, 0x11, 0x14, 0x0a, 0x11, 0x47, 1, 0xf8, 3, 0xf8, 3, 1, 8, 0x23, 0x10, 0, 0x11,
           0x22, 0, 1, 0x79, 0);
}

Test(aml, interrupt_of_any_number_is_level_high_and_shared)
{
    struct sample sample;

    aml_interrupt_shared(sample_init(&sample), 0x117);
    EXPECT(&sample, 0x89, 6, 0, 9, 1, 0x17, 1, 0, 0);
}

Test(aml, window_ends_at_its_last_byte)
{
    struct sample sample;

    aml_window_memory32(sample_init(&sample), 0xc0000000, 0x20000000);
    EXPECT(&sample, 0x87, 23, 0, 0, 0x0c, 1, 0, 0, 0, 0, 0, 0, 0, 0xc0, 0xff, 0xff, 0xff, 0xdf, 0,
           0, 0, 0, 0, 0, 0, 0x20);
}
