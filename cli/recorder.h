/* SPDX-License-Identifier: Apache-2.0 */
/* Writes a recording (dstream-recording(5)): the form of an export that keeps the time of each
 * answer, and its head. */
#ifndef DS_CLI_RECORDER_H
#define DS_CLI_RECORDER_H

#include "base/http.h"
#include "cli/exporter.h"
#include "decode/recording.h"

struct ds_recorder {
    const char *url; /* complete; lent */
    int64_t begun;   /* ms since 1970 */
    int64_t shift;   /* from the loop's time to that of the recording */
    int64_t last;    /* no entry is before this one */
    /* The head of the answer under way. */
    bool fresh; /* no entry has told of it */
    enum ds_recorded by;
    int status;
    struct ds_buf headers; /* name NUL value NUL, again and again */
};

void ds_recorder_init(struct ds_recorder *r, const char *url);
void ds_recorder_free(struct ds_recorder *r);
/* The form to export as, lent until the recorder is freed. */
void ds_recorder_form(struct ds_recorder *r, struct ds_exporter_form *out);
/* Its time begins, or goes on from where the file that is exported to says. `now` is the time that
 * batches will come with. ERR_STATE_MISMATCH for a file that is no recording, ERR_IO, ERR_NOMEM. */
enum dstream_code ds_recorder_start(struct ds_recorder *r, struct ds_exporter *x, int64_t now,
                                    struct dstream_error *err);
/* An answer has come: as of ds_on_head, `ctx` being the recorder. */
void ds_recorder_head(void *ctx, bool live, const struct ds_head *head);

#endif
