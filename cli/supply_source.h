/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stream that is read, as what a producer is fed with. Marks are units (messages of JSON, else
 * bytes) from where the first run began.
 *
 * A batch is held until all of it was taken. What is acknowledged of it is told to its origin now
 * and then, so that the next run begins near where this one ended.
 */
#ifndef DS_CLI_SUPPLY_SOURCE_H
#define DS_CLI_SUPPLY_SOURCE_H

#include "cli/origin.h"
#include "cli/run.h"
#include "cli/span.h"
#include "cli/supply.h"

struct ds_supply_source {
    struct ds_run run;
    struct ds_source source;
    struct ds_origin *origin; /* opened; lent */
    struct ds_witness_keeper keeper;
    struct ds_left left;
    size_t max; /* bytes of a message, where it has no borders of its own */
    /* The batch that is held: lent by the reader meanwhile. */
    const dstream_batch *batch;
    bool taken; /* what the reader offers again next was taken, all of it */
    struct ds_span span;
    size_t unit, end;          /* the next one of it, and the one behind the message on offer */
    uint64_t mark;             /* behind what was dropped */
    uint64_t stored;           /* the highest mark that was acknowledged */
    struct ds_checkpoint at;   /* behind the last batch that was used up, with its mark */
    struct ds_checkpoint *due; /* an earlier `at`, to be kept once it is acknowledged; or NULL */
    struct ds_checkpoint due_at;
    struct ds_timer keep;
    struct dstream_error error;
};

/* Sets it up for the operand, on a loop that is there. It must stay where it is. ERR_ARGUMENT,
 * ERR_NOMEM. */
enum dstream_code ds_supply_source_init(struct ds_supply_source *s, struct ds_cli *c,
                                        dstream_loop *loop, const char *operand,
                                        struct dstream_error *err);
/* Reads on from the origin; `mark` is the journal's. */
enum dstream_code ds_supply_source_start(struct ds_supply_source *s, struct ds_origin *o,
                                         uint64_t mark, struct ds_supply *out);
/* Now that the type is known. */
void ds_supply_source_set_kind(struct ds_supply_source *s, size_t max, struct ds_supply *out);
/* The end. `done`: everything that was taken is stored, and closed where that was asked for. */
enum dstream_code ds_supply_source_finish(struct ds_supply_source *s, bool done,
                                          struct dstream_error *err);
void ds_supply_source_free(struct ds_supply_source *s);

#endif
