/* SPDX-License-Identifier: Apache-2.0 */
/* dstream state show FILE: checkpoints in words, or as the JSON that they are. Takes no lock, so it
 * works beside an export. */
#include "config.h"

#include "cli/cli.h"

#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "base/http.h"
#include "base/text.h"
#include "base/url.h"
#include "store/exports.h"
#include "store/log.h"
#include "store/sqlite.h"

/* More than all fields of a checkpoint can take, each byte of them escaped: reserved at once, so
 * that no addition has to be checked. */
#define SHOWN_MAX ((size_t)256 * 1024)

/* "name: value", with whatever a terminal should not see made visible. */
static void show(struct ds_buf *b, const char *name, const char *value)
{
    ds_buf_addf(b, "%s: ", name);
    ds_terminal_escape(b, value, strlen(value));
    ds_buf_addc(b, '\n');
}

static void show_number(struct ds_buf *b, const char *name, uint64_t v, const char *unit)
{
    ds_buf_addf(b, "%s: %llu%s%s\n", name, (unsigned long long)v, *unit ? " " : "", unit);
}

static void show_left_out(struct ds_buf *b, const char *names)
{
    if (!*names)
        return;
    ds_buf_adds(b, "left out of the url:");
    for (const char *p = names; *p;) {
        size_t n = strcspn(p, "&");
        ds_buf_addc(b, ' ');
        ds_terminal_escape(b, p, n);
        p += n + (p[n] != '\0');
    }
    ds_buf_addc(b, '\n');
}

static void show_output(struct ds_buf *b, const struct ds_checkpoint *c)
{
    if (c->has_mark) {
        show_number(b, "mark of the journal", c->mark,
                    ds_type_is_json(c->content_type) ? "messages" : "bytes");
        return;
    }
    if (strcmp(c->format, DS_SQLITE_FORMAT) == 0)
        return;
    if (!c->has_output) {
        show(b, "output", "none (to a pipe or a command: at least once)");
        if (c->handed > 0)
            show_number(b, "handed out behind that", c->handed,
                        ds_type_is_json(c->content_type) ? "messages" : "bytes");
        return;
    }
    show_number(b, "output length", c->length, "bytes");
    ds_buf_addf(b, "output end: %s:%s (of its last %d bytes)\n", DS_HASH_NAME, c->tail,
                DS_CHECKPOINT_TAIL);
}

static void show_segment(struct ds_buf *b, const struct ds_checkpoint *c)
{
    const struct ds_checkpoint_segment *s = &c->segment;
    if (c->before > 0)
        show_number(b, "output before the stream", c->before, "bytes");
    if (s->number == 0)
        return;
    show_number(b, "segment", s->number, "");
    show(b, "segment from", s->from);
    show_number(b, "segment from skip", s->from_skip, "");
    if (s->sealing[0])
        show(b, "segment is being named", s->sealing);
    if (c->manifest > 0)
        show_number(b, "manifest length", c->manifest, "bytes");
}

static void show_witness(struct ds_buf *b, const struct ds_checkpoint *c)
{
    const struct ds_checkpoint_witness *w = &c->witness;
    if (!w->start[0]) {
        show(b, "witness",
             "none (no data yet: there is nothing to compare the stream with on resuming)");
        return;
    }
    const char *unit = ds_type_is_json(c->content_type) ? "messages" : "bytes";
    show(b, "witness start", w->start);
    show_number(b, "witness delivered", w->delivered, unit);
    show_number(b, "witness hashed", w->hashed, unit);
    ds_buf_addf(b, "witness hash: %s:%s\n", DS_HASH_NAME, w->hash);
}

static void show_all(struct ds_buf *b, const char *path, const struct ds_checkpoint *c)
{
    if (c->file[0])
        show(b, "file", c->file);
    else if (*path)
        show(b, "state", path);
    show(b, "time", c->time);
    show(b, "url", c->url);
    show_left_out(b, c->left_out);
    show(b, "content type", c->content_type[0] ? c->content_type : "not known yet");
    show(b, "format", c->format);
    if (c->template[0])
        show(b, "template", c->template);
    if (c->compression[0])
        show(b, "compression", c->compression);
    show(b, "from", strcmp(c->from, "-1") == 0 ? "beginning" : c->from);
    show_number(b, "from skip", c->from_skip, "");
    show(b, "from offset", c->from_offset);
    show(b, "first", c->first[0] ? c->first : "no data yet");
    show(b, "offset", c->offset);
    show_number(b, "skip", c->skip, "");
    show(b, "closed", c->closed ? "yes" : "no");
    show_output(b, c);
    show_segment(b, c);
    show_witness(b, c);
}

/* Prints what was gathered, and empties it. */
static void flush_to_stdout(struct ds_buf *b, struct dstream_error *err)
{
    if (err->code == DSTREAM_OK && b->len > 0 && fwrite(b->data, 1, b->len, stdout) != b->len)
        ds_error_set(err, DSTREAM_ERR_IO, "standard output: cannot write: %s",
                     ds_errno_text(errno));
    b->len = 0;
}

struct listing {
    bool json;
    struct ds_buf b;
    struct dstream_error err;
};

static void show_line(void *ctx, const struct ds_checkpoint *c)
{
    struct listing *l = ctx;
    if (ds_buf_reserve(&l->b, SHOWN_MAX) == DSTREAM_OK && l->json) {
        (void)ds_checkpoint_write(&l->b, c);
    } else if (l->b.cap - l->b.len >= SHOWN_MAX) {
        ds_buf_addc(&l->b, '\n');
        show_all(&l->b, "", c);
    } else {
        ds_error_set(&l->err, DSTREAM_ERR_NOMEM, "no memory to show a state");
    }
}

static void show_head(struct ds_buf *b, const char *path, const struct ds_checkpoint_head *head,
                      bool json)
{
    if (json) {
        (void)ds_checkpoint_write_head(b, head);
        return;
    }
    show(b, "state", path);
    show(b, "time", head->time);
    show_number(b, "files", head->files, "");
    show_number(b, "manifest length", head->manifest, "bytes");
}

/* A directory's: its head, then each file's behind an empty line. */
static enum dstream_code show_directory(struct ds_cli *cli, const char *path, struct ds_buf *out,
                                        struct dstream_error *err)
{
    struct listing l = {.json = cli->opt.json};
    struct ds_checkpoint_head head;
    bool missing;
    ds_buf_init(&l.b, SIZE_MAX);
    enum dstream_code rc = ds_exports_show(cli->fileops, path, &head, show_line, &l, &missing, err);
    if (rc == DSTREAM_OK && l.err.code != DSTREAM_OK) {
        *err = l.err;
        rc = err->code;
    }
    if (rc == DSTREAM_OK) {
        show_head(out, path, &head, l.json);
        flush_to_stdout(out, err);
        flush_to_stdout(&l.b, err);
    }
    ds_buf_free(&l.b);
    return rc;
}

static void show_row(void *ctx, const char *table, const struct ds_checkpoint *c,
                     struct ds_sqlite_rows *rows)
{
    struct listing *l = ctx;
    (void)rows;
    if (!l->json && ds_buf_reserve(&l->b, SHOWN_MAX) == DSTREAM_OK)
        ds_buf_addf(&l->b, "%stable: %s", l->b.len ? "\n" : "", table);
    show_line(ctx, c);
}

static int show_database(struct ds_cli *cli, const char *path)
{
    struct listing l = {.json = cli->opt.json};
    struct dstream_error err = {0};
    ds_buf_init(&l.b, SIZE_MAX);
    if (ds_sqlite_show(cli->fileops, path, show_row, &l, &err) == DSTREAM_OK)
        err = l.err;
    flush_to_stdout(&l.b, &err);
    ds_buf_free(&l.b);
    return err.code == DSTREAM_OK ? ds_cli_flush(cli) : ds_cli_fail(cli, &err);
}

static bool is_state_name(const char *path)
{
    static const char end[] = ".dstate";
    size_t n = strlen(path);
    return n >= sizeof end && strcmp(path + n - (sizeof end - 1), end) == 0;
}

/* The state of the output or the directory `name`, else `name` itself. The path that was taken is
 * left in `path`. */
static enum dstream_code find(struct ds_cli *cli, const char *name, struct ds_buf *path,
                              struct ds_checkpoint *c, bool *missing, struct dstream_error *err)
{
    static const char *const ends[] = {".dstate", ("/" DS_EXPORTS_STATE), ""};
    enum dstream_code rc = DSTREAM_ERR_NOMEM;
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        path->len = 0;
        ds_error_clear(err);
        if (ds_buf_adds(path, name) != DSTREAM_OK || ds_buf_adds(path, ends[i]) != DSTREAM_OK ||
            !ds_buf_str(path))
            return ds_error_set(err, DSTREAM_ERR_NOMEM, "no memory for a file name");
        rc = ds_state_show(cli->fileops, path->data, c, missing, err);
        if (!*missing)
            break;
    }
    /* As likely an output whose state is gone: that is not to be removed. */
    if (rc == DSTREAM_ERR_STATE_CORRUPT && strcmp(path->data, name) == 0 && !is_state_name(name))
        ds_error_set(err, rc,
                     "%.200s: it is no state file, or a damaged one, and there is no "
                     "%.200s.dstate",
                     name, name);
    return rc;
}

static int print(struct ds_cli *cli, struct ds_buf *b)
{
    struct dstream_error err = {0};
    flush_to_stdout(b, &err);
    return err.code == DSTREAM_OK ? ds_cli_flush(cli) : ds_cli_fail(cli, &err);
}

static int show_state(struct ds_cli *cli, const char *name)
{
    struct dstream_error err = {0};
    struct ds_checkpoint *c = ds_calloc(1, sizeof *c);
    struct ds_buf path, b;
    bool missing = false;
    ds_buf_init(&path, SHOWN_MAX);
    ds_buf_init(&b, SHOWN_MAX);
    int status;
    if (!c || ds_buf_reserve(&b, SHOWN_MAX) != DSTREAM_OK)
        ds_error_set(&err, DSTREAM_ERR_NOMEM, "no memory to read a state file");
    else if (find(cli, name, &path, c, &missing, &err) == DSTREAM_OK && cli->opt.json)
        (void)ds_checkpoint_write(&b, c);
    else if (err.code == DSTREAM_OK)
        show_all(&b, path.data, c);
    else if (err.code == DSTREAM_ERR_STATE_MISMATCH) { /* it goes with a directory */
        ds_error_clear(&err);
        (void)show_directory(cli, path.data, &b, &err);
    }
    if (missing)
        ds_error_set(&err, DSTREAM_ERR_IO, "%s: no such state file, nor %s.dstate", name, name);
    status = err.code == DSTREAM_OK ? print(cli, &b) : ds_cli_fail(cli, &err);
    ds_buf_free(&path);
    ds_buf_free(&b);
    ds_free(c);
    return missing ? DS_EXIT_NO_INPUT : status;
}

/* --- verify, set, rm -------------------------------------------------------------------------- */

bool ds_state_is_named(const struct ds_checkpoint *c, const char *name)
{
    struct dstream_error ignored = {0};
    struct ds_checkpoint_ask ask = {.url = name};
    return ds_url_has_scheme(name) ? ds_checkpoint_fits(c, &ask, "", &ignored) == DSTREAM_OK
                                   : strcmp(c->file, name) == 0;
}

/* The file of a directory's line that has a name. */
struct finding {
    const char *name;
    char file[DS_SEGMENT_MAX + 1];
    unsigned n; /* how many have it */
};

static void find_line(void *ctx, const struct ds_checkpoint *c)
{
    struct finding *f = ctx;
    if (!ds_state_is_named(c, f->name))
        return;
    memcpy(f->file, c->file, sizeof f->file);
    f->n++;
}

enum dstream_code ds_state_not_named(const char *path, const char *name, struct dstream_error *err)
{
    return ds_error_set(err, DSTREAM_ERR_NOT_FOUND,
                        "%s: it has no file or stream %.200s: see dstream state show", path, name);
}

static enum dstream_code name_line(struct ds_cli *cli, const char *path, struct finding *f,
                                   struct dstream_error *err)
{
    struct ds_checkpoint_head head;
    bool missing;
    enum dstream_code rc = ds_exports_show(cli->fileops, path, &head, find_line, f, &missing, err);
    if (rc == DSTREAM_OK && f->n == 0)
        rc = ds_state_not_named(path, f->name, err);
    else if (rc == DSTREAM_OK && f->n > 1)
        rc = ds_error_set(err, DSTREAM_ERR_ARGUMENT,
                          "%s: it has %u files of the stream %.200s: give the name of one", path,
                          f->n, f->name);
    return rc;
}

/* One line of a directory's. */
static enum dstream_code change_line(struct ds_cli *cli, const char *path, const char *name,
                                     const char *offset, struct dstream_error *err)
{
    struct finding f = {.name = name};
    enum dstream_code rc = name_line(cli, path, &f, err);
    return rc == DSTREAM_OK
               ? ds_exports_change(cli->fileops, path, f.file, offset, cli->opt.from_skip, err)
               : rc;
}

static int remove_state(struct ds_cli *cli, const char *path, const char *name)
{
    struct dstream_error err = {0};
    enum dstream_code rc =
        name ? change_line(cli, path, name, NULL, &err) : ds_state_remove(cli->fileops, path, &err);
    if (rc != DSTREAM_OK)
        return ds_cli_fail(cli, &err);
    ds_cli_say(cli, "%s: %s%sremoved", path, name ? name : "", name ? ": " : "");
    return DS_EXIT_OK;
}

static int set_state(struct ds_cli *cli, const char *path, const char *name)
{
    const struct ds_cli_options *o = &cli->opt;
    struct dstream_error err = {0};
    if (!o->from || strcmp(o->from, "now") == 0 || strlen(o->from) > DS_TOKEN_MAX)
        return ds_cli_usage(cli, "state set: give --from OFFSET[,SKIP]");
    enum dstream_code rc = name ? change_line(cli, path, name, o->from, &err)
                                : ds_state_set(cli->fileops, path, o->from, o->from_skip, &err);
    if (rc != DSTREAM_OK)
        return ds_cli_fail(cli, &err);
    ds_cli_say(cli, "%s: %s%sgoes on at %s,%llu, with nothing to know the stream by", path,
               name ? name : "", name ? ": " : "", o->from, (unsigned long long)o->from_skip);
    return DS_EXIT_OK;
}

/* `name` is the line of a directory's, NULL for the state as a whole. */
static int change(struct ds_cli *cli, const char *path, bool directory, const char *name, bool set)
{
    if (name && !directory)
        return ds_cli_usage(cli, "%s: the state is of one output: name no other", path);
    if (set && directory && !name)
        return ds_cli_usage(cli, "%s: the state is of a directory: name the file or stream as well",
                            path);
    return set ? set_state(cli, path, name) : remove_state(cli, path, name);
}

/* `which` is what stands behind the state's name: the stream's URL, or which one of a directory. */
static int act_on(struct ds_cli *cli, const char *what, const char *name, const char *which)
{
    struct dstream_error err = {0};
    struct ds_checkpoint *c = ds_calloc(1, sizeof *c);
    struct ds_buf path;
    bool missing = false;
    int status;
    ds_buf_init(&path, SHOWN_MAX);
    enum dstream_code rc = c ? find(cli, name, &path, c, &missing, &err)
                             : ds_error_set(&err, DSTREAM_ERR_NOMEM, "no memory");
    bool directory = rc == DSTREAM_ERR_STATE_MISMATCH, verify = strcmp(what, "verify") == 0;
    /* One that is damaged can still be removed, where its name says that it was one: it must not be
     * an output that has none beside it. */
    bool damaged =
        rc == DSTREAM_ERR_STATE_CORRUPT && strcmp(what, "rm") == 0 && is_state_name(path.data);
    if (missing)
        ds_error_set(&err, DSTREAM_ERR_IO, "%s: no such state file, nor %s.dstate", name, name);
    if (rc != DSTREAM_OK && !directory && !damaged)
        status = ds_cli_fail(cli, &err);
    else if (verify)
        status = directory ? ds_state_verify_directory(cli, path.data, which)
                           : ds_state_verify_file(cli, path.data, c, which);
    else
        status = change(cli, path.data, directory, which, strcmp(what, "set") == 0);
    ds_buf_free(&path);
    ds_free(c);
    return missing ? DS_EXIT_NO_INPUT : status;
}

int ds_cmd_state(struct ds_cli *c)
{
    const char *what = c->nargs > 0 ? c->args[0] : "";
    bool show = strcmp(what, "show") == 0, verify = strcmp(what, "verify") == 0;
    if (!show && !verify && strcmp(what, "set") != 0 && strcmp(what, "rm") != 0)
        return ds_cli_usage(c, "state: give \"show\", \"verify\", \"set\" or \"rm\", and a file");
    if (c->nargs != 2 && (show || c->nargs != 3))
        return ds_cli_usage(c, "state %s: give one file%s", what,
                            show ? "" : ", and of a directory's which stream");
    if (show && ds_log_is(c->fileops, c->args[1]))
        return ds_state_show_journal(c, c->args[1]);
    bool database = ds_sqlite_is(c->fileops, c->args[1]);
    if (database && verify)
        return ds_state_verify_database(c, c->args[1], c->nargs == 3 ? c->args[2] : NULL);
    if (database && !show)
        return ds_cli_usage(c,
                            "state %s: it is not for a database, whose positions are in its "
                            "table " DS_SQLITE_STREAMS,
                            what);
    if (database)
        return show_database(c, c->args[1]);
    return show ? show_state(c, c->args[1])
                : act_on(c, what, c->args[1], c->nargs == 3 ? c->args[2] : NULL);
}
