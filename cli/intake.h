/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What of the input goes into one request: bytes as they come, or the whole messages among JSON
 * values. Pure: it is given pieces of the input and hands out loads. It holds one piece, the load
 * that is out and the one that is being filled, whatever the size of the input; of JSON, one
 * message may be as large as its limit.
 *
 * Positions count the bytes of the input from its beginning, over all its files.
 */
#ifndef DS_CLI_INTAKE_H
#define DS_CLI_INTAKE_H

#include "base/error.h"
#include "base/limits.h"
#include "decode/jsoncut.h"

#define DS_INTAKE_PIECE ((size_t)64 * 1024)

/* What is being filled. */
struct ds_intake_side {
    struct ds_items items; /* JSON: a bracket, then the messages; else the bytes */
    uint64_t end[2];       /* where the last message ended in the input, and the one before */
};

struct ds_intake {
    bool json;
    size_t load_max, message_max;
    struct ds_json_cut cut;
    struct ds_intake_side sides[2];
    unsigned filling; /* which of them is; the other one is out, or empty */
    char *piece;
    size_t piece_at, piece_len;
    uint64_t taken;     /* input that was looked at */
    uint64_t handed;    /* input that was handed out */
    uint64_t file_from; /* where the file under way began */
    struct dstream_error error;
};

/* What one request carries. Valid until the next one is taken. */
struct ds_load {
    const char *body;
    size_t len;
    uint64_t from, to; /* input bytes */
    uint64_t messages; /* of JSON, else 0 */
};

/* `load_max`: bytes of a load, but for a message that is larger. ERR_NOMEM. */
enum dstream_code ds_intake_init(struct ds_intake *in, bool json, size_t load_max,
                                 const struct ds_limits *limits);
void ds_intake_free(struct ds_intake *in);

/* Where the next piece is to be read to, at most *n bytes; NULL while the last one is not used up,
 * and a load must be taken first, and after an error. */
char *ds_intake_room(struct ds_intake *in, size_t *n);
/* So many bytes were read there. ERR_INPUT where they are not JSON, ERR_LIMIT for a message that is
 * too large or too deep, ERR_NOMEM; in->error then says where, as "not JSON at byte N: why", N
 * counting from the beginning of the file. What was whole before can still be taken. */
enum dstream_code ds_intake_add(struct ds_intake *in, size_t n);
/* The file under way has ended, and with it a number that nothing else has ended. The same. */
enum dstream_code ds_intake_end_file(struct ds_intake *in);
/* Whether there is anything to be taken. */
bool ds_intake_ready(const struct ds_intake *in);
/* Whether it must be taken before more can be read. */
bool ds_intake_full(const struct ds_intake *in);
/* Takes a load, which must be ready; the last one is no longer valid. What is left of the piece is
 * looked at then, as by ds_intake_add(). */
enum dstream_code ds_intake_take(struct ds_intake *in, struct ds_load *load);

#endif
