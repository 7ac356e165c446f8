/* SPDX-License-Identifier: Apache-2.0 */
/* A growing byte buffer with a mandatory cap: input comes from servers that may be hostile. */
#ifndef DS_BASE_BUF_H
#define DS_BASE_BUF_H

#include <stdarg.h>
#include <stddef.h>

#include "dstream.h"

struct ds_buf {
    char *data; /* NULL while nothing was ever stored */
    size_t len; /* bytes in use; may be lowered by the owner to cut the end off */
    size_t cap; /* bytes allocated */
    size_t max; /* len never exceeds this */
};

/* An empty buffer that takes at most `max` bytes. Allocates nothing. */
void ds_buf_init(struct ds_buf *b, size_t max);
void ds_buf_free(struct ds_buf *b);
/* Makes room for `n` more bytes. ERR_LIMIT over the cap, ERR_NOMEM; the contents stay as they were.
 */
enum dstream_code ds_buf_reserve(struct ds_buf *b, size_t n);
enum dstream_code ds_buf_add(struct ds_buf *b, const void *p, size_t n);
enum dstream_code ds_buf_addc(struct ds_buf *b, char c);
enum dstream_code ds_buf_adds(struct ds_buf *b, const char *s);
enum dstream_code ds_buf_addf(struct ds_buf *b, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
enum dstream_code ds_buf_addv(struct ds_buf *b, const char *fmt, va_list ap)
    __attribute__((format(printf, 2, 0)));
/* The contents as a C string: a NUL is put behind them, not counted. NULL without memory. Valid
 * until the next change. */
const char *ds_buf_str(struct ds_buf *b);
/* Drops the first `n` bytes. */
void ds_buf_drop(struct ds_buf *b, size_t n);
/* Empties it, and gives memory back where more than `keep` bytes are allocated. */
void ds_buf_reset(struct ds_buf *b, size_t keep);

#endif
