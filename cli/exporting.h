/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A run of dstream export or record: streams that are read on one loop, each into its exporter, and
 * the commits of what they wrote. One stream commits by itself; those of a directory together, in
 * steps between which the loop turns, so that however long syncing takes the streams are read on.
 */
#ifndef DS_CLI_EXPORTING_H
#define DS_CLI_EXPORTING_H

#include "cli/exporter.h"
#include "cli/recorder.h"
#include "cli/run.h"

struct exporting;

struct exported {
    struct ds_source s;
    struct exporting *all;
    struct ds_exporter *exporter; /* NULL: it could not be opened */
    char *file;                   /* its name in a directory */
    bool complete;                /* an earlier run has left nothing to do */
    bool over;                    /* what became of it was seen to */
};

struct exporting {
    struct ds_cli *cli;
    struct ds_run run;
    struct exported *streams;
    size_t n, busy;
    struct ds_exports *directory; /* NULL: one stream, with a file of its own */
    struct ds_recorder recorder;  /* of record */
    struct ds_exporter_form form;
    struct ds_timer sync;
    struct ds_timer rotate;     /* a segment is old enough */
    bool rotates;               /* outputs have segments */
    int64_t synced;             /* when something was committed, or tried to be */
    int64_t spent_us;           /* of a pause that is due, for the time that syncing took */
    struct dstream_error error; /* of the whole */
};

/* Reads until all is done, or something ends it, then commits what is good. */
void ds_exporting_run(struct exporting *e);

/* Whether what was due to be committed at `due` (DS_NEVER: there is nothing) waits at `now`, and
 * nothing was committed for long: no timer can be that late. */
bool ds_exporting_overdue(int64_t due, int64_t synced, int64_t now);

#endif
