/* SPDX-License-Identifier: Apache-2.0 */
/* The error object: a code with its circumstances, in fixed arrays so that reporting never
 * allocates. */
#ifndef DS_BASE_ERROR_H
#define DS_BASE_ERROR_H

#include "dstream.h"

#define DS_TOKEN_MAX 1024 /* bytes of an offset or cursor, protocol tokens that we carry along */

struct dstream_error {
    enum dstream_code code;
    int status;
    char url[512];
    char offset[DS_TOKEN_MAX + 1];
    char message[512];
};

/* Sets code and message, replaces control characters in it by '?', cuts it at the array's end
 * (never inside a UTF-8 sequence), and returns `code`. status, url and offset stay. */
enum dstream_code ds_error_set(struct dstream_error *e, enum dstream_code code, const char *fmt,
                               ...) __attribute__((format(printf, 3, 4)));
/* Takes the stream's URL, without user info and query values. */
void ds_error_set_url(struct dstream_error *e, const char *url);
void ds_error_set_offset(struct dstream_error *e, const char *offset);
void ds_error_clear(struct dstream_error *e);

#endif
