/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/exporter.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/url.h"
#include "cli/span.h"
#include "cli/wall.h"

#define WRITE_SIZE ((size_t)64 * 1024) /* small pieces are gathered up to here */

struct ds_exporter {
    struct ds_exporter_config c;
    struct ds_export *file;
    struct ds_checkpoint at; /* as of the last whole write: what a commit now would say */
    struct ds_witness_keeper keeper;
    struct ds_buf out;       /* of the batch under way, not written yet */
    struct ds_format format; /* auto until the stream's type is known */
    bool resumed;
    bool holds;            /* the last batch was not taken, or not to its end */
    bool confirmed;        /* what is known of the stream was said to the file */
    bool seal_late;        /* the segment is to be sealed once it ends where it may */
    int64_t pending_since; /* since when there is something to commit, by the time given with it */
    struct ds_left left;
    uint64_t bytes, messages;  /* of the stream, in this run */
    struct dstream_error *err; /* of the call under way */
};

/* --- formats ---------------------------------------------------------------------------------- */

/* Now that the stream's type is known. */
static enum dstream_code settle_format(struct ds_exporter *x, const char *type, bool json)
{
    enum dstream_code rc = DSTREAM_OK;
    x->format.text = ds_type_is_text(type);
    if (!x->c.form)
        rc = ds_format_resolve(&x->format.kind, json, x->err);
    x->left.lines = x->format.kind == DS_FORMAT_LINES;
    x->left.chars = x->format.kind == DS_FORMAT_SSE && x->format.text;
    return rc == DSTREAM_OK ? ds_format_check_count(&x->left, json, x->err) : rc;
}

static const char *format_name(const struct ds_exporter *x, enum ds_format_kind format)
{
    return x->c.form ? x->c.form->name : ds_format_name(format);
}

/* `at` has what it shows. */
static void set_format(struct ds_exporter *x, enum ds_format_kind kind)
{
    x->format = (struct ds_format){.kind = kind, .template = x->at.template, .url = x->at.url};
}

/* --- opening ---------------------------------------------------------------------------------- */

static enum dstream_code go_on(struct ds_exporter *x, const struct ds_checkpoint *was,
                               struct dstream_error *err)
{
    struct ds_checkpoint_ask ask = {
        .url = x->c.url,
        .format = x->c.form || x->c.format != DS_FORMAT_AUTO ? format_name(x, x->c.format) : NULL,
        .template = x->c.template,
        .from = x->c.from,
        .from_skip = x->c.from_skip,
        .compression = ds_pack_name(x->c.file.pack),
    };
    const char *path = ds_export_state_path(x->file);
    enum dstream_code rc = ds_checkpoint_fits(was, &ask, path, err);
    if (rc == DSTREAM_OK)
        rc = ds_format_exact(x->c.sse, was->content_type, err);
    if (rc != DSTREAM_OK)
        return rc;
    x->at = *was;
    x->resumed = true;
    enum ds_format_kind kind = DS_FORMAT_AUTO;
    if (was->format[0] && !x->c.form)
        rc = ds_format_of_state(was->format, path, &kind, err);
    set_format(x, kind);
    return rc;
}

static enum dstream_code begin_anew(struct ds_exporter *x, struct dstream_error *err)
{
    set_format(x, x->c.format);
    strcpy(x->at.template, x->c.template ? x->c.template : "");
    return ds_checkpoint_begin(&x->at, x->c.url, x->c.from, x->c.from_skip, err);
}

/* In a directory the compression is in the file's name: with another one, a second file of the same
 * stream would be begun. `was` is for this function alone. */
static enum dstream_code check_packing(const struct ds_exporter *x, struct ds_checkpoint *was,
                                       struct dstream_error *err)
{
    struct ds_checkpoint_ask ask = {.url = x->c.url, .compression = ds_pack_name(x->c.file.pack)};
    const char *name = x->c.name;
    size_t n = strlen(name) - strlen(ds_pack_suffix(x->c.file.pack));
    enum dstream_code rc = DSTREAM_OK;
    for (int k = DS_PACK_NONE; k <= DS_PACK_ZSTD && rc == DSTREAM_OK; k++) {
        char other[DS_SEGMENT_MAX + 8];
        (void)snprintf(other, sizeof other, "%.*s%s", (int)n, name,
                       ds_pack_suffix((enum ds_pack_kind)k));
        if (strcmp(other, name) != 0 && ds_exports_find(x->c.directory, other, was) &&
            ds_checkpoint_fits(was, &ask, ds_exports_path(x->c.directory), err) ==
                DSTREAM_ERR_ARGUMENT)
            rc = err->code;
    }
    if (rc == DSTREAM_OK)
        ds_error_clear(err); /* of another stream whose name is alike */
    return rc;
}

/* Before the file is compared, which is that of the other stream then. */
static enum dstream_code check_stream(const struct ds_exporter *x, struct ds_checkpoint *was,
                                      struct dstream_error *err)
{
    struct ds_checkpoint_ask ask = {.url = x->c.url};
    if (!ds_exports_find(x->c.directory, x->c.name, was))
        return DSTREAM_OK;
    return ds_checkpoint_fits(was, &ask, ds_exports_path(x->c.directory), err);
}

static enum dstream_code add_to_directory(struct ds_exporter *x, struct dstream_error *err)
{
    struct ds_checkpoint *was = x->c.file.reset ? NULL : ds_calloc(1, sizeof *was);
    enum dstream_code rc = was || x->c.file.reset
                               ? DSTREAM_OK
                               : ds_error_set(err, DSTREAM_ERR_NOMEM, "no memory for a state");
    if (was)
        rc = check_packing(x, was, err);
    if (was && rc == DSTREAM_OK)
        rc = check_stream(x, was, err);
    ds_free(was);
    return rc == DSTREAM_OK ? ds_exports_add(x->c.directory, x->c.name, &x->file, err) : rc;
}

static enum dstream_code open_steps(struct ds_exporter *x, struct dstream_error *err)
{
    enum dstream_code rc = ds_witness_begin(&x->keeper, x->c.max_witness);
    if (rc != DSTREAM_OK)
        return ds_error_set(err, rc, "no memory for an export");
    rc = x->c.directory ? add_to_directory(x, err) : ds_export_open(&x->file, &x->c.file, err);
    if (rc != DSTREAM_OK)
        return rc;
    const struct ds_checkpoint *was = ds_export_state(x->file);
    return was ? go_on(x, was, err) : begin_anew(x, err);
}

enum dstream_code ds_exporter_open(struct ds_exporter **out, const struct ds_exporter_config *c,
                                   struct dstream_error *err)
{
    *out = NULL;
    struct ds_exporter *x = ds_calloc(1, sizeof *x);
    if (!x)
        return ds_error_set(err, DSTREAM_ERR_NOMEM, "no memory for an export");
    x->c = *c;
    x->left = c->left;
    ds_buf_init(&x->out, WRITE_SIZE);
    enum dstream_code rc = open_steps(x, err);
    if (rc == DSTREAM_OK)
        *out = x;
    else
        ds_exporter_free(x);
    return rc;
}

void ds_exporter_free(struct ds_exporter *x)
{
    if (!x)
        return;
    ds_export_free(x->file);
    ds_witness_end(&x->keeper);
    ds_buf_free(&x->out);
    ds_free(x);
}

const char *ds_exporter_offset(const struct ds_exporter *x, uint64_t *skip)
{
    *skip = x->at.skip;
    return x->at.offset;
}

const char *ds_exporter_seen(const struct ds_exporter *x, struct ds_witness *w)
{
    ds_span_witness(&x->at, w);
    return x->resumed ? x->at.content_type : NULL;
}

bool ds_exporter_complete(const struct ds_exporter *x)
{
    return ds_export_complete(x->file);
}

uint64_t ds_exporter_length(const struct ds_exporter *x)
{
    return ds_export_length(x->file);
}

enum dstream_code ds_exporter_read(struct ds_exporter *x, uint64_t at, void *p, size_t n,
                                   struct dstream_error *err)
{
    return ds_export_read(x->file, at, p, n, err);
}

const char *ds_exporter_path(const struct ds_exporter *x)
{
    return ds_export_path(x->file);
}

struct ds_exporter_totals ds_exporter_totals(const struct ds_exporter *x)
{
    return (struct ds_exporter_totals){.bytes = x->bytes,
                                       .messages = x->messages,
                                       .offset = x->at.offset,
                                       .skip = x->at.skip,
                                       .closed = x->at.closed};
}

/* --- committing ------------------------------------------------------------------------------- */

enum dstream_code ds_exporter_commit(struct ds_exporter *x, struct dstream_error *err)
{
    if (!ds_export_ready(x->file) || !ds_export_changed(x->file))
        return DSTREAM_OK;
    return ds_export_commit(x->file, &x->at, err);
}

int64_t ds_exporter_due(const struct ds_exporter *x)
{
    if (!ds_export_ready(x->file) || !ds_export_changed(x->file) || x->c.sync_ms < 0)
        return DS_NEVER;
    return x->pending_since > DS_NEVER - x->c.sync_ms ? DS_NEVER : x->pending_since + x->c.sync_ms;
}

enum dstream_code ds_exporter_tick(struct ds_exporter *x, int64_t now, struct dstream_error *err)
{
    return now >= ds_exporter_due(x) ? ds_exporter_commit(x, err) : DSTREAM_OK;
}

static enum dstream_code commit_by_policy(struct ds_exporter *x, int64_t now,
                                          struct dstream_error *err)
{
    uint64_t fresh = ds_export_length(x->file) - ds_export_committed(x->file);
    if (x->c.sync_batch || (x->c.sync_bytes > 0 && fresh >= x->c.sync_bytes))
        return ds_exporter_commit(x, err);
    /* A directory is committed in steps, by who drives it. */
    return x->c.directory ? DSTREAM_OK : ds_exporter_tick(x, now, err);
}

/* The stream is the one that the state speaks of, and `offset` is where it is read from. */
static enum dstream_code make_ready(struct ds_exporter *x, const char *offset, uint64_t skip)
{
    if (x->confirmed)
        return DSTREAM_OK;
    if (!x->resumed) {
        memcpy(x->at.from_offset, offset, strlen(offset) + 1);
        memcpy(x->at.offset, offset, strlen(offset) + 1);
        x->at.skip = skip;
    }
    enum dstream_code rc = ds_export_confirm(x->file, &x->at, x->err);
    if (rc != DSTREAM_OK)
        return rc;
    x->confirmed = true;
    /* What was made or cut is not synced yet, and the end commits in any case. */
    if (ds_export_ready(x->file))
        ds_export_touch(x->file);
    return DSTREAM_OK;
}

bool ds_exporter_holds(const struct ds_exporter *x)
{
    return x->holds;
}

bool ds_exporter_waits(const struct ds_exporter *x)
{
    return x->confirmed && !ds_export_ready(x->file) &&
           ds_export_error(x->file)->code == DSTREAM_OK;
}

const struct dstream_error *ds_exporter_error(const struct ds_exporter *x)
{
    return ds_export_error(x->file);
}

/* --- batches ---------------------------------------------------------------------------------- */

static enum dstream_code flush(struct ds_exporter *x)
{
    enum dstream_code rc = ds_export_write(x->file, x->out.data, x->out.len, x->err);
    x->out.len = 0;
    return rc;
}

/* Small pieces are gathered, large ones go straight out. */
static enum dstream_code put(void *ctx, const void *p, size_t n)
{
    struct ds_exporter *x = ctx;
    enum dstream_code rc = DSTREAM_OK;
    if (x->out.len > 0 && n > x->out.max - x->out.len)
        rc = flush(x);
    if (rc != DSTREAM_OK)
        return rc;
    return n < x->out.max ? ds_buf_add(&x->out, p, n) : ds_export_write(x->file, p, n, x->err);
}

/*
 * Lines are the bytes of the stream as they come, and not held back until they are whole: so the
 * position stands behind all that is in the file, whenever that is committed, and nothing is kept
 * beside it but whether it ends inside a line, which the state says. Only the end of a closed
 * stream can be seen to be the end of a line.
 */
static enum dstream_code put_formatted(struct ds_exporter *x, const struct dstream_batch *b,
                                       const struct ds_span *s)
{
    enum dstream_code rc = ds_format_put(&x->format, b, s->first, s->take, ds_wall_now(), put, x);
    return rc == DSTREAM_OK && ds_span_ends_open(s, b, &x->at) ? put(x, "\n", 1) : rc;
}

static enum dstream_code put_batch(struct ds_exporter *x, const char *content_type,
                                   const struct dstream_batch *b, const struct ds_span *s,
                                   int64_t now)
{
    const struct ds_exporter_form *form = x->c.form;
    if (!form)
        return put_formatted(x, b, s);
    enum dstream_code rc = DSTREAM_OK;
    if (ds_export_length(x->file) == 0)
        rc = form->begin(form->ctx, content_type, put, x);
    return rc == DSTREAM_OK ? form->put(form->ctx, b, s->first, s->take, now, put, x) : rc;
}

/* Something was taken, or a commit has more to say than before. */
static bool says_more(const struct ds_exporter *x, const struct dstream_batch *b,
                      const struct ds_span *s)
{
    return s->take > s->first || (s->take == s->end && (strcmp(b->next, x->at.offset) != 0 ||
                                                        (b->flags & DSTREAM_BATCH_CLOSED)));
}

/* What no data comes of may have to be written as well. */
static bool is_wanted(const struct ds_exporter *x, const struct dstream_batch *b,
                      const struct ds_span *s)
{
    if (s->take > s->first || ds_span_ends_open(s, b, &x->at))
        return true;
    if (x->c.form && ds_export_length(x->file) == 0)
        return true;
    return (x->c.form || x->format.kind == DS_FORMAT_SSE) && says_more(x, b, s);
}

/* All of it, or nothing that a commit would speak of. */
static enum dstream_code write_out(struct ds_exporter *x, const char *content_type,
                                   const struct dstream_batch *b, const struct ds_span *s,
                                   int64_t now)
{
    if (!is_wanted(x, b, s))
        return DSTREAM_OK;
    uint64_t length = ds_export_length(x->file);
    x->out.len = 0;
    enum dstream_code rc = put_batch(x, content_type, b, s, now);
    if (rc == DSTREAM_OK)
        rc = flush(x);
    if (rc == DSTREAM_OK)
        return rc;
    ds_export_undo(x->file, length);
    if (x->err->code == DSTREAM_OK)
        ds_error_set(x->err, rc, "%s: cannot format a batch: %s", ds_export_path(x->file),
                     dstream_code_text(rc));
    return rc;
}

/* What an earlier run saw closed has nothing behind its end, and stays closed. */
static enum dstream_code check_closed(struct ds_exporter *x, const struct dstream_batch *b,
                                      const struct ds_span *s)
{
    if (!x->at.closed || ((b->flags & DSTREAM_BATCH_CLOSED) && s->end == s->first))
        return DSTREAM_OK;
    ds_error_set_url(x->err, x->c.url);
    ds_error_set_offset(x->err, x->at.offset);
    return ds_error_set(x->err, DSTREAM_ERR_STREAM_RESET,
                        "it was closed at offset %.200s, and now it is not: it was made anew",
                        x->at.offset);
}

/* --- segments --------------------------------------------------------------------------------- */

/* The output ends inside of what is not divided among segments: a line, or a batch with its
 * control event. */
static bool inside(const struct ds_exporter *x)
{
    if (x->format.kind == DS_FORMAT_SSE)
        return x->at.skip > 0 && ds_export_length(x->file) > 0;
    return x->at.in_line;
}

enum dstream_code ds_exporter_seal(struct ds_exporter *x, struct dstream_error *err)
{
    if (!ds_export_ready(x->file))
        return DSTREAM_OK;
    x->seal_late = inside(x);
    return x->seal_late ? DSTREAM_OK : ds_export_seal(x->file, &x->at, err);
}

int64_t ds_exporter_seal_due(const struct ds_exporter *x, int64_t now)
{
    int64_t since = ds_export_since(x->file);
    if (x->c.rotate_ms < 0 || since == 0 || !ds_export_ready(x->file) || x->seal_late)
        return DS_NEVER;
    int64_t age = ds_wall_now() - since; /* over all runs, so by the calendar's clock */
    if (age < 0)
        age = 0; /* that was set back */
    return age >= x->c.rotate_ms ? now : ds_later(now, x->c.rotate_ms - age);
}

bool ds_exporter_close(struct ds_exporter *x, struct dstream_error *err)
{
    if (!ds_export_unsealed(x->file))
        return false;
    x->confirmed = true;
    if (ds_export_confirm(x->file, &x->at, err) == DSTREAM_OK)
        (void)ds_exporter_seal(x, err);
    return true;
}

/* As much as the segment has room for; where it is empty, one unit at least. */
static struct ds_span within_segment(const struct ds_exporter *x, const dstream_batch *b,
                                     const struct ds_span *s)
{
    uint64_t length = ds_export_length(x->file), max = x->c.rotate_bytes;
    if ((max == 0 && !x->seal_late) || s->take == s->first)
        return *s;
    uint64_t room = max > length && !x->seal_late ? max - length : 0;
    bool one = length == 0 || inside(x);
    if (x->format.kind == DS_FORMAT_SSE)
        return one || s->bytes <= room ? *s : ds_span_within(b, *s, 0, false);
    return ds_span_within(b, *s, room, one);
}

static enum dstream_code seal_by_policy(struct ds_exporter *x, const struct ds_span *piece,
                                        const struct ds_span *wanted)
{
    bool full = x->c.rotate_bytes > 0 &&
                (ds_export_length(x->file) >= x->c.rotate_bytes || piece->take < wanted->take);
    return full || x->seal_late || x->at.closed ? ds_exporter_seal(x, x->err) : DSTREAM_OK;
}

/* --- taking ----------------------------------------------------------------------------------- */

/* One that was taken in part, and is offered again. */
static struct dstream_batch rest_of(const struct ds_exporter *x, const dstream_batch *b)
{
    uint64_t done = x->at.skip > b->skip ? x->at.skip - b->skip : 0;
    if (!x->holds || done == 0 || strcmp(b->start, x->at.offset) != 0)
        return *b;
    return ds_span_rest(b,
                        (size_t)done + (b->flags & DSTREAM_BATCH_JSON ? b->first : b->first_byte));
}

/* As much of it as goes into one segment, which is *all of it where nothing is left. */
static enum dstream_code take_piece(struct ds_exporter *x, const char *content_type,
                                    struct dstream_batch *b, int64_t now, bool *stop, bool *all)
{
    struct ds_span wanted = ds_span_of(b, &x->left), s = within_segment(x, b, &wanted);
    enum dstream_code rc = write_out(x, content_type, b, &s, now);
    if (rc != DSTREAM_OK)
        return rc;
    if (says_more(x, b, &s)) {
        ds_span_advance(&s, b, &x->at, &x->keeper);
        ds_export_touch(x->file);
    }
    x->bytes += s.bytes;
    x->messages += s.messages;
    bool spent = ds_span_spend(&s, &x->left);
    *all = s.take == wanted.take;
    *stop = *all && spent;
    *b = ds_span_rest(b, s.take);
    return seal_by_policy(x, &s, &wanted);
}

static enum dstream_code check(struct ds_exporter *x, const char *content_type,
                               const dstream_batch *b)
{
    struct ds_span s = ds_span_of(b, &x->left);
    enum dstream_code rc = ds_format_exact(x->c.sse, content_type, x->err);
    if (rc == DSTREAM_OK)
        rc = check_closed(x, b, &s);
    if (rc == DSTREAM_OK)
        rc = settle_format(x, content_type, s.json);
    if (rc != DSTREAM_OK)
        return rc;
    strcpy(x->at.format, format_name(x, x->format.kind));
    ds_checkpoint_set_type(&x->at, content_type);
    return rc;
}

static enum dstream_code take(struct ds_exporter *x, const char *content_type,
                              const dstream_batch *offered, int64_t now, bool *stop)
{
    struct dstream_batch b = rest_of(x, offered);
    bool none = false, all = false;
    enum dstream_code rc = check(x, content_type, &b);
    if (rc == DSTREAM_OK && !x->c.form)
        rc = ds_format_cut(&x->format, &b, &none, x->err);
    if (rc == DSTREAM_ERR_ARGUMENT) /* it is not of all streams that something is wrong */
        ds_error_set_url(x->err, x->c.url);
    x->holds = false;
    if (none)
        return rc;
    if (rc == DSTREAM_OK && !ds_export_changed(x->file))
        x->pending_since = now;
    if (rc == DSTREAM_OK)
        rc = make_ready(x, strcmp(b.start, "now") == 0 ? b.next : b.start, b.skip);
    while (rc == DSTREAM_OK && !all && !ds_exporter_waits(x))
        rc = take_piece(x, content_type, &b, now, stop, &all);
    if (all)
        ds_format_taken(&x->format, offered);
    x->holds = !all;
    return rc == DSTREAM_OK && all ? commit_by_policy(x, now, x->err) : rc;
}

enum dstream_code ds_exporter_take(struct ds_exporter *x, const char *content_type,
                                   const dstream_batch *b, int64_t now, bool *stop,
                                   struct dstream_error *err)
{
    *stop = false;
    x->err = err;
    enum dstream_code rc = take(x, content_type, b, now, stop);
    x->err = NULL;
    return rc;
}

enum dstream_code ds_exporter_finish(struct ds_exporter *x, bool whole, struct dstream_error *err)
{
    if (whole && !x->confirmed && strcmp(x->at.offset, "now") != 0) {
        x->err = err;
        enum dstream_code rc = make_ready(x, x->at.offset, x->at.skip);
        x->err = NULL;
        if (rc != DSTREAM_OK)
            return rc;
    }
    return x->c.directory ? DSTREAM_OK : ds_exporter_commit(x, err);
}
