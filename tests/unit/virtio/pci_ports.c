/* Notifications by ports, as a guest of a machine that has them sees it. */
#include <criterion/criterion.h>
#include <linux/pci_regs.h>
#include <string.h>

#include "base/arith.h"
#include "echo_device.h"
#include "fake_driver.h"

enum {
    DECODED = PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER,
    WINDOW = VIRTIO_PCI_CAP_PCI_CFG,
    SETTLE_TURNS = 20,
};

struct fixture {
    struct fake_machine *machine;
    struct echo_device *echo;
    struct fake_driver *driver;
    struct fake_queue *queue;
    uint64_t ports;
};

static struct fixture fixture_create(struct fake_machine *machine)
{
    struct fixture f = {.machine = machine};

    f.echo = echo_create(&f.machine->context);
    f.driver = fake_driver_attach(f.machine, &f.echo->device);
    f.queue = &f.driver->queues[ECHO_QUEUE];
    f.ports = fake_driver_config_read(f.driver, PCI_BASE_ADDRESS_1, 4) & ~0x3U;
    return f;
}

/* A device in use on a machine where each write to a port comes to the monitor. */
static struct fixture started_without_doorbells(void)
{
    struct fake_machine *machine = fake_machine_create_with_ports();
    struct fixture f;

    machine->doorbells_refused = true;
    f = fixture_create(machine);
    fake_driver_config_write(f.driver, PCI_COMMAND, 2, DECODED);
    fake_driver_start(f.driver, 0, 0);
    return f;
}

static void fixture_destroy(struct fixture *f)
{
    fake_driver_detach(f->driver);
    fake_machine_destroy(f->machine);
}

static size_t doorbells_at(const struct fixture *f, uint64_t ports)
{
    size_t count = 0;

    for (size_t i = 0; i < array_count(f->machine->doorbells); i++) {
        const struct doorbell *doorbell = &f->machine->doorbells[i];

        if (doorbell->eventfd < 0 || !doorbell->is_port)
            continue;
        for (uint16_t queue = 0; queue < ECHO_QUEUE_COUNT; queue++)
            count += doorbell->addr == ports + 4UL * queue &&
                     doorbell->eventfd == f->echo->device.queues[queue].doorbell_fd;
    }
    return count;
}

/* Everything but the notification. */
static void echo_publish(struct fixture *f)
{
    struct fake_buffer buffers[] = {fake_buffer(f->machine, 4), fake_buffer(f->machine, 4)};

    memcpy(buffers[0].host, "ring", 4);
    fake_queue_add(f->queue, buffers, 1, 1);
    fake_queue_publish(f->queue);
}

static void assert_echo_works(struct fixture *f)
{
    echo_publish(f);
    fake_machine_port_write(f->machine, f->ports + 4UL * ECHO_QUEUE, 2, ECHO_QUEUE);
    cr_assert_eq(fake_queue_wait(f->queue), 4);
}

Test(virtio_pci_ports, notifications_are_there_as_well)
{
    struct fixture f = fixture_create(fake_machine_create_with_ports());
    uint16_t cap = f.driver->port_cap;

    cr_assert(cap);
    cr_assert(f.driver->cap[VIRTIO_PCI_CAP_NOTIFY_CFG], "for who cannot use ports");
    cr_assert(fake_driver_config_read(f.driver, PCI_BASE_ADDRESS_1, 4) & 1);
    cr_assert_eq(fake_driver_config_read(f.driver, cap + 4U, 1), 1, "BAR");
    cr_assert_eq(fake_driver_config_read(f.driver, cap + 8U, 4), 0, "offset");
    cr_assert_eq(fake_driver_config_read(f.driver, cap + 12U, 4), 4 * ECHO_QUEUE_COUNT);
    cr_assert_eq(fake_driver_config_read(f.driver, cap + 16U, 4), 4, "multiplier");
    fixture_destroy(&f);
}

Test(virtio_pci_ports, a_machine_without_ports_has_none)
{
    struct fixture f = fixture_create(fake_machine_create());

    cr_assert_not(f.driver->port_cap);
    cr_assert_eq(fake_driver_config_read(f.driver, PCI_BASE_ADDRESS_1, 4), 0);
    fixture_destroy(&f);
}

Test(virtio_pci_ports, a_device_that_is_told_so_has_none)
{
    struct fake_machine *machine = fake_machine_create_with_ports();
    struct fixture f;

    machine->no_ports = true;
    f = fixture_create(machine);
    cr_assert_not(f.driver->port_cap);
    cr_assert_eq(fake_driver_config_read(f.driver, PCI_BASE_ADDRESS_1, 4), 0);
    fixture_destroy(&f);
}

Test(virtio_pci_ports, doorbells_follow_the_bar_and_the_command_register)
{
    struct fixture f = fixture_create(fake_machine_create_with_ports());
    uint64_t old = f.ports;

    cr_assert_eq(doorbells_at(&f, old), 0, "not decoded yet");
    fake_driver_config_write(f.driver, PCI_COMMAND, 2, DECODED);
    cr_assert_eq(doorbells_at(&f, old), ECHO_QUEUE_COUNT);
    fake_driver_start(f.driver, 0, 0);
    assert_echo_works(&f);
    f.ports = old + 0x800;
    fake_driver_config_write(f.driver, PCI_BASE_ADDRESS_1, 4, (uint32_t)f.ports);
    cr_assert_eq(doorbells_at(&f, old), 0);
    cr_assert_eq(doorbells_at(&f, f.ports), ECHO_QUEUE_COUNT);
    assert_echo_works(&f);
    fake_driver_config_write(f.driver, PCI_COMMAND, 2, DECODED & ~PCI_COMMAND_IO);
    cr_assert_eq(doorbells_at(&f, f.ports), 0);
    echo_publish(&f);
    fake_queue_notify(f.queue);
    cr_assert_eq(fake_queue_wait(f.queue), 4, "the other one goes on");
    fixture_destroy(&f);
}

Test(virtio_pci_ports, without_doorbells_the_write_itself_wakes_the_queue)
{
    struct fixture f = started_without_doorbells();

    for (int i = 0; i < 10; i++)
        assert_echo_works(&f);
    fixture_destroy(&f);
}

/* The port of a queue wakes that queue, whatever is written to it. */
Test(virtio_pci_ports, each_queue_has_a_port_of_its_own)
{
    struct fixture f = started_without_doorbells();

    fake_machine_run(f.machine, SETTLE_TURNS);
    for (uint16_t i = 0; i < ECHO_QUEUE_COUNT; i++) {
        uint32_t before[ECHO_QUEUE_COUNT];

        for (uint16_t j = 0; j < ECHO_QUEUE_COUNT; j++)
            before[j] = f.echo->device.queues[j].pump.poll_count;
        fake_machine_port_write(f.machine, f.ports + 4UL * i, 2, 0);
        fake_machine_run(f.machine, SETTLE_TURNS);
        for (uint16_t j = 0; j < ECHO_QUEUE_COUNT; j++)
            cr_assert_eq(f.echo->device.queues[j].pump.poll_count - before[j], i == j);
    }
    fixture_destroy(&f);
}

Test(virtio_pci_ports, a_reboot_leaves_no_doorbell_behind)
{
    struct fixture f = fixture_create(fake_machine_create_with_ports());
    uint64_t first = f.ports;

    fake_driver_config_write(f.driver, PCI_COMMAND, 2, DECODED);
    f.ports = first + 0x800;
    fake_driver_config_write(f.driver, PCI_BASE_ADDRESS_1, 4, (uint32_t)f.ports);
    fake_driver_start(f.driver, 0, 0);
    assert_echo_works(&f);
    fake_driver_shutdown(f.driver);
    cr_assert_eq(doorbells_at(&f, first) + doorbells_at(&f, f.ports), 0);
    f.ports = first;
    fake_driver_config_write(f.driver, PCI_COMMAND, 2, DECODED);
    cr_assert_eq(doorbells_at(&f, first), ECHO_QUEUE_COUNT);
    fake_driver_start(f.driver, 0, 0);
    assert_echo_works(&f);
    fixture_destroy(&f);
}

Test(virtio_pci_ports, hostile_5_ports_of_any_address_size_and_value_are_harmless)
{
    for (int refused = 0; refused < 2; refused++) {
        struct fake_machine *machine = fake_machine_create_with_ports();
        struct fixture f;

        machine->doorbells_refused = refused;
        f = fixture_create(machine);
        fake_driver_config_write(f.driver, PCI_COMMAND, 2, DECODED);
        for (int started = 0; started < 2; started++) {
            for (uint32_t at = 0; at < 4 * ECHO_QUEUE_COUNT; at++)
                for (uint8_t size = 1; size <= 4; size *= 2) {
                    fake_machine_port_write(machine, f.ports + at, size, at * 0x01010101U);
                    if (at + size <= 4 * ECHO_QUEUE_COUNT)
                        cr_assert_eq(fake_machine_port_read(machine, f.ports + at, size), 0);
                }
            fake_machine_run(machine, SETTLE_TURNS);
            if (!started)
                fake_driver_start(f.driver, 0, 0);
        }
        assert_echo_works(&f);
        fixture_destroy(&f);
    }
}

/* 4.1.4.9 */
Test(virtio_pci_ports, the_window_reaches_them)
{
    struct fixture f = fixture_create(fake_machine_create_with_ports());
    uint16_t cap = f.driver->cap[WINDOW];

    fake_driver_start(f.driver, 0, 0);
    echo_publish(&f);
    fake_driver_config_write(f.driver, cap + 4U, 1, 1);
    fake_driver_config_write(f.driver, cap + 8U, 4, 4 * ECHO_QUEUE);
    fake_driver_config_write(f.driver, cap + 12U, 4, 2);
    fake_driver_config_write(f.driver, cap + 16U, 2, ECHO_QUEUE);
    cr_assert_eq(fake_queue_wait(f.queue), 4);
    cr_assert_eq(fake_driver_config_read(f.driver, cap + 16U, 2), 0);
    fixture_destroy(&f);
}
