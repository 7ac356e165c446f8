/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "cli/unary.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "base/url.h"
#include "cli/network.h"
#include "cli/signals.h"
#include "decode/jsoncut.h"

#define URL_MAX ((size_t)64 * 1024)

static void on_retry(void *ctx, const struct dstream_error *why, int64_t delay)
{
    struct ds_unary *u = ctx;
    if (u->cli->opt.verbose > 0)
        ds_cli_say(u->cli, "%s: %s: retry in %lld ms", u->name, why->message, (long long)delay);
}

static enum dstream_code open_session(struct ds_unary *u, bool to)
{
    u->loop = dstream_loop_new();
    u->options = dstream_options_new();
    if (!u->loop || !u->options)
        return ds_error_set(&u->error, DSTREAM_ERR_NOMEM, "no memory for a loop");
    ds_signals_catch(u->loop);
    enum dstream_code rc = to ? ds_cli_network_to(u->cli, u->options, &u->error)
                              : ds_cli_network(u->cli, u->options, u->url.data, &u->error);
    if (rc == DSTREAM_OK)
        rc = ds_options_session(&u->session, u->loop, u->options, &u->error);
    u->caller = (struct ds_caller){.loop = u->loop,
                                   .session = u->session,
                                   .options = u->options,
                                   .on_retry = on_retry,
                                   .ctx = u};
    return rc;
}

static enum dstream_code begin(struct ds_unary *u, struct ds_cli *c, const char *operand, bool to)
{
    memset(u, 0, sizeof *u);
    u->cli = c;
    ds_buf_init(&u->url, URL_MAX);
    enum dstream_code rc = ds_cli_url(c, operand, &u->url, &u->error);
    if (rc != DSTREAM_OK)
        return rc;
    ds_url_redact(u->url.data, u->name, sizeof u->name);
    return open_session(u, to);
}

enum dstream_code ds_unary_begin(struct ds_unary *u, struct ds_cli *c)
{
    return begin(u, c, c->args[0], false);
}

enum dstream_code ds_unary_begin_to(struct ds_unary *u, struct ds_cli *c, const char *operand)
{
    return begin(u, c, operand, true);
}

static bool is_ending(void *ctx)
{
    (void)ctx;
    return ds_signals_ending() != 0;
}

enum dstream_code ds_unary_call(struct ds_unary *u, struct ds_call_config c)
{
    if (!c.url)
        c.url = u->url.data;
    return ds_call_wait(&u->caller, &c, is_ending, NULL, &u->result, &u->error);
}

enum dstream_code ds_unary_check_closed(struct ds_unary *u)
{
    struct ds_call_result closing = u->result;
    if (closing.closed)
        return DSTREAM_OK;
    enum dstream_code rc = ds_unary_call(u, (struct ds_call_config){.kind = DS_CALL_STAT});
    if (rc != DSTREAM_OK || u->result.closed)
        return rc;
    ds_error_set_url(&u->error, u->url.data);
    return ds_error_set(&u->error, DSTREAM_ERR_PROTOCOL,
                        "the server took the request (%d), but did not close the stream",
                        closing.status);
}

bool ds_unary_ttl(const char *given, struct ds_buf *out)
{
    int64_t ms;
    if (!given)
        return true;
    return ds_parse_duration(given, &ms) && ms > 0 && ms % 1000 == 0 &&
           ds_buf_addf(out, "%lld", (long long)(ms / 1000)) == DSTREAM_OK && ds_buf_str(out);
}

int ds_unary_end(struct ds_unary *u, int status)
{
    int sig = u->loop ? ds_signals_ending() : 0;
    ds_session_free(u->session);
    dstream_options_free(u->options);
    ds_signals_release();
    dstream_loop_free(u->loop);
    ds_buf_free(&u->url);
    if (sig != 0)
        ds_cli_die(sig);
    return status;
}

/* --- data from a file ------------------------------------------------------------------------- */

typedef enum dstream_code (*take_piece)(void *ctx, const char *p, size_t n);

static enum dstream_code read_all(struct ds_unary *u, int fd, const char *name, take_piece take,
                                  void *ctx)
{
    char piece[64 * 1024];
    for (;;) {
        ssize_t n = read(fd, piece, sizeof piece);
        if (ds_signals_ending() != 0)
            return ds_error_set(&u->error, DSTREAM_ERR_CANCELLED, "stopped: nothing was sent");
        if (n < 0 && errno != EINTR)
            return ds_error_set(&u->error, DSTREAM_ERR_IO, "%.200s: cannot read: %s", name,
                                strerror(errno));
        enum dstream_code rc = n > 0 ? take(ctx, piece, (size_t)n) : DSTREAM_OK;
        if (n == 0 || rc != DSTREAM_OK)
            return rc;
    }
}

static enum dstream_code take_bytes(void *ctx, const char *p, size_t n)
{
    return ds_buf_add(ctx, p, n);
}

struct cutting {
    struct ds_json_cut cut;
    struct ds_items items;
};

static enum dstream_code take_json(void *ctx, const char *p, size_t n)
{
    struct cutting *c = ctx;
    return ds_json_cut_feed(&c->cut, p, n, &c->items);
}

static enum dstream_code too_much(struct ds_unary *u, const char *name)
{
    return ds_error_set(&u->error, DSTREAM_ERR_LIMIT,
                        "%.200s: more than one request takes (%zu bytes): use dstream write", name,
                        u->cli->limits.max_body);
}

static enum dstream_code bytes_of(struct ds_unary *u, int fd, const char *name, struct ds_buf *out)
{
    enum dstream_code rc = read_all(u, fd, name, take_bytes, out);
    if (rc == DSTREAM_ERR_LIMIT)
        return too_much(u, name);
    return rc == DSTREAM_ERR_NOMEM ? ds_error_set(&u->error, rc, "no memory for %.200s", name) : rc;
}

/* Values as one array; the cutter leaves an LF behind each. */
static enum dstream_code wrap(const struct ds_items *it, struct ds_buf *out)
{
    for (size_t i = 0; i < it->count; i++)
        it->bytes.data[it->ends[i] - 1] = i + 1 < it->count ? ',' : ']';
    enum dstream_code rc = it->count > 0 ? ds_buf_addc(out, '[') : DSTREAM_OK;
    return rc == DSTREAM_OK ? ds_buf_add(out, it->bytes.data, it->bytes.len) : rc;
}

static enum dstream_code values_of(struct ds_unary *u, int fd, const char *name, struct ds_buf *out)
{
    struct cutting c;
    ds_items_init(&c.items, out->max);
    ds_json_cut_init(&c.cut, DS_JSON_VALUES, u->cli->limits.json_depth);
    enum dstream_code rc = read_all(u, fd, name, take_json, &c);
    if (rc == DSTREAM_OK)
        rc = ds_json_cut_finish(&c.cut, &c.items);
    if (rc == DSTREAM_ERR_PARSE || (rc == DSTREAM_ERR_LIMIT && c.cut.pos < out->max))
        rc = ds_error_set(&u->error, rc == DSTREAM_ERR_PARSE ? DSTREAM_ERR_INPUT : rc,
                          "%.200s: %sat byte %llu: %s", name,
                          rc == DSTREAM_ERR_PARSE ? "not JSON " : "", (unsigned long long)c.cut.pos,
                          c.cut.why);
    else if (rc == DSTREAM_OK)
        rc = wrap(&c.items, out);
    if (rc == DSTREAM_ERR_LIMIT && u->error.code != rc)
        rc = too_much(u, name);
    else if (rc == DSTREAM_ERR_NOMEM)
        ds_error_set(&u->error, rc, "no memory for %.200s", name);
    ds_json_cut_free(&c.cut);
    ds_items_free(&c.items);
    return rc;
}

enum dstream_code ds_unary_data(struct ds_unary *u, const char *path, const char *type,
                                struct ds_buf *out)
{
    bool standard = strcmp(path, "-") == 0;
    const char *name = standard ? "standard input" : path;
    ds_error_clear(&u->error); /* what fails here is not of a URL */
    int fd = standard ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return ds_error_set(&u->error, DSTREAM_ERR_NOT_FOUND, "%.200s: cannot open: %s", path,
                            strerror(errno));
    enum dstream_code rc =
        type && ds_type_is_json(type) ? values_of(u, fd, name, out) : bytes_of(u, fd, name, out);
    if (!standard)
        close(fd);
    return rc;
}
