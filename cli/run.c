/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "cli/run.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/http.h"
#include "base/url.h"
#include "cli/credentials.h"
#include "cli/network.h"
#include "cli/notify.h"
#include "cli/signals.h"

#define URL_MAX ((size_t)64 * 1024)

/* --- the run ---------------------------------------------------------------------------------- */

static void on_limit(void *ctx)
{
    struct ds_run *r = ctx;
    r->stop = true;
}

void ds_run_begin_on(struct ds_run *r, struct ds_cli *c, dstream_loop *loop)
{
    *r = (struct ds_run){.cli = c, .loop = loop, .borrowed = true};
    r->max_time.fire = r->idle.fire = on_limit;
    r->max_time.ctx = r->idle.ctx = r;
}

enum dstream_code ds_run_begin(struct ds_run *r, struct ds_cli *c, struct dstream_error *err)
{
    ds_run_begin_on(r, c, dstream_loop_new());
    r->borrowed = false;
    if (!r->loop)
        return ds_error_set(err, DSTREAM_ERR_NOMEM, "no memory for a loop");
    ds_signals_catch(r->loop);
    return DSTREAM_OK;
}

struct ds_left ds_run_left(const struct ds_cli_options *o)
{
    return (struct ds_left){
        .has_count = o->has_count, .has_bytes = o->has_bytes, .count = o->count, .bytes = o->bytes};
}

enum dstream_code ds_run_files(size_t streams, unsigned each, struct dstream_error *err)
{
    struct rlimit l;
    rlim_t want = each * (rlim_t)streams + 64;
    if (getrlimit(RLIMIT_NOFILE, &l) != 0 || l.rlim_cur >= want)
        return DSTREAM_OK;
    if (l.rlim_max < want)
        return ds_error_set(err, DSTREAM_ERR_IO,
                            "%zu streams take about %llu open files, and the limit is %llu: raise "
                            "it (ulimit -n), or name fewer at once",
                            streams, (unsigned long long)want, (unsigned long long)l.rlim_max);
    l.rlim_cur = want;
    return setrlimit(RLIMIT_NOFILE, &l) == 0
               ? DSTREAM_OK
               : ds_error_set(err, DSTREAM_ERR_IO, "the limit of open files cannot be raised: %s",
                              strerror(errno));
}

void ds_run_arm(struct ds_run *r, ds_status_ask tell, void *ctx)
{
    int64_t now = ds_loop_update(r->loop);
    if (r->cli->opt.max_time >= 0)
        (void)ds_timer_set(r->loop, &r->max_time, now + r->cli->opt.max_time);
    ds_run_took_data(r);
    if (tell)
        ds_status_start(&r->status, r->cli, r->loop, tell, ctx);
}

void ds_run_took_data(struct ds_run *r)
{
    if (r->cli->opt.idle >= 0)
        (void)ds_timer_set(r->loop, &r->idle, ds_loop_now(r->loop) + r->cli->opt.idle);
}

enum dstream_code ds_run_turn(struct ds_run *r, bool *hup, struct dstream_error *err)
{
    ds_notify_reloading(r->cli->notify, true); /* what HUP asks for was done since */
    enum dstream_code rc = dstream_loop_turn(r->loop, -1);
    if (rc != DSTREAM_OK)
        ds_error_set(err, rc, "no memory for the loop");
    if (rc != DSTREAM_OK || ds_signals_ending() != 0)
        r->stop = true;
    if (ds_signals_take(SIGUSR1))
        ds_status_say(&r->status);
    *hup = ds_signals_take(SIGHUP);
    if (*hup) {
        ds_credentials_again(r->cli);
        ds_notify_reloading(r->cli->notify, false);
    }
    return rc;
}

void ds_run_end(struct ds_run *r)
{
    ds_status_end(&r->status);
    if (r->loop) {
        ds_timer_stop(r->loop, &r->max_time);
        ds_timer_stop(r->loop, &r->idle);
    }
    if (!r->borrowed) {
        ds_signals_release();
        dstream_loop_free(r->loop);
    }
    r->loop = NULL;
}

int ds_run_unsatisfied(const struct ds_run *r)
{
    ds_cli_say(r->cli, "stopped before --require %s held",
               r->cli->opt.require_closed ? "closed" : "end");
    return DS_EXIT_REQUIRE;
}

static const struct ds_source *at(const struct ds_source *s, size_t stride, size_t i)
{
    return (const struct ds_source *)(const void *)((const char *)s + i * stride);
}

/* In short; of what was asked for wrongly there is no short way to say what. */
static const char *in_short(const struct dstream_error *e)
{
    return e->code == DSTREAM_ERR_ARGUMENT && e->message[0] ? e->message
                                                            : dstream_code_text(e->code);
}

static void say_summary(const struct ds_run *r, const struct ds_source *all, size_t stride,
                        size_t n)
{
    size_t closed = 0, whole = 0, failed = 0;
    for (size_t i = 0; i < n; i++) {
        const struct ds_source *s = at(all, stride, i);
        bool error = s->error.code != DSTREAM_OK;
        if (error)
            ds_cli_say(r->cli, "%s: %s", s->name, in_short(&s->error));
        failed += error;
        closed += !error && s->closed;
        whole += !error && s->whole;
    }
    if (failed > 0 || r->cli->opt.verbose > 0)
        ds_cli_say(r->cli, "%zu streams: %zu failed, %zu read to their ends, %zu of these closed",
                   n, failed, whole, closed);
}

int ds_run_summary(const struct ds_run *r, const struct ds_source *s, size_t stride, size_t n,
                   const struct dstream_error *all)
{
    say_summary(r, s, stride, n);
    if (all->code != DSTREAM_OK)
        return ds_cli_fail(r->cli, all);
    for (size_t i = 0; i < n; i++) {
        if (at(s, stride, i)->error.code != DSTREAM_OK)
            return ds_cli_ends_with(r->cli, &at(s, stride, i)->error);
    }
    for (size_t i = 0; i < n; i++) {
        if (!ds_source_satisfies(at(s, stride, i), at(s, stride, i)->closed))
            return ds_run_unsatisfied(r);
    }
    return DS_EXIT_OK;
}

/* --- what a reader calls ---------------------------------------------------------------------- */

/* It ends, where there were so many units behind the last position, before all had come that was to
 * be left out. */
static bool ends_before(struct ds_source *s, const dstream_reader *r, uint64_t units)
{
    uint64_t skip = ds_client_skip(r);
    if (skip <= units)
        return false;
    ds_error_set_url(&s->error, s->url.data);
    ds_error_set(&s->error, DSTREAM_ERR_STREAM_RESET,
                 "it ends %llu %s before the position that it was to be read from: it was made "
                 "anew, or the position is not one of it",
                 (unsigned long long)(skip - units),
                 ds_type_is_json(dstream_reader_content_type(r)) ? "messages" : "bytes");
    return true;
}

static uint64_t units_of(const dstream_batch *b)
{
    return b->flags & DSTREAM_BATCH_JSON ? b->skip - b->first + b->items->count
                                         : b->skip - b->first_byte + b->items->bytes.len;
}

static enum dstream_flow on_batch(void *ctx, dstream_reader *r, const dstream_batch *b)
{
    struct ds_source *s = ctx;
    if (s->done || s->run->stop ||
        ((b->flags & DSTREAM_BATCH_CLOSED) && ends_before(s, r, units_of(b))))
        return DSTREAM_FLOW_STOP;
    s->retry_at = DS_NEVER;
    s->hold = false;
    enum dstream_code rc = s->take(s->ctx, s, b);
    if (s->hold)
        return DSTREAM_FLOW_HOLD;
    return rc != DSTREAM_OK || s->run->stop ? DSTREAM_FLOW_STOP : DSTREAM_FLOW_NEXT;
}

static void on_end(void *ctx, dstream_reader *r, enum dstream_code code)
{
    struct ds_source *s = ctx;
    if (code != DSTREAM_OK && s->error.code == DSTREAM_OK)
        s->error = *dstream_reader_error(r);
    else if (code == DSTREAM_OK && !s->done && !s->run->stop)
        (void)ends_before(s, r, 0);
    s->whole = !s->done && s->error.code == DSTREAM_OK && !s->run->stop;
    s->done = true;
}

/* The witness can no longer be read. Nothing was delivered yet, and under strict nothing will be.
 */
static void on_witness_gone(struct ds_source *s)
{
    static const char what[] = "what was read last is no longer kept by the server (410), so "
                               "nothing shows that this is still the same stream";
    s->witness_gone = true;
    if (!s->run->cli->opt.strict_verify) {
        ds_cli_warn(s->run->cli, "%s: %s", s->name, what);
        return;
    }
    s->done = true;
    ds_error_set(&s->error, DSTREAM_ERR_STATE_MISMATCH,
                 "%s: %s: --verify-resume=strict does not go on with it", s->name, what);
}

static void on_notice(void *ctx, dstream_reader *r, const struct ds_notice *n)
{
    struct ds_source *s = ctx;
    struct ds_cli *c = s->run->cli;
    (void)r;
    switch (n->kind) {
    case DS_NOTICE_RETRY:
        s->retry_at = ds_loop_now(s->run->loop) + n->delay;
        if (c->opt.verbose > 0)
            ds_cli_say(c, "%s: %s: retry in %lld ms", s->name, n->error->message,
                       (long long)n->delay);
        break;
    case DS_NOTICE_RECONNECT:
        break;
    case DS_NOTICE_FALLBACK:
        if (c->opt.verbose > 0)
            ds_cli_say(c, "%s: SSE does not work here: going on by long-poll", s->name);
        break;
    case DS_NOTICE_PACED:
        ds_cli_warn(c, "%s: the server answers at once and without data: asking it less often",
                    s->name);
        break;
    case DS_NOTICE_LOSSY:
        ds_cli_warn(c,
                    "%s: SSE changes the bytes of a text stream: carriage returns and what is "
                    "not UTF-8 are lost",
                    s->name);
        break;
    case DS_NOTICE_GAP:
        s->gap = true;
        ds_cli_warn(c, "%s: what comes next is no longer kept by the server (410): going on %s",
                    s->name,
                    c->opt.on_gone == DSTREAM_GONE_NOW ? "at its end" : "with the earliest it has");
        break;
    case DS_NOTICE_SUSPECT:
        s->retry_at = ds_loop_now(s->run->loop) + n->delay;
        if (c->opt.verbose > 0)
            ds_cli_say(c, "%s: %s: looking again in %lld ms, since a replica may be behind",
                       s->name, n->error->message, (long long)n->delay);
        break;
    case DS_NOTICE_WITNESS_GONE:
        on_witness_gone(s);
        break;
    }
}

/* --- one stream ------------------------------------------------------------------------------- */

/* The reader would refuse them as well, but could not say what to do instead. */
static enum dstream_code check_params(const struct ds_source *s, struct dstream_error *err)
{
    static const struct {
        const char *name, *instead;
    } own[] = {{"offset", "give --from"}, {"live", "give --live"}, {"cursor", "leave it out"}};
    for (size_t i = 0; i < sizeof own / sizeof *own; i++) {
        if (ds_url_has_param(s->url.data, own[i].name))
            return ds_error_set(err, DSTREAM_ERR_ARGUMENT,
                                "%.200s: the query parameter '%s' is dstream's own: %s", s->name,
                                own[i].name, own[i].instead);
    }
    return DSTREAM_OK;
}

/* A name as it was given, but of a query only what a URL's may show. */
static void shorten(struct ds_source *s, const char *operand)
{
    char shown[sizeof s->name];
    size_t n = strcspn(operand, "?#");
    ds_url_redact(s->url.data, shown, sizeof shown);
    const char *query = operand[n] == '?' ? strchr(shown, '?') : NULL;
    (void)snprintf(s->name, sizeof s->name, "%.*s%s", (int)n, operand, query ? query : "");
}

enum dstream_code ds_source_name(struct ds_source *s, struct ds_run *r, const char *operand,
                                 struct dstream_error *err)
{
    s->run = r;
    s->retry_at = DS_NEVER;
    ds_buf_init(&s->url, URL_MAX);
    enum dstream_code rc = ds_cli_url(r->cli, operand, &s->url, err);
    if (rc == DSTREAM_OK && ds_url_has_scheme(operand))
        ds_url_redact(operand, s->name, sizeof s->name);
    else if (rc == DSTREAM_OK)
        shorten(s, operand);
    return rc == DSTREAM_OK ? check_params(s, err) : rc;
}

static enum dstream_code set_options(struct ds_source *s, dstream_options *o,
                                     const struct ds_source_start *at)
{
    struct ds_cli *c = s->run->cli;
    enum dstream_code rc = ds_cli_network(c, o, s->url.data, &s->error);
    if (rc == DSTREAM_OK && at->seen)
        rc = ds_options_set_seen(o, at->content_type, at->witness.units > 0 ? &at->witness : NULL);
    if (rc != DSTREAM_OK)
        return rc;
    rc = dstream_options_set_start(o, at->offset, at->skip);
    if (rc != DSTREAM_OK)
        return ds_error_set(&s->error, rc, "--from %.200s: not an offset that can be read from",
                            at->offset);
    (void)dstream_options_set_live(o, ds_cli_live(&c->opt));
    (void)dstream_options_set_parts(o, true);
    (void)dstream_options_set_on_gone(o, c->opt.on_gone);
    ds_options_set_stop_at_tail(o, !ds_cli_follows(&c->opt));
    (void)dstream_options_set_wait_create(o, c->opt.wait_create);
    ds_options_set_recheck(o, at->recheck);
    ds_options_set_notice(o, on_notice, s);
    ds_options_set_on_head(o, s->on_head, s->head_ctx);
    return DSTREAM_OK;
}

static enum dstream_code open_reader(struct ds_source *s, const struct ds_source_start *at)
{
    dstream_options *o = dstream_options_new();
    if (!o)
        return DSTREAM_ERR_NOMEM;
    enum dstream_code rc = set_options(s, o, at);
    if (rc == DSTREAM_OK)
        rc = dstream_reader_open(&s->reader, s->run->loop, s->url.data, o);
    dstream_options_free(o);
    return rc;
}

enum dstream_code ds_source_start(struct ds_source *s, const struct ds_source_start *at,
                                  ds_source_take take, void *ctx)
{
    s->take = take;
    s->ctx = ctx;
    enum dstream_code rc = open_reader(s, at);
    if (rc == DSTREAM_OK)
        rc = dstream_reader_start(s->reader, on_batch, on_end, s);
    if (rc == DSTREAM_OK)
        return rc;
    s->done = true;
    if (s->error.code == DSTREAM_OK)
        ds_error_set(&s->error, rc, "%s: cannot be read: %s", s->name, dstream_code_text(rc));
    return rc;
}

void ds_source_stop(struct ds_source *s)
{
    dstream_reader_free(s->reader);
    s->reader = NULL;
}

void ds_source_free(struct ds_source *s)
{
    ds_source_stop(s);
    ds_buf_free(&s->url);
}

/* --- saying ----------------------------------------------------------------------------------- */

void ds_source_tell(const struct ds_source *s, struct ds_status_now *out)
{
    enum ds_phase phase = s->reader ? ds_client_phase(s->reader) : DS_PHASE_INIT;
    out->doing = phase == DS_PHASE_INIT      ? "connecting"
                 : phase == DS_PHASE_CATCHUP ? "catching up"
                                             : "live";
    out->retry_at = s->retry_at;
    out->answered = ds_source_answered(s) && s->error.code == DSTREAM_OK;
}

void ds_source_count(const struct ds_source *s, size_t n, struct ds_status_now *out)
{
    out->answered &= ds_source_answered(s);
    out->streams = n > 1 ? n : 0;
    out->failed += n > 1 && s->error.code != DSTREAM_OK;
}

bool ds_source_answered(const struct ds_source *s)
{
    return s->done || s->retry_at != DS_NEVER ||
           (s->reader && ds_client_phase(s->reader) != DS_PHASE_INIT);
}

/* As a shell takes it: an offset is the server's word. */
static void add_quoted(struct ds_buf *out, const char *word)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "_-.,:+/@%";
    if (word[strspn(word, plain)] == '\0') {
        ds_buf_adds(out, word);
        return;
    }
    ds_buf_addc(out, '\'');
    for (; *word; word++) {
        if (*word == '\'')
            ds_buf_adds(out, "'\\''");
        else
            ds_buf_addc(out, *word);
    }
    ds_buf_addc(out, '\'');
}

void ds_source_say_position(const struct ds_source *s, const char *offset, uint64_t skip,
                            bool closed, const char *go_on)
{
    struct ds_cli *c = s->run->cli;
    if (c->opt.verbose == 0 && !isatty(fileno(c->err)))
        return;
    struct ds_buf where, b;
    ds_buf_init(&where, 2 * DS_TOKEN_MAX);
    ds_buf_init(&b, 8 * DS_TOKEN_MAX);
    ds_buf_adds(&where, offset);
    if (skip > 0)
        ds_buf_addf(&where, ",%llu", (unsigned long long)skip);
    const char *text = ds_buf_str(&where);
    add_quoted(&b, text ? text : "");
    const char *quoted = ds_buf_str(&b);
    if (quoted)
        ds_cli_say(c, "%s: %s %s", s->name, closed ? "closed; its end is" : go_on, quoted);
    ds_buf_free(&where);
    ds_buf_free(&b);
}

bool ds_source_satisfies(const struct ds_source *s, bool closed)
{
    const struct ds_cli_options *o = &s->run->cli->opt;
    return (!o->require_closed || closed) && (!o->require_end || s->whole || s->up_to_date);
}
