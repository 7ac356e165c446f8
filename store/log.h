/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file of records that are added at its end, each whole or not at all, over any crash.
 *
 * The first line says what the file is. Then each record has a head with its number, its length, a
 * CRC of all of it, and up to which record everything was durable when it was written. So a record
 * that is damaged is told from one that a crash cut: behind the latter nothing can speak of it as
 * durable.
 *
 * Records that no longer matter are left behind by a rewrite: a new file beside the old one, synced
 * and renamed over it.
 */
#ifndef DS_STORE_LOG_H
#define DS_STORE_LOG_H

#include "store/place.h"

#define DS_LOG_NAME "dstream-journal 1\n" /* the first line */

struct ds_log;

/* A record as read. */
struct ds_log_record {
    const char *data; /* lent during the call */
    size_t len;
    uint64_t at; /* where its data lies in the file */
};
/* What it returns but DSTREAM_OK ends the reading with that. */
typedef enum dstream_code (*ds_log_take)(void *ctx, const struct ds_log_record *r,
                                         struct dstream_error *err);

/* Takes the locks (the directory, shared, and NAME.lock), reads what is there, and cuts off what a
 * crash left half-written. A file that is not there is made by the first rewrite. No record is over
 * `max_record` bytes. `ops` NULL: the system's own. ERR_LOCKED, ERR_STATE_CORRUPT, ERR_IO,
 * ERR_NOMEM, or what `take` returned. */
enum dstream_code ds_log_open(struct ds_log **out, const struct ds_fileops *ops, const char *path,
                              size_t max_record, ds_log_take take, void *ctx,
                              struct dstream_error *err);
void ds_log_free(struct ds_log *l);
/* Only reads, and takes no lock. *missing: there is no such file (ERR_IO). */
enum dstream_code ds_log_show(const struct ds_fileops *ops, const char *path, size_t max_record,
                              ds_log_take take, void *ctx, bool *missing,
                              struct dstream_error *err);
/* Whether the file at `path` begins as a log does. */
bool ds_log_is(const struct ds_fileops *ops, const char *path);

bool ds_log_exists(const struct ds_log *l);
uint64_t ds_log_size(const struct ds_log *l);

struct ds_log_part {
    const void *p;
    size_t n;
};
/* Adds a record of these parts, joined, not durable yet; *at (may be NULL) is where its data lies.
 * After a failure nothing more is taken, since what is at the end is not known. */
enum dstream_code ds_log_add(struct ds_log *l, const struct ds_log_part *parts, size_t nparts,
                             uint64_t *at, struct dstream_error *err);
/* Makes all records durable. A failed sync is final. */
enum dstream_code ds_log_sync(struct ds_log *l, struct dstream_error *err);
/* Reads data of a record back. */
enum dstream_code ds_log_read(struct ds_log *l, uint64_t at, void *p, size_t n,
                              struct dstream_error *err);

/* From now on records go to a new file, which ds_log_replace() makes durable and the one that
 * counts; ds_log_read() still reads the old one until then. Between the two, a failure leaves the
 * old file as it is, but the log takes nothing more. */
enum dstream_code ds_log_rewrite(struct ds_log *l, struct dstream_error *err);
enum dstream_code ds_log_replace(struct ds_log *l, struct dstream_error *err);

#endif
