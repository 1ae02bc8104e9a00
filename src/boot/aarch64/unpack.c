#include "boot/aarch64/unpack.h"

#include <errno.h>
#include <limits.h>

#include "base/arith.h"

int unpack_open(struct unpack *unpack, const struct boot_file *file, uint64_t offset, uint64_t size,
                struct err *err)
{
    enum { GZIP_HEADER = 16 };

    unpack->file = file;
    unpack->offset = offset;
    unpack->end = offset + size;
    unpack->at_end = false;
    unpack->stream = (z_stream){0};
    if (inflateInit2(&unpack->stream, GZIP_HEADER + MAX_WBITS) != Z_OK)
        return err_set(err, -ENOMEM, "%s %s: out of memory", file->kind, file->path);
    return 0;
}

void unpack_close(struct unpack *unpack)
{
    inflateEnd(&unpack->stream);
}

static int buffer_fill(struct unpack *unpack, struct err *err)
{
    const struct boot_file *file = unpack->file;
    size_t size = u64_min(unpack->end - unpack->offset, sizeof(unpack->buffer));
    int ret;

    if (!size)
        return err_set(err, -ENODATA, "%s %s: its compressed part is cut short; copy it again",
                       file->kind, file->path);
    ret = boot_file_read(file, unpack->offset, unpack->buffer, size, err);
    if (ret)
        return ret;
    unpack->offset += size;
    unpack->stream.next_in = unpack->buffer;
    unpack->stream.avail_in = (uInt)size;
    return 0;
}

int unpack_read(struct unpack *unpack, void *buffer, size_t len, size_t *done, struct err *err)
{
    const struct boot_file *file = unpack->file;
    z_stream *stream = &unpack->stream;
    uint8_t *bytes = buffer;

    *done = 0;
    while (*done < len && !unpack->at_end) {
        uInt room = (uInt)u64_min(len - *done, UINT_MAX);
        int ret = stream->avail_in ? 0 : buffer_fill(unpack, err);

        if (ret)
            return ret;
        stream->next_out = bytes + *done;
        stream->avail_out = room;
        ret = inflate(stream, Z_NO_FLUSH);
        if (ret != Z_OK && ret != Z_STREAM_END)
            return err_set(err, -ENOEXEC, "%s %s: its compressed part is damaged; copy it again",
                           file->kind, file->path);
        *done += room - stream->avail_out;
        unpack->at_end = ret == Z_STREAM_END;
    }
    return 0;
}
