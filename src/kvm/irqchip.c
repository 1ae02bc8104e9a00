#include "kvm/irqchip.h"

#include <errno.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/check.h"

struct msi_vector {
    bool used;
    bool routed;
    int eventfd; /* -1: none */
    struct msi_message message;
};

static uint32_t vector_gsi(uint32_t vector)
{
    return VM_PIN_COUNT + vector;
}

static struct msi_vector *vector_of(struct irqchip *irqchip, uint32_t vector)
{
    CHECK(vector < MSI_VECTOR_COUNT_MAX);
    CHECK(irqchip->vectors[vector].used);
    return &irqchip->vectors[vector];
}

static int level_set(const struct irqchip *irqchip, uint32_t gsi, bool level)
{
    struct kvm_irq_level irq = {.irq = irqchip_arch_line(gsi), .level = level};

    return ioctl(irqchip->vm_fd, KVM_IRQ_LINE, &irq);
}

static void line_set(void *chip, uint32_t gsi, bool level)
{
    struct irqchip *irqchip = chip;

    CHECK(gsi < VM_PIN_COUNT);
    if (irqchip->levels[gsi] == level)
        return;
    irqchip->levels[gsi] = level;
    CHECK_CMP(level_set(irqchip, gsi, level), ==, 0);
}

const struct irq_line_ops irqchip_line_ops = {.set = line_set};

static int msi_alloc(void *chip, uint32_t *vector)
{
    struct irqchip *irqchip = chip;

    for (uint32_t i = 0; i < MSI_VECTOR_COUNT_MAX; i++) {
        if (irqchip->vectors[i].used)
            continue;
        irqchip->vectors[i] = (struct msi_vector){.used = true, .eventfd = -1};
        *vector = i;
        return 0;
    }
    return -ENOSPC;
}

static struct kvm_irq_routing_entry vector_route(uint32_t vector, const struct msi_message *message)
{
    uint32_t edge_gsi;

    if (irqchip_arch_msi_is_edge(message, &edge_gsi))
        return (struct kvm_irq_routing_entry){
            .gsi = vector_gsi(vector),
            .type = KVM_IRQ_ROUTING_IRQCHIP,
            .u.irqchip = {.pin = edge_gsi},
        };
    return (struct kvm_irq_routing_entry){
        .gsi = vector_gsi(vector),
        .type = KVM_IRQ_ROUTING_MSI,
        .flags = VM_MSI_FLAGS,
        .u.msi = {.address_lo = (uint32_t)message->address,
                  .address_hi = (uint32_t)(message->address >> 32),
                  .data = message->data,
                  .devid = message->device_id},
    };
}

/* The kernel takes the whole table at once: the pins, and the messages that have an irqfd. */
static int routes_update(struct irqchip *irqchip)
{
    struct kvm_irq_routing *routes = irqchip->routes;
    size_t count = irqchip_arch_pin_routes(routes->entries);

    for (uint32_t i = 0; i < MSI_VECTOR_COUNT_MAX; i++) {
        const struct msi_vector *vector = &irqchip->vectors[i];

        if (!vector->used || !vector->routed || vector->eventfd < 0)
            continue;
        routes->entries[count++] = vector_route(i, &vector->message);
    }
    routes->nr = (uint32_t)count;
    return ioctl(irqchip->vm_fd, KVM_SET_GSI_ROUTING, routes) ? -errno : 0;
}

static int irqfd_set(struct irqchip *irqchip, uint32_t vector, int fd, uint32_t flags)
{
    struct kvm_irqfd irqfd = {.fd = (uint32_t)fd, .gsi = vector_gsi(vector), .flags = flags};

    return ioctl(irqchip->vm_fd, KVM_IRQFD, &irqfd) ? -errno : 0;
}

static void msi_free(void *chip, uint32_t index)
{
    struct irqchip *irqchip = chip;
    struct msi_vector *vector = vector_of(irqchip, index);

    if (vector->eventfd >= 0) {
        CHECK_CMP(irqfd_set(irqchip, index, vector->eventfd, KVM_IRQFD_FLAG_DEASSIGN), ==, 0);
        close(vector->eventfd);
    }
    vector->used = false;
}

static int msi_route(void *chip, uint32_t index, const struct msi_message *message)
{
    struct irqchip *irqchip = chip;
    struct msi_vector *vector = vector_of(irqchip, index);

    if (!irqchip_arch_msi_is_valid(message))
        return -EINVAL;
    if (vector->routed && vector->message.address == message->address &&
        vector->message.data == message->data && vector->message.device_id == message->device_id)
        return 0;
    vector->message = *message;
    vector->routed = true;
    return vector->eventfd < 0 ? 0 : routes_update(irqchip);
}

static void msi_signal(void *chip, uint32_t index)
{
    struct irqchip *irqchip = chip;
    const struct msi_vector *vector = vector_of(irqchip, index);
    struct kvm_msi msi = {
        .address_lo = (uint32_t)vector->message.address,
        .address_hi = (uint32_t)(vector->message.address >> 32),
        .data = vector->message.data,
        .flags = VM_MSI_FLAGS,
        .devid = vector->message.device_id,
    };

    uint32_t edge_gsi;

    if (!vector->routed)
        return;
    /* Both fail when nobody takes the message, which is the guest's doing. */
    if (!irqchip_arch_msi_is_edge(&vector->message, &edge_gsi))
        (void)ioctl(irqchip->vm_fd, KVM_SIGNAL_MSI, &msi);
    else if (!level_set(irqchip, edge_gsi, true))
        (void)level_set(irqchip, edge_gsi, false);
}

static int msi_eventfd(void *chip, uint32_t index)
{
    struct irqchip *irqchip = chip;
    struct msi_vector *vector = vector_of(irqchip, index);
    int fd, ret;

    if (vector->eventfd >= 0)
        return vector->eventfd;
    if (!irqchip->routes) {
        size_t entries = VM_PIN_ROUTE_COUNT_MAX + MSI_VECTOR_COUNT_MAX;

        irqchip->routes =
            calloc(1, sizeof(*irqchip->routes) + entries * sizeof(irqchip->routes->entries[0]));
        if (!irqchip->routes)
            return -ENOMEM;
    }
    fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fd < 0)
        return -errno;
    ret = irqfd_set(irqchip, index, fd, 0);
    if (ret)
        goto fail_irqfd;
    vector->eventfd = fd;
    ret = routes_update(irqchip);
    if (ret)
        goto fail_routes;
    return fd;
fail_routes:
    vector->eventfd = -1;
    CHECK_CMP(irqfd_set(irqchip, index, fd, KVM_IRQFD_FLAG_DEASSIGN), ==, 0);
fail_irqfd:
    close(fd);
    return ret;
}

const struct msi_chip_ops irqchip_msi_ops = {
    .alloc = msi_alloc,
    .free = msi_free,
    .route = msi_route,
    .signal = msi_signal,
    .eventfd = msi_eventfd,
};

int irqchip_init(struct irqchip *irqchip, int vm_fd, struct err *err)
{
    *irqchip = (struct irqchip){.vm_fd = vm_fd};
    irqchip->vectors = calloc(MSI_VECTOR_COUNT_MAX, sizeof(*irqchip->vectors));
    return irqchip->vectors ? 0 : err_set(err, -ENOMEM, "interrupt chip: out of memory");
}

void irqchip_destroy(struct irqchip *irqchip)
{
    for (uint32_t i = 0; i < MSI_VECTOR_COUNT_MAX; i++) {
        if (irqchip->vectors[i].used && irqchip->vectors[i].eventfd >= 0)
            close(irqchip->vectors[i].eventfd);
    }
    free(irqchip->vectors);
    free(irqchip->routes);
}

void irqchip_reset(struct irqchip *irqchip)
{
    for (uint32_t gsi = 0; gsi < VM_PIN_COUNT; gsi++)
        line_set(irqchip, gsi, false);
}
