/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The checkpoint: how far a stream has been taken, what the output looked like then, and what must
 * be found again before going on. One line of JSON that ends in a CRC of what is before it.
 *
 * Numbers of 64 bits are written as strings of digits, since JSON readers keep only 53 of them.
 * Offsets and the like are bytes, not always UTF-8: each byte stands as the code point of its
 * number.
 */
#ifndef DS_STORE_CHECKPOINT_H
#define DS_STORE_CHECKPOINT_H

#include "base/buf.h"
#include "base/error.h"
#include "base/hash.h"

#define DS_CHECKPOINT_VERSION  1
#define DS_CHECKPOINT_LINE_MAX 65536 /* bytes of the line, its LF included */
#define DS_CHECKPOINT_URL_MAX  4096
#define DS_CHECKPOINT_TAIL     65536 /* bytes at the output's end that are hashed */

/* What was last delivered: the beginning of the last batch that had data. */
struct ds_checkpoint_witness {
    char start[DS_TOKEN_MAX + 1]; /* where that batch began; "" while there is no witness */
    uint64_t delivered;           /* how much of it was: stream bytes, or messages of JSON */
    uint64_t hashed;              /* how much of its beginning the hash covers, in the same unit */
    char hash[DS_HASH_HEX];
};

struct ds_checkpoint {
    char url[DS_CHECKPOINT_URL_MAX + 1]; /* as ds_checkpoint_set_url() leaves it */
    char left_out[512];                  /* names of the query parameters left out of it, each
                                            followed by '&' */
    char content_type[256];
    char format[16];
    char from[DS_TOKEN_MAX + 1]; /* as it was asked for: "-1", "now", or an offset */
    uint64_t from_skip;
    char from_offset[DS_TOKEN_MAX + 1]; /* the concrete offset that came to */
    char first[DS_TOKEN_MAX + 1];       /* where the first data began; "" before there were any */
    char offset[DS_TOKEN_MAX + 1];      /* go on here, */
    uint64_t skip;   /* leaving out so many bytes, or messages of JSON, that are done already */
    bool closed;     /* the stream is closed and this is its end */
    bool has_output; /* there is a file; else the two below mean nothing */
    uint64_t length;
    char tail[DS_HASH_HEX]; /* of the last DS_CHECKPOINT_TAIL bytes before `length`, or of all */
    struct ds_checkpoint_witness witness;
    char time[32]; /* when it was made: RFC 3339, UTC */
};

/* Stores the URL without user info, fragment, and the query parameters whose names look like those
 * of secrets, whose names it lists. ERR_LIMIT where it is too long. */
enum dstream_code ds_checkpoint_set_url(struct ds_checkpoint *c, const char *url,
                                        struct dstream_error *err);
/* Cut at the array's end. */
void ds_checkpoint_set_type(struct ds_checkpoint *c, const char *content_type);
/* Sets the time to now. */
void ds_checkpoint_stamp(struct ds_checkpoint *c);

/* Appends the line, its LF included. ERR_NOMEM, ERR_LIMIT where `out` is full. */
enum dstream_code ds_checkpoint_write(struct ds_buf *out, const struct ds_checkpoint *c);
/* Reads one whole line, its LF included. `path` is for messages. ERR_STATE_CORRUPT for what is
 * empty, cut, changed in any byte, or of another version. */
enum dstream_code ds_checkpoint_read(struct ds_checkpoint *c, const char *line, size_t n,
                                     const char *path, struct dstream_error *err);

/* What a command asks of a checkpoint that is there. */
struct ds_checkpoint_ask {
    const char *url;
    const char *format; /* NULL: whatever it has */
    const char *from;   /* NULL: not said */
    uint64_t from_skip;
};
/* Whether it can go on as asked. ERR_STATE_MISMATCH where it is of another stream, ERR_ARGUMENT for
 * another format or start. */
enum dstream_code ds_checkpoint_fits(const struct ds_checkpoint *c,
                                     const struct ds_checkpoint_ask *ask, const char *path,
                                     struct dstream_error *err);

#endif
