#include "report/run_delay.h"

#include <stdio.h>
#include <stdlib.h>

uint64_t run_delay_ns(void)
{
    char text[128] = "";
    char *end = text;
    FILE *in = fopen("/proc/thread-self/schedstat", "r");

    if (!in)
        return 0;
    if (!fgets(text, sizeof(text), in))
        text[0] = '\0';
    fclose(in);
    strtoull(text, &end, 10); /* time on a cpu */
    return strtoull(end, NULL, 10);
}
