#include "vmm/cmdline.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static void put_console(FILE *out, const struct serial_option *serial)
{
    if (!serial->console)
        return;
    switch (serial->hardware) {
    case SERIAL_HW_16550:
        fprintf(out, "console=ttyS%d ", serial->num - 1);
        break;
    case SERIAL_HW_VIRTIO_CONSOLE:
        fputs("console=hvc0 ", out);
        break;
    case SERIAL_HW_DEBUGCON: /* has no driver in Linux that takes a console= */
    case SERIAL_HW_COUNT:
        break;
    }
}

static void put_root(FILE *out, const struct disk_option *disk, size_t index)
{
    if (disk->root)
        fprintf(out, "root=/dev/vd%c %s ", (char)('a' + index), disk->read_only ? "ro" : "rw");
}

int cmdline_create(char **out, const struct run_config *config, struct err *err)
{
    char *text = NULL;
    size_t len;
    FILE *stream = open_memstream(&text, &len);

    if (!stream)
        return err_set(err, -ENOMEM, "command line: out of memory");
    for (size_t i = 0; i < config->serial_count; i++)
        put_console(stream, &config->serials[i]);
    for (size_t i = 0; i < config->disk_count; i++)
        put_root(stream, &config->disks[i], i);
    for (size_t i = 0; i < config->param_count; i++)
        fprintf(stream, "%s ", config->params[i]);
    if (fclose(stream)) {
        free(text);
        return err_set(err, -ENOMEM, "command line: out of memory");
    }
    if (len)
        text[len - 1] = '\0';
    *out = text;
    return 0;
}
