/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plays a recording: its entries as batches, each when it is due, from a position to a position.
 *
 * It reads the file, and asks no clock: it is given the time.
 *
 *   for (;;)
 *       step = ds_player_step(p, now, &err)
 *           BATCH  p->batch, as far as p->span says; take it, then ds_player_taken()
 *           WAIT   step again at p->due
 *           END    nothing more
 *           FAIL   err says why
 */
#ifndef DS_CLI_PLAYER_H
#define DS_CLI_PLAYER_H

#include "cli/pace.h"
#include "cli/span.h"
#include "decode/recording.h"

struct ds_player_config {
    const char *path; /* lent */
    uint64_t speed;   /* DS_PACE_MAX: as fast as it goes */
    /* Positions in the recording: where to start (NULL: with the first entry) and to stop (NULL:
     * behind the last one). Lent. */
    const char *from, *until;
    uint64_t from_skip, until_skip;
    struct ds_left left; /* stop after so many messages / bytes */
    unsigned json_depth;
};

enum ds_player_step { DS_PLAYER_BATCH, DS_PLAYER_WAIT, DS_PLAYER_END, DS_PLAYER_FAIL };

/* Units, of a position that was found, that are still to be passed. */
struct ds_player_mark {
    const char *offset; /* NULL: none */
    uint64_t skip;
    bool found;
    uint64_t left;
};

struct ds_player {
    struct ds_player_config c;
    int fd;
    struct ds_recording in;
    struct ds_pace pace;
    struct ds_player_mark from, until;
    uint64_t passed; /* units from the start on that an earlier run has played: may be set before
                        the first step, and they are passed over */
    bool has_entry;  /* in.entry was not taken yet, */
    bool begun;      /* and a batch was made of it */
    bool ended;      /* the file has */
    bool stop;       /* no more is wanted */
    int64_t due;
    dstream_batch batch;
    struct ds_span span;
    struct ds_left left;
    struct ds_checkpoint at; /* the position behind what was taken */
};

/* ERR_NOT_FOUND where there is no such file, ERR_IO, ERR_INPUT where it is no recording. The first
 * line was read: p->in.about is known, unless the recording is still empty (p->in.begun). */
enum dstream_code ds_player_open(struct ds_player *p, const struct ds_player_config *c,
                                 struct dstream_error *err);
void ds_player_close(struct ds_player *p);
/* FAIL: ERR_INPUT, ERR_IO, ERR_NOMEM; ERR_STATE_MISMATCH where there is less than was passed over;
 * ERR_ARGUMENT where `from` or `until` is no position of the recording, or messages are counted
 * that it does not have. */
enum ds_player_step ds_player_step(struct ds_player *p, int64_t now, struct dstream_error *err);
/* The batch was taken as far as the span said. */
void ds_player_taken(struct ds_player *p);
/* What was not taken yet is reckoned as if the first entry had been due now. */
void ds_player_restart(struct ds_player *p, int64_t now);
/* When the batch under way was recorded, ms since 1970. */
int64_t ds_player_received(const struct ds_player *p);
/* At the end: bytes of a last line that was not whole, and was no entry. */
size_t ds_player_torn(const struct ds_player *p);

#endif
