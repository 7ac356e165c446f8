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
#define DS_TEMPLATE_MAX        1024
#define DS_SEGMENT_MAX         255   /* bytes of a file's name */
#define DS_CHECKPOINT_TAIL     65536 /* bytes at the output's end that are hashed */

/* What was last delivered: the beginning of the last batch that had data. */
struct ds_checkpoint_witness {
    char start[DS_TOKEN_MAX + 1]; /* where that batch began; "" while there is no witness */
    uint64_t delivered;           /* how much of it was: stream bytes, or messages of JSON */
    uint64_t hashed;              /* how much of its beginning the hash covers, in the same unit */
    char hash[DS_HASH_HEX];
};

/* Where an output is rotated: its current segment. */
struct ds_checkpoint_segment {
    uint64_t number;             /* from 1, never used twice; 0: the output is not rotated */
    char from[DS_TOKEN_MAX + 1]; /* where it begins */
    uint64_t from_skip;
    int64_t since;                    /* when its first data came: ms of the calendar's clock */
    char sealing[DS_SEGMENT_MAX + 1]; /* the name that it is being given; "": it is written to */
};

struct ds_checkpoint {
    char file[DS_SEGMENT_MAX + 1];       /* of a directory's files, whose line this is; else "" */
    char url[DS_CHECKPOINT_URL_MAX + 1]; /* as ds_checkpoint_set_url() leaves it */
    char left_out[512];                  /* names of the query parameters left out of it, each
                                            followed by '&' */
    char content_type[256];
    char format[16];
    char template[DS_TEMPLATE_MAX + 1]; /* of the format that is one; else "" */
    bool in_line;                /* of the format that is lines: the output ends inside of one */
    char compression[8];         /* "": none */
    char from[DS_TOKEN_MAX + 1]; /* as it was asked for: "-1", "now", or an offset */
    uint64_t from_skip;
    char from_offset[DS_TOKEN_MAX + 1]; /* the concrete offset that came to */
    char first[DS_TOKEN_MAX + 1];       /* where the first data began; "" before there were any */
    char offset[DS_TOKEN_MAX + 1];      /* go on here, */
    uint64_t skip;   /* leaving out so many bytes, or messages of JSON, that are done already */
    bool closed;     /* the stream is closed and this is its end */
    bool has_output; /* there is a file; else the two below mean nothing */
    uint64_t length;
    uint64_t before;        /* of it, that were there before the export */
    char tail[DS_HASH_HEX]; /* of the last DS_CHECKPOINT_TAIL bytes before `length`, or of all */
    struct ds_checkpoint_segment segment;
    uint64_t manifest; /* length of the manifest of an output that is rotated by itself */
    struct ds_checkpoint_witness witness;
    uint64_t handed; /* so much from the position on, in units of `skip`, was handed out before it
                        was done: it may be */
    bool has_mark;   /* it is of a source that is written elsewhere: */
    uint64_t mark;   /* what the journal of that says of this position */
    char time[32];   /* when it was made: RFC 3339, UTC */
};

/* The first line of a directory's state; a line for each of its files follows. */
struct ds_checkpoint_head {
    uint64_t files;    /* how many */
    uint64_t manifest; /* length of the manifest */
    char time[32];
};

/* Stores the URL without user info, fragment, and the query parameters whose names look like those
 * of secrets, whose names it lists. ERR_LIMIT where it is too long. */
enum dstream_code ds_checkpoint_set_url(struct ds_checkpoint *c, const char *url,
                                        struct dstream_error *err);
/* Makes a zeroed one that of an export of the URL which is to begin at `from` (NULL: at the
 * beginning). ERR_ARGUMENT where that is too long, ERR_LIMIT. */
enum dstream_code ds_checkpoint_begin(struct ds_checkpoint *c, const char *url, const char *from,
                                      uint64_t skip, struct dstream_error *err);
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

/* The same for the first line of a directory's state. */
enum dstream_code ds_checkpoint_write_head(struct ds_buf *out, const struct ds_checkpoint_head *h);
enum dstream_code ds_checkpoint_read_head(struct ds_checkpoint_head *h, const char *line, size_t n,
                                          const char *path, struct dstream_error *err);
/* Whether a file begins as a state does, of whatever version. */
bool ds_checkpoint_is(const char *line, size_t n);
/* Whether a state begins as a directory's does. */
bool ds_checkpoint_is_head(const char *line, size_t n);
/* Sets ERR_STATE_CORRUPT: "PATH: the state file WHY: what to do". */
enum dstream_code ds_checkpoint_corrupt(struct dstream_error *err, const char *path,
                                        const char *why);
/* Appends `before` and the text as a string of JSON, byte by byte as in a checkpoint. */
enum dstream_code ds_checkpoint_add_text(struct ds_buf *out, const char *before, const char *s);
/* The time now, RFC 3339 in UTC; "" where there is none. */
void ds_checkpoint_now(char out[32]);

/* What a command asks of a checkpoint that is there. */
struct ds_checkpoint_ask {
    const char *url;
    const char *format;   /* NULL: whatever it has */
    const char *template; /* of a format that is one; else NULL */
    const char *from;     /* NULL: not said */
    uint64_t from_skip;
    const char *compression; /* NULL: whatever it has; "": none */
};
/* Whether it can go on as asked. ERR_STATE_MISMATCH where it is of another stream, ERR_ARGUMENT for
 * another format, compression or start. */
enum dstream_code ds_checkpoint_fits(const struct ds_checkpoint *c,
                                     const struct ds_checkpoint_ask *ask, const char *path,
                                     struct dstream_error *err);

#endif
