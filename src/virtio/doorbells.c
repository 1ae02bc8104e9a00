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
        virtio_doorbells_set(doorbells, i, NULL);
        close(doorbells->fds[i]);
    }
    doorbells->count = 0;
}

void virtio_doorbells_set(struct virtio_doorbells *doorbells, uint16_t index,
                          const struct doorbell *where)
{
    const struct doorbell_chip *chip = &doorbells->chip;
    struct doorbell *doorbell = &doorbells->doorbells[index];

    if (doorbells->is_added[index])
        chip->ops->remove(chip->chip, doorbell);
    doorbells->is_added[index] = false;
    if (!where || !chip->ops)
        return;
    *doorbell = *where;
    doorbell->eventfd = doorbells->fds[index];
    doorbells->is_added[index] = chip->ops->add(chip->chip, doorbell) == 0;
}
