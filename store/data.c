/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "store/data.h"

#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "store/place.h"

enum dstream_code ds_data_begin(struct ds_data *d, const struct ds_fileops *ops, int dir,
                                char *name, char *path, struct dstream_error *err)
{
    *d = (struct ds_data){.ops = ops, .dir = dir, .name = name, .path = path, .fd = -1};
    d->hash = name && path ? ds_hash_new() : NULL;
    return d->hash ? DSTREAM_OK : ds_error_set(err, DSTREAM_ERR_NOMEM, "no memory for an export");
}

enum dstream_code ds_data_pack(struct ds_data *d, enum ds_pack_kind kind, struct dstream_error *err)
{
    if (kind == DS_PACK_NONE)
        return DSTREAM_OK;
    d->pack = ds_pack_new(kind);
    return d->pack ? DSTREAM_OK : ds_error_set(err, DSTREAM_ERR_NOMEM, "no memory for an export");
}

bool ds_data_is_empty(const struct ds_data *d)
{
    return d->length == 0 && !(d->pack && ds_pack_is_open(d->pack));
}

void ds_data_set_length(struct ds_data *d, uint64_t length)
{
    d->length = d->whole = length;
}

void ds_data_end(struct ds_data *d)
{
    ds_data_close(d);
    ds_pack_free(d->pack);
    d->pack = NULL;
    if (d->hash)
        ds_hash_free(d->hash);
    ds_free(d->name);
    ds_free(d->path);
    d->hash = NULL;
    d->name = d->path = NULL;
}

/* --- opening ---------------------------------------------------------------------------------- */

enum dstream_code ds_data_open(struct ds_data *d, uint64_t *size, struct dstream_error *err)
{
    *size = 0;
    int fd = d->ops->open(d->ops->ctx, d->dir, d->name, DS_OPEN_UPDATE);
    if (fd == -ENOENT)
        return DSTREAM_OK;
    if (fd < 0)
        return ds_file_error(err, d->path, "open it for writing", fd);
    d->fd = fd;
    struct ds_file_info info;
    int rc = d->ops->info(d->ops->ctx, fd, &info);
    if (rc == 0 && info.kind != DS_FILE_REGULAR)
        rc = -ENXIO;
    if (rc < 0)
        return ds_file_error(err, d->path, "export into it", rc);
    *size = info.size;
    return ds_lock_file(d->ops, fd, d->path, err);
}

enum dstream_code ds_data_create(struct ds_data *d, int *why, struct dstream_error *err)
{
    int fd = d->ops->open(d->ops->ctx, d->dir, d->name, DS_OPEN_CREATE);
    *why = fd < 0 ? fd : 0;
    if (fd < 0)
        return ds_file_error(err, d->path, "create it", fd);
    d->fd = fd;
    d->dirty = true;
    return ds_lock_file(d->ops, fd, d->path, err);
}

void ds_data_close(struct ds_data *d)
{
    if (d->fd >= 0)
        ds_file_close(d->ops, &d->fd);
    if (d->pack)
        ds_pack_drop(d->pack);
    ds_data_set_length(d, 0);
    d->longer = d->dirty = false;
}

/* --- what is there ---------------------------------------------------------------------------- */

enum dstream_code ds_data_tail(struct ds_data *d, uint64_t length, char out[DS_HASH_HEX],
                               struct dstream_error *err)
{
    char piece[16384];
    uint64_t at = length > DS_CHECKPOINT_TAIL ? length - DS_CHECKPOINT_TAIL : 0;
    ds_hash_reset(d->hash);
    while (at < length) {
        size_t want = length - at < sizeof piece ? (size_t)(length - at) : sizeof piece;
        int64_t got = ds_file_read(d->ops, d->fd, piece, want, at);
        if (got < 0)
            return ds_file_error(err, d->path, "read it", (int)got);
        if ((size_t)got < want)
            return ds_error_set(err, DSTREAM_ERR_STATE_MISMATCH,
                                "%s: it is shorter than what was written to it: somebody else "
                                "changed it",
                                d->path);
        ds_hash_add(d->hash, piece, want);
        at += want;
    }
    ds_hash_hex(d->hash, out);
    return DSTREAM_OK;
}

enum dstream_code ds_data_compare(struct ds_data *d, const struct ds_checkpoint *c, uint64_t size,
                                  const char *state, struct dstream_error *err)
{
    if (d->fd < 0 && c->length > 0)
        return ds_error_set(err, DSTREAM_ERR_STATE_MISMATCH,
                            "%s: it is gone, but %s says that %llu bytes of it were written: put "
                            "it back, or give --reset to export anew",
                            d->path, state, (unsigned long long)c->length);
    if (size < c->length)
        return ds_error_set(err, DSTREAM_ERR_STATE_MISMATCH,
                            "%s: it has %llu bytes where %s says %llu: put back what is missing, "
                            "or give --reset --overwrite to export anew",
                            d->path, (unsigned long long)size, state,
                            (unsigned long long)c->length);
    char tail[DS_HASH_HEX];
    enum dstream_code rc = ds_data_tail(d, c->length, tail, err);
    if (rc == DSTREAM_OK && strcmp(tail, c->tail) != 0)
        rc = ds_error_set(err, DSTREAM_ERR_STATE_MISMATCH,
                          "%s: its contents are not those that %s speaks of: put back the right "
                          "file, or give --reset --overwrite to export anew",
                          d->path, state);
    ds_data_set_length(d, c->length);
    d->longer = size > c->length;
    return rc;
}

/* --- changing it ------------------------------------------------------------------------------ */

enum dstream_code ds_data_cut(struct ds_data *d, uint64_t length, struct dstream_error *err)
{
    int rc = d->ops->truncate(d->ops->ctx, d->fd, length);
    if (rc < 0)
        return ds_file_error(err, d->path, "cut it to the length of its state", rc);
    ds_data_set_length(d, length);
    d->longer = false;
    d->dirty = true;
    return DSTREAM_OK;
}

static int put(void *ctx, const void *p, size_t n)
{
    struct ds_data *d = ctx;
    int rc = ds_file_write(d->ops, d->fd, p, n, d->length);
    /* Part of it may be there. Cut off, it leaves room for the last state; if that fails, the next
     * run does it. */
    if (rc < 0)
        d->ops->truncate(d->ops->ctx, d->fd, d->length);
    else
        d->length += n;
    return rc;
}

/* The member under way is of no use. */
static void spoil(struct ds_data *d)
{
    ds_pack_drop(d->pack);
    d->spoiled = true;
    d->length = d->whole;
    int rc = d->ops->truncate(d->ops->ctx, d->fd, d->length);
    if (d->write_failed == 0)
        d->write_failed = rc < 0 ? rc : -ECANCELED;
}

enum dstream_code ds_data_write(struct ds_data *d, const void *p, size_t n,
                                struct dstream_error *err)
{
    if (d->write_failed == 0 && n > 0) {
        d->dirty = true;
        d->write_failed = d->pack ? ds_pack_add(d->pack, p, n, put, d) : put(d, p, n);
        if (d->write_failed < 0 && d->pack)
            spoil(d);
    }
    return d->write_failed == 0 ? DSTREAM_OK
                                : ds_file_error(err, d->path, "write to it", d->write_failed);
}

void ds_data_undo(struct ds_data *d, uint64_t length)
{
    if (d->fd >= 0 && d->pack && !d->spoiled)
        spoil(d);
    if (d->fd < 0 || d->pack || length >= d->length)
        return;
    d->length = length;
    /* As after a failed write: what cannot be cut off now is cut off by the next run. Nothing may
     * be written over it. */
    int rc = d->ops->truncate(d->ops->ctx, d->fd, length);
    if (rc < 0 && d->write_failed == 0)
        d->write_failed = rc;
}

static enum dstream_code end_member(struct ds_data *d, struct dstream_error *err)
{
    int rc = d->pack ? ds_pack_end(d->pack, put, d) : 0;
    if (rc == 0)
        return DSTREAM_OK;
    d->write_failed = rc;
    spoil(d);
    return ds_file_error(err, d->path, "write to it", rc);
}

enum dstream_code ds_data_sync(struct ds_data *d, struct dstream_error *err)
{
    if (!d->dirty)
        return DSTREAM_OK;
    enum dstream_code code = end_member(d, err);
    if (code != DSTREAM_OK)
        return code;
    int rc = d->ops->sync_data(d->ops->ctx, d->fd);
    if (rc < 0) {
        d->sync_failed = true;
        return ds_file_error(err, d->path, "sync it", rc);
    }
    d->whole = d->length;
    d->dirty = false;
    return DSTREAM_OK;
}
