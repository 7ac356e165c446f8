/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dstream export: streams into files with checkpoints, each byte once over any crash: one stream
 * into a file, or any number of them into a directory. And dstream record, which is the same with
 * lines that tell of the answers.
 *
 * The order of things is what makes it safe. The locks and the comparison of the files with their
 * states come before any request. A reader finds the checkpoint's witness again before it delivers
 * anything, and only the first delivery makes the file ready: creates it behind a first state, or
 * cuts it back. So where the stream is another one, or no longer there, nothing is touched.
 */
#include "config.h"

#include "cli/cli.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "cli/exporting.h"
#include "cli/filename.h"
#include "cli/handing.h"
#include "cli/into_sqlite.h"
#include "cli/signals.h"
#include "store/segment.h"

#define LIST_MAX ((size_t)64 * 1024 * 1024)

/* --- the end ---------------------------------------------------------------------------------- */

static int finish_one(struct exporting *e)
{
    struct exported *x = &e->streams[0];
    struct ds_source *s = &x->s;
    if (s->error.code != DSTREAM_OK)
        return ds_cli_fail(e->cli, &s->error);
    struct ds_exporter_totals t = ds_exporter_totals(x->exporter);
    if (!x->complete)
        ds_source_say_position(s, t.offset, t.skip, t.closed, "the same command goes on at");
    return ds_source_satisfies(s, t.closed) ? DS_EXIT_OK : ds_run_unsatisfied(&e->run);
}

/* --- the streams' names ----------------------------------------------------------------------- */

/* Adds an operand for each line but those that are empty or begin with '#'. */
static enum dstream_code add_names(struct ds_cli *c, char *text, const char ***args, size_t *n)
{
    for (char *line = text; *line;) {
        line += strspn(line, " \t\r");
        size_t len = strcspn(line, "\n");
        char *next = line + len + (line[len] == '\n');
        while (len > 0 && strchr(" \t\r", line[len - 1]))
            len--;
        if (len > 0 && *line != '#') {
            const char **more = ds_realloc(*args, (*n + 1) * sizeof *more);
            const char *name = more ? ds_cli_own(&c->opt, line, len) : NULL;
            if (more)
                *args = more;
            if (!name)
                return DSTREAM_ERR_NOMEM;
            (*args)[(*n)++] = name;
        }
        line = next;
    }
    return DSTREAM_OK;
}

static enum dstream_code read_file(const char *path, struct ds_buf *out, struct dstream_error *err)
{
    errno = 0;
    FILE *f = strcmp(path, "-") == 0 ? stdin : fopen(path, "rbe");
    char piece[4096];
    size_t n;
    enum dstream_code rc = DSTREAM_OK;
    while (f && rc == DSTREAM_OK && (n = fread(piece, 1, sizeof piece, f)) > 0)
        rc = ds_buf_add(out, piece, n);
    if (!f || ferror(f))
        rc = DSTREAM_ERR_IO;
    int why = errno;
    if (f && f != stdin)
        (void)fclose(f);
    if (rc == DSTREAM_ERR_IO)
        return ds_error_set(err, why == ENOENT ? DSTREAM_ERR_NOT_FOUND : rc, "--list: %s: %s", path,
                            strerror(why));
    return rc == DSTREAM_OK && ds_buf_str(out)
               ? rc
               : ds_error_set(err, DSTREAM_ERR_LIMIT, "--list: %s: it is too large", path);
}

/* The operands, and behind them those of --list. Free *args with ds_free(). */
static enum dstream_code gather_names(struct ds_cli *c, const char ***args,
                                      struct dstream_error *err)
{
    struct ds_buf text;
    size_t n = c->nargs;
    *args = ds_calloc(n + 1, sizeof **args);
    if (!*args)
        return ds_error_set(err, DSTREAM_ERR_NOMEM, "no memory for names");
    memcpy(*args, c->args, n * sizeof **args);
    ds_buf_init(&text, LIST_MAX);
    enum dstream_code rc = c->opt.list ? read_file(c->opt.list, &text, err) : DSTREAM_OK;
    if (rc == DSTREAM_OK && c->opt.list && add_names(c, text.data, args, &n) != DSTREAM_OK)
        rc = ds_error_set(err, DSTREAM_ERR_NOMEM, "no memory for so many names");
    c->args = *args;
    c->nargs = n;
    ds_buf_free(&text);
    if (rc == DSTREAM_OK && n == 0)
        rc = ds_error_set(err, DSTREAM_ERR_ARGUMENT, "--list: %s names no stream", c->opt.list);
    return rc;
}

/* --- setting up ------------------------------------------------------------------------------- */

static bool rotates(const struct ds_cli_options *o)
{
    return o->rotate_size > 0 || o->rotate_time >= 0;
}

static int check_options(struct ds_cli *c)
{
    const struct ds_cli_options *o = &c->opt;
    int rc = ds_cli_check_range(c);
    if (rc != DS_EXIT_OK)
        return rc;
    if (o->table && !o->sqlite)
        return ds_cli_usage(c, "--table is for --sqlite");
    if (o->sqlite && (rc = ds_into_sqlite_check(c)) != DS_EXIT_OK)
        return rc;
    if (o->output && strcmp(o->output, "-") == 0)
        return ds_cli_usage(c, "--output - is no file that could be gone on with: dstream read "
                               "prints, and ./- is a file of that name");
    if (o->output && o->directory)
        return ds_cli_usage(c, "--output and --directory exclude each other");
    if (o->list && !o->directory && !o->sqlite)
        return ds_cli_usage(c, "--list is for --directory and --sqlite");
    if (o->rotate_name && !rotates(o))
        return ds_cli_usage(c, "--rotate-name is for --rotate-size and --rotate-time");
    if (o->rotate_name && o->directory && !ds_segment_has_file(o->rotate_name))
        return ds_cli_usage(c,
                            "--rotate-name %s: in a directory it needs %%b and %%e, so that no "
                            "two streams come to the same name",
                            o->rotate_name);
    if (c->nargs == 0 && !o->list)
        return ds_cli_usage(c, "no stream is named");
    if (o->sqlite)
        return DS_EXIT_OK;
    if (c->nargs > 1 && !o->directory)
        return ds_cli_usage(
            c, o->command == DS_CMD_RECORD
                   ? "one stream is all it takes"
                   : "several streams are exported into a directory: give --directory");
    if (!o->output && !o->directory)
        return ds_cli_usage(c, o->command == DS_CMD_RECORD
                                   ? "no file is named: give --output FILE"
                                   : "no file is named: give --output FILE, --directory DIR, "
                                     "--sqlite DB, or --exec COMMAND");
    return DS_EXIT_OK;
}

static bool records(const struct exporting *e)
{
    return e->cli->opt.command == DS_CMD_RECORD;
}

static struct ds_exporter_config config_of(const struct exporting *e, const struct exported *x)
{
    const struct ds_cli_options *o = &e->cli->opt;
    return (struct ds_exporter_config){
        .file = {.ops = e->cli->fileops,
                 .path = o->directory ? o->directory : o->output,
                 .url = x->s.url.data,
                 .state = o->state,
                 .overwrite = o->overwrite,
                 .append = o->append,
                 .reset = o->reset,
                 .pack = o->pack,
                 .rotate = !e->rotates      ? NULL
                           : o->rotate_name ? o->rotate_name
                                            : DS_SEGMENT_PATTERN},
        .rotate_bytes = o->rotate_size,
        .rotate_ms = o->rotate_time,
        .directory = e->directory,
        .name = x->file,
        .url = x->s.url.data,
        .format = o->format,
        .template = o->template,
        .form = records(e) ? &e->form : NULL,
        .sse = ds_cli_live(o) == DSTREAM_LIVE_SSE,
        .from = o->from,
        .from_skip = o->from_skip,
        .left = ds_run_left(o),
        .sync_ms = o->sync_ms,
        .sync_bytes = o->sync_bytes,
        .sync_batch = o->sync_batch,
        .max_witness = e->cli->limits.max_witness,
    };
}

static enum dstream_code name_stream(struct exporting *e, size_t i, struct dstream_error *err)
{
    struct exported *x = &e->streams[i];
    struct ds_buf b;
    x->all = e;
    enum dstream_code rc = ds_source_name(&x->s, &e->run, e->cli->args[i], err);
    if (rc != DSTREAM_OK || !e->cli->opt.directory)
        return rc;
    ds_buf_init(&b, 4 * DS_CHECKPOINT_URL_MAX);
    rc = ds_filename_of(&b, x->s.url.data, e->cli->opt.base_url, err);
    if (rc == DSTREAM_OK &&
        (ds_buf_adds(&b, ds_pack_suffix(e->cli->opt.pack)) != DSTREAM_OK || !ds_buf_str(&b)))
        rc = ds_error_set(err, DSTREAM_ERR_NOMEM, "no memory for a file name");
    x->file = b.data;
    return rc;
}

static int by_file(const void *a, const void *b)
{
    const struct exported *const *x = a, *const *y = b;
    return strcmp((*x)->file, (*y)->file);
}

/* That no two streams come to the same file is seen before anything is made. */
static enum dstream_code check_files(struct exporting *e, struct dstream_error *err)
{
    const struct exported **all = ds_calloc(e->n, sizeof(const struct exported *));
    enum dstream_code rc = DSTREAM_OK;
    if (!all)
        return ds_error_set(err, DSTREAM_ERR_NOMEM, "no memory for names");
    for (size_t i = 0; i < e->n; i++)
        all[i] = &e->streams[i];
    qsort(all, e->n, sizeof(const struct exported *), by_file);
    for (size_t i = 1; i < e->n && rc == DSTREAM_OK; i++) {
        if (strcmp(all[i - 1]->file, all[i]->file) == 0)
            rc = ds_error_set(err, DSTREAM_ERR_ARGUMENT,
                              "%s and %s would both be the file %s: leave one out, or export it "
                              "into another directory",
                              all[i - 1]->s.name, all[i]->s.name, all[i]->file);
    }
    ds_free(all);
    return rc;
}

static enum dstream_code open_all(struct exporting *e, struct dstream_error *err)
{
    enum dstream_code rc = check_files(e, err);
    if (rc == DSTREAM_OK)
        rc = ds_run_files(e->n, 2, err); /* a connection and a file */
    struct ds_exporter_config c = config_of(e, &e->streams[0]);
    if (rc == DSTREAM_OK)
        rc = ds_exports_open(&e->directory, &c.file, err);
    for (size_t i = 0; i < e->n && rc == DSTREAM_OK; i++) {
        struct exported *x = &e->streams[i];
        c = config_of(e, x);
        /* One that cannot be opened does not keep the others from it. */
        x->s.done = ds_exporter_open(&x->exporter, &c, &x->s.error) != DSTREAM_OK;
    }
    return rc;
}

static enum dstream_code open_one(struct exporting *e, struct exported *x,
                                  struct dstream_error *err)
{
    if (records(e)) {
        ds_recorder_init(&e->recorder, x->s.url.data);
        ds_recorder_form(&e->recorder, &e->form);
        x->s.on_head = ds_recorder_head;
        x->s.head_ctx = &e->recorder;
    }
    struct ds_exporter_config c = config_of(e, x);
    enum dstream_code rc = ds_exporter_open(&x->exporter, &c, err);
    if (rc == DSTREAM_OK && records(e))
        rc = ds_recorder_start(&e->recorder, x->exporter, ds_loop_update(e->run.loop), err);
    return rc;
}

static enum dstream_code set_up(struct exporting *e, struct dstream_error *err)
{
    enum dstream_code rc = ds_run_begin(&e->run, e->cli, err);
    if (rc != DSTREAM_OK)
        return rc;
    e->n = e->cli->nargs;
    e->rotates = rotates(&e->cli->opt);
    e->streams = ds_calloc(e->n + 1, sizeof *e->streams);
    if (!e->streams)
        return ds_error_set(err, DSTREAM_ERR_NOMEM, "no memory for so many streams");
    for (size_t i = 0; i < e->n && rc == DSTREAM_OK; i++)
        rc = name_stream(e, i, err);
    if (rc != DSTREAM_OK)
        return rc;
    if (e->cli->opt.directory)
        return open_all(e, err);
    return open_one(e, &e->streams[0], err);
}

static void tear_down(struct exporting *e)
{
    for (size_t i = 0; e->streams && i < e->n; i++) {
        ds_exporter_free(e->streams[i].exporter);
        ds_source_free(&e->streams[i].s);
        ds_free(e->streams[i].file);
    }
    ds_exports_free(e->directory);
    ds_recorder_free(&e->recorder);
    ds_free(e->streams);
    if (e->run.loop) {
        ds_timer_stop(e->run.loop, &e->sync);
        ds_timer_stop(e->run.loop, &e->rotate);
    }
    ds_run_end(&e->run);
}

int ds_cmd_export(struct ds_cli *c)
{
    if (ds_hands_out(&c->opt))
        return ds_cmd_hand_out(c);
    int status = check_options(c);
    if (status != DS_EXIT_OK)
        return status;
    struct exporting e = {.cli = c};
    struct dstream_error err = {0};
    const char **args;
    enum dstream_code rc = gather_names(c, &args, &err);
    if (rc == DSTREAM_OK && !c->opt.sqlite)
        rc = set_up(&e, &err);
    if (rc == DSTREAM_OK && c->opt.sqlite) {
        status = ds_into_sqlite(c);
    } else if (rc == DSTREAM_OK) {
        ds_exporting_run(&e);
        status = e.directory
                     ? ds_run_summary(&e.run, &e.streams->s, sizeof *e.streams, e.n, &e.error)
                     : finish_one(&e);
    } else {
        status = ds_cli_fail(c, &err);
    }
    tear_down(&e);
    ds_free(args);
    if (ds_signals_ending() != 0)
        ds_cli_die(ds_signals_ending());
    return status;
}
