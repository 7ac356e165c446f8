/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"

void ds_buf_init(struct ds_buf *b, size_t max)
{
    *b = (struct ds_buf){.max = max};
}

void ds_buf_free(struct ds_buf *b)
{
    ds_free(b->data);
    ds_buf_init(b, b->max);
}

enum dstream_code ds_buf_reserve(struct ds_buf *b, size_t n)
{
    if (n > b->max || b->len > b->max - n)
        return DSTREAM_ERR_LIMIT;
    size_t need = b->len + n + 1; /* one more for ds_buf_str() and for libb64's last store */
    if (need <= b->cap)
        return DSTREAM_OK;
    size_t cap = b->cap ? b->cap : 64;
    while (cap < need)
        cap = cap > SIZE_MAX / 2 ? need : cap * 2;
    char *p = ds_realloc(b->data, cap);
    if (!p)
        return DSTREAM_ERR_NOMEM;
    b->data = p;
    b->cap = cap;
    return DSTREAM_OK;
}

enum dstream_code ds_buf_add(struct ds_buf *b, const void *p, size_t n)
{
    enum dstream_code rc = ds_buf_reserve(b, n);
    if (rc == DSTREAM_OK && n > 0) {
        memcpy(b->data + b->len, p, n);
        b->len += n;
    }
    return rc;
}

enum dstream_code ds_buf_addc(struct ds_buf *b, char c)
{
    return ds_buf_add(b, &c, 1);
}

enum dstream_code ds_buf_adds(struct ds_buf *b, const char *s)
{
    return ds_buf_add(b, s, strlen(s));
}

enum dstream_code ds_buf_addv(struct ds_buf *b, const char *fmt, va_list ap)
{
    va_list again;
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, again);
    va_end(again);
    if (n < 0)
        return DSTREAM_ERR_INTERNAL;
    enum dstream_code rc = ds_buf_reserve(b, (size_t)n);
    if (rc != DSTREAM_OK)
        return rc;
    vsnprintf(b->data + b->len, (size_t)n + 1, fmt, ap);
    b->len += (size_t)n;
    return DSTREAM_OK;
}

enum dstream_code ds_buf_addf(struct ds_buf *b, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    enum dstream_code rc = ds_buf_addv(b, fmt, ap);
    va_end(ap);
    return rc;
}

const char *ds_buf_str(struct ds_buf *b)
{
    if (!b->data && ds_buf_reserve(b, 0) != DSTREAM_OK)
        return NULL;
    b->data[b->len] = '\0';
    return b->data;
}

void ds_buf_drop(struct ds_buf *b, size_t n)
{
    if (n == 0)
        return;
    memmove(b->data, b->data + n, b->len - n);
    b->len -= n;
}

void ds_buf_reset(struct ds_buf *b, size_t keep)
{
    b->len = 0;
    if (b->cap > keep)
        ds_buf_free(b);
}
