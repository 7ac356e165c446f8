/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "store/pack.h"

#include <errno.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include "base/alloc.h"
#include "base/buf.h"

#define PIECE      ((size_t)32 * 1024)
#define ZSTD_LEVEL 3

const char *ds_pack_name(enum ds_pack_kind kind)
{
    return kind == DS_PACK_GZIP ? "gzip" : kind == DS_PACK_ZSTD ? "zstd" : "";
}

const char *ds_pack_suffix(enum ds_pack_kind kind)
{
    return kind == DS_PACK_GZIP ? ".gz" : kind == DS_PACK_ZSTD ? ".zst" : "";
}

struct ds_pack {
    enum ds_pack_kind kind;
    struct ds_buf gathered; /* of the member under way */
};

struct ds_pack *ds_pack_new(enum ds_pack_kind kind)
{
    struct ds_pack *p = ds_calloc(1, sizeof *p);
    if (!p)
        return NULL;
    p->kind = kind;
    ds_buf_init(&p->gathered, DS_PACK_MEMBER);
    return p;
}

void ds_pack_free(struct ds_pack *p)
{
    if (!p)
        return;
    ds_pack_drop(p);
    ds_free(p);
}

bool ds_pack_is_open(const struct ds_pack *p)
{
    return p->gathered.len > 0;
}

void ds_pack_drop(struct ds_pack *p)
{
    ds_buf_free(&p->gathered);
    ds_buf_init(&p->gathered, DS_PACK_MEMBER);
}

static int put_gzip(const struct ds_buf *b, ds_pack_put put, void *ctx)
{
    unsigned char out[PIECE];
    z_stream z = {.next_in = (unsigned char *)b->data, .avail_in = (uInt)b->len};
    int rc = 0, done = Z_OK;
    if (deflateInit2(&z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        return -ENOMEM;
    while (rc == 0 && done == Z_OK) {
        z.next_out = out;
        z.avail_out = sizeof out;
        done = deflate(&z, Z_FINISH);
        rc = done == Z_STREAM_ERROR ? -EIO : put(ctx, out, sizeof out - z.avail_out);
    }
    deflateEnd(&z);
    return rc;
}

static int run_zstd(ZSTD_CCtx *z, const struct ds_buf *b, ds_pack_put put, void *ctx)
{
    unsigned char out[PIECE];
    ZSTD_inBuffer in = {b->data, b->len, 0};
    int rc = 0;
    for (size_t left = 1; left > 0 && rc == 0;) {
        ZSTD_outBuffer o = {out, sizeof out, 0};
        left = ZSTD_compressStream2(z, &o, &in, ZSTD_e_end);
        if (ZSTD_isError(left))
            return -ENOMEM;
        rc = o.pos > 0 ? put(ctx, out, o.pos) : 0;
    }
    return rc;
}

static int put_zstd(const struct ds_buf *b, ds_pack_put put, void *ctx)
{
    ZSTD_CCtx *z = ZSTD_createCCtx();
    if (!z)
        return -ENOMEM;
    (void)ZSTD_CCtx_setParameter(z, ZSTD_c_compressionLevel, ZSTD_LEVEL);
    (void)ZSTD_CCtx_setParameter(z, ZSTD_c_checksumFlag, 1);
    int rc = run_zstd(z, b, put, ctx);
    ZSTD_freeCCtx(z);
    return rc;
}

static int put_member(struct ds_pack *p, ds_pack_put put, void *ctx)
{
    int rc = p->kind == DS_PACK_GZIP ? put_gzip(&p->gathered, put, ctx)
                                     : put_zstd(&p->gathered, put, ctx);
    if (rc == 0)
        p->gathered.len = 0;
    return rc;
}

int ds_pack_add(struct ds_pack *p, const void *data, size_t n, ds_pack_put put, void *ctx)
{
    const char *from = data;
    int rc = 0;
    while (rc == 0 && n > 0) {
        size_t room = DS_PACK_MEMBER - p->gathered.len, now = n < room ? n : room;
        if (ds_buf_add(&p->gathered, from, now) != DSTREAM_OK)
            return -ENOMEM;
        from += now;
        n -= now;
        if (now == room)
            rc = put_member(p, put, ctx);
    }
    return rc;
}

int ds_pack_end(struct ds_pack *p, ds_pack_put put, void *ctx)
{
    int rc = ds_pack_is_open(p) ? put_member(p, put, ctx) : 0;
    if (rc == 0)
        ds_pack_drop(p);
    return rc;
}

/* --- unpacking -------------------------------------------------------------------------------- */

struct ds_unpack {
    enum ds_pack_kind kind;
    bool whole; /* between members */
    z_stream gzip;
    ZSTD_DCtx *zstd;
};

struct ds_unpack *ds_unpack_new(enum ds_pack_kind kind)
{
    struct ds_unpack *u = ds_calloc(1, sizeof *u);
    if (!u)
        return NULL;
    u->kind = kind;
    u->whole = true;
    if (kind == DS_PACK_ZSTD)
        u->zstd = ZSTD_createDCtx();
    bool ok = kind == DS_PACK_ZSTD ? u->zstd != NULL : inflateInit2(&u->gzip, 15 + 16) == Z_OK;
    if (ok)
        return u;
    ds_free(u);
    return NULL;
}

void ds_unpack_free(struct ds_unpack *u)
{
    if (!u)
        return;
    if (u->kind == DS_PACK_GZIP)
        inflateEnd(&u->gzip);
    ZSTD_freeDCtx(u->zstd);
    ds_free(u);
}

bool ds_unpack_is_whole(const struct ds_unpack *u)
{
    return u->whole;
}

static int unpack_gzip(struct ds_unpack *u, const void *data, size_t n, ds_pack_put put, void *ctx)
{
    unsigned char out[PIECE];
    int rc = 0, done = Z_OK;
    u->gzip.next_in = (unsigned char *)data; /* not written to */
    u->gzip.avail_in = (uInt)n;
    bool full = false;
    while (rc == 0 && (u->gzip.avail_in > 0 || full)) {
        u->gzip.next_out = out;
        u->gzip.avail_out = sizeof out;
        done = inflate(&u->gzip, Z_NO_FLUSH);
        if (done == Z_BUF_ERROR)
            break;
        if (done != Z_OK && done != Z_STREAM_END)
            return done == Z_MEM_ERROR ? -ENOMEM : -EBADMSG;
        if (sizeof out > u->gzip.avail_out)
            rc = put(ctx, out, sizeof out - u->gzip.avail_out);
        full = u->gzip.avail_out == 0 && done != Z_STREAM_END;
        u->whole = done == Z_STREAM_END;
        if (u->whole && inflateReset(&u->gzip) != Z_OK)
            return -EBADMSG;
    }
    return rc;
}

static int unpack_zstd(struct ds_unpack *u, const void *data, size_t n, ds_pack_put put, void *ctx)
{
    unsigned char out[PIECE];
    ZSTD_inBuffer in = {data, n, 0};
    int rc = 0;
    for (bool full = false; rc == 0 && (in.pos < in.size || full);) {
        ZSTD_outBuffer o = {out, sizeof out, 0};
        size_t left = ZSTD_decompressStream(u->zstd, &o, &in);
        if (ZSTD_isError(left))
            return -EBADMSG;
        if (o.pos > 0)
            rc = put(ctx, out, o.pos);
        full = o.pos == o.size && left != 0;
        u->whole = left == 0;
    }
    return rc;
}

int ds_unpack_add(struct ds_unpack *u, const void *data, size_t n, ds_pack_put put, void *ctx)
{
    const char *p = data;
    int rc = 0;
    while (n > 0 && rc == 0) {
        size_t now = n < PIECE ? n : PIECE;
        rc = u->kind == DS_PACK_GZIP ? unpack_gzip(u, p, now, put, ctx)
                                     : unpack_zstd(u, p, now, put, ctx);
        p += now;
        n -= now;
    }
    return rc;
}
