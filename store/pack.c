/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "store/pack.h"

#include <errno.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include "base/alloc.h"

#define PIECE ((size_t)32 * 1024)
/* Many files may be open at once, so zstd gets a window of 128 KiB and tables to match: it takes
 * about 1 MiB then, not 5. */
#define ZSTD_WINDOW 17
#define ZSTD_TABLES 15
#define ZSTD_LEVEL  3

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
    bool open;
    z_stream gzip;
    ZSTD_CCtx *zstd;
};

struct ds_pack *ds_pack_new(enum ds_pack_kind kind)
{
    struct ds_pack *p = ds_calloc(1, sizeof *p);
    if (p)
        p->kind = kind;
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
    return p->open;
}

void ds_pack_drop(struct ds_pack *p)
{
    if (p->open && p->kind == DS_PACK_GZIP)
        deflateEnd(&p->gzip);
    ZSTD_freeCCtx(p->zstd);
    p->zstd = NULL;
    p->open = false;
}

static int open_gzip(struct ds_pack *p)
{
    memset(&p->gzip, 0, sizeof p->gzip);
    int rc =
        deflateInit2(&p->gzip, Z_DEFAULT_COMPRESSION, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
    return rc == Z_OK ? 0 : -ENOMEM;
}

static int open_zstd(struct ds_pack *p)
{
    p->zstd = ZSTD_createCCtx();
    if (!p->zstd)
        return -ENOMEM;
    (void)ZSTD_CCtx_setParameter(p->zstd, ZSTD_c_compressionLevel, ZSTD_LEVEL);
    (void)ZSTD_CCtx_setParameter(p->zstd, ZSTD_c_windowLog, ZSTD_WINDOW);
    (void)ZSTD_CCtx_setParameter(p->zstd, ZSTD_c_hashLog, ZSTD_TABLES);
    (void)ZSTD_CCtx_setParameter(p->zstd, ZSTD_c_chainLog, ZSTD_TABLES);
    (void)ZSTD_CCtx_setParameter(p->zstd, ZSTD_c_checksumFlag, 1);
    return 0;
}

static int begin(struct ds_pack *p)
{
    if (p->open)
        return 0;
    int rc = p->kind == DS_PACK_GZIP ? open_gzip(p) : open_zstd(p);
    p->open = rc == 0;
    return rc;
}

static int run_gzip(struct ds_pack *p, const void *data, size_t n, bool last, ds_pack_put put,
                    void *ctx)
{
    unsigned char out[PIECE];
    const unsigned char *in = data;
    int rc = 0, done = Z_OK;
    do {
        uInt now = n < PIECE ? (uInt)n : (uInt)PIECE;
        p->gzip.next_in = (unsigned char *)in; /* not written to */
        p->gzip.avail_in = now;
        do {
            p->gzip.next_out = out;
            p->gzip.avail_out = sizeof out;
            done = deflate(&p->gzip, last && now == n ? Z_FINISH : Z_NO_FLUSH);
            if (sizeof out > p->gzip.avail_out)
                rc = put(ctx, out, sizeof out - p->gzip.avail_out);
        } while (rc == 0 && p->gzip.avail_out == 0 && done != Z_STREAM_END);
        in += now;
        n -= now;
    } while (rc == 0 && n > 0);
    return rc == 0 && done == Z_STREAM_ERROR ? -EIO : rc;
}

static int run_zstd(struct ds_pack *p, const void *data, size_t n, bool last, ds_pack_put put,
                    void *ctx)
{
    unsigned char out[PIECE];
    ZSTD_inBuffer in = {data, n, 0};
    int rc = 0;
    for (bool more = true; more && rc == 0;) {
        ZSTD_outBuffer o = {out, sizeof out, 0};
        size_t left = ZSTD_compressStream2(p->zstd, &o, &in, last ? ZSTD_e_end : ZSTD_e_continue);
        if (ZSTD_isError(left))
            return -ENOMEM;
        if (o.pos > 0)
            rc = put(ctx, out, o.pos);
        more = last ? left > 0 : in.pos < in.size;
    }
    return rc;
}

static int run(struct ds_pack *p, const void *data, size_t n, bool last, ds_pack_put put, void *ctx)
{
    return p->kind == DS_PACK_GZIP ? run_gzip(p, data, n, last, put, ctx)
                                   : run_zstd(p, data, n, last, put, ctx);
}

int ds_pack_add(struct ds_pack *p, const void *data, size_t n, ds_pack_put put, void *ctx)
{
    int rc = n > 0 ? begin(p) : 0;
    return rc == 0 && n > 0 ? run(p, data, n, false, put, ctx) : rc;
}

int ds_pack_end(struct ds_pack *p, ds_pack_put put, void *ctx)
{
    int rc = p->open ? run(p, "", 0, true, put, ctx) : 0;
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
