#include "bench/host.h"

#include <stdio.h>
#include <sys/utsname.h>
#include <unistd.h>

struct host host_get(void)
{
    struct host host = {.cpus = sysconf(_SC_NPROCESSORS_ONLN)};
    struct utsname name;

    if (!uname(&name))
        snprintf(host.kernel, sizeof(host.kernel), "%.32s %.64s", name.sysname, name.release);
    return host;
}
