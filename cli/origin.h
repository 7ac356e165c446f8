/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where what is written comes from, kept beside the journal of the writing, as STATE.source.
 *
 * It may be behind the journal, never ahead of it: its mark says what of the journal's its position
 * is, so that a run goes on as many units behind the position as the journal is ahead. So it can be
 * written at leisure, and a kill at any moment neither loses nor doubles.
 */
#ifndef DS_CLI_ORIGIN_H
#define DS_CLI_ORIGIN_H

#include "cli/cli.h"
#include "cli/write.h"
#include "store/state.h"

struct ds_origin {
    struct ds_state *state;  /* NULL: nothing is kept */
    struct ds_checkpoint at; /* as last committed, or where it begins */
    bool resumed;
    uint64_t ahead; /* units that the journal is ahead of `at` */
};

struct ds_origin_about {
    const char *url;    /* of what is read */
    const char *format; /* "copy", "replay" */
    const char *from;   /* where it began, or NULL: it was not said */
    uint64_t from_skip;
};

/* Reads what an earlier run has left beside --state, where there is one; w's journal is open.
 * ERR_STATE_MISMATCH where the two do not go together, or are of something else; ERR_ARGUMENT for
 * another start; ERR_LOCKED, ERR_STATE_CORRUPT, ERR_IO, ERR_NOMEM. */
enum dstream_code ds_origin_open(struct ds_origin *o, const struct ds_write *w,
                                 const struct ds_origin_about *about, struct dstream_error *err);
/* Makes `at` durable. The journal must be: what it says up to at->mark was acknowledged. */
enum dstream_code ds_origin_commit(struct ds_origin *o, const struct ds_checkpoint *at,
                                   struct dstream_error *err);
void ds_origin_close(struct ds_origin *o);

#endif
