/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A producer's journal in a file: its records, and what they come to.
 *
 * A record of a batch, of fates or of what was told is added to the log. One that opens an epoch
 * lists everything that still matters, so it begins the file anew; so does a log of which most no
 * longer matters.
 */
#ifndef DS_CLIENT_JOURNAL_H
#define DS_CLIENT_JOURNAL_H

#include "producer/producer.h"
#include "store/log.h"

#define DS_JOURNAL_BODY_MAX ((size_t)256 << 20) /* bytes of one batch */

/* What a journal is of. Another stream's or producer's is refused. */
struct ds_journal_about {
    const char *url; /* as it may be stored (ds_url_redact()) */
    const char *id;
    const char *content_type;
};

struct ds_journal;

/* Takes the locks and reads the file, where there is one. ERR_LOCKED, ERR_STATE_CORRUPT,
 * ERR_STATE_MISMATCH, ERR_IO, ERR_NOMEM. `ops` NULL: the system's own. */
enum dstream_code ds_journal_open(struct ds_journal **out, const struct ds_fileops *ops,
                                  const char *path, const struct ds_journal_about *about,
                                  struct dstream_error *err);
void ds_journal_free(struct ds_journal *j);

/* What the next producer goes on from; NULL where the journal is new. Valid until
 * ds_journal_forget(), which gives back the memory of the bodies, or the first record. */
const struct ds_producer_journal *ds_journal_content(const struct ds_journal *j);
void ds_journal_forget(struct ds_journal *j);
/* The id that the next message takes. */
uint64_t ds_journal_next_id(const struct ds_journal *j);
/* When the oldest batch without a fate was written, ms since 1970; 0: there is none. */
uint64_t ds_journal_oldest(const struct ds_journal *j);
/* The content type that the journal was begun with; "" where it is new. */
const char *ds_journal_type(const struct ds_journal *j);

/* The type that a new one is begun with, where it was not known when it was opened. */
enum dstream_code ds_journal_set_type(struct ds_journal *j, const char *content_type,
                                      struct dstream_error *err);

/* With the mark a journal keeps what tells the input again: asked for whenever the mark moves.
 * `ask` NULL: nothing is. */
#define DS_JOURNAL_WITNESS 64
typedef void (*ds_journal_ask)(void *ctx, uint64_t mark, char out[DS_JOURNAL_WITNESS]);
void ds_journal_set_witness(struct ds_journal *j, ds_journal_ask ask, void *ctx);
/* What was kept with the mark; "": nothing. Valid until the first record. */
const char *ds_journal_witness(const struct ds_journal *j);

/* Writes a record down; one that begins the file anew is durable then. `unix_ms` is the time. After
 * a failure nothing more is written. ERR_IO, ERR_LIMIT, ERR_NOMEM. */
enum dstream_code ds_journal_write(struct ds_journal *j, struct ds_record *r, uint64_t unix_ms,
                                   struct dstream_error *err);
/* Makes all that was written durable. */
enum dstream_code ds_journal_sync(struct ds_journal *j, struct dstream_error *err);

/* How large a file has to be before it is written anew for what no longer matters. 4 MiB; a test
 * sets less. */
void ds_journal_set_waste(struct ds_journal *j, uint64_t bytes);

/* What `state show` says of one. */
struct ds_journal_summary {
    char url[4096], id[DS_ID_MAX + 1], content_type[256];
    uint64_t epoch, mark;
    enum ds_epoch_kind epoch_kind;
    uint64_t batches, messages, bytes; /* without a fate */
    uint64_t untold_stored;            /* messages whose fate was not told */
    uint64_t untold_not_written, untold_unknown;
    uint64_t oldest; /* as of ds_journal_oldest() */
};
enum dstream_code ds_journal_show(const struct ds_fileops *ops, const char *path,
                                  struct ds_journal_summary *out, bool *missing,
                                  struct dstream_error *err);

#endif
