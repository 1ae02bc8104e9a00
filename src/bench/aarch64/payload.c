/* There is no bench guest for aarch64 yet. */
#include <errno.h>

#include "bench/payload.h"

int payload_open(int *fd, struct err *err)
{
    *fd = -1;
    return err_set(err, -EOPNOTSUPP,
                   "bench guest: there is none for aarch64 yet; measure with a Linux guest");
}
