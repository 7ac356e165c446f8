/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "cli/stage.h"

#include <string.h>

#include "base/alloc.h"
#include "base/http.h"
#include "cli/player.h"
#include "cli/unary.h"
#include "devserver/target.h"

struct ds_play {
    struct ds_player player;
    char *path; /* of its stream, as the server has it */
    bool opened;
    bool begun; /* the stream was read */
    bool over;
    int64_t due;
};

/* --- names ------------------------------------------------------------------------------------ */

/* FILE=PATH: where the path begins, or NULL. The file's name may have a '=' in it. */
static const char *path_in(const char *text)
{
    const char *at = strrchr(text, '=');
    return at && at > text && at[1] ? at + 1 : NULL;
}

static char *file_in(const char *text)
{
    const char *path = path_in(text);
    return ds_strndup(text, path ? (size_t)(path - text) - 1 : strlen(text));
}

/* The path of a URL, or the text as one, as the server has it. ERR_ARGUMENT for what cannot be one.
 */
static enum dstream_code stream_path(const char *text, char **out, struct dstream_error *err)
{
    const char *host = strstr(text, "://");
    const char *p = host ? host + 3 + strcspn(host + 3, "/?#") : text;
    struct ds_target t;
    struct ds_buf path;
    ds_buf_init(&path, DS_TARGET_MAX);
    *out = NULL;
    enum dstream_code rc = *p == '/' ? DSTREAM_OK : ds_buf_addc(&path, '/');
    if (rc == DSTREAM_OK)
        rc = ds_buf_add(&path, p, strcspn(p, "?#"));
    if (rc == DSTREAM_OK)
        rc = ds_buf_str(&path) ? ds_target_parse(&t, path.data) : DSTREAM_ERR_NOMEM;
    if (rc == DSTREAM_OK) {
        *out = ds_strdup(t.path);
        rc = *out ? DSTREAM_OK : DSTREAM_ERR_NOMEM;
        ds_target_free(&t);
    }
    ds_buf_free(&path);
    return rc == DSTREAM_OK || rc == DSTREAM_ERR_NOMEM
               ? rc
               : ds_error_set(err, DSTREAM_ERR_ARGUMENT, "%.300s: it cannot be a stream's path",
                              text);
}

/* By the name's end, where --type does not say it. */
static const char *type_of(const struct ds_cli_options *o, const char *file)
{
    static const struct {
        const char *end, *type;
    } known[] = {{".json", "application/json"},
                 {".ndjson", "application/json"},
                 {".jsonl", "application/json"},
                 {".txt", "text/plain"},
                 {".csv", "text/csv"}};
    const char *dot = strrchr(file, '.');
    for (size_t i = 0; !o->type && dot && i < sizeof known / sizeof *known; i++) {
        if (strcmp(dot, known[i].end) == 0)
            return known[i].type;
    }
    return o->type ? o->type : "application/octet-stream";
}

/* --- loading ---------------------------------------------------------------------------------- */

static int load_file(struct ds_stage *s, struct ds_server *server, const char *text)
{
    struct ds_unary u = {.cli = s->cli}; /* for its reading of files */
    struct ds_buf body;
    char *file = file_in(text), *path = NULL;
    ds_buf_init(&body, s->cli->limits.max_body);
    enum dstream_code rc = file ? stream_path(path_in(text), &path, &u.error) : DSTREAM_ERR_NOMEM;
    if (rc == DSTREAM_ERR_NOMEM)
        ds_error_set(&u.error, rc, "no memory for a file name");
    if (rc == DSTREAM_OK)
        rc = ds_unary_data(&u, file, type_of(&s->cli->opt, file), &body);
    if (rc == DSTREAM_OK)
        rc = ds_server_create(server, path, type_of(&s->cli->opt, file), body.data, body.len,
                              &u.error);
    ds_buf_free(&body);
    ds_free(file);
    ds_free(path);
    return rc == DSTREAM_OK ? DS_EXIT_OK : ds_cli_fail(s->cli, &u.error);
}

static enum dstream_code open_play(struct ds_stage *s, struct ds_play *p, const char *text,
                                   struct dstream_error *err)
{
    const struct ds_cli_options *o = &s->cli->opt;
    struct ds_player_config c = {
        .path = file_in(text), .speed = o->speed, .json_depth = s->cli->limits.json_depth};
    if (!c.path)
        return ds_error_set(err, DSTREAM_ERR_NOMEM, "no memory for a file name");
    p->opened = true;
    enum dstream_code rc = ds_player_open(&p->player, &c, err);
    if (rc != DSTREAM_OK)
        return rc;
    if (!p->player.in.begun)
        return ds_error_set(err, DSTREAM_ERR_INPUT, "%.300s: the recording is empty", c.path);
    return stream_path(path_in(text) ? path_in(text) : p->player.in.about.url, &p->path, err);
}

/* --- playing ---------------------------------------------------------------------------------- */

/* As a request would bring them: JSON as an array, so that a message that is one stays one. */
static enum dstream_code append(struct ds_play *p, struct ds_server *server,
                                struct dstream_error *err)
{
    const struct ds_span *span = &p->player.span;
    const struct ds_items *it = p->player.batch.items;
    bool close = p->player.batch.flags & DSTREAM_BATCH_CLOSED;
    size_t from = span->first, to = span->take;
    struct ds_buf body;
    ds_buf_init(&body, SIZE_MAX / 2);
    enum dstream_code rc = DSTREAM_OK;
    if (!span->json) {
        rc = ds_buf_add(&body, it->bytes.data + from, to - from);
    } else if (to > from) {
        size_t begin = from > 0 ? it->ends[from - 1] : 0;
        rc = ds_buf_addc(&body, '[');
        if (rc == DSTREAM_OK)
            rc = ds_buf_add(&body, it->bytes.data + begin, it->ends[to - 1] - begin);
        for (size_t i = from; rc == DSTREAM_OK && i < to; i++)
            body.data[it->ends[i] - begin] = i + 1 < to ? ',' : ']'; /* the LF, one behind */
    }
    if (rc == DSTREAM_OK)
        rc = ds_server_append(server, p->path, body.data, body.len, close, err);
    else
        ds_error_set(err, rc, "no memory for an entry");
    ds_buf_free(&body);
    return rc;
}

/* Plays what is due. */
static enum dstream_code play(struct ds_play *p, struct ds_server *server, int64_t now,
                              struct dstream_error *err)
{
    enum ds_player_step step;
    while ((step = ds_player_step(&p->player, now, err)) == DS_PLAYER_BATCH) {
        enum dstream_code rc = append(p, server, err);
        if (rc != DSTREAM_OK)
            return rc;
        ds_player_taken(&p->player);
    }
    p->over = step != DS_PLAYER_WAIT;
    p->due = p->player.due;
    return step == DS_PLAYER_FAIL ? err->code : DSTREAM_OK;
}

static int64_t on_time(void *ctx, struct ds_server *server, int64_t now)
{
    struct ds_stage *s = ctx;
    int64_t due = DS_NEVER;
    for (size_t i = 0; i < s->n; i++) {
        struct ds_play *p = &s->plays[i];
        struct dstream_error err = {0};
        if (!p->begun || p->over)
            continue;
        if (play(p, server, now, &err) != DSTREAM_OK) {
            p->over = true;
            (void)ds_cli_fail(s->cli, &err);
        }
        if (!p->over && p->due < due)
            due = p->due;
    }
    return due;
}

static void on_read(void *ctx, const char *path, int64_t now)
{
    struct ds_stage *s = ctx;
    for (size_t i = 0; i < s->n; i++) {
        struct ds_play *p = &s->plays[i];
        if (p->begun || strcmp(p->path, path) != 0)
            continue;
        p->begun = true;
        ds_player_restart(&p->player, now);
    }
}

static enum dstream_code set_stage(struct ds_stage *s, struct ds_server *server, struct ds_play *p,
                                   const char *text, struct dstream_error *err)
{
    enum dstream_code rc = open_play(s, p, text, err);
    if (rc == DSTREAM_OK)
        rc = ds_server_create(server, p->path, p->player.in.about.content_type, NULL, 0, err);
    if (rc == DSTREAM_OK)
        rc = play(p, server, 0, err);
    if (rc == DSTREAM_OK)
        ds_cli_say(s->cli, "%s: played at %s%s", p->player.c.path, ds_server_url(server), p->path);
    return rc;
}

/* --- from beginning to end -------------------------------------------------------------------- */

void ds_stage_init(struct ds_stage *s, struct ds_cli *c, struct ds_server_options *so)
{
    *s = (struct ds_stage){.cli = c};
    so->on_time = on_time;
    so->on_read = on_read;
    so->ctx = s;
}

int ds_stage_load(struct ds_stage *s, struct ds_server *server)
{
    const struct ds_cli_options *o = &s->cli->opt;
    struct dstream_error err = {0};
    int status = DS_EXIT_OK;
    for (size_t i = 0; i < o->loads.n && status == DS_EXIT_OK; i++)
        status = load_file(s, server, o->loads.at[i]);
    s->plays = ds_calloc(o->replays.n + 1, sizeof *s->plays);
    if (!s->plays)
        ds_error_set(&err, DSTREAM_ERR_NOMEM, "no memory for recordings");
    for (size_t i = 0; i < o->replays.n && status == DS_EXIT_OK && err.code == DSTREAM_OK; i++)
        (void)set_stage(s, server, &s->plays[s->n++], o->replays.at[i], &err);
    return err.code == DSTREAM_OK ? status : ds_cli_fail(s->cli, &err);
}

void ds_stage_free(struct ds_stage *s)
{
    for (size_t i = 0; i < s->n; i++) {
        if (!s->plays[i].opened)
            continue;
        char *file = (char *)(uintptr_t)s->plays[i].player.c.path;
        ds_player_close(&s->plays[i].player);
        ds_free(file);
        ds_free(s->plays[i].path);
    }
    ds_free(s->plays);
}
