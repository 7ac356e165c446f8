/* SPDX-License-Identifier: Apache-2.0 */
/* What write reads: files and standard input, one after another, as they come. */
#ifndef DS_CLI_INPUT_H
#define DS_CLI_INPUT_H

#include "base/error.h"
#include "base/hash.h"
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
    uint64_t skipped;    /* of them, so far */
    const char *witness; /* of what lies before that (ds_input_witness()); "": not known */
    uint64_t at;         /* bytes of the input that were read or skipped */
    uint64_t *from;      /* where each file began; NULL: it is not kept */
    uint64_t base;       /* where standard input stood, in its file */
};

enum ds_input_got {
    DS_INPUT_DATA,
    DS_INPUT_FILE_END, /* of one file */
    DS_INPUT_WAIT,     /* there is nothing just now: the loop wakes up when there is */
    DS_INPUT_END       /* of all of them, or in->error says why no more is read */
};

void ds_input_init(struct ds_input *in, dstream_loop *loop, const char *const *files, size_t n);
/* Frees what it has. */
void ds_input_free(struct ds_input *in);
/* What an earlier run took in of it, and the witness of that ("": none); from now on this one can
 * give witnesses. ERR_NOMEM. */
enum dstream_code ds_input_go_on(struct ds_input *in, uint64_t skip, const char *witness);
/* What stands for the bytes just before this place of the input: their number and a hash. "" where
 * they are not those of a regular file. */
#define DS_INPUT_WITNESS (DS_HASH_HEX + 8)
void ds_input_witness(const struct ds_input *in, uint64_t at, char out[DS_INPUT_WITNESS]);
/* Reads once, *got bytes at most `n`. Never waits. */
enum ds_input_got ds_input_read(struct ds_input *in, char *room, size_t n, size_t *got);
/* Nothing is to be read just now: the loop does not wake up for it. */
void ds_input_hold(struct ds_input *in);
/* No more is read. */
void ds_input_stop(struct ds_input *in);
/* The same, for that reason, with the input's name before it. */
void ds_input_fail(struct ds_input *in, const struct dstream_error *why);

#endif
