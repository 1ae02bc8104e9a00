/* The PCI transport, as a guest sees it. */
#include "virtio/pci.h"

#include <criterion/criterion.h>
#include <linux/pci_regs.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_ring.h>
#include <string.h>

#include "base/arith.h"
#include "echo_device.h"
#include "fake_driver.h"

enum {
    COMMON = VIRTIO_PCI_CAP_COMMON_CFG,
    ISR = VIRTIO_PCI_CAP_ISR_CFG,
    DEVICE = VIRTIO_PCI_CAP_DEVICE_CFG,
    NOTIFY = VIRTIO_PCI_CAP_NOTIFY_CFG,
    WINDOW = VIRTIO_PCI_CAP_PCI_CFG,
    NO_VECTOR = 0xffff,
    SETTLE_TURNS = 20,
    BAR_LEN = 0x8000,
};

struct fixture {
    struct fake_machine *machine;
    struct echo_device *echo;
    struct fake_driver *driver;
    struct fake_queue *queue;
};

static struct fixture fixture_create_refusing(bool doorbells_refused)
{
    struct fixture f = {.machine = fake_machine_create()};

    f.machine->doorbells_refused = doorbells_refused;
    f.echo = echo_create(&f.machine->context);
    f.driver = fake_driver_attach(f.machine, &f.echo->device);
    f.queue = &f.driver->queues[ECHO_QUEUE];
    return f;
}

static struct fixture fixture_create(void)
{
    return fixture_create_refusing(false);
}

static void fixture_destroy(struct fixture *f)
{
    fake_driver_detach(f->driver);
    fake_machine_destroy(f->machine);
}

static void settle(struct fixture *f)
{
    fake_machine_run(f->machine, SETTLE_TURNS);
}

static void assert_echo_works(struct fixture *f)
{
    struct fake_buffer buffers[] = {fake_buffer(f->machine, 4), fake_buffer(f->machine, 4)};

    memcpy(buffers[0].host, "ring", 4);
    fake_queue_add(f->queue, buffers, 1, 1);
    fake_queue_kick(f->queue);
    cr_assert_eq(fake_queue_wait(f->queue), 4);
    cr_assert_eq(memcmp(buffers[1].host, "ring", 4), 0);
}

static bool intx(struct fixture *f)
{
    return f->machine->intx_level[f->driver->slot % 4];
}

Test(virtio_pci, identity_is_that_of_a_modern_device)
{
    struct fixture f = fixture_create();

    cr_assert_eq(fake_driver_config_read(f.driver, PCI_VENDOR_ID, 2), 0x1af4);
    cr_assert_eq(fake_driver_config_read(f.driver, PCI_DEVICE_ID, 2), 0x1040 + ECHO_ID);
    cr_assert_eq(fake_driver_config_read(f.driver, PCI_REVISION_ID, 1), 1);
    cr_assert_eq(fake_driver_config_read(f.driver, PCI_INTERRUPT_PIN, 1), 1);
    cr_assert_eq(f.driver->notify_multiplier, 4);
    for (int type = COMMON; type <= WINDOW; type++) {
        cr_assert(f.driver->cap[type], "structure %d", type);
        cr_assert_leq(f.driver->offset[type] + f.driver->length[type], BAR_LEN);
    }
    cr_assert_eq(f.driver->length[COMMON], sizeof(struct virtio_pci_common_cfg));
    cr_assert_eq(f.driver->length[DEVICE], ECHO_CONFIG_LEN);
    cr_assert_eq(f.driver->length[NOTIFY], 4 * ECHO_QUEUE_COUNT);
    cr_assert_eq(f.driver->queue_count, ECHO_QUEUE_COUNT);
    fixture_destroy(&f);
}

Test(virtio_pci, class_code_is_the_one_of_the_device_type)
{
    const struct {
        uint16_t id;
        uint32_t class_code;
    } types[] = {
        {VIRTIO_ID_NET, 0x020000},     {VIRTIO_ID_BLOCK, 0x010000}, {VIRTIO_ID_CONSOLE, 0x078000},
        {VIRTIO_ID_VSOCK, 0x078000},   {VIRTIO_ID_RNG, 0x00ff00},   {ECHO_ID, 0xff0000},
        {VIRTIO_ID_BALLOON, 0x00ff00},
    };
    struct fake_machine *machine = fake_machine_create();

    for (size_t i = 0; i < array_count(types); i++) {
        struct echo_device *echo = echo_create(&machine->context);
        struct fake_driver *driver;

        echo->device.id = types[i].id;
        driver = fake_driver_attach(machine, &echo->device);
        cr_assert_eq(fake_driver_config_read(driver, PCI_CLASS_REVISION, 4) >> 8,
                     types[i].class_code, "device type %u", types[i].id);
        fake_driver_detach(driver);
    }
    fake_machine_destroy(machine);
}

/* ---- interrupts ---- */

Test(virtio_pci, each_queue_interrupts_through_its_own_vector)
{
    struct fixture f = fixture_create();

    fake_driver_start(f.driver, 0, 0);
    assert_echo_works(&f);
    settle(&f);
    cr_assert_eq(fake_driver_messages(f.driver, 1 + ECHO_QUEUE), 1);
    cr_assert_eq(fake_driver_messages(f.driver, 1 + ECHO_PIPE_QUEUE), 0);
    cr_assert_eq(fake_driver_messages(f.driver, 0), 0);
    cr_assert_not(intx(&f));
    cr_assert_eq(fake_driver_read(f.driver, ISR, 0, 1), 0, "4.1.4.5: not with MSI-X");
    fixture_destroy(&f);
}

Test(virtio_pci, a_masked_vector_is_sent_when_it_is_unmasked)
{
    struct fixture f = fixture_create();
    uint64_t control;

    fake_driver_start(f.driver, 0, 0);
    control = f.driver->bar +
              fake_driver_config_read(f.driver, f.driver->msix_cap + PCI_MSIX_TABLE, 4) +
              16 * (1 + ECHO_QUEUE) + 12;
    fake_mmio_write(f.machine, control, 4, 1);
    assert_echo_works(&f);
    settle(&f);
    cr_assert_eq(fake_driver_messages(f.driver, 1 + ECHO_QUEUE), 0);
    fake_mmio_write(f.machine, control, 4, 0);
    cr_assert_eq(fake_driver_messages(f.driver, 1 + ECHO_QUEUE), 1);
    fixture_destroy(&f);
}

Test(virtio_pci, a_queue_without_a_vector_sends_nothing)
{
    struct fixture f = fixture_create();

    fake_driver_start(f.driver, 0, 0);
    fake_driver_write(f.driver, COMMON, VIRTIO_PCI_COMMON_Q_SELECT, 2, ECHO_QUEUE);
    fake_driver_write(f.driver, COMMON, VIRTIO_PCI_COMMON_Q_MSIX, 2, NO_VECTOR);
    assert_echo_works(&f);
    settle(&f);
    for (uint16_t i = 0; i <= ECHO_QUEUE_COUNT; i++)
        cr_assert_eq(fake_driver_messages(f.driver, i), 0);
    cr_assert_not(intx(&f));
    fixture_destroy(&f);
}

Test(virtio_pci, without_msix_the_line_rises_and_reading_the_isr_drops_it)
{
    struct fixture f = fixture_create();

    f.driver->no_msix = true;
    fake_driver_start(f.driver, 0, 0);
    assert_echo_works(&f);
    settle(&f);
    cr_assert(intx(&f));
    cr_assert_eq(fake_driver_read(f.driver, ISR, 0, 1), 1);
    cr_assert_not(intx(&f));
    cr_assert_eq(fake_driver_read(f.driver, ISR, 0, 1), 0);
    virtio_device_config_changed(&f.echo->device);
    cr_assert(intx(&f));
    assert_echo_works(&f);
    settle(&f);
    cr_assert_eq(fake_driver_read(f.driver, ISR, 0, 4), 3);
    cr_assert_not(intx(&f));
    fixture_destroy(&f);
}

Test(virtio_pci, the_line_is_silent_while_msix_is_on)
{
    struct fixture f = fixture_create();

    f.driver->no_msix = true;
    fake_driver_start(f.driver, 0, 0);
    virtio_device_config_changed(&f.echo->device);
    cr_assert(intx(&f));
    fake_driver_config_write(f.driver, f.driver->msix_cap + PCI_MSIX_FLAGS, 2,
                             PCI_MSIX_FLAGS_ENABLE);
    cr_assert_not(intx(&f));
    fake_driver_config_write(f.driver, f.driver->msix_cap + PCI_MSIX_FLAGS, 2, 0);
    cr_assert(intx(&f), "what was not acknowledged is still there");
    cr_assert_eq(fake_driver_read(f.driver, ISR, 0, 1), 2);
    fixture_destroy(&f);
}

Test(virtio_pci, hostile_5_vectors_beyond_the_table_read_back_as_none)
{
    struct fixture f = fixture_create();

    fake_driver_write(f.driver, COMMON, VIRTIO_PCI_COMMON_Q_SELECT, 2, ECHO_QUEUE);
    for (uint32_t vector = 0; vector <= UINT16_MAX; vector++) {
        uint64_t expected = vector <= ECHO_QUEUE_COUNT ? vector : NO_VECTOR;

        fake_driver_write(f.driver, COMMON, VIRTIO_PCI_COMMON_MSIX, 2, vector);
        cr_assert_eq(fake_driver_read(f.driver, COMMON, VIRTIO_PCI_COMMON_MSIX, 2), expected);
        fake_driver_write(f.driver, COMMON, VIRTIO_PCI_COMMON_Q_MSIX, 2, vector);
        cr_assert_eq(fake_driver_read(f.driver, COMMON, VIRTIO_PCI_COMMON_Q_MSIX, 2), expected);
    }
    fixture_destroy(&f);
}

/* ---- configuration ---- */

Test(virtio_pci, a_change_of_the_configuration_is_a_new_generation_and_a_notification)
{
    struct fixture f = fixture_create();
    uint64_t generation = fake_driver_read(f.driver, COMMON, VIRTIO_PCI_COMMON_CFGGENERATION, 1);

    virtio_device_config_changed(&f.echo->device);
    cr_assert_eq(fake_driver_read(f.driver, COMMON, VIRTIO_PCI_COMMON_CFGGENERATION, 1),
                 (generation + 1) & 0xff);
    fake_driver_start(f.driver, 0, 0);
    cr_assert_eq(fake_driver_messages(f.driver, 0), 0, "no driver was there to be told");
    virtio_device_config_changed(&f.echo->device);
    cr_assert_eq(fake_driver_messages(f.driver, 0), 1);
    fixture_destroy(&f);
}

Test(virtio_pci, device_configuration_is_read_and_written_at_any_width)
{
    struct fixture f = fixture_create();

    cr_assert_eq(fake_driver_read(f.driver, DEVICE, 0, 1), 1);
    cr_assert_eq(fake_driver_read(f.driver, DEVICE, 1, 2), 0x0302);
    cr_assert_eq(fake_driver_read(f.driver, DEVICE, 0, 4), 0x04030201);
    cr_assert_eq(fake_driver_read(f.driver, DEVICE, 4, 4), 0x00070605, "0 beyond the end");
    cr_assert_eq(fake_driver_read(f.driver, DEVICE, 0, 8), 0x0007060504030201);
    cr_assert_eq(fake_driver_read(f.driver, DEVICE, 0xff8, 8), 0);
    fake_driver_write(f.driver, DEVICE, 5, 2, 0xabcd);
    cr_assert_eq(fake_driver_read(f.driver, DEVICE, 4, 4), 0x00abcd05);
    fake_driver_write(f.driver, DEVICE, 4, 4, 0);
    cr_assert_eq(fake_driver_read(f.driver, DEVICE, 4, 4), 0x00abcd05, "not half a write");
    fixture_destroy(&f);
}

Test(virtio_pci, hostile_5_queue_selector_out_of_range_selects_nothing)
{
    struct fixture f = fixture_create();
    const uint16_t selects[] = {ECHO_QUEUE_COUNT, VIRTIO_QUEUE_COUNT_MAX, 0x8000, 0xffff};

    fake_driver_negotiate(f.driver, 0);
    for (size_t i = 0; i < array_count(selects); i++) {
        fake_driver_write(f.driver, COMMON, VIRTIO_PCI_COMMON_Q_SELECT, 2, selects[i]);
        cr_assert_eq(fake_driver_read(f.driver, COMMON, VIRTIO_PCI_COMMON_Q_SELECT, 2), selects[i]);
        for (uint32_t at = VIRTIO_PCI_COMMON_Q_SIZE; at < 56; at += 2) {
            fake_driver_write(f.driver, COMMON, at, 2, 1);
            fake_driver_write(f.driver, COMMON, at, 4, 1);
            fake_driver_write(f.driver, COMMON, at, 8, 1);
            cr_assert_eq(fake_driver_read(f.driver, COMMON, at, 2), 0);
        }
    }
    fixture_destroy(&f);
}

Test(virtio_pci, registers_are_written_at_their_own_offset_and_width_only)
{
    struct fixture f = fixture_create();

    fake_driver_write(f.driver, COMMON, VIRTIO_PCI_COMMON_STATUS, 2, 1);
    fake_driver_write(f.driver, COMMON, VIRTIO_PCI_COMMON_STATUS, 4, 1);
    fake_driver_write(f.driver, COMMON, VIRTIO_PCI_COMMON_NUMQ, 4, 0x10000);
    cr_assert_eq(fake_driver_status(f.driver), 0);
    fake_driver_write(f.driver, COMMON, VIRTIO_PCI_COMMON_DFSELECT, 8, 1);
    fake_driver_write(f.driver, COMMON, VIRTIO_PCI_COMMON_DFSELECT, 1, 1);
    cr_assert_eq(fake_driver_read(f.driver, COMMON, VIRTIO_PCI_COMMON_DFSELECT, 4), 0);
    fake_driver_write(f.driver, COMMON, VIRTIO_PCI_COMMON_NUMQ, 2, 9);
    cr_assert_eq(fake_driver_read(f.driver, COMMON, VIRTIO_PCI_COMMON_NUMQ, 2), ECHO_QUEUE_COUNT);
    fixture_destroy(&f);
}

Test(virtio_pci, queue_addresses_are_written_in_halves_or_whole)
{
    struct fixture f = fixture_create();

    fake_driver_negotiate(f.driver, 0);
    fake_driver_write(f.driver, COMMON, VIRTIO_PCI_COMMON_Q_SELECT, 2, ECHO_QUEUE);
    for (uint32_t at = VIRTIO_PCI_COMMON_Q_DESCLO; at <= VIRTIO_PCI_COMMON_Q_USEDLO; at += 8) {
        fake_driver_write(f.driver, COMMON, at, 8, 0x1122334455667788);
        cr_assert_eq(fake_driver_read(f.driver, COMMON, at, 8), 0x1122334455667788);
        fake_driver_write(f.driver, COMMON, at + 4, 4, 0xaabbccdd);
        cr_assert_eq(fake_driver_read(f.driver, COMMON, at, 8), 0xaabbccdd55667788);
        fake_driver_write(f.driver, COMMON, at, 4, 0);
        cr_assert_eq(fake_driver_read(f.driver, COMMON, at, 8), 0xaabbccdd00000000);
    }
    fixture_destroy(&f);
}

/* ---- notifications ---- */

static size_t doorbells_at(struct fixture *f, uint64_t bar)
{
    size_t count = 0;

    for (size_t i = 0; i < array_count(f->machine->doorbells); i++)
        if (f->machine->doorbells[i].eventfd >= 0 &&
            f->machine->doorbells[i].addr >= bar + f->driver->offset[NOTIFY] &&
            f->machine->doorbells[i].addr < bar + f->driver->offset[NOTIFY] + 4 * ECHO_QUEUE_COUNT)
            count++;
    return count;
}

Test(virtio_pci, doorbells_follow_the_bar_and_the_command_register)
{
    struct fixture f = fixture_create();
    uint64_t old = f.driver->bar, new = old + 0x100000;

    cr_assert_eq(doorbells_at(&f, old), ECHO_QUEUE_COUNT);
    fake_driver_start(f.driver, 0, 0);
    fake_driver_config_write(f.driver, PCI_BASE_ADDRESS_0, 4, new);
    cr_assert_eq(doorbells_at(&f, old), 0);
    cr_assert_eq(doorbells_at(&f, new), ECHO_QUEUE_COUNT);
    f.driver->bar = new;
    assert_echo_works(&f);
    fake_driver_config_write(f.driver, PCI_COMMAND, 2, 0);
    cr_assert_eq(doorbells_at(&f, new), 0);
    fake_driver_config_write(f.driver, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    cr_assert_eq(doorbells_at(&f, new), ECHO_QUEUE_COUNT);
    assert_echo_works(&f);
    fixture_destroy(&f);
}

/* A kernel that starts another one (kexec) turns bus mastering off before the memory changes hands.
 */
Test(virtio_pci, without_bus_mastering_the_rings_are_left_alone)
{
    struct fixture f = fixture_create();
    struct fake_buffer buffers[] = {fake_buffer(f.machine, 4), fake_buffer(f.machine, 4)};

    fake_driver_start(f.driver, 0, 0);
    assert_echo_works(&f);
    fake_driver_config_write(f.driver, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
    memcpy(buffers[0].host, "late", 4);
    fake_queue_add(f.queue, buffers, 1, 1);
    fake_queue_publish(f.queue);
    fake_queue_notify(f.queue);
    settle(&f);
    cr_assert_not(fake_queue_take(f.queue, NULL, NULL));
    fake_driver_config_write(f.driver, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    cr_assert_eq(fake_queue_wait(f.queue), 4, "the kick was not lost");
    cr_assert_eq(memcmp(buffers[1].host, "late", 4), 0);
    fake_driver_config_write(f.driver, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
    fake_driver_reset(f.driver);
    fake_driver_start(f.driver, 0, 0);
    fake_driver_config_write(f.driver, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    assert_echo_works(&f);
    fixture_destroy(&f);
}

Test(virtio_pci, without_doorbells_the_notify_write_itself_wakes_the_queue)
{
    struct fixture f = fixture_create_refusing(true);

    cr_assert_eq(doorbells_at(&f, f.driver->bar), 0);
    fake_driver_start(f.driver, 0, 0);
    for (int i = 0; i < 10; i++)
        assert_echo_works(&f);
    fixture_destroy(&f);
}

Test(virtio_pci, hostile_5_notifications_of_any_value_and_address_are_harmless)
{
    for (int refused = 0; refused < 2; refused++) {
        struct fixture f = fixture_create_refusing(refused);

        for (int started = 0; started < 2; started++) {
            for (uint32_t at = 0; at < 0x1000; at++)
                fake_driver_write(f.driver, NOTIFY, at, 1U << at % 4, at * 0x01010101U);
            settle(&f);
            if (!started)
                fake_driver_start(f.driver, 0, 0);
        }
        assert_echo_works(&f);
        fixture_destroy(&f);
    }
}

/* ---- the PCI_CFG window, 4.1.4.9 ---- */

static void window_aim(struct fixture *f, uint8_t bar, uint32_t offset, uint32_t length)
{
    uint16_t cap = f->driver->cap[WINDOW];

    fake_driver_config_write(f->driver, cap + offsetof(struct virtio_pci_cap, bar), 1, bar);
    fake_driver_config_write(f->driver, cap + offsetof(struct virtio_pci_cap, offset), 4, offset);
    fake_driver_config_write(f->driver, cap + offsetof(struct virtio_pci_cap, length), 4, length);
}

static uint32_t window_read(struct fixture *f, uint32_t offset, uint8_t size)
{
    window_aim(f, 0, offset, size);
    return fake_driver_config_read(
        f->driver, f->driver->cap[WINDOW] + offsetof(struct virtio_pci_cfg_cap, pci_cfg_data),
        size);
}

static void window_write(struct fixture *f, uint32_t offset, uint8_t size, uint32_t value)
{
    window_aim(f, 0, offset, size);
    fake_driver_config_write(
        f->driver, f->driver->cap[WINDOW] + offsetof(struct virtio_pci_cfg_cap, pci_cfg_data), size,
        value);
}

Test(virtio_pci, the_window_reaches_the_registers)
{
    struct fixture f = fixture_create();
    uint32_t device = f.driver->offset[DEVICE];

    cr_assert_eq(window_read(&f, device, 4), 0x04030201);
    cr_assert_eq(window_read(&f, device + 2, 2), 0x0403);
    cr_assert_eq(window_read(&f, device + 6, 1), 7);
    window_write(&f, VIRTIO_PCI_COMMON_STATUS, 1, 1);
    cr_assert_eq(window_read(&f, VIRTIO_PCI_COMMON_STATUS, 1), 1);
    cr_assert_eq(fake_driver_status(f.driver), 1);
    /* Also with decoding off: that is what it is for. */
    fake_driver_config_write(f.driver, PCI_COMMAND, 2, 0);
    cr_assert_eq(window_read(&f, VIRTIO_PCI_COMMON_NUMQ, 2), ECHO_QUEUE_COUNT);
    fixture_destroy(&f);
}

Test(virtio_pci, hostile_5_the_window_takes_no_access_that_the_bar_would_not)
{
    struct fixture f = fixture_create();
    uint16_t data = f.driver->cap[WINDOW] + offsetof(struct virtio_pci_cfg_cap, pci_cfg_data);
    const struct {
        uint8_t bar;
        uint32_t offset, length;
        uint16_t at;
        uint8_t size;
    } bad[] = {
        {1, 0x2000, 4, 0, 4},          {5, 0x2000, 4, 0, 4},          {0xff, 0x2000, 4, 0, 4},
        {0, BAR_LEN, 4, 0, 4},         {0, UINT32_MAX - 3, 4, 0, 4},  {0, BAR_LEN - 2, 4, 0, 4},
        {0, 0x2001, 4, 0, 4},          {0, 0x2001, 2, 0, 2},          {0, 0x2000, 0, 0, 4},
        {0, 0x2000, 3, 0, 4},          {0, 0x2000, 8, 0, 4},          {0, 0x2000, 4, 0, 2},
        {0, 0x2000, 2, 0, 4},          {0, 0x2000, 1, 1, 1},          {0, 0x2000, 2, 2, 2},
        {0, 0x2000, UINT32_MAX, 0, 4}, {0, 0x2000, 0x80000004, 0, 4},
    };

    for (size_t i = 0; i < array_count(bad); i++) {
        window_aim(&f, bad[i].bar, bad[i].offset, bad[i].length);
        fake_driver_config_write(f.driver, data + bad[i].at, bad[i].size, 0);
        cr_assert_eq(fake_driver_config_read(f.driver, data + bad[i].at, bad[i].size), 0,
                     "case %zu", i);
    }
    cr_assert_eq(fake_driver_read(f.driver, DEVICE, 0, 8), 0x0007060504030201);
    fixture_destroy(&f);
}

Test(virtio_pci, hostile_12_a_reset_through_the_window_reads_0_only_when_drained)
{
    struct fixture f = fixture_create();
    struct fake_buffer buffers[] = {fake_buffer(f.machine, 4), fake_buffer(f.machine, 4)};

    fake_driver_start(f.driver, 0, 0);
    f.echo->held = f.echo->ignores_cancel = true;
    fake_queue_add(f.queue, buffers, 1, 1);
    fake_queue_kick(f.queue);
    settle(&f);
    window_write(&f, VIRTIO_PCI_COMMON_STATUS, 1, 0);
    settle(&f);
    cr_assert_neq(window_read(&f, VIRTIO_PCI_COMMON_STATUS, 1), 0);
    echo_release(f.echo);
    settle(&f);
    cr_assert_eq(window_read(&f, VIRTIO_PCI_COMMON_STATUS, 1), 0);
    fixture_destroy(&f);
}

/* ---- everything at once ---- */

/* xorshift64* */
static uint32_t random_next(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return (*state * 0x2545f4914f6cdd1dULL) >> 32;
}

/* A value near something that matters to a register. */
static uint64_t random_value(uint64_t *random)
{
    const uint64_t values[] = {0, 1, 3, 7, 0xb, 0xf, 0x80, 0x10000, 0x20000, UINT64_MAX};
    uint32_t at = random_next(random) % 14;

    return at < array_count(values) ? values[at] : random_next(random);
}

static uint64_t random_addr(struct fixture *f, uint64_t *random)
{
    const uint8_t structures[] = {COMMON, COMMON, COMMON, ISR, DEVICE, NOTIFY};

    switch (random_next(random) % 4) {
    case 0:
        return FAKE_ECAM_BASE + ((uint64_t)f->driver->slot << 15) + random_next(random) % 256;
    case 1:
        return f->driver->bar + random_next(random) % BAR_LEN;
    default:
        return f->driver->bar + f->driver->offset[structures[random_next(random) % 6]] +
               random_next(random) % 60;
    }
}

Test(virtio_pci, hostile_2_5_random_accesses_in_any_state_leave_a_device_that_resets)
{
    struct fixture f = fixture_create();

    for (uint64_t seed = 1; seed <= 60; seed++) {
        uint64_t random = seed * 0x9e3779b97f4a7c15ULL;

        if (seed % 2)
            fake_driver_start(f.driver, UINT64_MAX, 0);
        for (int i = 0; i < 3000; i++) {
            uint64_t addr = random_addr(&f, &random);
            uint8_t size = 1U << random_next(&random) % 4;

            if (random_next(&random) % 3)
                fake_mmio_write(f.machine, addr, size, random_value(&random));
            else
                fake_mmio_read(f.machine, addr, size);
            if (i % 100 == 0)
                fake_machine_run(f.machine, 2);
        }
        fake_driver_shutdown(f.driver);
        /* As after power-on: the command register is off, the BAR is where it was. */
        fake_driver_config_write(f.driver, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
        cr_assert_eq(f.driver->bar, fake_driver_config_read(f.driver, PCI_BASE_ADDRESS_0, 4));
        fake_driver_start(f.driver, 0, 0);
        assert_echo_works(&f);
        fake_driver_reset(f.driver);
        fake_driver_config_write(f.driver, f.driver->msix_cap + PCI_MSIX_FLAGS, 2, 0);
        f.machine->alloc_next = 0x100000;
    }
    fixture_destroy(&f);
}

Test(virtio_pci, hostile_13_a_reboot_returns_the_function_to_its_first_state)
{
    struct fixture f = fixture_create();
    enum { MSIX_TABLE = 0x4000 };
    uint8_t before[256], after[256];

    fake_driver_config_write(f.driver, PCI_COMMAND, 2, 0);
    for (uint16_t at = 0; at < 256; at++)
        before[at] = fake_driver_config_read(f.driver, at, 1);
    fake_driver_config_write(f.driver, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    fake_driver_start(f.driver, UINT64_MAX, 0);
    assert_echo_works(&f);
    window_aim(&f, 3, 4, 5);
    fake_driver_config_write(f.driver, PCI_BASE_ADDRESS_0, 4, (uint32_t)f.driver->bar + 0x8000);
    fake_driver_shutdown(f.driver);
    for (uint16_t at = 0; at < 256; at++) {
        after[at] = fake_driver_config_read(f.driver, at, 1);
        cr_assert_eq(after[at], before[at], "config byte 0x%x", at);
    }
    fake_driver_config_write(f.driver, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    for (uint32_t at = 0; at < 16 * (1 + ECHO_QUEUE_COUNT); at += 4)
        cr_assert_eq(fake_mmio_read(f.machine, f.driver->bar + MSIX_TABLE + at, 4), at % 16 == 12,
                     "MSI-X table, byte 0x%x: masked and empty", at);
    f.driver->no_msix = true;
    fake_driver_start(f.driver, 0, 0);
    assert_echo_works(&f);
    settle(&f);
    cr_assert(intx(&f), "MSI-X is off again");
    fixture_destroy(&f);
}
