/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dstream state verify: reads a stream again and proves that a file, or what is in a database of
 * it, is what its state says: its data, as the export wrote them, up to the position. It takes no
 * lock and changes nothing, so it works beside an export. Of a rotated output it looks at all
 * segments that are still there. Of a state without any data it proves no more than that the stream
 * is still the one that it speaks of.
 */
#include "config.h"

#include "cli/cli.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/http.h"
#include "base/url.h"
#include "cli/format.h"
#include "cli/run.h"
#include "cli/segments.h"
#include "cli/signals.h"
#include "cli/span.h"
#include "cli/unwrap.h"
#include "store/exports.h"
#include "store/sqlite.h"

#define PIECE     ((size_t)32 * 1024)
#define NAMES_MAX ((size_t)64 * 1024)

/* A file beside its stream. */
struct verifying {
    struct ds_cli *cli;
    struct ds_run run;
    struct ds_source source;
    const struct ds_checkpoint *c;
    const char *path;
    struct ds_format format;
    struct ds_checkpoint at; /* how far it was compared */
    FILE *f;
    struct ds_sqlite_rows *rows; /* instead of it; NULL: a file */
    struct {
        char offset[DS_TOKEN_MAX + 1];
        uint64_t end;
    } last; /* where the last row began, and how many units of that answer there are by it */
    struct ds_unpack *unpack; /* NULL: it is not compressed */
    bool enveloped;
    struct ds_unwrap unwrap;
    struct ds_buf have; /* data of the file; `used` of it are compared */
    size_t used;
    uint64_t left;                 /* bytes of the file that are to be read yet */
    uint64_t same;                 /* bytes of data that were compared, */
    uint64_t whole;                /* and messages of JSON */
    char where[DS_TOKEN_MAX + 32]; /* the position behind them */
    bool differs, beyond, closed;
};

/* Else there is a position alone. */
static bool has_data(const struct verifying *v)
{
    return v->rows || v->c->has_output;
}

/* --- the file --------------------------------------------------------------------------------- */

static int keep(void *ctx, const void *p, size_t n)
{
    struct verifying *v = ctx;
    enum dstream_code rc =
        v->enveloped ? ds_unwrap_add(&v->unwrap, p, n, &v->have) : ds_buf_add(&v->have, p, n);
    return rc == DSTREAM_OK ? 0 : rc == DSTREAM_ERR_PARSE ? -EILSEQ : -ENOMEM;
}

static enum dstream_code fail(struct verifying *v, const char *what)
{
    return ds_error_set(&v->source.error, DSTREAM_ERR_STATE_MISMATCH, "%s: %s", v->path, what);
}

/* The next row, messages as lines. */
static enum dstream_code fill_row(struct verifying *v)
{
    struct ds_sqlite_row row;
    v->have.len = v->used = 0;
    if (!ds_sqlite_next(v->rows, &row, &v->source.error)) {
        v->left = 0;
        return v->source.error.code;
    }
    (void)snprintf(v->last.offset, sizeof v->last.offset, "%s", row.offset ? row.offset : "");
    v->last.end = row.index + (row.text ? 1 : row.len);
    enum dstream_code rc = ds_buf_add(&v->have, row.data, row.len);
    if (rc == DSTREAM_OK && row.text)
        rc = ds_buf_addc(&v->have, '\n');
    return rc == DSTREAM_OK ? rc : ds_error_set(&v->source.error, rc, "no memory for a message");
}

static enum dstream_code fail_read(struct verifying *v, int rc)
{
    char what[64];
    if (rc == -ENOMEM)
        return ds_error_set(&v->source.error, DSTREAM_ERR_NOMEM, "no memory");
    (void)snprintf(what, sizeof what, "its line %llu is no envelope",
                   (unsigned long long)v->unwrap.lines + 1);
    return fail(v, rc == -EILSEQ ? what : "it is not what was compressed into it");
}

/* More of the file, if there is more; else `have` is used up. */
static enum dstream_code fill(struct verifying *v)
{
    char piece[PIECE];
    enum dstream_code code = DSTREAM_OK;
    while (v->rows && code == DSTREAM_OK && v->used == v->have.len && v->left > 0)
        code = fill_row(v);
    if (v->rows)
        return code;
    while (v->used == v->have.len && v->left > 0) {
        size_t want = v->left < sizeof piece ? (size_t)v->left : sizeof piece;
        v->have.len = v->used = 0;
        if (fread(piece, 1, want, v->f) != want)
            return fail(v, "it is shorter than its state says");
        v->left -= want;
        int rc = v->unpack ? ds_unpack_add(v->unpack, piece, want, keep, v) : keep(v, piece, want);
        if (rc == 0 && v->left == 0 && v->enveloped && !ds_unwrap_is_whole(&v->unwrap))
            rc = -EILSEQ;
        if (rc < 0)
            return fail_read(v, rc);
    }
    return DSTREAM_OK;
}

static bool at_end(const struct verifying *v)
{
    return v->used == v->have.len && v->left == 0;
}

/* What the export would write, beside what the file has. */
static enum dstream_code compare(void *ctx, const void *p, size_t n)
{
    struct verifying *v = ctx;
    const char *want = p;
    while (n > 0) {
        enum dstream_code rc = fill(v);
        if (rc != DSTREAM_OK)
            return rc;
        v->beyond = at_end(v);
        if (v->beyond)
            return DSTREAM_ERR_CANCELLED;
        size_t k = v->have.len - v->used, i = 0;
        if (k > n)
            k = n;
        while (i < k && want[i] == v->have.data[v->used + i])
            i++;
        for (const char *lf = want; (lf = memchr(lf, '\n', i - (size_t)(lf - want))) != NULL; lf++)
            v->whole++;
        v->same += i;
        v->used += i;
        v->differs = i < k;
        if (v->differs)
            return DSTREAM_ERR_CANCELLED;
        want += k;
        n -= k;
    }
    return DSTREAM_OK;
}

/* Where in the batch, of which the data behind `before` was compared, that has got to. */
static void note_where(struct verifying *v, const dstream_batch *b, const struct ds_span *s,
                       uint64_t before)
{
    uint64_t left_out = b->skip - (s->json ? b->first : b->first_byte);
    (void)snprintf(
        v->where, sizeof v->where, "%s,%llu", b->start,
        (unsigned long long)(left_out + s->first + (s->json ? v->whole : v->same) - before));
}

static enum dstream_code take(void *ctx, struct ds_source *s, const dstream_batch *b)
{
    struct verifying *v = ctx;
    v->closed = b->flags & DSTREAM_BATCH_CLOSED;
    if (!has_data(v)) { /* the witness was found before anything is delivered */
        s->done = true;
        return DSTREAM_ERR_CANCELLED;
    }
    struct ds_left all = {.lines = v->format.kind == DS_FORMAT_LINES};
    struct ds_span span = ds_span_of(b, &all);
    uint64_t before = span.json ? v->whole : v->same;
    enum dstream_code rc = ds_format_put(&v->format, b, span.first, span.take, 0, compare, v);
    note_where(v, b, &span, before);
    if (rc == DSTREAM_OK && ds_span_ends_open(&span, b, &v->at))
        rc = compare(v, "\n", 1);
    ds_span_advance(&span, b, &v->at, NULL);
    if (rc == DSTREAM_OK)
        rc = fill(v); /* so that its end is known */
    s->done = rc != DSTREAM_OK || (at_end(v) && !v->c->closed);
    return s->done ? DSTREAM_ERR_CANCELLED : DSTREAM_OK;
}

/* --- one file --------------------------------------------------------------------------------- */

static void tell(void *ctx, struct ds_status_now *out)
{
    struct verifying *v = ctx;
    ds_source_tell(&v->source, out);
    out->bytes = v->same;
    out->offset = "";
}

/* Rows have no length that a state could know; but what was delivered last is known. */
static bool lacks_rows(const struct verifying *v)
{
    const struct ds_checkpoint_witness *w = &v->c->witness;
    int order = strcmp(v->last.offset, w->start);
    return v->rows && (order < 0 || (order == 0 && v->last.end < w->delivered));
}

static enum dstream_code judge(struct verifying *v)
{
    char what[320];
    if (v->source.error.code != DSTREAM_OK)
        return v->source.error.code;
    if (v->run.stop)
        return ds_error_set(&v->source.error, DSTREAM_ERR_CANCELLED, "%s: stopped", v->path);
    if (v->differs)
        (void)snprintf(what, sizeof what,
                       "it differs from the stream behind %llu bytes of data, in what comes at "
                       "%.200s",
                       (unsigned long long)v->same, v->where);
    else if (!at_end(v))
        (void)snprintf(what, sizeof what, "the stream ends behind %llu bytes of data, the file not",
                       (unsigned long long)v->same);
    else if (lacks_rows(v))
        (void)snprintf(what, sizeof what, "it ends behind %llu bytes of data, before its position",
                       (unsigned long long)v->same);
    else if (!has_data(v) && v->source.witness_gone)
        (void)snprintf(what, sizeof what, "nothing can be proven any more");
    else if (v->c->closed && (v->beyond || !v->closed))
        (void)snprintf(what, sizeof what,
                       "its state says that the stream is closed there, but it "
                       "goes on");
    else
        return DSTREAM_OK;
    return fail(v, what);
}

static void read_on(struct verifying *v)
{
    const struct ds_checkpoint *c = v->c;
    bool segment = c->segment.number > 0 && c->segment.from[0];
    struct ds_source_start at = {
        .offset = !has_data(v) ? c->offset
                  : segment    ? c->segment.from
                               : c->from_offset,
        .skip = !has_data(v)        ? c->skip
                : segment           ? c->segment.from_skip
                : c->from_offset[0] ? c->from_skip
                                    : 0,
        .seen = true,
        .content_type = c->content_type,
    };
    ds_span_witness(c, &at.witness);
    ds_run_arm(&v->run, tell, v);
    (void)ds_source_start(&v->source, &at, take, v);
    while (!v->source.done && !v->run.stop) {
        bool hup;
        (void)ds_run_turn(&v->run, &hup, &v->source.error);
    }
    ds_source_stop(&v->source);
    ds_status_end(&v->run.status);
}

/* Whether its output can be told from what is not in the stream. */
static bool can_be_verified(const struct ds_checkpoint *c, enum ds_format_kind *kind)
{
    return ds_format_of(c->format, kind) &&
           (*kind == DS_FORMAT_ENVELOPE || ds_format_is_data(*kind));
}

static enum dstream_code open_file(struct verifying *v)
{
    const struct ds_checkpoint *c = v->c;
    struct dstream_error *err = &v->source.error;
    if (v->rows) {
        v->left = UINT64_MAX; /* until there is none */
        v->format.kind = ds_type_is_json(c->content_type) ? DS_FORMAT_NDJSON : DS_FORMAT_RAW;
        return DSTREAM_OK;
    }
    if (!c->has_output && !v->cli->opt.output)
        return DSTREAM_OK;
    if (!c->has_output)
        return ds_error_set(err, DSTREAM_ERR_ARGUMENT, "%s: the state goes with no output file",
                            v->path);
    if (!can_be_verified(c, &v->format.kind))
        return ds_error_set(err, DSTREAM_ERR_ARGUMENT,
                            "%s: output of format %s cannot be told from what is not in the "
                            "stream: only raw, ndjson, lines and envelope can be verified",
                            v->path, c->format);
    v->enveloped = v->format.kind == DS_FORMAT_ENVELOPE;
    if (v->enveloped)
        v->format.kind = ds_type_is_json(c->content_type) ? DS_FORMAT_NDJSON : DS_FORMAT_RAW;
    v->left = c->length - c->before;
    v->f = c->length > 0 ? fopen(v->path, "rbe") : NULL;
    if (c->length > 0 && (!v->f || fseeko(v->f, (off_t)c->before, SEEK_SET) != 0))
        return ds_error_set(err, DSTREAM_ERR_IO, "%s: %s", v->path, strerror(errno));
    for (int k = DS_PACK_GZIP; k <= DS_PACK_ZSTD && c->compression[0]; k++) {
        if (strcmp(ds_pack_name((enum ds_pack_kind)k), c->compression) == 0)
            v->unpack = ds_unpack_new((enum ds_pack_kind)k);
    }
    if (c->compression[0] && !v->unpack)
        return ds_error_set(err, DSTREAM_ERR_ARGUMENT, "%s: compression %s is not known", v->path,
                            c->compression);
    return DSTREAM_OK;
}

/* What the state leaves out of its URL has to be said. */
static const char *url_of(const struct verifying *v, const char *given, struct dstream_error *err)
{
    struct ds_checkpoint_ask ask = {.url = given};
    if (!given && v->c->left_out[0])
        ds_error_set(err, DSTREAM_ERR_ARGUMENT,
                     "%s: query parameters (%.100s) are left out of the state's URL: name the "
                     "stream as well",
                     v->path, v->c->left_out);
    else if (given)
        (void)ds_checkpoint_fits(v->c, &ask, v->path, err);
    return given ? given : v->c->url;
}

static void say_proven(const struct verifying *v)
{
    const struct ds_checkpoint_witness *w = &v->c->witness;
    const char *unit = ds_type_is_json(v->c->content_type) ? "messages" : "bytes";
    if (has_data(v))
        ds_cli_say(v->cli, "%s: its %llu bytes of data are those of %s", v->path,
                   (unsigned long long)v->same, v->source.name);
    else if (w->hashed == 0)
        ds_cli_say(v->cli, "%s: there are no data yet that %s could be known by", v->path,
                   v->source.name);
    else
        ds_cli_say(v->cli,
                   "%s: %s still has the %llu %s from %s on that it is known by. Whether what was "
                   "printed or handed out was dealt with, the state cannot show",
                   v->path, v->source.name, (unsigned long long)w->hashed, unit, w->start);
}

/* 0, or what it was reported as. */
static int verify(struct ds_cli *cli, const struct ds_checkpoint *c, const char *path,
                  struct ds_sqlite_rows *rows, const char *given)
{
    struct verifying v = {.cli = cli, .c = c, .path = path, .rows = rows};
    struct dstream_error err = {0};
    ds_buf_init(&v.have, SIZE_MAX);
    ds_unwrap_init(&v.unwrap, cli->limits.json_depth + 1);
    const char *url = url_of(&v, given, &err);
    enum dstream_code rc = err.code;
    signal(SIGPIPE, SIG_IGN); /* a connection that has gone is an error like others */
    cli->args = &url;         /* the headers go to its origin */
    cli->nargs = 1;
    if (rc == DSTREAM_OK)
        rc = ds_run_begin(&v.run, cli, &err);
    if (rc == DSTREAM_OK)
        rc = ds_source_name(&v.source, &v.run, url, &err);
    if (rc == DSTREAM_OK && open_file(&v) == DSTREAM_OK) {
        read_on(&v);
        (void)judge(&v);
    }
    if (rc == DSTREAM_OK && v.source.error.code != DSTREAM_OK)
        err = v.source.error;
    int status = err.code == DSTREAM_OK ? DS_EXIT_OK : ds_cli_fail(cli, &err);
    if (status == DS_EXIT_OK)
        say_proven(&v);
    if (v.f)
        (void)fclose(v.f);
    ds_unpack_free(v.unpack);
    ds_buf_free(&v.have);
    ds_unwrap_free(&v.unwrap);
    ds_source_free(&v.source);
    ds_run_end(&v.run);
    return status;
}

/* --- which files ------------------------------------------------------------------------------ */

struct listing {
    struct ds_cli *cli;
    const char *dir;   /* "" for that of a path without one */
    const char *given; /* NULL: all of them */
    uint64_t manifest; /* its length */
    const char *url;   /* of the one that is looked at; NULL: as the state has it */
    uint64_t missing;  /* segments that somebody has taken away */
    bool found;
    int status; /* of the first that fails */
};

static char *path_in(const char *dir, const char *name, const char *suffix)
{
    struct ds_buf b;
    ds_buf_init(&b, NAMES_MAX);
    if (ds_buf_addf(&b, "%s%s%s%s", dir, *dir ? "/" : "", name, suffix) != DSTREAM_OK ||
        !ds_buf_str(&b))
        ds_buf_free(&b);
    return b.data;
}

/* What an output has under this name, unless something has failed before. */
static void verify_in(struct listing *l, const char *name, const char *suffix,
                      const struct ds_checkpoint *c)
{
    char *path = path_in(l->dir, name, suffix);
    int status = path ? verify(l->cli, c, path, NULL, l->url) : DS_EXIT_FAILURE;
    if (l->status == DS_EXIT_OK)
        l->status = status;
    ds_free(path);
}

static void verify_segment(void *ctx, const char *name, const struct ds_checkpoint *c)
{
    struct listing *l = ctx;
    char *path = path_in(l->dir, name, "");
    bool there = path && access(path, F_OK) == 0;
    ds_free(path);
    l->missing += !there;
    if (there && ds_signals_ending() == 0)
        verify_in(l, name, "", c);
}

/* An output: the finished segments that are still there, and what is written to. */
static void verify_output(struct listing *l, const char *name, const struct ds_checkpoint *c,
                          const char *manifest)
{
    struct dstream_error err = {0};
    bool rotated = c->segment.number > 0;
    enum ds_format_kind kind; /* of any other each segment would only say again that it cannot be */
    bool segments = rotated && l->manifest > 0 && can_be_verified(c, &kind);
    char *path = segments ? path_in(l->dir, manifest, "") : NULL;
    l->missing = 0;
    if (path &&
        ds_segments_each(path, l->manifest, name, c, verify_segment, l, &err) != DSTREAM_OK) {
        int status = ds_cli_fail(l->cli, &err);
        l->status = l->status == DS_EXIT_OK ? status : l->status;
    }
    if (l->missing > 0)
        ds_cli_say(l->cli, "%s: %llu of its finished segments are no longer there", name,
                   (unsigned long long)l->missing);
    if (ds_signals_ending() == 0)
        verify_in(l, name, rotated ? ".partial" : "", c);
    ds_free(path);
}

static void verify_line(void *ctx, const struct ds_checkpoint *c)
{
    struct listing *l = ctx;
    if (ds_signals_ending() != 0 || (l->given && !ds_state_is_named(c, l->given)))
        return;
    l->url = l->given && ds_url_has_scheme(l->given) ? l->given : NULL;
    verify_output(l, c->file, c, DS_EXPORTS_MANIFEST);
    l->found = true;
}

static void ignore_line(void *ctx, const struct ds_checkpoint *c)
{
    (void)ctx;
    (void)c;
}

/* The name of a state without its ending is that of the output. */
static char *output_of(const char *state)
{
    static const char end[] = ".dstate";
    size_t n = strlen(state);
    if (n < sizeof end || strcmp(state + n - (sizeof end - 1), end) != 0)
        return NULL;
    return ds_strndup(state, n - (sizeof end - 1));
}

static int verify_single(struct ds_cli *cli, const struct ds_checkpoint *c, const char *output,
                         const char *given)
{
    const char *slash = strrchr(output, '/'), *name = slash ? slash + 1 : output;
    char *dir = ds_strndup(output, slash ? (size_t)(slash - output) : 0);
    char *manifest = path_in("", name, DS_EXPORT_MANIFEST);
    struct listing l = {.cli = cli, .dir = dir ? dir : "", .manifest = c->manifest, .url = given};
    if (dir && manifest)
        verify_output(&l, name, c, manifest);
    else
        l.status = ds_cli_usage(cli, "no memory for a file name");
    ds_free(dir);
    ds_free(manifest);
    return l.status;
}

int ds_state_verify_file(struct ds_cli *cli, const char *state, const struct ds_checkpoint *c,
                         const char *given)
{
    char *output = cli->opt.output ? ds_strdup(cli->opt.output)
                   : c->has_output ? output_of(state)
                                   : ds_strdup(state);
    int status =
        output ? verify_single(cli, c, output, given)
               : ds_cli_usage(cli, "%s: which file does it go with? Give --output FILE", state);
    ds_free(output);
    if (ds_signals_ending() != 0)
        ds_cli_die(ds_signals_ending());
    return status;
}

/* Where the state stands, if that is a directory that has been exported into. NULL: it is not, or
 * there is no memory. */
static char *directory_of(const struct ds_cli *cli, const char *state)
{
    const char *slash = strrchr(state, '/');
    if (cli->opt.directory)
        return ds_strdup(cli->opt.directory);
    char *dir =
        slash ? ds_strndup(state, slash > state ? (size_t)(slash - state) : 1) : ds_strdup(".");
    char *manifest = dir ? path_in(dir, DS_EXPORTS_MANIFEST, "") : NULL;
    bool is = strcmp(slash ? slash + 1 : state, DS_EXPORTS_STATE) == 0 ||
              (manifest && access(manifest, F_OK) == 0);
    ds_free(manifest);
    if (is)
        return dir;
    ds_free(dir);
    return NULL;
}

int ds_state_verify_directory(struct ds_cli *cli, const char *state, const char *given)
{
    struct dstream_error err = {0};
    struct ds_checkpoint_head head;
    bool missing;
    char *dir = directory_of(cli, state);
    struct listing l = {.cli = cli, .dir = dir, .given = given};
    if (!dir)
        return ds_cli_usage(cli, "%s: which directory does it go with? Give --directory DIR",
                            state);
    enum dstream_code rc =
        ds_exports_show(cli->fileops, state, &head, ignore_line, NULL, &missing, &err);
    l.manifest = head.manifest; /* which only grows */
    if (rc == DSTREAM_OK)
        rc = ds_exports_show(cli->fileops, state, &head, verify_line, &l, &missing, &err);
    if (rc != DSTREAM_OK)
        l.status = ds_cli_fail(cli, &err);
    else if (given && !l.found && ds_state_not_named(state, given, &err) != DSTREAM_OK)
        l.status = ds_cli_fail(cli, &err);
    ds_free(dir);
    if (ds_signals_ending() != 0)
        ds_cli_die(ds_signals_ending());
    return l.status;
}

/* Of those that are given, or all. */
static void verify_rows(void *ctx, const char *table, const struct ds_checkpoint *c,
                        struct ds_sqlite_rows *rows)
{
    struct listing *l = ctx;
    struct dstream_error err = {0};
    struct ds_checkpoint_ask ask = {.url = l->given};
    if (ds_signals_ending() != 0 ||
        (l->given && ds_checkpoint_fits(c, &ask, l->dir, &err) != DSTREAM_OK))
        return;
    struct ds_buf b;
    ds_buf_init(&b, NAMES_MAX);
    (void)ds_buf_addf(&b, "%s, table %s", l->dir, table);
    const char *path = ds_buf_str(&b);
    int status = verify(l->cli, c, path ? path : l->dir, rows, l->given);
    ds_buf_free(&b);
    l->found = true;
    if (l->status == DS_EXIT_OK)
        l->status = status;
}

int ds_state_verify_database(struct ds_cli *cli, const char *path, const char *given)
{
    struct dstream_error err = {0};
    struct listing l = {.cli = cli, .dir = path, .given = given};
    if (ds_sqlite_show(cli->fileops, path, verify_rows, &l, &err) == DSTREAM_OK && given &&
        !l.found)
        ds_error_set(&err, DSTREAM_ERR_STATE_MISMATCH, "%s: %.200s is not in it", path, given);
    if (err.code != DSTREAM_OK)
        l.status = ds_cli_fail(cli, &err);
    if (ds_signals_ending() != 0)
        ds_cli_die(ds_signals_ending());
    return l.status;
}
