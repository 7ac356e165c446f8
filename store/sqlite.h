/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A database that streams are exported into: a row for each message, or piece of bytes, and one for
 * each stream that says how far it was taken; both change in one transaction, so that whatever
 * survives of a crash, each of them is there once.
 *
 *   open    locks DB.lock, and looks at what is there; makes nothing
 *   find    how far a stream was taken
 *   begin   a transaction, where none is open; before the first one the database and its tables are
 *           made where they are not there
 *   insert  the rows of a batch, which are kept or given up together
 *   put     how far the stream was taken
 *   commit
 *
 * Other programs may use the database meanwhile. Where one of them keeps it locked, begin and
 * commit give ERR_LOCKED after a moment and can be called again. A row that is there already, and a
 * position that somebody else has moved, is ERR_STATE_MISMATCH: nothing is ever replaced.
 */
#ifndef DS_STORE_SQLITE_H
#define DS_STORE_SQLITE_H

#include "store/checkpoint.h"
#include "store/fileops.h"

#define DS_SQLITE_STREAMS "dstream_streams" /* the table of positions */
#define DS_SQLITE_TABLE   "messages"        /* the default of the other one */
#define DS_SQLITE_FORMAT  "sqlite"          /* in a checkpoint */

struct ds_sqlite;

struct ds_sqlite_options {
    const struct ds_fileops *ops; /* for what is beside the database; NULL: the system's own */
    const char *path;
    const char *table;
};

/* A stream as it is in the database. */
struct ds_sqlite_stream {
    int64_t id; /* 0: it is not in there */
    int64_t revision;
    bool has_rows;
    struct ds_checkpoint at;
};

struct ds_sqlite_row {
    const char *offset; /* where the answer began */
    uint64_t index;     /* units of the answer before it */
    const char *received;
    const char *data;
    size_t len;
    bool text; /* else bytes */
};

/* Whether a table may be called so. */
bool ds_sqlite_table_valid(const char *name);

/* Strings are lent for the call. ERR_LOCKED where somebody exports into it, or keeps it locked;
 * ERR_EXISTS for what is no database, or has tables of these names that are others; ERR_ARGUMENT
 * where there is no SQLite in this build; ERR_STATE_CORRUPT, ERR_IO, ERR_NOMEM. */
enum dstream_code ds_sqlite_open(struct ds_sqlite **out, const struct ds_sqlite_options *o,
                                 struct dstream_error *err);
/* What is not committed is given up. */
void ds_sqlite_free(struct ds_sqlite *d);

/* The stream of the URL, as ds_checkpoint_set_url() leaves it. */
enum dstream_code ds_sqlite_find(struct ds_sqlite *d, const char *url, struct ds_sqlite_stream *out,
                                 struct dstream_error *err);

/* After an error of these but ERR_LOCKED, and ERR_STATE_MISMATCH of insert, nothing can be
 * committed any more: each fails with the same. */
enum dstream_code ds_sqlite_begin(struct ds_sqlite *d, struct dstream_error *err);
/* Removes the stream's rows. */
enum dstream_code ds_sqlite_clear(struct ds_sqlite *d, const struct ds_sqlite_stream *s,
                                  struct dstream_error *err);
/* The stream is `s->at` now; its first time gives it an id. The time is filled in. */
enum dstream_code ds_sqlite_put(struct ds_sqlite *d, struct ds_sqlite_stream *s,
                                struct dstream_error *err);
/* All of the rows or, on failure, none. `row` fills in the i-th. */
typedef enum dstream_code (*ds_sqlite_get)(void *ctx, size_t i, struct ds_sqlite_row *row);
enum dstream_code ds_sqlite_insert(struct ds_sqlite *d, const struct ds_sqlite_stream *s, size_t n,
                                   ds_sqlite_get get, void *ctx, struct dstream_error *err);
/* Makes durable what came since the last one. Nothing where no transaction is open. */
enum dstream_code ds_sqlite_commit(struct ds_sqlite *d, struct dstream_error *err);

/* Calls `take` for each stream that is in a database, and takes no lock of exporters. What is there
 * is as of the beginning, whatever is written meanwhile. Codes as of ds_sqlite_open(). */
struct ds_sqlite_rows;
typedef void (*ds_sqlite_take)(void *ctx, const char *table, const struct ds_checkpoint *c,
                               struct ds_sqlite_rows *rows);
enum dstream_code ds_sqlite_show(const struct ds_fileops *ops, const char *path,
                                 ds_sqlite_take take, void *ctx, struct dstream_error *err);
/* The next row of that stream, by its key, while `take` runs; *row is valid until the next call.
 * False at the end, and for an error, whose code is set in *err. */
bool ds_sqlite_next(struct ds_sqlite_rows *r, struct ds_sqlite_row *row, struct dstream_error *err);
/* Whether the file is a database, by its beginning. */
bool ds_sqlite_is(const struct ds_fileops *ops, const char *path);

#endif
