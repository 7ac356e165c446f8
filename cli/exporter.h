/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an export does with each batch, and when it commits: one stream into one file with its
 * checkpoint, which may be one of a directory's. It knows neither loop nor network: it is handed
 * batches and the time, and says when it wants to be called again, so that one process can drive
 * many.
 *
 *   open    takes the locks and reads the state: where to read from, and what must be found again
 *   take    a batch: what it writes is never more than what is still wanted
 *   tick    the time has come to commit
 *   finish  commits what is good, whatever it was that ended the reading
 */
#ifndef DS_CLI_EXPORTER_H
#define DS_CLI_EXPORTER_H

#include "cli/format.h"
#include "cli/span.h"
#include "store/exports.h"

/* Something else than a format: what is written of the batches is up to who exports, empty ones
 * that move the position or close the stream included. */
struct ds_exporter_form {
    const char *name; /* for the state; another one on going on is refused */
    /* Puts what an empty file begins with, and the units of a batch as ds_format_put() does. */
    enum dstream_code (*begin)(void *ctx, const char *content_type, ds_put put, void *to);
    enum dstream_code (*put)(void *ctx, const dstream_batch *b, size_t from, size_t to, int64_t now,
                             ds_put put, void *put_ctx);
    void *ctx;
};

struct ds_exporter_config {
    struct ds_export_options file;
    struct ds_exports *directory; /* not NULL: it is the file `name` in there, and of
                                     `file` only `pack` and `reset` count */
    const char *name;
    const char *url;                     /* complete */
    enum ds_format_kind format;          /* auto: by the state, else by the content type */
    const char *template;                /* of a format that is one; else NULL */
    const struct ds_exporter_form *form; /* instead of a format; NULL: none */
    bool sse;         /* read by SSE whatever the type: refused where that is lossy */
    const char *from; /* NULL: not said */
    uint64_t from_skip;
    struct ds_left left;   /* stop after so many messages / bytes of the stream in this run */
    int64_t sync_ms;       /* commit so long after the first byte that is not; -1: not by time */
    uint64_t sync_bytes;   /* commit when so much of the output is not; 0: not by size */
    bool sync_batch;       /* commit after each batch */
    uint64_t rotate_bytes; /* seal a segment that has so much; 0: not by size. `file.rotate` is set
                              where there are segments at all */
    int64_t rotate_ms;     /* seal it so long after its first data came; -1: not by time */
    size_t max_witness;
};

struct ds_exporter;

/* Strings are lent until the exporter is freed. Publishes *out on success only. Codes as of
 * ds_export_open() and ds_checkpoint_fits(). */
enum dstream_code ds_exporter_open(struct ds_exporter **out, const struct ds_exporter_config *c,
                                   struct dstream_error *err);
void ds_exporter_free(struct ds_exporter *x);

/* Where to begin reading. */
const char *ds_exporter_offset(const struct ds_exporter *x, uint64_t *skip);
/* There is a state that it goes on from: the stream's content type ("" if not known). NULL: begun
 * anew. *w becomes what must be found again of what was taken so far, its units 0 where there is
 * nothing to compare. */
const char *ds_exporter_seen(const struct ds_exporter *x, struct ds_witness *w);
/* It was finished by an earlier run. */
bool ds_exporter_complete(const struct ds_exporter *x);
/* How much of the file the state speaks of, and what that has at `at`. ERR_IO. */
uint64_t ds_exporter_length(const struct ds_exporter *x);
enum dstream_code ds_exporter_read(struct ds_exporter *x, uint64_t at, void *p, size_t n,
                                   struct dstream_error *err);
/* What is written to, for messages. */
const char *ds_exporter_path(const struct ds_exporter *x);

/* Takes a batch that a reader delivered, at `now`. Sets *stop where no more is wanted. The first
 * one makes the file ready: in a directory that takes a commit, until which it waits and the batch
 * is to be offered again. After an error only finish may follow. */
enum dstream_code ds_exporter_take(struct ds_exporter *x, const char *content_type,
                                   const dstream_batch *b, int64_t now, bool *stop,
                                   struct dstream_error *err);
bool ds_exporter_holds(const struct ds_exporter *x); /* not all of the last batch was taken */
bool ds_exporter_waits(const struct ds_exporter *x); /* for a commit */
/* Seals the current segment, and begins the next. Nothing where there are no segments, or it is
 * empty. */
enum dstream_code ds_exporter_seal(struct ds_exporter *x, struct dstream_error *err);
/* When it is to be sealed for its age; DS_NEVER: not before the next batch. By the time given with
 * batches, and `now`, which is that of this moment. */
int64_t ds_exporter_seal_due(const struct ds_exporter *x, int64_t now);
/* An earlier run has taken the stream to its closed end, and was stopped before its last segment
 * had its name: it is given that, and then all is complete. False where it is not so. */
bool ds_exporter_close(struct ds_exporter *x, struct dstream_error *err);
/* When tick wants to be called; DS_NEVER: not before the next batch. */
int64_t ds_exporter_due(const struct ds_exporter *x);
/* Commits if that is due. */
enum dstream_code ds_exporter_tick(struct ds_exporter *x, int64_t now, struct dstream_error *err);
/* Commits now, if anything is not committed. */
enum dstream_code ds_exporter_commit(struct ds_exporter *x, struct dstream_error *err);
/* The reading is over; `whole` says that it came to its proper end, and not by an error or a
 * signal. Makes a file ready that no batch has come for, and commits: in a directory the next
 * commits of all of it do. */
enum dstream_code ds_exporter_finish(struct ds_exporter *x, bool whole, struct dstream_error *err);

/* The file of a directory has failed: why. Code DSTREAM_OK: it has not. */
const struct dstream_error *ds_exporter_error(const struct ds_exporter *x);

/* What this run took of the stream, for the status line. */
struct ds_exporter_totals {
    uint64_t bytes, messages;
    const char *offset;
    uint64_t skip;
    bool closed;
};
struct ds_exporter_totals ds_exporter_totals(const struct ds_exporter *x);

#endif
