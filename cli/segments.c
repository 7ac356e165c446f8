/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "cli/segments.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/text.h"
#include "decode/jsoncut.h"
#include "decode/walk.h"

#define LINE_MAX_BYTES ((size_t)256 * 1024)

/* One line. */
struct segment {
    const char *name, *of, *stream, *from, *to; /* NULL: it has none */
    char text[5][DS_CHECKPOINT_URL_MAX + 1];
    struct ds_checkpoint c;
};

struct reading {
    FILE *f;
    uint64_t length;
    const char *of;
    const struct ds_checkpoint *state;
    ds_segments_take take;
    void *ctx;
    struct ds_buf line;
    struct segment *segment;
    uint64_t first; /* where the last of them begin that lie behind each other: what is before was
                       forgotten by a --reset */
};

static bool get_text(struct ds_slice v, char *out, size_t size)
{
    struct ds_buf b;
    ds_buf_init(&b, size - 1);
    bool ok = ds_json_bytes(&b, v) == DSTREAM_OK;
    if (ok && b.len > 0)
        memcpy(out, b.data, b.len);
    out[ok ? b.len : 0] = '\0';
    ds_buf_free(&b);
    return ok;
}

static bool get_number(struct ds_slice v, uint64_t *out)
{
    char digits[32];
    if (v.n >= sizeof digits)
        return false;
    memcpy(digits, v.p, v.n);
    digits[v.n] = '\0';
    return ds_parse_u64(digits, UINT64_MAX, out);
}

/* False where the value is none of its kind. Members that are not known are left alone. */
static bool take_member(struct segment *s, struct ds_slice key, struct ds_slice v)
{
    struct ds_checkpoint *c = &s->c;
    const struct {
        const char *key, **at;
    } names[] = {{"segment", &s->name},
                 {"of", &s->of},
                 {"stream", &s->stream},
                 {"from", &s->from},
                 {"to", &s->to}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (!ds_json_is_key(key, names[i].key))
            continue;
        *names[i].at = s->text[i];
        return get_text(v, s->text[i], sizeof s->text[i]);
    }
    if (ds_json_is_key(key, "format"))
        return get_text(v, c->format, sizeof c->format);
    if (ds_json_is_key(key, "compression"))
        return get_text(v, c->compression, sizeof c->compression);
    if (ds_json_is_key(key, "length"))
        return get_number(v, &c->length);
    if (ds_json_is_key(key, "last"))
        c->closed = v.n == 4;
    return true;
}

/* What stands before the last comma, and behind it. */
static bool set_from(struct ds_checkpoint *c, const char *from)
{
    const char *comma = strrchr(from, ',');
    if (!comma || (size_t)(comma - from) >= sizeof c->from_offset)
        return false;
    memcpy(c->from_offset, from, (size_t)(comma - from));
    c->from_offset[comma - from] = '\0';
    return ds_parse_u64(comma + 1, UINT64_MAX, &c->from_skip);
}

/* False where it is no line of a manifest. *wanted: it is a segment of that output. */
static bool read_line(struct segment *s, const char *line, size_t n, const char *of,
                      const struct ds_checkpoint *state, bool *wanted)
{
    const char *at = line;
    struct ds_slice key, value;
    *s = (struct segment){.c = *state};
    s->c.segment = (struct ds_checkpoint_segment){0};
    s->c.witness = (struct ds_checkpoint_witness){0};
    s->c.compression[0] = '\0';
    s->c.before = 0;
    s->c.closed = false;
    if (n == 0 || line[0] != '{' || !ds_json_valid(line, n, 8))
        return false;
    while (ds_json_member(&at, &key, &value)) {
        if (!take_member(s, key, value))
            return false;
    }
    *wanted = s->name && s->of && s->stream && strcmp(s->of, of) == 0 &&
              strcmp(s->stream, state->url) == 0;
    return !*wanted || (s->from && s->to && set_from(&s->c, s->from) && !strchr(s->name, '/'));
}

/* All of the output's segments, in turn. False where the manifest is not as the state says. */
static bool read_all(struct reading *r, bool take)
{
    struct segment *s = r->segment;
    uint64_t n = 0;
    char end[sizeof s->text[0]] = "";
    r->line.len = 0;
    rewind(r->f);
    for (uint64_t at = 0; at < r->length; at++) {
        int b = getc(r->f);
        bool wanted;
        if (b == EOF || (b != '\n' && ds_buf_addc(&r->line, (char)b) != DSTREAM_OK))
            return false;
        if (b != '\n')
            continue;
        if (!read_line(s, r->line.data, r->line.len, r->of, r->state, &wanted))
            return false;
        r->line.len = 0;
        if (!wanted)
            continue;
        if (take && n >= r->first)
            r->take(r->ctx, s->name, &s->c);
        if (!take && strcmp(s->from, end) != 0)
            r->first = n;
        strcpy(end, s->to);
        n++;
    }
    return r->line.len == 0;
}

enum dstream_code ds_segments_each(const char *path, uint64_t length, const char *of,
                                   const struct ds_checkpoint *state, ds_segments_take take,
                                   void *ctx, struct dstream_error *err)
{
    struct reading r = {.length = length,
                        .of = of,
                        .state = state,
                        .take = take,
                        .ctx = ctx,
                        .segment = ds_calloc(1, sizeof *r.segment)};
    enum dstream_code rc = DSTREAM_OK;
    ds_buf_init(&r.line, LINE_MAX_BYTES);
    r.f = r.segment ? fopen(path, "rbe") : NULL;
    if (!r.segment)
        rc = ds_error_set(err, DSTREAM_ERR_NOMEM, "no memory for a manifest");
    else if (!r.f)
        rc = ds_error_set(err, DSTREAM_ERR_IO, "%s: %s", path, strerror(errno));
    else if (!read_all(&r, false) || !read_all(&r, true))
        rc = ds_error_set(err, DSTREAM_ERR_STATE_MISMATCH,
                          "%s: it is shorter than its state says, or was changed", path);
    if (r.f)
        (void)fclose(r.f);
    ds_buf_free(&r.line);
    ds_free(r.segment);
    return rc;
}
