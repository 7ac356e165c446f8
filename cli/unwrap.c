/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "cli/unwrap.h"

#include <string.h>

#include "decode/base64.h"
#include "decode/jsoncut.h"
#include "decode/walk.h"

void ds_unwrap_init(struct ds_unwrap *u, unsigned depth)
{
    *u = (struct ds_unwrap){.depth = depth};
    ds_buf_init(&u->line, SIZE_MAX);
}

void ds_unwrap_free(struct ds_unwrap *u)
{
    ds_buf_free(&u->line);
}

bool ds_unwrap_is_whole(const struct ds_unwrap *u)
{
    return u->line.len == 0;
}

static enum dstream_code add_message(struct ds_buf *out, struct ds_slice v)
{
    enum dstream_code rc = ds_buf_add(out, v.p, v.n);
    return rc == DSTREAM_OK ? ds_buf_addc(out, '\n') : rc;
}

static enum dstream_code add_base64(struct ds_buf *out, struct ds_slice v)
{
    size_t before = out->len, len, at;
    const char *why;
    enum dstream_code rc = ds_json_text(out, v);
    if (rc == DSTREAM_OK && out->len > before)
        rc = ds_base64_decode(out->data + before, out->len - before, &len, &at, &why);
    else
        len = 0;
    out->len = rc == DSTREAM_OK ? before + len : before;
    return rc;
}

/* One of the three that carry data; a line has one. */
static enum dstream_code take_member(struct ds_buf *out, struct ds_slice key, struct ds_slice value,
                                     bool *has_data)
{
    static const struct {
        const char *name;
        enum dstream_code (*add)(struct ds_buf *out, struct ds_slice value);
    } kinds[] = {{"json", add_message}, {"text", ds_json_text}, {"base64", add_base64}};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (!ds_json_is_key(key, kinds[i].name))
            continue;
        if (*has_data)
            return DSTREAM_ERR_PARSE;
        *has_data = true;
        return kinds[i].add(out, value);
    }
    return DSTREAM_OK;
}

static enum dstream_code take_line(const struct ds_unwrap *u, struct ds_buf *out)
{
    const char *at = u->line.data;
    struct ds_slice key, value;
    bool has_data = false;
    enum dstream_code rc = DSTREAM_OK;
    if (u->line.len == 0 || at[0] != '{' || !ds_json_valid(at, u->line.len, u->depth))
        return DSTREAM_ERR_PARSE;
    while (rc == DSTREAM_OK && ds_json_member(&at, &key, &value))
        rc = take_member(out, key, value, &has_data);
    return rc == DSTREAM_OK && !has_data ? DSTREAM_ERR_PARSE : rc;
}

enum dstream_code ds_unwrap_add(struct ds_unwrap *u, const char *p, size_t n, struct ds_buf *out)
{
    enum dstream_code rc = DSTREAM_OK;
    while (n > 0 && rc == DSTREAM_OK) {
        const char *lf = memchr(p, '\n', n);
        size_t len = lf ? (size_t)(lf - p) : n;
        rc = ds_buf_add(&u->line, p, len);
        if (rc != DSTREAM_OK || !lf)
            return rc;
        rc = take_line(u, out);
        u->line.len = 0;
        u->lines += rc == DSTREAM_OK;
        p += len + 1;
        n -= len + 1;
    }
    return rc;
}
