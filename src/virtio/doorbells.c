#include "virtio/doorbells.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

int virtio_doorbells_open(struct virtio_doorbells *doorbells, const struct virtio_device *device,
                          struct doorbell_chip chip, struct err *err)
{
    *doorbells = (struct virtio_doorbells){.chip = chip};
    for (uint16_t i = 0; i < device->queue_count; i++) {
        int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

        if (fd < 0) {
            int ret = err_set(err, -errno, "%s: no eventfd for queue %u: %s; raise ulimit -n",
                              device->name, i, strerror(errno));

            virtio_doorbells_close(doorbells);
            return ret;
        }
        doorbells->fds[i] = fd;
        doorbells->count++;
    }
    return 0;
}

void virtio_doorbells_close(struct virtio_doorbells *doorbells)
{
    for (uint16_t i = 0; i < doorbells->count; i++) {
        virtio_doorbells_set(doorbells, VIRTIO_DOORBELL_MEMORY, i, NULL);
        virtio_doorbells_set(doorbells, VIRTIO_DOORBELL_PORT, i, NULL);
        close(doorbells->fds[i]);
    }
    doorbells->count = 0;
}

void virtio_doorbells_set(struct virtio_doorbells *doorbells, enum virtio_doorbell_kind kind,
                          uint16_t index, const struct doorbell *where)
{
    const struct doorbell_chip *chip = &doorbells->chip;
    struct doorbell *doorbell = &doorbells->doorbells[kind][index];
    bool *is_added = &doorbells->is_added[kind][index];

    if (*is_added)
        chip->ops->remove(chip->chip, doorbell);
    *is_added = false;
    if (!where || !chip->ops)
        return;
    *doorbell = *where;
    doorbell->is_port = kind == VIRTIO_DOORBELL_PORT;
    doorbell->eventfd = doorbells->fds[index];
    *is_added = chip->ops->add(chip->chip, doorbell) == 0;
}
