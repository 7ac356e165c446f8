/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cuts the input of write into messages for a producer: JSON values, lines, or bytes as they come.
 * Pure: it is given pieces of the input. It holds one piece, and one message that goes over pieces.
 *
 * Positions count the bytes of the input from its beginning, over all its files.
 */
#ifndef DS_CLI_MESSAGES_H
#define DS_CLI_MESSAGES_H

#include "base/error.h"
#include "decode/jsoncut.h"

#define DS_MESSAGES_PIECE ((size_t)64 * 1024)

enum ds_messages_how {
    DS_MESSAGES_BYTES, /* a piece, or as much of it as is allowed */
    DS_MESSAGES_LINES, /* a line with its LF; the last one may have none */
    DS_MESSAGES_JSON
};

struct ds_messages {
    enum ds_messages_how how;
    size_t max; /* bytes of one */
    struct ds_json_cut cut;
    struct ds_items items; /* JSON: the message under way; LINES: its bytes */
    char *piece;
    size_t at, len;
    uint64_t taken;     /* input that was looked at */
    uint64_t file_from; /* where the file under way began */
    bool ready;         /* there is a message that was not dropped */
    struct dstream_error error;
    const char *message;
    size_t message_len;
};

/* No message is over `max` bytes. ERR_NOMEM. */
enum dstream_code ds_messages_init(struct ds_messages *m, enum ds_messages_how how, size_t max,
                                   unsigned json_depth);
void ds_messages_free(struct ds_messages *m);

/* Where the next piece is to be read to, DS_MESSAGES_PIECE bytes at most. Once there is no message
 * any more, and no error. */
char *ds_messages_room(struct ds_messages *m);
void ds_messages_add(struct ds_messages *m, size_t n);
/* The file under way has ended, and with it a number or a line that nothing else has ended. */
void ds_messages_end_file(struct ds_messages *m);

/* The next message, and where in the input it ends; the same one until it is dropped. Valid until
 * then, or the next piece. False where there is none, or for an error: ERR_INPUT where the input is
 * not JSON, ERR_LIMIT for a message that is too large or too deep, ERR_NOMEM. m->error then says
 * where, as "not JSON at byte N: why", N counting from the beginning of the file. */
bool ds_messages_next(struct ds_messages *m, const char **p, size_t *n, uint64_t *end);
void ds_messages_drop(struct ds_messages *m);

#endif
