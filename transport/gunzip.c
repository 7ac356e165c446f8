/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "transport/gunzip.h"

#include <zlib.h>

#include "base/alloc.h"

#define PIECE ((size_t)16 * 1024)

struct ds_gunzip {
    z_stream z;
    size_t used; /* of what is offered again */
    bool whole;  /* between members */
};

struct ds_gunzip *ds_gunzip_new(void)
{
    struct ds_gunzip *g = ds_calloc(1, sizeof *g);
    if (!g)
        return NULL;
    g->whole = true;
    if (inflateInit2(&g->z, MAX_WBITS + 16) == Z_OK)
        return g;
    ds_free(g);
    return NULL;
}

void ds_gunzip_free(struct ds_gunzip *g)
{
    if (g)
        inflateEnd(&g->z);
    ds_free(g);
}

bool ds_gunzip_whole(const struct ds_gunzip *g)
{
    return g->whole;
}

/* The next piece; *n may be 0. False where it is no gzip. */
static bool inflate_piece(struct ds_gunzip *g, char *out, size_t *n)
{
    g->z.next_out = (unsigned char *)out;
    g->z.avail_out = (uInt)PIECE;
    if (g->whole && g->z.avail_in > 0)
        g->whole = false;
    int rc = inflate(&g->z, Z_SYNC_FLUSH);
    *n = PIECE - g->z.avail_out;
    if (rc != Z_STREAM_END)
        return rc == Z_OK || rc == Z_BUF_ERROR;
    g->whole = true;
    return inflateReset(&g->z) == Z_OK;
}

enum ds_gunzip_result ds_gunzip_feed(struct ds_gunzip *g, const char *p, size_t n,
                                     ds_gunzip_take take, void *ctx)
{
    char out[PIECE];
    size_t got = PIECE;
    if (n < g->used) {
        g->used -= n;
        return DS_GUNZIP_USED;
    }
    g->z.next_in = (unsigned char *)p + g->used; /* not written to */
    g->z.avail_in = (uInt)(n - g->used);
    while (g->z.avail_in > 0 || got == PIECE) {
        if (!inflate_piece(g, out, &got))
            return DS_GUNZIP_BAD;
        if (got > 0 && !take(ctx, out, got)) {
            g->used = n - g->z.avail_in;
            return DS_GUNZIP_HELD;
        }
    }
    g->used = 0;
    return DS_GUNZIP_USED;
}
