/* SPDX-License-Identifier: Apache-2.0 */
/* What write reads: files and standard input, one after another, as they come. */
#ifndef DS_CLI_INPUT_H
#define DS_CLI_INPUT_H

#include "base/error.h"
#include "client/loop.h"

struct ds_input {
    dstream_loop *loop;
    const char *const *files; /* "-": standard input */
    size_t nfiles, opened;    /* of them */
    const char *name;         /* of the one that is read, or was last; for messages */
    int fd;                   /* -1: none is open */
    bool watched;
    bool ended;                 /* all of it was read, or no more is to be */
    struct dstream_error error; /* what ended it before its end */
    /* An earlier run took in so many bytes: where they are in regular files, these are not read
     * again; whoever feeds a pipe begins behind them. */
    uint64_t skip;
    uint64_t skipped; /* of them, so far */
};

enum ds_input_got {
    DS_INPUT_DATA,
    DS_INPUT_FILE_END, /* of one file */
    DS_INPUT_WAIT,     /* there is nothing just now: the loop wakes up when there is */
    DS_INPUT_END       /* of all of them, or in->error says why no more is read */
};

void ds_input_init(struct ds_input *in, dstream_loop *loop, const char *const *files, size_t n);
/* Reads once, *got bytes at most `n`. Never waits. */
enum ds_input_got ds_input_read(struct ds_input *in, char *room, size_t n, size_t *got);
/* Nothing is to be read just now: the loop does not wake up for it. */
void ds_input_hold(struct ds_input *in);
/* No more is read. */
void ds_input_stop(struct ds_input *in);
/* The same, for that reason, with the input's name before it. */
void ds_input_fail(struct ds_input *in, const struct dstream_error *why);

#endif
