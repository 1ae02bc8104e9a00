#include "virtio/blk_request.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/arith.h"
#include "base/check.h"

_Static_assert(sizeof(struct virtio_blk_outhdr) == 16, "virtio 1.2, 5.2.6");
_Static_assert(sizeof(struct virtio_blk_discard_write_zeroes) == 16, "virtio 1.2, 5.2.6");

struct blk_request {
    struct virtio_request base;
    struct op op;
    uint8_t *status_byte; /* in guest memory */
    uint8_t status;
    bool is_bounced;
    bool is_zeroing;   /* this range is being overwritten, since the host has nothing quicker */
    bool needs_sync;   /* an fdatasync comes before the status */
    uint32_t type;     /* VIRTIO_BLK_T_* */
    uint64_t offset;   /* on the disk, of what is left */
    uint32_t left;     /* bytes to transfer, or of this range */
    uint32_t room;     /* bytes of the writable part before the status */
    uint32_t returned; /* bytes put there, from its front */
    struct iovec *iov; /* what is left of the payload */
    uint32_t iov_count;
    struct list bounce_link;
};

enum { BOUNCE = 1, TRANSFER, FALLOCATE, ZERO, FSYNC };
static const char *const state_names[] = {
    [0] = "START",   [BOUNCE] = "BOUNCE", [TRANSFER] = "TRANSFER", [FALLOCATE] = "FALLOCATE",
    [ZERO] = "ZERO", [FSYNC] = "FSYNC",
};

static void request_parse(struct blk_request *req);
static bool bounce_take(struct blk_request *req);
static bool transfer_next(struct blk_request *req);
static void transfer_done(struct blk_request *req);
static bool range_next(struct blk_request *req);
static void range_done(struct blk_request *req);
static bool zero_next(struct blk_request *req);
static void zero_done(struct blk_request *req);
static bool sync_next(struct blk_request *req);
static void sync_done(struct blk_request *req);
static void request_finish(struct blk_request *req);

/* One request. The *_next functions start an operation, or say that there is nothing to do. */
static enum task_verdict request_poll(struct task *task)
{
    struct blk_request *const req = container_of(task, struct blk_request, base.task);

    ASYNC_BEGIN(task)
        request_parse(req);
        if (req->is_bounced)
            AWAIT(task, BOUNCE, bounce_take(req));
        while (transfer_next(req)) {
            AWAIT(task, TRANSFER, op_is_done(&req->op));
            transfer_done(req);
        }
        while (range_next(req)) {
            AWAIT(task, FALLOCATE, op_is_done(&req->op));
            range_done(req);
            while (zero_next(req)) {
                AWAIT(task, ZERO, op_is_done(&req->op));
                zero_done(req);
            }
        }
        if (sync_next(req)) {
            AWAIT(task, FSYNC, op_is_done(&req->op));
            sync_done(req);
        }
        request_finish(req);
        ASYNC_END(task);
}

static struct blk *request_blk(const struct blk_request *req)
{
    return blk_of(req->base.queue->device);
}

/* ---- failures ---- */

/* The driver asked for what it must not, or what this disk does not do. */
static void request_refuse(struct blk_request *req, uint8_t status, const char *why)
{
    struct blk *blk = request_blk(req);

    req->status = status;
    log_limited(&blk->guest_limit, LOG_WARN, "%s: request of type %u refused: %s", blk->device.name,
                req->type, why);
}

/* The host failed; `what` names the operation. */
static void request_fail(struct blk_request *req, const char *what, int code)
{
    struct blk *blk = request_blk(req);

    req->status = VIRTIO_BLK_S_IOERR;
    if (!virtio_request_is_cancelled(&req->base))
        log_limited(&blk->host_limit, LOG_ERROR, "%s: disk %s: %s at byte %llu: %s",
                    blk->device.name, blk->disk.path, what, (unsigned long long)req->offset,
                    code ? strerror(-code) : "the file ends here");
}

/* True while there may be more to do: no failure, and no reset by the driver. */
static bool request_goes_on(struct blk_request *req)
{
    if (req->status == VIRTIO_BLK_S_OK && virtio_request_is_cancelled(&req->base))
        req->status = VIRTIO_BLK_S_IOERR;
    return req->status == VIRTIO_BLK_S_OK;
}

/* ---- the request's header ---- */

/* Keeps the sector arithmetic in one place: nothing here can overflow. */
static bool request_locate(struct blk_request *req, uint64_t sector, uint64_t count)
{
    uint64_t capacity = request_blk(req)->sector_count;

    if (sector > capacity || count > capacity - sector) {
        request_refuse(req, VIRTIO_BLK_S_IOERR, "beyond the end of the disk");
        return false;
    }
    req->offset = sector * DISK_SECTOR_SIZE;
    req->left = (uint32_t)(count * DISK_SECTOR_SIZE);
    return true;
}

static bool request_may_write(struct blk_request *req)
{
    if (!request_blk(req)->disk.read_only)
        return true;
    request_refuse(req, VIRTIO_BLK_S_IOERR, "the disk is read-only");
    return false;
}

/* 5.2.6.2: whether a write has to be durable when it completes. */
static bool writes_through(const struct blk *blk)
{
    if (virtio_device_has(&blk->device, VIRTIO_BLK_F_CONFIG_WCE))
        return !blk->config.wce;
    return !virtio_device_has(&blk->device, VIRTIO_BLK_F_FLUSH);
}

static bool is_aligned(const struct disk *disk, const struct iovec *iov, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if ((uintptr_t)iov[i].iov_base % disk->memory_align || iov[i].iov_len % disk->block_size)
            return false;
    return true;
}

static void parse_transfer(struct blk_request *req, uint64_t sector)
{
    const struct virtq_chain *chain = &req->base.chain;
    const struct blk *blk = request_blk(req);
    bool is_write = req->type == VIRTIO_BLK_T_OUT;
    uint32_t len = is_write ? chain->readable_len : chain->writable_len;
    bool is_direct = blk->disk.memory_align > 1;

    if (is_write && !request_may_write(req))
        return;
    if (len % DISK_SECTOR_SIZE) {
        request_refuse(req, VIRTIO_BLK_S_IOERR, "not a number of whole sectors");
        return;
    }
    if (!request_locate(req, sector, len / DISK_SECTOR_SIZE))
        return;
    if (is_direct && (req->offset | len) % blk->disk.block_size) {
        request_refuse(req, VIRTIO_BLK_S_IOERR, "not a number of whole blocks");
        return;
    }
    req->iov = is_write ? chain->readable : chain->writable;
    req->iov_count = is_write ? chain->readable_count : chain->writable_count;
    req->is_bounced = is_direct && !is_aligned(&blk->disk, req->iov, req->iov_count);
    req->needs_sync = is_write && writes_through(blk);
}

/* The ranges themselves are taken from the chain one after the other: see range_next. */
static void parse_ranges(struct blk_request *req)
{
    const struct virtq_chain *chain = &req->base.chain;
    const struct blk *blk = request_blk(req);
    const uint32_t size = sizeof(struct virtio_blk_discard_write_zeroes);
    unsigned feature =
        req->type == VIRTIO_BLK_T_DISCARD ? VIRTIO_BLK_F_DISCARD : VIRTIO_BLK_F_WRITE_ZEROES;

    if (!request_may_write(req))
        return;
    if (!virtio_device_has(&blk->device, feature))
        request_refuse(req, VIRTIO_BLK_S_UNSUPP, "was not negotiated");
    else if (!chain->readable_len || chain->readable_len % size)
        request_refuse(req, VIRTIO_BLK_S_IOERR, "not a number of whole ranges");
    else if (chain->readable_len / size > BLK_RANGE_COUNT_MAX)
        request_refuse(req, VIRTIO_BLK_S_IOERR, "too many ranges");
    req->needs_sync = writes_through(blk);
}

static void request_parse(struct blk_request *req)
{
    struct virtq_chain *chain = &req->base.chain;
    struct blk *blk = request_blk(req);
    struct virtio_blk_outhdr header;

    /* Not all at once: what is set later would be half of it, and the start of a string store costs
     * more than the rest. */
    req->status = VIRTIO_BLK_S_OK;
    req->is_bounced = req->is_zeroing = req->needs_sync = false;
    req->type = req->left = req->returned = 0;
    req->offset = 0;
    req->iov = NULL;
    list_init(&req->bounce_link);
    req->status_byte = virtq_chain_take_last(chain);
    req->room = chain->writable_len;
    if (!virtq_chain_pull(chain, &header, sizeof(header))) {
        request_refuse(req, VIRTIO_BLK_S_IOERR, "it has no header");
        return;
    }
    req->type = le32toh(header.type);
    if (!req->status_byte) {
        request_refuse(req, VIRTIO_BLK_S_IOERR, "it has no room for the status");
        return;
    }
    switch (req->type) {
    case VIRTIO_BLK_T_IN:
    case VIRTIO_BLK_T_OUT:
        parse_transfer(req, le64toh(header.sector));
        break;
    case VIRTIO_BLK_T_FLUSH:
        req->needs_sync = true;
        break;
    case VIRTIO_BLK_T_GET_ID:
        req->returned = virtq_chain_put(chain, blk->id, sizeof(blk->id));
        break;
    case VIRTIO_BLK_T_DISCARD:
    case VIRTIO_BLK_T_WRITE_ZEROES:
        parse_ranges(req);
        break;
    default:
        request_refuse(req, VIRTIO_BLK_S_UNSUPP, "unknown type");
    }
}

/* ---- reads and writes ---- */

/* Takes `len` bytes off the front of the payload; `bounce`, unless NULL, is filled from or to it.
 */
static void payload_advance(struct blk_request *req, uint32_t len, uint8_t *bounce, bool is_read)
{
    while (len) {
        uint32_t part = (uint32_t)u64_min(len, req->iov->iov_len);

        if (bounce && is_read)
            memcpy(req->iov->iov_base, bounce, part);
        bounce = bounce ? bounce + part : NULL;
        req->iov->iov_base = (uint8_t *)req->iov->iov_base + part;
        req->iov->iov_len -= part;
        len -= part;
        if (!req->iov->iov_len) {
            req->iov++;
            req->iov_count--;
        }
    }
}

static uint32_t bounce_fill(const struct blk_request *req, uint8_t *bounce, uint32_t len)
{
    uint32_t filled = 0;

    for (uint32_t i = 0; filled < len; i++) {
        uint32_t part = (uint32_t)u64_min(len - filled, req->iov[i].iov_len);

        memcpy(bounce + filled, req->iov[i].iov_base, part);
        filled += part;
    }
    return filled;
}

/* True when the bounce buffer is this request's, until it finishes; in the order of arrival. */
static bool bounce_take(struct blk_request *req)
{
    struct blk *blk = request_blk(req);

    if (!blk->bounce_owner)
        blk->bounce_owner = req;
    else if (blk->bounce_owner != req && list_is_empty(&req->bounce_link))
        list_push_back(&blk->bounce_waiters, &req->bounce_link);
    return blk->bounce_owner == req;
}

static void bounce_release(struct blk_request *req)
{
    struct blk *blk = request_blk(req);
    struct list *link;

    if (blk->bounce_owner != req)
        return;
    link = list_pop_front(&blk->bounce_waiters);
    blk->bounce_owner = link ? container_of(link, struct blk_request, bounce_link) : NULL;
    if (link)
        task_wake(&blk->bounce_owner->base.task);
}

static bool transfer_next(struct blk_request *req)
{
    struct blk *blk = request_blk(req);
    struct task *task = &req->base.task;
    bool is_read = req->type == VIRTIO_BLK_T_IN;

    if (!req->iov || !req->left || !request_goes_on(req))
        return false;
    if (req->is_bounced && is_read)
        op_read(&req->op, task, blk->file, blk->bounce,
                (uint32_t)u64_min(req->left, BLK_BOUNCE_SIZE), req->offset);
    else if (req->is_bounced)
        op_write(&req->op, task, blk->file, blk->bounce,
                 bounce_fill(req, blk->bounce, (uint32_t)u64_min(req->left, BLK_BOUNCE_SIZE)),
                 req->offset);
    else if (is_read)
        op_readv(&req->op, task, blk->file, req->iov, req->iov_count, req->offset);
    else
        op_writev(&req->op, task, blk->file, req->iov, req->iov_count, req->offset);
    return true;
}

static void transfer_done(struct blk_request *req)
{
    bool is_read = req->type == VIRTIO_BLK_T_IN;
    uint32_t len = (uint32_t)req->op.result;

    if (req->op.result <= 0) {
        request_fail(req, is_read ? "read" : "write", req->op.result);
        return;
    }
    CHECK_CMP(len, <=, req->left);
    payload_advance(req, len, req->is_bounced ? request_blk(req)->bounce : NULL, is_read);
    req->offset += len;
    req->left -= len;
    req->returned += is_read ? len : 0;
}

/* ---- discard and write-zeroes ---- */

static bool range_parse(struct blk_request *req, uint32_t *flags)
{
    bool is_discard = req->type == VIRTIO_BLK_T_DISCARD;
    struct virtio_blk_discard_write_zeroes range;

    if (!virtq_chain_pull(&req->base.chain, &range, sizeof(range)))
        return false;
    *flags = le32toh(range.flags);
    if (*flags & ~(is_discard ? 0U : VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP)) {
        request_refuse(req, VIRTIO_BLK_S_UNSUPP, "unknown flags of a range");
        return false;
    }
    if (le32toh(range.num_sectors) >
        (is_discard ? BLK_DISCARD_SECTORS_MAX : BLK_ZERO_SECTORS_MAX)) {
        request_refuse(req, VIRTIO_BLK_S_IOERR, "a range is too long");
        return false;
    }
    return request_locate(req, le64toh(range.sector), le32toh(range.num_sectors));
}

static bool range_next(struct blk_request *req)
{
    struct blk *blk = request_blk(req);
    uint32_t flags = 0;
    int mode;

    if (req->type != VIRTIO_BLK_T_DISCARD && req->type != VIRTIO_BLK_T_WRITE_ZEROES)
        return false;
    do {
        if (!request_goes_on(req) || !range_parse(req, &flags))
            return false;
    } while (!req->left);
    /* Punching a hole zeroes as well; it is quick, but gives up the space. */
    mode = req->type == VIRTIO_BLK_T_DISCARD || flags ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE;
    op_fallocate(&req->op, &req->base.task, blk->file, mode | FALLOC_FL_KEEP_SIZE, req->offset,
                 req->left);
    return true;
}

static void range_done(struct blk_request *req)
{
    bool is_discard = req->type == VIRTIO_BLK_T_DISCARD;
    bool is_unsupported = req->op.result == -EOPNOTSUPP;

    req->is_zeroing = is_unsupported && !is_discard;
    /* Offered because it worked when the disk was opened. */
    if (is_unsupported && is_discard)
        request_refuse(req, VIRTIO_BLK_S_UNSUPP, "the disk cannot discard any more");
    else if (req->op.result < 0 && !is_unsupported)
        request_fail(req, is_discard ? "discard" : "write zeroes", req->op.result);
}

static bool zero_next(struct blk_request *req)
{
    uint32_t len = (uint32_t)u64_min(req->left, BLK_ZERO_CHUNK_SIZE);
    struct blk *blk = request_blk(req);

    if (!req->is_zeroing || !req->left || !request_goes_on(req))
        return false;
    rate_limit_charge(&blk->limit, blk->device.context.executor, 0, len);
    op_write(&req->op, &req->base.task, blk->file, blk->zeroes, len, req->offset);
    return true;
}

static void zero_done(struct blk_request *req)
{
    if (req->op.result <= 0) {
        request_fail(req, "write zeroes", req->op.result);
        return;
    }
    req->offset += (uint32_t)req->op.result;
    req->left -= (uint32_t)req->op.result;
}

/* ---- flush, and the end ---- */

static bool sync_next(struct blk_request *req)
{
    if (!req->needs_sync || !request_goes_on(req))
        return false;
    op_fsync(&req->op, &req->base.task, request_blk(req)->file, true);
    return true;
}

static void sync_done(struct blk_request *req)
{
    if (req->op.result < 0)
        request_fail(req, "flush", req->op.result);
}

static void request_finish(struct blk_request *req)
{
    bool is_full = req->returned == req->room;

    bounce_release(req);
    if (req->status_byte)
        *req->status_byte = req->status;
    /* 2.7.8.2: counts from the front; the status is the last byte. */
    req->base.used_len = req->returned + (req->status_byte && is_full);
}

static void request_cancel(struct virtio_request *request)
{
    op_cancel(&container_of(request, struct blk_request, base)->op);
}

const struct virtio_request_type blk_request_type = {
    .task = {.name = "blk request",
             .poll = request_poll,
             .done = virtio_request_done,
             .state_names = state_names,
             .state_count = array_count(state_names)},
    .frame_size = sizeof(struct blk_request),
    .count = BLK_QUEUE_SIZE,
    .cancel = request_cancel,
};
