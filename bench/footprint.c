#include "footprint.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static FILE *proc_open(pid_t pid, const char *file, struct err *err)
{
    char path[320];
    FILE *in;

    snprintf(path, sizeof(path), "/proc/%d/%s", pid, file);
    in = fopen(path, "r");
    if (!in)
        err_set(err, -errno, "%s: %s", path, strerror(errno));
    return in;
}

/* The number behind the words that the line begins with. */
static bool number_of(const char *line, const char *words, uint64_t *number)
{
    size_t len = strlen(words);

    if (strncmp(line, words, len))
        return false;
    *number = strtoull(line + len, NULL, 10);
    return true;
}

static int thread_read(pid_t pid, const char *tid, struct footprint *footprint, struct err *err)
{
    char name[288], line[256];
    uint64_t number;
    FILE *in;

    snprintf(name, sizeof(name), "task/%s/schedstat", tid);
    in = proc_open(pid, name, err);
    if (!in)
        return -ENOENT;
    if (fgets(line, sizeof(line), in) && number_of(line, "", &number))
        footprint->cpu_ns += number;
    fclose(in);

    snprintf(name, sizeof(name), "task/%s/status", tid);
    in = proc_open(pid, name, err);
    if (!in)
        return -ENOENT;
    while (fgets(line, sizeof(line), in))
        if (number_of(line, "voluntary_ctxt_switches:", &number))
            footprint->wakes += number;
    fclose(in);
    return 0;
}

int footprint_read(pid_t pid, struct footprint *footprint, struct err *err)
{
    char path[32];
    struct dirent *entry;
    DIR *threads;
    int ret = 0;

    *footprint = (struct footprint){0};
    snprintf(path, sizeof(path), "/proc/%d/task", pid);
    threads = opendir(path);
    if (!threads)
        return err_set(err, -errno, "%s: %s", path, strerror(errno));
    while (!ret && (entry = readdir(threads)))
        if (entry->d_name[0] != '.')
            ret = thread_read(pid, entry->d_name, footprint, err);
    closedir(threads);
    return ret;
}

int footprint_pss(pid_t pid, uint64_t ram_size, uint64_t *pss, struct err *err)
{
    bool is_ram = false, has_ram = false;
    char line[4352];
    FILE *in = proc_open(pid, "smaps", err);

    if (!in)
        return -ENOENT;
    *pss = 0;
    while (fgets(line, sizeof(line), in)) {
        char *dash;
        uint64_t start = strtoull(line, &dash, 16), kib;

        if (*dash == '-') {
            is_ram = !has_ram && strtoull(dash + 1, NULL, 16) - start == ram_size;
            has_ram |= is_ram;
        } else if (number_of(line, "Pss:", &kib) && !is_ram) {
            *pss += kib * 1024;
        }
    }
    fclose(in);
    return has_ram ? 0
                   : err_set(err, -ENOENT, "/proc/%d/smaps: no mapping of %" PRIu64 " bytes", pid,
                             ram_size);
}
