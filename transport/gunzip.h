/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A body that comes compressed by gzip (RFC 1952), while it comes. Pure.
 *
 * libcurl could do it, but it does not see that such a body ends early or holds less than it says,
 * and what it decompresses of a paused transfer it keeps, which may be a thousand times as much as
 * came. Here no more is decompressed at once than one piece.
 */
#ifndef DS_TRANSPORT_GUNZIP_H
#define DS_TRANSPORT_GUNZIP_H

#include <stdbool.h>
#include <stddef.h>

enum ds_gunzip_result {
    DS_GUNZIP_USED, /* all of it */
    DS_GUNZIP_HELD, /* `take` wants no more: feed the same bytes again, from the first one on */
    DS_GUNZIP_BAD
};

struct ds_gunzip;
/* Takes a piece, never an empty one; false: no more for now. */
typedef bool (*ds_gunzip_take)(void *ctx, const char *p, size_t n);

/* NULL without memory. */
struct ds_gunzip *ds_gunzip_new(void);
void ds_gunzip_free(struct ds_gunzip *g);
enum ds_gunzip_result ds_gunzip_feed(struct ds_gunzip *g, const char *p, size_t n,
                                     ds_gunzip_take take, void *ctx);
/* Nothing is missing: it can end here. */
bool ds_gunzip_whole(const struct ds_gunzip *g);

#endif
