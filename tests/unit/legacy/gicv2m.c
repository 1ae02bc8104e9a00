#include "legacy/gicv2m.h"

#include <criterion/criterion.h>
#include <errno.h>

enum { BASE = 0x08020000, TYPER = 0x8, SETSPI = 0x40, IIDR = 0xfcc, VECTOR = 7 };

/* Takes messages for SPIs 96 to 99. */
static struct {
    bool is_full, is_used;
    struct msi_message message;
    unsigned signal_count;
} chip;

static int chip_alloc(void *arg, uint32_t *vector)
{
    (void)arg;
    if (chip.is_full)
        return -ENOSPC;
    chip.is_used = true;
    *vector = VECTOR;
    return 0;
}

static void chip_free(void *arg, uint32_t vector)
{
    (void)arg;
    cr_assert(chip.is_used && vector == VECTOR);
    chip.is_used = false;
}

static int chip_route(void *arg, uint32_t vector, const struct msi_message *message)
{
    (void)arg;
    cr_assert_eq(vector, VECTOR);
    chip.message = *message;
    return message->data >= 96 && message->data < 100 ? 0 : -EINVAL;
}

static void chip_signal(void *arg, uint32_t vector)
{
    (void)arg;
    cr_assert_eq(vector, VECTOR);
    chip.signal_count++;
}

static const struct msi_chip_ops chip_ops = {
    .alloc = chip_alloc, .free = chip_free, .route = chip_route, .signal = chip_signal};

static struct gicv2m_config config_make(void)
{
    struct gicv2m_config config = {
        .msi = {.ops = &chip_ops}, .base = BASE, .spi_base = 96, .spi_count = 4};

    cr_assert_eq(bus_create(&config.bus, "memory", NULL), 0);
    return config;
}

static uint64_t frame_read(struct bus *bus, uint64_t offset)
{
    struct bus_access access = {.addr = BASE + offset, .size = 4};

    cr_assert_eq(bus_dispatch(bus, &access), BUS_DONE);
    return access.value;
}

static void frame_write(struct bus *bus, uint64_t offset, uint64_t value)
{
    struct bus_access access = {.addr = BASE + offset, .size = 4, .value = value, .is_write = true};

    cr_assert_eq(bus_dispatch(bus, &access), BUS_DONE);
}

Test(gicv2m, guest_learns_which_interrupts_are_for_messages)
{
    struct gicv2m_config config = config_make();
    struct gicv2m *gicv2m;

    cr_assert_eq(gicv2m_create(&gicv2m, &config, NULL), 0);
    cr_assert_eq(frame_read(config.bus, TYPER), 96 << 16 | 4);
    cr_assert_eq(frame_read(config.bus, IIDR), 0);
    cr_assert_eq(frame_read(config.bus, SETSPI), 0, "write only");
    gicv2m_destroy(gicv2m);
    cr_assert(!chip.is_used);
    cr_assert_eq(frame_read(config.bus, TYPER), 0xffffffff, "gone");
    bus_destroy(config.bus);
}

Test(gicv2m, processor_that_writes_a_message_sends_it)
{
    struct gicv2m_config config = config_make();
    struct gicv2m *gicv2m;

    cr_assert_eq(gicv2m_create(&gicv2m, &config, NULL), 0);
    frame_write(config.bus, SETSPI, 97);
    cr_assert_eq(chip.signal_count, 1);
    cr_assert_eq(chip.message.address, BASE + SETSPI);
    cr_assert_eq(chip.message.data, 97);
    frame_write(config.bus, SETSPI, 100);
    frame_write(config.bus, SETSPI, 32);
    cr_assert_eq(chip.signal_count, 1, "not an interrupt of this frame");
    frame_write(config.bus, TYPER, 97);
    frame_write(config.bus, SETSPI + 4, 97);
    cr_assert_eq(chip.signal_count, 1, "not the register");
    gicv2m_destroy(gicv2m);
    bus_destroy(config.bus);
}

Test(gicv2m, what_is_taken_is_reported)
{
    struct gicv2m_config config = config_make();
    struct gicv2m *first, *second;
    struct err err;

    cr_assert_eq(gicv2m_create(&first, &config, NULL), 0);
    cr_assert_eq(gicv2m_create(&second, &config, &err), -EEXIST);
    cr_assert(strstr(err.text, "gicv2m"), "%s", err.text);
    chip.is_full = true;
    cr_assert_eq(gicv2m_create(&second, &config, &err), -ENOSPC);
    cr_assert(strstr(err.text, "gicv2m"), "%s", err.text);
    chip.is_used = true;
    gicv2m_destroy(first);
    bus_destroy(config.bus);
}
