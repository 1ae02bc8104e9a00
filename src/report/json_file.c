#include "report/json_file.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static int dump(const json_t *root, FILE *out)
{
    /* Nine digits: more than any measurement has, few enough that 0.1 stays 0.1. */
    errno = EIO;
    if (json_dumpf(root, out, JSON_INDENT(2) | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(9)))
        return -errno;
    return fputc('\n', out) == EOF || fflush(out) ? -errno : 0;
}

int json_file_write(json_t *root, const char *path, struct err *err)
{
    bool is_stdout = !strcmp(path, "-");
    FILE *out;
    int ret;

    if (!root)
        return err_set(err, -ENOMEM, "%s: not enough memory for the JSON document", path);
    out = is_stdout ? stdout : fopen(path, "we");
    ret = out ? dump(root, out) : -errno;
    json_decref(root);
    if (out && !is_stdout && fclose(out) && !ret)
        ret = -errno;
    if (ret)
        return err_set(err, ret, "%s: cannot write: %s", path, strerror(-ret));
    return 0;
}
