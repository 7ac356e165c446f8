/* SPDX-License-Identifier: Apache-2.0 */
/* What a request line names: a stream, and the parameters of a read. */
#ifndef DS_DEVSERVER_TARGET_H
#define DS_DEVSERVER_TARGET_H

#include "base/buf.h"

#define DS_TARGET_MAX ((size_t)8192) /* bytes of a request's target */

enum ds_live_mode { DS_MODE_CATCH_UP, DS_MODE_LONG_POLL, DS_MODE_SSE };

/* Texts lie in `text` and live as long as the target. */
struct ds_target {
    const char *path;   /* percent-encoded in one way only, so that equal paths are equal texts */
    const char *offset; /* the first one, decoded; NULL: none */
    unsigned offsets;   /* how many there were */
    const char *cursor; /* NULL: none */
    enum ds_live_mode mode;
    char *text;
};

/* Takes the target of a request as it came: a path with a query, or a whole http URL. ERR_LIMIT
 * over DS_TARGET_MAX, ERR_PARSE for broken escapes (or an encoded NUL), ERR_NOMEM; nothing is to be
 * freed then. */
enum dstream_code ds_target_parse(struct ds_target *t, const char *s);
void ds_target_free(struct ds_target *t);

#endif
