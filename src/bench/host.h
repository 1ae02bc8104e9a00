/* The machine that all of this runs on, for headings. */
#pragma once

struct host {
    char kernel[128]; /* "Linux 6.12.9" */
    long cpus;
};

struct host host_get(void);
