#include "boot/aarch64/unpack.h"

#include <errno.h>
#include <limits.h>
#include <lz4.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include "base/arith.h"

enum {
    BUFFER_SIZE = 0x10000,
    /* lz4's legacy frame: a magic number, then blocks of so many bytes, each behind its packed size
     * in 32 bits. The end of the file is theirs. */
    LZ4_WORD_SIZE = 4,
    LZ4_BLOCK_SIZE = 8 << 20,
    LZ4_PACKED_SIZE_MAX = LZ4_COMPRESSBOUND(LZ4_BLOCK_SIZE),
};

/* `step` writes up to `room` bytes to `out`, perhaps none yet, and sets *got and unpack->at_end. */
struct codec {
    size_t buffer_size;
    bool (*open)(struct unpack *unpack);
    int (*step)(struct unpack *unpack, uint8_t *out, size_t room, size_t *got, struct err *err);
    void (*close)(struct unpack *unpack);
};

struct unpack {
    const struct boot_file *file;
    const struct codec *codec;
    uint64_t offset, end; /* what is left of the compressed bytes */
    bool at_end;
    z_stream gzip;
    ZSTD_DStream *zstd;
    uint8_t *lz4_block;   /* what the buffer holds, unpacked */
    size_t taken, filled; /* of the buffer, with lz4 of the block */
    uint8_t buffer[];
};

static int damaged(const struct unpack *unpack, struct err *err)
{
    return err_set(err, -ENOEXEC, "%s %s: its compressed part is damaged; copy it again",
                   unpack->file->kind, unpack->file->path);
}

static int bytes_read(struct unpack *unpack, void *bytes, size_t size, struct err *err)
{
    const struct boot_file *file = unpack->file;
    int ret;

    if (!size || size > unpack->end - unpack->offset)
        return err_set(err, -ENODATA, "%s %s: its compressed part is cut short; copy it again",
                       file->kind, file->path);
    ret = boot_file_read(file, unpack->offset, bytes, size, err);
    if (!ret)
        unpack->offset += size;
    return ret;
}

/* When it is empty, and bytes were asked for in vain: some may have come from earlier ones. */
static int buffer_fill(struct unpack *unpack, size_t got, struct err *err)
{
    size_t size = u64_min(unpack->end - unpack->offset, BUFFER_SIZE);
    int ret;

    if (got || unpack->at_end || unpack->taken < unpack->filled)
        return 0;
    ret = bytes_read(unpack, unpack->buffer, size, err);
    if (ret)
        return ret;
    unpack->taken = 0;
    unpack->filled = size;
    return 0;
}

static bool gzip_open(struct unpack *unpack)
{
    enum { GZIP_HEADER = 16 };

    return inflateInit2(&unpack->gzip, GZIP_HEADER + MAX_WBITS) == Z_OK;
}

static int gzip_step(struct unpack *unpack, uint8_t *out, size_t room, size_t *got, struct err *err)
{
    z_stream *stream = &unpack->gzip;
    int ret;

    stream->next_in = unpack->buffer + unpack->taken;
    stream->avail_in = (uInt)(unpack->filled - unpack->taken);
    stream->next_out = out;
    stream->avail_out = (uInt)u64_min(room, UINT_MAX);
    ret = inflate(stream, Z_NO_FLUSH);
    unpack->taken = unpack->filled - stream->avail_in;
    unpack->at_end = ret == Z_STREAM_END;
    *got = (size_t)(stream->next_out - out);
    /* Z_BUF_ERROR: it wants more. */
    if (ret != Z_OK && ret != Z_STREAM_END && ret != Z_BUF_ERROR)
        return damaged(unpack, err);
    return buffer_fill(unpack, *got, err);
}

static void gzip_close(struct unpack *unpack)
{
    inflateEnd(&unpack->gzip);
}

static bool zstd_open(struct unpack *unpack)
{
    unpack->zstd = ZSTD_createDStream();
    return unpack->zstd != NULL;
}

static int zstd_step(struct unpack *unpack, uint8_t *out, size_t room, size_t *got, struct err *err)
{
    ZSTD_inBuffer in = {unpack->buffer, unpack->filled, unpack->taken};
    ZSTD_outBuffer bytes = {out, room, 0};
    size_t ret = ZSTD_decompressStream(unpack->zstd, &bytes, &in);

    unpack->taken = in.pos;
    unpack->at_end = ret == 0;
    *got = bytes.pos;
    return ZSTD_isError(ret) ? damaged(unpack, err) : buffer_fill(unpack, *got, err);
}

static void zstd_close(struct unpack *unpack)
{
    ZSTD_freeDStream(unpack->zstd);
}

static bool lz4_open(struct unpack *unpack)
{
    unpack->offset += LZ4_WORD_SIZE;
    unpack->lz4_block = malloc(LZ4_BLOCK_SIZE);
    return unpack->lz4_block != NULL;
}

static int lz4_block_fill(struct unpack *unpack, struct err *err)
{
    uint32_t size;
    int ret;

    /* The kernel's own tools put the size of the whole behind it. */
    if (unpack->end - unpack->offset <= LZ4_WORD_SIZE) {
        unpack->at_end = true;
        return 0;
    }
    ret = bytes_read(unpack, &size, LZ4_WORD_SIZE, err);
    if (ret)
        return ret;
    if (size > LZ4_PACKED_SIZE_MAX)
        return damaged(unpack, err);
    ret = bytes_read(unpack, unpack->buffer, size, err);
    if (ret)
        return ret;
    ret = LZ4_decompress_safe((const char *)unpack->buffer, (char *)unpack->lz4_block, (int)size,
                              LZ4_BLOCK_SIZE);
    if (ret <= 0)
        return damaged(unpack, err);
    unpack->taken = 0;
    unpack->filled = (size_t)ret;
    return 0;
}

static int lz4_step(struct unpack *unpack, uint8_t *out, size_t room, size_t *got, struct err *err)
{
    *got = u64_min(room, unpack->filled - unpack->taken);
    memcpy(out, unpack->lz4_block + unpack->taken, *got);
    unpack->taken += *got;
    return *got ? 0 : lz4_block_fill(unpack, err);
}

static void lz4_close(struct unpack *unpack)
{
    free(unpack->lz4_block);
}

static const struct codec codecs[] = {
    [UNPACK_GZIP] = {BUFFER_SIZE, gzip_open, gzip_step, gzip_close},
    [UNPACK_ZSTD] = {BUFFER_SIZE, zstd_open, zstd_step, zstd_close},
    [UNPACK_LZ4] = {LZ4_PACKED_SIZE_MAX, lz4_open, lz4_step, lz4_close},
};

int unpack_open(struct unpack **out, enum unpack_format format, const struct boot_file *file,
                uint64_t offset, uint64_t size, struct err *err)
{
    const struct codec *codec = &codecs[format];
    struct unpack *unpack = malloc(sizeof(*unpack) + codec->buffer_size);

    if (!unpack)
        goto fail;
    *unpack = (struct unpack){.file = file, .codec = codec, .offset = offset, .end = offset + size};
    if (!codec->open(unpack))
        goto fail_codec;
    *out = unpack;
    return 0;
fail_codec:
    free(unpack);
fail:
    return err_set(err, -ENOMEM, "%s %s: out of memory", file->kind, file->path);
}

void unpack_close(struct unpack *unpack)
{
    unpack->codec->close(unpack);
    free(unpack);
}

int unpack_read(struct unpack *unpack, void *buffer, size_t len, size_t *done, struct err *err)
{
    uint8_t *bytes = buffer;

    *done = 0;
    while (*done < len && !unpack->at_end) {
        size_t got = 0;
        int ret = unpack->codec->step(unpack, bytes + *done, len - *done, &got, err);

        if (ret)
            return ret;
        *done += got;
    }
    return 0;
}
