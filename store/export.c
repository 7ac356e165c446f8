/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "store/export.h"

#include <errno.h>
#include <string.h>

#include "base/alloc.h"

struct ds_export {
    const struct ds_fileops *ops;
    struct ds_place at;
    struct ds_state state;
    int fd;           /* the output, -1: not there yet */
    uint64_t length;  /* of the output, as far as it is good */
    bool longer;      /* there is more behind `length`, to be cut off */
    bool resume;      /* goes on from the state */
    bool empty_first; /* what is there is to be overwritten */
    bool ready;       /* confirmed */
    bool dirty;       /* the output was changed since its last sync */
    bool named;       /* the output was made since the last sync of its directory */
    bool sync_failed; /* final */
    int write_failed; /* the negative errno of it, final */
    struct ds_hash *hash;
};

/* --- the end of the output -------------------------------------------------------------------- */

/* The hash of the last bytes before `length`. ERR_STATE_MISMATCH where they are not all there. */
static enum dstream_code hash_tail(struct ds_export *x, uint64_t length, char out[DS_HASH_HEX],
                                   struct dstream_error *err)
{
    char piece[16384];
    uint64_t at = length > DS_CHECKPOINT_TAIL ? length - DS_CHECKPOINT_TAIL : 0;
    ds_hash_reset(x->hash);
    while (at < length) {
        size_t want = length - at < sizeof piece ? (size_t)(length - at) : sizeof piece;
        int64_t got = ds_file_read(x->ops, x->fd, piece, want, at);
        if (got < 0)
            return ds_file_error(err, x->at.path, "read it", (int)got);
        if ((size_t)got < want)
            return ds_error_set(err, DSTREAM_ERR_STATE_MISMATCH,
                                "%s: it is shorter than what was written to it: somebody else "
                                "changed it",
                                x->at.path);
        ds_hash_add(x->hash, piece, want);
        at += want;
    }
    ds_hash_hex(x->hash, out);
    return DSTREAM_OK;
}

/* --- opening ---------------------------------------------------------------------------------- */

/* Names that would meet: the state is renamed, a lock file must never be. */
static enum dstream_code check_names(const struct ds_export *x, struct dstream_error *err)
{
    const struct ds_place *a = &x->at, *b = &x->state.at;
    if (ds_place_is(a, "", b) || ds_place_is(a, ".lock", b) || ds_place_is(b, ".lock", a) ||
        ds_place_is(b, ".tmp", a))
        return ds_error_set(err, DSTREAM_ERR_ARGUMENT,
                            "%s: the state cannot have the name %s beside this output: give "
                            "another one",
                            a->path, b->path);
    return DSTREAM_OK;
}

static enum dstream_code open_places(struct ds_export *x, const struct ds_export_options *o,
                                     struct dstream_error *err)
{
    enum dstream_code rc = ds_place_open(&x->at, x->ops, o->path, err);
    if (rc != DSTREAM_OK)
        return rc;
    struct ds_buf b;
    ds_buf_init(&b, DS_CHECKPOINT_LINE_MAX);
    if (ds_buf_addf(&b, o->state ? "%s" : "%s.dstate", o->state ? o->state : o->path) !=
            DSTREAM_OK ||
        !ds_buf_str(&b))
        rc = ds_error_set(err, DSTREAM_ERR_NOMEM, "no memory for a file name");
    else
        rc = ds_state_begin(&x->state, x->ops, b.data, err);
    ds_buf_free(&b);
    return rc == DSTREAM_OK ? check_names(x, err) : rc;
}

static enum dstream_code take_locks(struct ds_export *x, struct dstream_error *err)
{
    enum dstream_code rc = ds_place_lock_dir(&x->at, err);
    if (rc == DSTREAM_OK)
        rc = ds_place_lock(&x->at, err);
    if (rc == DSTREAM_OK)
        rc = ds_place_lock(&x->state.at, err);
    return rc;
}

/* Opens and locks the output where it is there, and learns how long it is. */
static enum dstream_code open_output(struct ds_export *x, uint64_t *size, struct dstream_error *err)
{
    *size = 0;
    int fd = x->ops->open(x->ops->ctx, x->at.dir, x->at.name, DS_OPEN_UPDATE);
    if (fd == -ENOENT)
        return DSTREAM_OK;
    if (fd < 0)
        return ds_file_error(err, x->at.path, "open it for writing", fd);
    x->fd = fd;
    struct ds_file_info info;
    int rc = x->ops->info(x->ops->ctx, fd, &info);
    if (rc == 0 && info.kind != DS_FILE_REGULAR)
        rc = -ENXIO;
    if (rc < 0)
        return ds_file_error(err, x->at.path, "export into it", rc);
    *size = info.size;
    return ds_lock_file(x->ops, fd, x->at.path, err);
}

/* Whether the file begins with what the state says of it. */
static enum dstream_code compare(struct ds_export *x, uint64_t size, struct dstream_error *err)
{
    const struct ds_checkpoint *c = &x->state.last;
    if (x->fd < 0 && c->length > 0)
        return ds_error_set(err, DSTREAM_ERR_STATE_MISMATCH,
                            "%s: it is gone, but %s says that %llu bytes of it were written: put "
                            "it back, or give --reset to export anew",
                            x->at.path, x->state.at.path, (unsigned long long)c->length);
    if (size < c->length)
        return ds_error_set(err, DSTREAM_ERR_STATE_MISMATCH,
                            "%s: it has %llu bytes where %s says %llu: put back what is missing, "
                            "or give --reset --overwrite to export anew",
                            x->at.path, (unsigned long long)size, x->state.at.path,
                            (unsigned long long)c->length);
    char tail[DS_HASH_HEX];
    enum dstream_code rc = hash_tail(x, c->length, tail, err);
    if (rc == DSTREAM_OK && strcmp(tail, c->tail) != 0)
        rc = ds_error_set(err, DSTREAM_ERR_STATE_MISMATCH,
                          "%s: its contents are not those that %s speaks of: put back the right "
                          "file, or give --reset --overwrite to export anew",
                          x->at.path, x->state.at.path);
    x->length = c->length;
    x->longer = size > c->length;
    return rc;
}

static enum dstream_code without_state(struct ds_export *x, const struct ds_export_options *o,
                                       uint64_t size, struct dstream_error *err)
{
    if (x->fd < 0)
        return DSTREAM_OK;
    if (o->overwrite) {
        x->empty_first = true;
        return DSTREAM_OK;
    }
    if (!o->append)
        return ds_error_set(err, DSTREAM_ERR_EXISTS,
                            "%s: it exists, and %s: give --overwrite or --append, or another name",
                            x->at.path,
                            o->reset ? "its state is to be forgotten" : "has no state file");
    if (x->state.exists)
        return compare(x, size, err); /* --reset cuts to the recorded length */
    x->length = size;
    return DSTREAM_OK;
}

static enum dstream_code open_steps(struct ds_export *x, const struct ds_export_options *o,
                                    struct dstream_error *err)
{
    uint64_t size;
    enum dstream_code rc = open_places(x, o, err);
    if (rc == DSTREAM_OK)
        rc = take_locks(x, err);
    if (rc == DSTREAM_OK)
        rc = ds_state_load(&x->state, err);
    if (rc == DSTREAM_OK)
        rc = open_output(x, &size, err);
    if (rc != DSTREAM_OK)
        return rc;
    if (x->state.exists && !x->state.last.has_output)
        return ds_error_set(err, DSTREAM_ERR_STATE_MISMATCH,
                            "%s: the state goes with no output file: give another state file",
                            x->state.at.path);
    x->resume = x->state.exists && !o->reset;
    rc = x->resume ? compare(x, size, err) : without_state(x, o, size, err);
    /* What a crash left in the caches must be settled before anything is built on it. */
    if (rc == DSTREAM_OK)
        rc = ds_place_sync(&x->at, err);
    if (rc == DSTREAM_OK)
        rc = ds_place_sync(&x->state.at, err);
    return rc;
}

enum dstream_code ds_export_open(struct ds_export **out, const struct ds_export_options *o,
                                 struct dstream_error *err)
{
    *out = NULL;
    if (o->overwrite && o->append)
        return ds_error_set(err, DSTREAM_ERR_ARGUMENT,
                            "--overwrite and --append exclude each other");
    struct ds_export *x = ds_calloc(1, sizeof *x);
    if (!x)
        return ds_error_set(err, DSTREAM_ERR_NOMEM, "no memory for an export");
    x->ops = o->ops ? o->ops : &ds_fileops_system;
    x->fd = -1;
    x->at = x->state.at = (struct ds_place){.dir = -1, .lock = -1};
    x->hash = ds_hash_new();
    enum dstream_code rc = x->hash ? open_steps(x, o, err)
                                   : ds_error_set(err, DSTREAM_ERR_NOMEM, "no memory for a hash");
    if (rc == DSTREAM_OK)
        *out = x;
    else
        ds_export_free(x);
    return rc;
}

void ds_export_free(struct ds_export *x)
{
    if (!x)
        return;
    ds_file_close(x->ops, &x->fd);
    ds_state_end(&x->state);
    ds_place_close(&x->at);
    if (x->hash)
        ds_hash_free(x->hash);
    ds_free(x);
}

/* --- what is known ---------------------------------------------------------------------------- */

const struct ds_checkpoint *ds_export_state(const struct ds_export *x)
{
    return x->resume ? &x->state.last : NULL;
}

const char *ds_export_path(const struct ds_export *x)
{
    return x->at.path;
}

const char *ds_export_state_path(const struct ds_export *x)
{
    return x->state.at.path;
}

bool ds_export_complete(const struct ds_export *x)
{
    return x->resume && x->state.last.closed && x->fd >= 0 && !x->longer;
}

uint64_t ds_export_length(const struct ds_export *x)
{
    return x->length;
}

enum dstream_code ds_export_read(struct ds_export *x, uint64_t at, void *p, size_t n,
                                 struct dstream_error *err)
{
    int64_t got = ds_file_read(x->ops, x->fd, p, n, at);
    if (got >= 0 && (size_t)got < n)
        got = -EIO;
    return got < 0 ? ds_file_error(err, x->at.path, "read it", (int)got) : DSTREAM_OK;
}

/* --- making it ready -------------------------------------------------------------------------- */

static enum dstream_code final(struct ds_export *x, enum dstream_code rc)
{
    x->sync_failed = x->sync_failed || rc != DSTREAM_OK;
    return rc;
}

static enum dstream_code sync_output(struct ds_export *x, struct dstream_error *err)
{
    if (x->dirty) {
        int rc = x->ops->sync_data(x->ops->ctx, x->fd);
        if (rc < 0)
            return final(x, ds_file_error(err, x->at.path, "sync it", rc));
        x->dirty = false;
    }
    if (x->named) {
        enum dstream_code rc = final(x, ds_place_sync(&x->at, err));
        if (rc != DSTREAM_OK)
            return rc;
        x->named = false;
    }
    return DSTREAM_OK;
}

static enum dstream_code cut(struct ds_export *x, uint64_t length, struct dstream_error *err)
{
    int rc = x->ops->truncate(x->ops->ctx, x->fd, length);
    if (rc < 0)
        return ds_file_error(err, x->at.path, "cut it to the length of its state", rc);
    x->length = length;
    x->longer = false;
    x->dirty = true;
    return DSTREAM_OK;
}

static enum dstream_code create(struct ds_export *x, int *why, struct dstream_error *err)
{
    int fd = x->ops->open(x->ops->ctx, x->at.dir, x->at.name, DS_OPEN_CREATE);
    *why = fd < 0 ? fd : 0;
    if (fd < 0)
        return ds_file_error(err, x->at.path, "create it", fd);
    x->fd = fd;
    x->dirty = x->named = true;
    return ds_lock_file(x->ops, fd, x->at.path, err);
}

/* The state speaks of the output as it is now, which is durable. */
static enum dstream_code put_state(struct ds_export *x, const struct ds_checkpoint *c,
                                   struct dstream_error *err)
{
    struct ds_checkpoint *next = &x->state.last;
    if (next != c)
        *next = *c;
    next->has_output = true;
    next->length = x->length;
    enum dstream_code rc = hash_tail(x, x->length, next->tail, err);
    if (rc == DSTREAM_OK)
        rc = ds_state_commit(&x->state, next, err);
    x->sync_failed = x->sync_failed || x->state.sync_failed;
    return rc;
}

/* A first state. It is durable before the file is made or emptied, so that a crash in between goes
 * on from it: a file longer than its state is cut. */
static enum dstream_code begin(struct ds_export *x, const struct ds_checkpoint *c,
                               struct dstream_error *err)
{
    enum dstream_code rc = DSTREAM_OK;
    if (x->fd >= 0 && !x->empty_first) {
        if (x->longer)
            rc = cut(x, x->length, err);
        x->dirty = x->named = true; /* others wrote it, and may not have synced it */
        if (rc == DSTREAM_OK)
            rc = sync_output(x, err);
    }
    if (rc == DSTREAM_OK)
        rc = put_state(x, c, err);
    if (rc != DSTREAM_OK)
        return rc;
    if (x->fd >= 0)
        return x->empty_first ? cut(x, 0, err) : DSTREAM_OK;
    int why;
    rc = create(x, &why, err);
    /* Somebody made it in this moment: with our state beside it the next run would empty it. */
    if (why == -EEXIST)
        x->ops->unlink(x->ops->ctx, x->state.at.dir, x->state.at.name);
    return rc;
}

enum dstream_code ds_export_confirm(struct ds_export *x, const struct ds_checkpoint *c,
                                    struct dstream_error *err)
{
    enum dstream_code rc = DSTREAM_OK;
    int why;
    if (x->ready)
        return rc;
    if (!x->resume)
        rc = begin(x, c, err);
    else if (x->fd < 0)
        rc = create(x, &why, err);
    else if (x->longer)
        rc = cut(x, x->length, err);
    x->ready = rc == DSTREAM_OK;
    return rc;
}

/* --- writing ---------------------------------------------------------------------------------- */

enum dstream_code ds_export_write(struct ds_export *x, const void *p, size_t n,
                                  struct dstream_error *err)
{
    if (!x->ready)
        return ds_error_set(err, DSTREAM_ERR_STATE, "%s: written before it was ready", x->at.path);
    if (x->write_failed == 0 && n > 0) {
        x->dirty = true;
        x->write_failed = ds_file_write(x->ops, x->fd, p, n, x->length);
        /* Part of it may be there. Cut off, it leaves room for the last state; if that fails, the
         * next run does it. */
        if (x->write_failed < 0)
            x->ops->truncate(x->ops->ctx, x->fd, x->length);
    }
    if (x->write_failed < 0)
        return ds_file_error(err, x->at.path, "write to it", x->write_failed);
    x->length += n;
    return DSTREAM_OK;
}

void ds_export_undo(struct ds_export *x, uint64_t length)
{
    if (!x->ready || length >= x->length)
        return;
    x->length = length;
    /* As after a failed write: what cannot be cut off now is cut off by the next run. Nothing may
     * be written over it. */
    int rc = x->ops->truncate(x->ops->ctx, x->fd, length);
    if (rc < 0 && x->write_failed == 0)
        x->write_failed = rc;
}

enum dstream_code ds_export_commit(struct ds_export *x, const struct ds_checkpoint *c,
                                   struct dstream_error *err)
{
    if (!x->ready)
        return ds_error_set(err, DSTREAM_ERR_STATE, "%s: committed before it was ready",
                            x->at.path);
    if (x->sync_failed)
        return ds_error_set(err, DSTREAM_ERR_IO,
                            "%s: not committed, since an earlier sync failed: start again, which "
                            "goes on from the last good state",
                            x->at.path);
    enum dstream_code rc = sync_output(x, err);
    return rc == DSTREAM_OK ? put_state(x, c, err) : rc;
}
