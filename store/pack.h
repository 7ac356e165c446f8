/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compression in members (gzip) or frames (zstd), each of which can be read by itself: a file that
 * is cut between two of them is whole, and what is put behind it is read as one with it.
 *
 * Many files may be packed at once, and a compressor takes 256 KiB (gzip) or 1 MiB (zstd). So data
 * are gathered, and there is a compressor only while a member is made of them.
 */
#ifndef DS_STORE_PACK_H
#define DS_STORE_PACK_H

#include <stdbool.h>
#include <stddef.h>

#define DS_PACK_MEMBER ((size_t)64 * 1024) /* bytes of data in a member, at most */

enum ds_pack_kind { DS_PACK_NONE, DS_PACK_GZIP, DS_PACK_ZSTD };

/* "gzip", "zstd"; "" for none. Static. */
const char *ds_pack_name(enum ds_pack_kind kind);
/* What is behind a file's name: ".gz", ".zst", "". Static. */
const char *ds_pack_suffix(enum ds_pack_kind kind);

struct ds_pack;

/* NULL without memory. Not for DS_PACK_NONE. */
struct ds_pack *ds_pack_new(enum ds_pack_kind kind);
void ds_pack_free(struct ds_pack *p);

/* Takes what is to be written. 0, or a negative errno, which ends the packing with that. */
typedef int (*ds_pack_put)(void *ctx, const void *p, size_t n);

/* Adds to the current member, begun where there is none, and puts each that is full. 0, -ENOMEM, or
 * what `put` returned; after a failure the member is of no use, and must be dropped. */
int ds_pack_add(struct ds_pack *p, const void *data, size_t n, ds_pack_put put, void *ctx);
/* Ends the member, if there is one: it is put. Its memory goes until the next one. */
int ds_pack_end(struct ds_pack *p, ds_pack_put put, void *ctx);
void ds_pack_drop(struct ds_pack *p);
bool ds_pack_is_open(const struct ds_pack *p);

/* The other way round: takes a file of such members piece by piece. */
struct ds_unpack;
struct ds_unpack *ds_unpack_new(enum ds_pack_kind kind);
void ds_unpack_free(struct ds_unpack *u);
/* 0, -ENOMEM, -EBADMSG for what is no such data, or what `put` returned. */
int ds_unpack_add(struct ds_unpack *u, const void *data, size_t n, ds_pack_put put, void *ctx);
/* Whether the last member was whole. */
bool ds_unpack_is_whole(const struct ds_unpack *u);

#endif
