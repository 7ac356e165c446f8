/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who has written to one stream in numbered batches, and which came last: by that, a batch that is
 * sent again is recognised. Judging changes nothing; a batch that was stored is committed, which
 * cannot fail.
 */
#ifndef DS_DEVSERVER_PRODUCERS_H
#define DS_DEVSERVER_PRODUCERS_H

#include "devserver/store.h"

#define DS_PRODUCER_AGE (INT64_C(7) * 24 * 3600 * 1000) /* ms that an idle one is remembered */

struct ds_producers; /* of one stream */
struct ds_writer;    /* one of them */

/* NULL without memory. */
struct ds_producers *ds_producers_new(void);
void ds_producers_free(struct ds_producers *ps);
/* Bytes that they take. 0 for NULL. */
size_t ds_producers_size(const struct ds_producers *ps);
/* Forgets who was last heard of longer ago than DS_PRODUCER_AGE. */
void ds_producers_expire(struct ds_producers *ps, int64_t now);

/* What the batch deserves: OK, DUPLICATE, FENCED, EPOCH or GAP; sets p->known. */
enum ds_stored ds_producers_judge(const struct ds_producers *ps, struct ds_producer *p,
                                  int64_t now);
/* The producer's state, to be committed or dropped; NULL without memory. `cost`: the bytes by which
 * all of them grow if it is committed. Expiring in between frees it. */
struct ds_writer *ds_producers_prepare(struct ds_producers *ps, const char *id, size_t *cost);
void ds_producers_commit(struct ds_producers *ps, struct ds_writer *w, const struct ds_producer *p,
                         int64_t now);
void ds_producers_drop(struct ds_writer *w);

/* Takes one out that was committed; it is the caller's to free. */
struct ds_writer *ds_producers_take(struct ds_producers *ps, struct ds_writer *w);
/* Whether its last batch is this one. */
bool ds_writer_is(const struct ds_writer *w, const struct ds_producer *p);
size_t ds_writer_size(const struct ds_writer *w);
void ds_writer_free(struct ds_writer *w);

/* Of a text, for tables. */
size_t ds_text_hash(const char *s);

#endif
