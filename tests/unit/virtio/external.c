/* Queues that somebody else serves: what the core and the transports leave to them and tell them.
 */
#include <criterion/criterion.h>
#include <linux/pci_regs.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <sys/eventfd.h>

#include "echo_device.h"
#include "fake_driver.h"

enum { VECTOR = ECHO_QUEUE + 1, OTHER_VECTOR = ECHO_PIPE_QUEUE + 1 };

struct rig {
    struct fake_machine *machine;
    struct echo_device *echo;
    struct fake_driver *driver;
    struct virtio_queue *queue;
};

static void rig_create(struct rig *rig, bool mmio)
{
    rig->machine = fake_machine_create();
    rig->echo = echo_create(&rig->machine->context);
    rig->echo->is_external = true;
    rig->queue = &rig->echo->device.queues[ECHO_QUEUE];
    rig->driver = mmio ? fake_driver_attach_mmio(rig->machine, &rig->echo->device)
                       : fake_driver_attach(rig->machine, &rig->echo->device);
}

static void rig_destroy(struct rig *rig)
{
    fake_driver_detach(rig->driver);
    fake_machine_destroy(rig->machine);
}

static uint64_t kicks_take(const struct rig *rig)
{
    eventfd_t count = 0;

    return eventfd_read(rig->queue->doorbell_fd, &count) ? 0 : count;
}

/* Puts a chain in the external queue, and one in the other; only the latter comes back. */
static void assert_left_alone(struct rig *rig)
{
    struct fake_queue *queue = &rig->driver->queues[ECHO_QUEUE];
    struct fake_buffer buffer = fake_buffer(rig->machine, 16);
    uint16_t head;
    uint32_t len;

    fake_queue_add(queue, &buffer, 0, 1);
    fake_queue_publish(queue);
    fake_queue_notify(queue);
    fake_machine_run(rig->machine, 20);
    cr_assert_not(fake_queue_take(queue, &head, &len));
    cr_assert_eq(kicks_take(rig), 1);
}

Test(virtio_external, kicks_ring_the_eventfd_and_no_pump_runs)
{
    struct rig rig;

    rig_create(&rig, false);
    fake_driver_start(rig.driver, 0, 0);
    assert_left_alone(&rig);
    rig_destroy(&rig);
}

Test(virtio_external, kicks_that_arrive_as_an_access_ring_it_too)
{
    struct rig rig = {.machine = fake_machine_create()};

    rig.machine->doorbells_refused = true;
    rig.echo = echo_create(&rig.machine->context);
    rig.echo->is_external = true;
    rig.queue = &rig.echo->device.queues[ECHO_QUEUE];
    rig.driver = fake_driver_attach(rig.machine, &rig.echo->device);
    fake_driver_start(rig.driver, 0, 0);
    assert_left_alone(&rig);
    /* Before DRIVER_OK there is nobody to hear them. */
    fake_driver_reset(rig.driver);
    fake_driver_write(rig.driver, VIRTIO_PCI_CAP_NOTIFY_CFG, 0, 2, 0);
    cr_assert_eq(kicks_take(&rig), 0);
    rig_destroy(&rig);
}

Test(virtio_external, queue_is_the_pumps_again_after_a_reset)
{
    struct fake_buffer buffer;
    struct rig rig;

    rig_create(&rig, false);
    fake_driver_start(rig.driver, 0, 0);
    fake_driver_reset(rig.driver);
    cr_assert_not(rig.queue->is_external);
    rig.echo->is_external = false;
    fake_driver_start(rig.driver, 0, 0);
    buffer = fake_buffer(rig.machine, 16);
    fake_queue_add(&rig.driver->queues[ECHO_QUEUE], &buffer, 0, 1);
    fake_queue_kick(&rig.driver->queues[ECHO_QUEUE]);
    fake_queue_wait(&rig.driver->queues[ECHO_QUEUE]);
    rig_destroy(&rig);
}

Test(virtio_external, eventfd_is_that_of_the_queues_vector_while_that_is_open)
{
    struct rig rig;

    rig_create(&rig, false);
    fake_driver_start(rig.driver, 0, 0);
    cr_assert_eq(eventfd_write(virtio_queue_eventfd(rig.queue), 3), 0);
    cr_assert_eq(fake_driver_eventfd_take(rig.driver, VECTOR), 3);
    fake_driver_mask(rig.driver, VECTOR, true);
    cr_assert_eq(virtio_queue_eventfd(rig.queue), -1);
    /* Then it is ours to say, and becomes pending. */
    virtio_queue_interrupt(rig.queue);
    cr_assert(fake_driver_is_pending(rig.driver, VECTOR));
    cr_assert_eq(fake_driver_messages(rig.driver, VECTOR), 0);
    fake_driver_mask(rig.driver, VECTOR, false);
    cr_assert_eq(fake_driver_messages(rig.driver, VECTOR), 1);
    /* Another vector, and none. */
    fake_driver_write(rig.driver, VIRTIO_PCI_CAP_COMMON_CFG, VIRTIO_PCI_COMMON_Q_SELECT, 2,
                      ECHO_QUEUE);
    fake_driver_write(rig.driver, VIRTIO_PCI_CAP_COMMON_CFG, VIRTIO_PCI_COMMON_Q_MSIX, 2,
                      OTHER_VECTOR);
    cr_assert_eq(eventfd_write(virtio_queue_eventfd(rig.queue), 1), 0);
    cr_assert_eq(fake_driver_eventfd_take(rig.driver, OTHER_VECTOR), 1);
    fake_driver_write(rig.driver, VIRTIO_PCI_CAP_COMMON_CFG, VIRTIO_PCI_COMMON_Q_MSIX, 2,
                      VIRTIO_NO_VECTOR);
    cr_assert_eq(virtio_queue_eventfd(rig.queue), -1);
    rig_destroy(&rig);
}

Test(virtio_external, there_is_no_eventfd_without_msix)
{
    struct rig rig;

    rig_create(&rig, false);
    rig.driver->no_msix = true;
    fake_driver_start(rig.driver, 0, 0);
    cr_assert_eq(virtio_queue_eventfd(rig.queue), -1);
    virtio_queue_interrupt(rig.queue);
    cr_assert_eq(fake_driver_read(rig.driver, VIRTIO_PCI_CAP_ISR_CFG, 0, 1), 1);
    rig_destroy(&rig);
    rig_create(&rig, true);
    fake_driver_start(rig.driver, 0, 0);
    cr_assert_eq(virtio_queue_eventfd(rig.queue), -1);
    virtio_queue_interrupt(rig.queue);
    cr_assert(rig.machine->mmio_level);
    rig_destroy(&rig);
}

/* Every access after which the answer may be another one; while the device runs. */
Test(virtio_external, changes_of_interrupts_are_told)
{
    unsigned *changes;
    unsigned before;
    struct rig rig;

    rig_create(&rig, false);
    changes = &rig.echo->interrupt_changes;
    fake_driver_start(rig.driver, 0, 0);
    cr_assert_eq(*changes, 0, "nobody runs yet");
    fake_driver_mask(rig.driver, VECTOR, true);
    cr_assert_eq(*changes, 1);
    fake_driver_write(rig.driver, VIRTIO_PCI_CAP_COMMON_CFG, VIRTIO_PCI_COMMON_Q_MSIX, 2, 1);
    cr_assert_eq(*changes, 2);
    before = *changes;
    fake_driver_config_write(rig.driver, rig.driver->msix_cap + PCI_MSIX_FLAGS, 2,
                             PCI_MSIX_FLAGS_MASKALL);
    cr_assert_gt(*changes, before);
    fake_driver_reset(rig.driver);
    before = *changes;
    fake_driver_mask(rig.driver, VECTOR, true);
    cr_assert_eq(*changes, before);
    rig_destroy(&rig);
}

Test(virtio_external, changes_of_bus_mastering_are_told)
{
    struct rig rig;

    rig_create(&rig, false);
    cr_assert(virtio_device_dma_is_on(&rig.echo->device));
    fake_driver_start(rig.driver, 0, 0);
    cr_assert_eq(rig.echo->dma_changes, 0);
    fake_driver_config_write(rig.driver, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
    cr_assert_eq(rig.echo->dma_changes, 1);
    cr_assert_not(virtio_device_dma_is_on(&rig.echo->device));
    fake_driver_config_write(rig.driver, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    cr_assert_eq(rig.echo->dma_changes, 2);
    rig_destroy(&rig);
}

Test(virtio_external, features_that_are_withheld_are_not_offered)
{
    const uint64_t withheld = 1ULL << VIRTIO_F_RING_PACKED | 1ULL << VIRTIO_RING_F_EVENT_IDX;
    struct rig rig;
    uint64_t offered;

    rig_create(&rig, false);
    offered = virtio_device_features(&rig.echo->device);
    cr_assert_eq(offered & withheld, withheld);
    rig.echo->device.withheld = withheld;
    cr_assert_eq(virtio_device_features(&rig.echo->device), offered & ~withheld);
    rig_destroy(&rig);
}
