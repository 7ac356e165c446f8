/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads a recording (dstream-recording(5)): a line of JSON on the whole, then one for each answer
 * or event. Bytes in, entries out, whatever the pieces; no file, no clock.
 */
#ifndef DS_DECODE_RECORDING_H
#define DS_DECODE_RECORDING_H

#include "base/error.h"
#include "base/items.h"

#define DS_RECORDING_VERSION  1
#define DS_RECORDING_LINE_MAX ((size_t)512 << 20) /* bytes of a line */
#define DS_RECORDING_HEAD_MAX ((size_t)64 << 10)  /* of the first one, and of the headers kept */

/* How an answer came about. */
enum ds_recorded { DS_RECORDED_CATCH_UP, DS_RECORDED_LONG_POLL, DS_RECORDED_SSE };
/* "catch-up", "long-poll", "sse". Static. */
const char *ds_recorded_name(enum ds_recorded by);

struct ds_recording_about {
    char url[4097]; /* without secrets */
    char content_type[257];
    bool json;
    int64_t begun; /* ms since 1970 */
};

struct ds_recording_entry {
    int64_t time; /* ms since the recording began: never less than that of the entry before */
    bool begins;  /* an answer: the three below are its own, else those of the one before */
    enum ds_recorded by;
    int status;
    struct ds_buf headers; /* that were kept: name NUL value NUL, again and again */
    /* As of struct dstream_batch; `skip` are the units before the data. The flags are UP_TO_DATE,
     * CLOSED, PARTIAL (there is no `next`) and JSON. */
    char offset[DS_TOKEN_MAX + 1];
    uint64_t skip;
    char next[DS_TOKEN_MAX + 1];
    char cursor[DS_TOKEN_MAX + 1];
    unsigned flags;
    struct ds_items items;
};

/* Fields are for reading only. */
struct ds_recording {
    const char *name; /* for messages; lent */
    unsigned json_depth;
    bool begun; /* `about` is known */
    struct ds_recording_about about;
    struct ds_recording_entry entry; /* the last one */
    uint64_t line;                   /* its number, from 1 */
    /* private */
    struct ds_buf in;
    size_t used;    /* of `in`, up to the line that is next */
    size_t scanned; /* and up to where there is no LF */
    struct ds_buf text;
};

void ds_recording_init(struct ds_recording *r, const char *name, unsigned json_depth);
void ds_recording_free(struct ds_recording *r);
/* More of the file. ERR_LIMIT for a line over its cap, ERR_NOMEM. */
enum dstream_code ds_recording_feed(struct ds_recording *r, const void *p, size_t n,
                                    struct dstream_error *err);
/* The next entry becomes r->entry, until the next call. *got: there was one; else feed more.
 * ERR_INPUT with the number of the line that is not one of a recording, or of a version that is not
 * known; ERR_NOMEM. */
enum dstream_code ds_recording_next(struct ds_recording *r, bool *got, struct dstream_error *err);
/* At the end of the file: how many bytes of a line there are whose end is missing. A crash, or a
 * recording that is being written, leaves them, and they are no entry. */
size_t ds_recording_torn(const struct ds_recording *r);

#endif
