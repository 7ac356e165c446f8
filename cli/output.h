/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where stream data goes: standard output, or a file that is made for it.
 *
 * Bytes are gathered and go out by ds_output_flush(), exact into a pipe or file; on a terminal
 * control characters are made visible. A write waits until it is taken, so that a slow reader stops
 * the reading.
 */
#ifndef DS_CLI_OUTPUT_H
#define DS_CLI_OUTPUT_H

#include "base/buf.h"
#include "base/error.h"

struct ds_output {
    int fd;           /* -1: not open */
    const char *path; /* NULL: standard output */
    bool overwrite, append;
    bool terminal; /* it is one */
    bool gone;     /* who read it has gone: nothing more can be written */
    struct ds_buf pending, shown;
};

/* `path` NULL: standard output. It is lent. Opens nothing. */
void ds_output_init(struct ds_output *o, const char *path, bool overwrite, bool append);
/* ERR_EXISTS for a file that is there and is neither to be overwritten nor appended to. For a
 * failure before any request. */
enum dstream_code ds_output_check(const struct ds_output *o, struct dstream_error *err);
/* Opens it, if it is not. ERR_EXISTS, ERR_IO. */
enum dstream_code ds_output_open(struct ds_output *o, struct dstream_error *err);
/* Takes bytes. May write. ERR_CANCELLED where `gone`, or where INT or TERM ended the waiting;
 * ERR_IO, ERR_NOMEM. */
enum dstream_code ds_output_put(struct ds_output *o, const void *p, size_t n,
                                struct dstream_error *err);
/* Writes what was taken, but for the beginning of a character on a terminal. */
enum dstream_code ds_output_flush(struct ds_output *o, struct dstream_error *err);
/* Writes the rest and closes it; a file of its own is synced. */
enum dstream_code ds_output_close(struct ds_output *o, struct dstream_error *err);
/* Closes it without another word. */
void ds_output_free(struct ds_output *o);

#endif
