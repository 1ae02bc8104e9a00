#include "bench/payload.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

__asm__(".pushsection .rodata\n"
        "payload_start:\n"
        ".incbin \"bench-guest\"\n"
        "payload_end:\n"
        ".popsection\n");
extern const uint8_t payload_start[], payload_end[];

int payload_open(int *fd, struct err *err)
{
    size_t size = (size_t)(payload_end - payload_start);

    *fd = memfd_create("bench-guest", 0);
    if (*fd < 0)
        return err_set(err, -errno, "bench guest: no memory file for it: %s", strerror(errno));
    for (size_t done = 0; done < size;) {
        ssize_t ret = write(*fd, payload_start + done, size - done);

        if (ret <= 0) {
            ret = ret ? -errno : -EIO;
            close(*fd);
            return err_set(err, (int)ret, "bench guest: cannot write its memory file: %s",
                           strerror((int)-ret));
        }
        done += (size_t)ret;
    }
    return 0;
}
