/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "store/log.h"

#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/hash.h"
#include "store/checkpoint.h"

#define NAME_LEN (sizeof DS_LOG_NAME - 1)
#define HEAD     32 /* bytes of a record's head */
#define MAGIC    "DSrc"
#define GATHER   ((size_t)64 * 1024) /* records up to this size are written at once */
#define CHUNK    ((size_t)256 * 1024)

typedef unsigned long long ull; /* for printing */

struct ds_log {
    struct ds_place at;
    char *temporary;
    size_t max_record;
    int fd;  /* the one that counts; -1: none yet */
    int now; /* the one that is written to: `fd`, or a new one */
    uint64_t end, number;
    uint64_t synced; /* records up to this number are durable */
    bool failed;     /* nothing more is taken */
};

/* --- heads ------------------------------------------------------------------------------------ */

struct head {
    uint32_t crc;
    uint64_t number, synced;
    uint32_t len;
};

static void put_le(unsigned char *p, uint64_t v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        p[i] = (unsigned char)(v >> 8 * i);
}

static uint64_t get_le(const unsigned char *p, size_t n)
{
    uint64_t v = 0;
    for (size_t i = n; i-- > 0;)
        v = v << 8 | p[i];
    return v;
}

/* The CRC covers what is behind it. */
static void put_head(unsigned char out[HEAD], const struct head *h)
{
    memcpy(out, MAGIC, 4);
    put_le(out + 4, h->crc, 4);
    put_le(out + 8, h->number, 8);
    put_le(out + 16, h->synced, 8);
    put_le(out + 24, h->len, 4);
    put_le(out + 28, 0, 4);
}

static bool get_head(const unsigned char *p, struct head *h)
{
    *h = (struct head){.crc = (uint32_t)get_le(p + 4, 4),
                       .number = get_le(p + 8, 8),
                       .synced = get_le(p + 16, 8),
                       .len = (uint32_t)get_le(p + 24, 4)};
    return memcmp(p, MAGIC, 4) == 0 && get_le(p + 28, 4) == 0;
}

/* --- reading ---------------------------------------------------------------------------------- */

struct reading {
    const struct ds_fileops *ops;
    int fd;
    const char *path;
    size_t max_record;
    struct ds_buf b;
    uint64_t at;     /* of b's first byte in the file */
    uint64_t number; /* of the last whole record */
    bool cut;        /* something half-written lies at `at` */
};

static enum dstream_code corrupt(const struct reading *r, const char *what,
                                 struct dstream_error *err)
{
    return ds_error_set(err, DSTREAM_ERR_STATE_CORRUPT,
                        "%s: the journal is damaged at byte %llu: %s: it is not gone on with; keep "
                        "it, and look at the stream's end before writing again",
                        r->path, (ull)r->at, what);
}

/* Makes `n` bytes from r->at on available in r->b; fewer at the file's end. */
static enum dstream_code fill(struct reading *r, size_t n, struct dstream_error *err)
{
    while (r->b.len < n) {
        size_t want = n - r->b.len < CHUNK ? CHUNK : n - r->b.len;
        if (ds_buf_reserve(&r->b, want) != DSTREAM_OK)
            return ds_error_set(err, DSTREAM_ERR_NOMEM, "no memory to read a journal");
        int64_t got = ds_file_read(r->ops, r->fd, r->b.data + r->b.len, want, r->at + r->b.len);
        if (got < 0)
            return ds_file_error(err, r->path, "read the journal", (int)got);
        r->b.len += (size_t)got;
        if ((size_t)got < want)
            break;
    }
    return DSTREAM_OK;
}

static void drop(struct reading *r, size_t n)
{
    ds_buf_drop(&r->b, n);
    r->at += n;
}

/* Whether a whole record begins at the `n` bytes of `p`. */
static bool is_record(const struct reading *r, const char *p, size_t n, struct head *h)
{
    if (n < HEAD || !get_head((const unsigned char *)p, h) || h->len > r->max_record ||
        n - HEAD < h->len)
        return false;
    return ds_crc32(p + 8, HEAD - 8 + h->len) == h->crc;
}

/* The next place behind r->at where a record may begin comes to the front. False: there is none. */
static bool next_magic(struct reading *r)
{
    for (size_t i = 1; i + HEAD <= r->b.len; i++) {
        const char *p = memchr(r->b.data + i, MAGIC[0], r->b.len - i);
        i = p ? (size_t)(p - r->b.data) : r->b.len;
        if (i + HEAD <= r->b.len && memcmp(r->b.data + i, MAGIC, 4) == 0) {
            drop(r, i);
            return true;
        }
    }
    if (r->b.len >= HEAD)
        drop(r, r->b.len - HEAD + 1);
    return false;
}

/* What is at r->at is no whole record. A crash can leave that only where nothing behind it was
 * written after it had been made durable. */
static enum dstream_code look_behind(struct reading *r, struct dstream_error *err)
{
    uint64_t bad = r->at, was;
    enum dstream_code rc = DSTREAM_OK;
    do {
        struct head h;
        was = r->at;
        bool found = next_magic(r);
        rc = fill(r, HEAD + r->max_record, err);
        if (rc == DSTREAM_OK && found && is_record(r, r->b.data, r->b.len, &h) &&
            h.synced > r->number) {
            r->at = bad;
            return corrupt(r, "a record is not whole", err);
        }
    } while (rc == DSTREAM_OK && r->at > was);
    r->at = bad;
    return rc;
}

static enum dstream_code read_records(struct reading *r, ds_log_take take, void *ctx,
                                      struct dstream_error *err)
{
    for (;;) {
        struct head h;
        enum dstream_code rc = fill(r, HEAD, err);
        if (rc != DSTREAM_OK || r->b.len == 0)
            return rc;
        if (r->b.len >= HEAD && get_head((const unsigned char *)r->b.data, &h) &&
            h.len <= r->max_record)
            rc = fill(r, HEAD + h.len, err);
        if (rc != DSTREAM_OK)
            return rc;
        if (!is_record(r, r->b.data, r->b.len, &h) || h.number != r->number + 1) {
            r->cut = true;
            return look_behind(r, err);
        }
        struct ds_log_record rec = {r->b.data + HEAD, h.len, r->at + HEAD};
        rc = take(ctx, &rec, err);
        if (rc != DSTREAM_OK)
            return rc;
        r->number = h.number;
        drop(r, HEAD + h.len);
    }
}

/* A file whose name was given by mistake is told from a journal of another release. */
static enum dstream_code not_a_journal(const struct reading *r, struct dstream_error *err)
{
    static const char any[] = "dstream-journal ";
    const struct ds_buf *b = &r->b;
    if (b->len >= sizeof any - 1 && memcmp(b->data, any, sizeof any - 1) == 0)
        return corrupt(r, "it is none of this release", err);
    if (ds_checkpoint_is(b->data, b->len))
        return ds_error_set(err, DSTREAM_ERR_STATE_CORRUPT,
                            "%s: it is not a journal but a checkpoint: name another file", r->path);
    return ds_error_set(err, DSTREAM_ERR_STATE_CORRUPT,
                        "%s: it is not a journal: name another file; if it was one, keep it, and "
                        "look at the stream's end before writing again",
                        r->path);
}

static enum dstream_code read_all(struct reading *r, ds_log_take take, void *ctx,
                                  struct dstream_error *err)
{
    ds_buf_init(&r->b, HEAD + r->max_record + CHUNK);
    enum dstream_code rc = fill(r, NAME_LEN, err);
    if (rc != DSTREAM_OK)
        return rc;
    if (r->b.len < NAME_LEN || memcmp(r->b.data, DS_LOG_NAME, NAME_LEN) != 0)
        return not_a_journal(r, err);
    drop(r, NAME_LEN);
    return read_records(r, take, ctx, err);
}

enum dstream_code ds_log_show(const struct ds_fileops *ops, const char *path, size_t max_record,
                              ds_log_take take, void *ctx, bool *missing, struct dstream_error *err)
{
    struct reading r = {
        .ops = ops ? ops : &ds_fileops_system, .path = path, .max_record = max_record};
    r.fd = r.ops->open(r.ops->ctx, DS_DIR_CWD, path, DS_OPEN_READ);
    *missing = r.fd == -ENOENT;
    if (r.fd < 0)
        return ds_file_error(err, path, "open the journal", r.fd);
    enum dstream_code rc = read_all(&r, take, ctx, err);
    ds_file_close(r.ops, &r.fd);
    ds_buf_free(&r.b);
    return rc;
}

bool ds_log_is(const struct ds_fileops *ops, const char *path)
{
    char name[NAME_LEN];
    if (!ops)
        ops = &ds_fileops_system;
    int fd = ops->open(ops->ctx, DS_DIR_CWD, path, DS_OPEN_READ);
    if (fd < 0)
        return false;
    bool is = ds_file_read(ops, fd, name, NAME_LEN, 0) == (int64_t)NAME_LEN &&
              memcmp(name, DS_LOG_NAME, NAME_LEN) == 0;
    ds_file_close(ops, &fd);
    return is;
}

/* --- opening ---------------------------------------------------------------------------------- */

/* What a crash left at the end must not stand behind records to come. */
static enum dstream_code cut_off(struct ds_log *l, uint64_t end, struct dstream_error *err)
{
    const struct ds_fileops *ops = l->at.ops;
    int rc = ops->truncate(ops->ctx, l->fd, end);
    if (rc == 0)
        rc = ops->sync_data(ops->ctx, l->fd);
    return rc == 0 ? DSTREAM_OK : ds_file_error(err, l->at.path, "cut the journal", rc);
}

static enum dstream_code load(struct ds_log *l, ds_log_take take, void *ctx,
                              struct dstream_error *err)
{
    const struct ds_fileops *ops = l->at.ops;
    l->fd = ops->open(ops->ctx, l->at.dir, l->at.name, DS_OPEN_UPDATE);
    if (l->fd == -ENOENT)
        return DSTREAM_OK;
    if (l->fd < 0)
        return ds_file_error(err, l->at.path, "open the journal", l->fd);
    struct reading r = {.ops = ops, .fd = l->fd, .path = l->at.path, .max_record = l->max_record};
    /* What was written before a crash of the process alone is not durable yet. */
    int sync = ops->sync_data(ops->ctx, l->fd);
    enum dstream_code rc = sync == 0 ? read_all(&r, take, ctx, err)
                                     : ds_file_error(err, l->at.path, "sync the journal", sync);
    ds_buf_free(&r.b);
    l->now = l->fd;
    l->end = r.at;
    l->number = l->synced = r.number;
    return rc == DSTREAM_OK && r.cut ? cut_off(l, r.at, err) : rc;
}

static enum dstream_code open_steps(struct ds_log *l, ds_log_take take, void *ctx,
                                    struct dstream_error *err)
{
    enum dstream_code rc = ds_place_lock_dir(&l->at, DS_LOCK_SHARED, err);
    if (rc == DSTREAM_OK)
        rc = ds_place_lock(&l->at, err);
    if (rc == DSTREAM_OK)
        rc = ds_place_sync(&l->at, err);
    return rc == DSTREAM_OK ? load(l, take, ctx, err) : rc;
}

enum dstream_code ds_log_open(struct ds_log **out, const struct ds_fileops *ops, const char *path,
                              size_t max_record, ds_log_take take, void *ctx,
                              struct dstream_error *err)
{
    struct ds_buf name;
    *out = NULL;
    struct ds_log *l = ds_calloc(1, sizeof *l);
    if (!l)
        return ds_error_set(err, DSTREAM_ERR_NOMEM, "no memory for a journal");
    l->fd = l->now = -1;
    l->max_record = max_record;
    enum dstream_code rc = ds_place_open(&l->at, ops ? ops : &ds_fileops_system, path, err);
    ds_buf_init(&name, 65536);
    if (rc == DSTREAM_OK && ds_buf_addf(&name, "%s.tmp", l->at.name) != DSTREAM_OK)
        rc = ds_error_set(err, DSTREAM_ERR_NOMEM, "no memory for a file name");
    if (rc == DSTREAM_OK && ds_buf_str(&name))
        l->temporary = name.data;
    else
        ds_buf_free(&name);
    if (rc == DSTREAM_OK)
        rc = open_steps(l, take, ctx, err);
    if (rc == DSTREAM_OK)
        *out = l;
    else
        ds_log_free(l);
    return rc;
}

void ds_log_free(struct ds_log *l)
{
    if (!l)
        return;
    if (l->now != l->fd) {
        ds_file_close(l->at.ops, &l->now);
        l->at.ops->unlink(l->at.ops->ctx, l->at.dir, l->temporary);
    }
    if (l->fd >= 0)
        ds_file_close(l->at.ops, &l->fd);
    ds_place_close(&l->at);
    ds_free(l->temporary);
    ds_free(l);
}

bool ds_log_exists(const struct ds_log *l)
{
    return l->fd >= 0;
}

uint64_t ds_log_size(const struct ds_log *l)
{
    return l->end;
}

/* --- writing ---------------------------------------------------------------------------------- */

static enum dstream_code fail(struct ds_log *l, const char *what, int rc, struct dstream_error *err)
{
    l->failed = true;
    return ds_file_error(err, l->at.path, what, rc);
}

static enum dstream_code check(struct ds_log *l, struct dstream_error *err)
{
    if (!l->failed && l->now >= 0)
        return DSTREAM_OK;
    return ds_error_set(err, DSTREAM_ERR_IO,
                        "%s: not written, since the journal failed before: start again, which goes "
                        "on from what is in it",
                        l->at.path);
}

static int write_at(struct ds_log *l, const void *p, size_t n)
{
    int rc = ds_file_write(l->at.ops, l->now, p, n, l->end);
    if (rc == 0)
        l->end += n;
    return rc;
}

static int write_parts(struct ds_log *l, const struct ds_log_part *parts, size_t nparts,
                       const unsigned char head[HEAD], size_t len)
{
    struct ds_buf b;
    int rc = 0;
    ds_buf_init(&b, HEAD + GATHER);
    if (len <= GATHER && ds_buf_add(&b, head, HEAD) == DSTREAM_OK) {
        for (size_t i = 0; i < nparts && rc == 0; i++)
            rc = ds_buf_add(&b, parts[i].p, parts[i].n) == DSTREAM_OK ? 0 : -ENOMEM;
        if (rc == 0)
            rc = write_at(l, b.data, b.len);
    } else {
        rc = write_at(l, head, HEAD);
        for (size_t i = 0; i < nparts && rc == 0; i++)
            rc = write_at(l, parts[i].p, parts[i].n);
    }
    ds_buf_free(&b);
    return rc;
}

enum dstream_code ds_log_add(struct ds_log *l, const struct ds_log_part *parts, size_t nparts,
                             uint64_t *at, struct dstream_error *err)
{
    unsigned char head[HEAD];
    size_t len = 0;
    enum dstream_code rc = check(l, err);
    if (rc != DSTREAM_OK)
        return rc;
    for (size_t i = 0; i < nparts; i++)
        len += parts[i].n;
    if (len > l->max_record)
        return ds_error_set(err, DSTREAM_ERR_LIMIT, "%s: a record of %zu bytes is too large",
                            l->at.path, len);
    struct head h = {.number = l->number + 1, .synced = l->synced, .len = (uint32_t)len};
    put_head(head, &h);
    h.crc = ds_crc32(head + 8, HEAD - 8);
    for (size_t i = 0; i < nparts; i++)
        h.crc = ds_crc32_more(h.crc, parts[i].p, parts[i].n);
    put_head(head, &h);
    if (at)
        *at = l->end + HEAD;
    int sys = write_parts(l, parts, nparts, head, len);
    if (sys < 0)
        return fail(l, "write the journal", sys, err);
    l->number++;
    return DSTREAM_OK;
}

enum dstream_code ds_log_sync(struct ds_log *l, struct dstream_error *err)
{
    enum dstream_code rc = check(l, err);
    if (rc != DSTREAM_OK || l->synced == l->number)
        return rc;
    int sys = l->at.ops->sync_data(l->at.ops->ctx, l->now);
    if (sys < 0)
        return fail(l, "sync the journal", sys, err);
    l->synced = l->number;
    return DSTREAM_OK;
}

enum dstream_code ds_log_read(struct ds_log *l, uint64_t at, void *p, size_t n,
                              struct dstream_error *err)
{
    int64_t got = ds_file_read(l->at.ops, l->fd, p, n, at);
    if (got >= 0 && (size_t)got == n)
        return DSTREAM_OK;
    return ds_file_error(err, l->at.path, "read the journal", got < 0 ? (int)got : -EIO);
}

/* --- rewriting -------------------------------------------------------------------------------- */

enum dstream_code ds_log_rewrite(struct ds_log *l, struct dstream_error *err)
{
    const struct ds_fileops *ops = l->at.ops;
    if (l->failed)
        return check(l, err);
    int fd = ops->open(ops->ctx, l->at.dir, l->temporary, DS_OPEN_TEMPORARY);
    if (fd < 0)
        return fail(l, "make a new journal beside it", fd, err);
    l->now = fd;
    l->end = l->number = l->synced = 0;
    int rc = write_at(l, DS_LOG_NAME, NAME_LEN);
    return rc == 0 ? DSTREAM_OK : fail(l, "write the new journal", rc, err);
}

enum dstream_code ds_log_replace(struct ds_log *l, struct dstream_error *err)
{
    const struct ds_fileops *ops = l->at.ops;
    enum dstream_code rc = check(l, err);
    if (rc != DSTREAM_OK)
        return rc;
    int sys = ops->sync(ops->ctx, l->now);
    if (sys < 0)
        return fail(l, "sync the new journal", sys, err);
    sys = ops->rename(ops->ctx, l->at.dir, l->temporary, l->at.name);
    if (sys < 0)
        return fail(l, "rename the new journal to it", sys, err);
    ds_file_close(ops, &l->fd);
    l->fd = l->now;
    l->synced = l->number;
    sys = ops->sync(ops->ctx, l->at.dir);
    return sys == 0 ? DSTREAM_OK : fail(l, "sync its directory", sys, err);
}
