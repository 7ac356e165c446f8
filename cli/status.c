/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "cli/status.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"
#include "cli/notify.h"
#include "cli/signals.h"
#include "cli/wall.h"
#include "reader/reader.h"

#define EVERY_MS  250
#define SELDOM_MS 1000
#define SOON_MS   50
#define TEXT_MAX  ((size_t)8192)

void ds_status_bytes(struct ds_buf *out, double bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    size_t u = 0;
    for (; bytes >= 1024 && u + 1 < sizeof units / sizeof *units; u++)
        bytes /= 1024;
    ds_buf_addf(out, u == 0 ? "%.0f %s" : "%.1f %s", bytes, units[u]);
}

static void add_failed(struct ds_buf *out, const struct ds_status_now *now)
{
    if (now->failed > 0)
        ds_buf_addf(out, ", %zu of %zu streams failed", now->failed, now->streams);
}

void ds_status_text(struct ds_buf *out, const struct ds_status_now *now, double rate,
                    int64_t retry_in)
{
    ds_status_bytes(out, (double)now->bytes);
    if (now->messages > 0)
        ds_buf_addf(out, ", %llu message%s", (unsigned long long)now->messages,
                    now->messages == 1 ? "" : "s");
    ds_buf_adds(out, ", ");
    ds_status_bytes(out, rate);
    ds_buf_adds(out, "/s");
    if (now->offset[0])
        ds_buf_addf(out, ", at %s", now->offset);
    if (now->retries > 0)
        ds_buf_addf(out, ", %llu retr%s", (unsigned long long)now->retries,
                    now->retries == 1 ? "y" : "ies");
    add_failed(out, now);
    if (retry_in >= 0)
        ds_buf_addf(out, ", retry in %lld s", (long long)((retry_in + 999) / 1000));
    else
        ds_buf_addf(out, ", %s", now->doing);
}

void ds_status_tell(struct ds_buf *out, const struct ds_status_now *now)
{
    ds_buf_adds(out, now->retry_at == DS_NEVER ? now->doing : "waiting to try again");
    if (now->offset[0])
        ds_buf_addf(out, ", at %s", now->offset);
    ds_buf_adds(out, ", ");
    ds_status_bytes(out, (double)now->bytes);
    if (now->messages > 0)
        ds_buf_addf(out, ", %llu message%s", (unsigned long long)now->messages,
                    now->messages == 1 ? "" : "s");
    add_failed(out, now);
}

void ds_status_json(struct ds_buf *out, const struct ds_status_now *now, double rate,
                    int64_t retry_in, int64_t time)
{
    ds_buf_addf(out, "{\"state\":\"%s\",\"bytes\":%llu,\"messages\":%llu,\"rate\":%.0f", now->doing,
                (unsigned long long)now->bytes, (unsigned long long)now->messages, rate);
    ds_buf_adds(out, now->offset[0] ? ",\"offset\":\"" : ",\"offset\":null");
    if (now->offset[0]) {
        (void)ds_json_escape(out, now->offset, strlen(now->offset));
        ds_buf_addc(out, '"');
    }
    if (retry_in >= 0)
        ds_buf_addf(out, ",\"retryIn\":%lld", (long long)retry_in);
    else
        ds_buf_adds(out, ",\"retryIn\":null");
    ds_buf_addf(out, ",\"retries\":%llu", (unsigned long long)now->retries);
    if (now->streams > 0)
        ds_buf_addf(out, ",\"streams\":%zu,\"failed\":%zu", now->streams, now->failed);
    ds_buf_addf(out, ",\"time\":%lld}", (long long)time);
}

/* The rate over the time since it was last measured, half of it carried on, so that it neither
 * jumps nor lags. */
static void measure(struct ds_status *s, uint64_t bytes)
{
    int64_t now = ds_loop_now(s->loop), passed = now - s->rated_at;
    if (passed < EVERY_MS)
        return;
    double latest = (double)(bytes - s->rated_bytes) * 1000 / (double)passed;
    s->rate = s->rate > 0 ? (s->rate + latest) / 2 : latest;
    if (s->rate < 1)
        s->rate = 0;
    s->rated_at = now;
    s->rated_bytes = bytes;
}

/* What there is to say, and in how many ms the retry is that is waited for (-1: none). */
static struct ds_status_now ask(struct ds_status *s, int64_t *retry_in)
{
    struct ds_status_now now = {.offset = "", .doing = "", .retry_at = DS_NEVER};
    s->ask(s->ctx, &now);
    measure(s, now.bytes);
    int64_t in = now.retry_at == DS_NEVER ? -1 : now.retry_at - ds_loop_now(s->loop);
    *retry_in = now.retry_at != DS_NEVER && in < 0 ? 0 : in;
    return now;
}

static void add_text(struct ds_status *s, struct ds_buf *out)
{
    int64_t retry_in;
    struct ds_status_now now = ask(s, &retry_in);
    ds_status_text(out, &now, s->rate, retry_in);
}

/* A line of JSON; `doing` NULL: what it is doing. */
static void add_json(struct ds_status *s, struct ds_buf *out, const char *doing)
{
    int64_t retry_in;
    struct ds_status_now now = ask(s, &retry_in);
    if (doing)
        now.doing = doing;
    ds_status_json(out, &now, s->rate, retry_in, ds_wall_now());
    ds_buf_addc(out, '\n');
}

static void clear(void *ctx)
{
    struct ds_status *s = ctx;
    if (s->drawn)
        (void)fputs("\r\033[K", s->cli->err);
    s->drawn = false;
}

/* All of its text is ASCII once it is escaped but for what an offset may hold; cut so that it does
 * not wrap. */
static void draw(struct ds_status *s)
{
    struct winsize size;
    size_t width = 80;
    if (ioctl(fileno(s->cli->err), TIOCGWINSZ, &size) == 0 && size.ws_col > 1)
        width = size.ws_col;
    struct ds_buf text, shown;
    ds_buf_init(&text, TEXT_MAX);
    ds_buf_init(&shown, TEXT_MAX);
    add_text(s, &text);
    ds_terminal_escape(&shown, text.data, text.len);
    size_t n = shown.len < width ? shown.len : width - 1;
    while (n < shown.len && n > 0 && ((unsigned char)shown.data[n] & 0xC0) == 0x80)
        n--;
    (void)fprintf(s->cli->err, "\r%.*s\033[K", (int)n, n > 0 ? shown.data : "");
    (void)fflush(s->cli->err);
    s->drawn = true;
    ds_buf_free(&text);
    ds_buf_free(&shown);
}

/* --- what is kept in a file --------------------------------------------------------------------
 */

/* Whoever looks sees the old one or the new one. */
static bool replace(const char *path, const struct ds_buf *text)
{
    struct ds_buf fresh;
    ds_buf_init(&fresh, TEXT_MAX);
    const char *name =
        ds_buf_addf(&fresh, "%s.new", path) == DSTREAM_OK ? ds_buf_str(&fresh) : NULL;
    int fd = name ? open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY, 0666) : -1;
    bool ok = fd >= 0 && write(fd, text->data, text->len) == (ssize_t)text->len;
    if (fd >= 0)
        ok = close(fd) == 0 && ok && rename(name, path) == 0;
    ds_buf_free(&fresh);
    return ok;
}

static void keep_file(struct ds_status *s, const char *doing)
{
    const char *path = s->cli->opt.status_file;
    struct ds_buf text;
    if (!path || s->file_failed)
        return;
    ds_buf_init(&text, TEXT_MAX);
    errno = 0;
    add_json(s, &text, doing);
    if (!replace(path, &text)) {
        s->file_failed = true;
        ds_cli_warn(s->cli, "--status-file %s: it cannot be written: %s", path, strerror(errno));
    }
    ds_buf_free(&text);
}

/* --- now and then ----------------------------------------------------------------------------- */

static void print_object(struct ds_status *s, const char *doing)
{
    struct ds_buf text;
    ds_buf_init(&text, TEXT_MAX);
    add_json(s, &text, doing);
    (void)fwrite(text.data, 1, text.len, s->cli->err);
    (void)fflush(s->cli->err);
    ds_buf_free(&text);
}

static int64_t every(const struct ds_status *s)
{
    return s->shown == DS_STATUS_DRAWN ? EVERY_MS : SELDOM_MS;
}

static void on_time(void *ctx)
{
    struct ds_status *s = ctx;
    if (s->shown == DS_STATUS_DRAWN)
        draw(s);
    else if (s->shown == DS_STATUS_LINES)
        ds_status_say(s);
    else if (s->shown == DS_STATUS_OBJECTS)
        print_object(s, NULL);
    keep_file(s, NULL);
    (void)ds_timer_set(s->loop, &s->timer, ds_loop_now(s->loop) + every(s));
}

/* --- what a service manager is told -------------------------------------------------------------
 */

static void say_ready(struct ds_status *s, const struct ds_status_now *now)
{
    if (now->answered)
        ds_notify_ready(s->cli->notify);
    if (ds_signals_ending() != 0)
        ds_notify_stopping(s->cli->notify);
}

static void tell_manager(struct ds_status *s)
{
    int64_t retry_in;
    struct ds_buf text, shown;
    struct ds_status_now now = ask(s, &retry_in);
    ds_buf_init(&text, TEXT_MAX);
    ds_buf_init(&shown, TEXT_MAX);
    say_ready(s, &now);
    ds_status_tell(&text, &now);
    ds_terminal_escape(&shown, text.data, text.len);
    ds_notify_status(s->cli->notify, &shown);
    ds_buf_free(&text);
    ds_buf_free(&shown);
}

/* Until it is ready it is looked at more often, so that what waits for it need not. */
static void on_tell(void *ctx)
{
    struct ds_status *s = ctx;
    tell_manager(s);
    (void)ds_timer_set(s->loop, &s->tell,
                       ds_loop_now(s->loop) +
                           (ds_notify_is_ready(s->cli->notify) ? SELDOM_MS : SOON_MS));
}

/* That it is called shows that the loop turns. */
static void on_alive(void *ctx)
{
    struct ds_status *s = ctx;
    int64_t retry_in;
    if (!ask(s, &retry_in).stuck)
        ds_notify_alive(s->cli->notify);
    (void)ds_timer_set(s->loop, &s->alive,
                       ds_loop_now(s->loop) + ds_notify_interval(s->cli->notify));
}

static void start_telling(struct ds_status *s)
{
    s->tell.fire = on_tell;
    s->alive.fire = on_alive;
    s->tell.ctx = s->alive.ctx = s;
    if (!s->cli->notify)
        return;
    (void)ds_timer_set(s->loop, &s->tell, s->rated_at);
    if (ds_notify_interval(s->cli->notify) > 0)
        (void)ds_timer_set(s->loop, &s->alive, s->rated_at);
}

static void stop_telling(struct ds_status *s)
{
    ds_timer_stop(s->loop, &s->tell);
    ds_timer_stop(s->loop, &s->alive);
    if (!s->cli->notify)
        return;
    tell_manager(s);
    ds_notify_stopping(s->cli->notify);
}

static bool has_terminal(const struct ds_cli *c)
{
    struct stat err, out;
    const char *term = getenv("TERM");
    int fd = fileno(c->err);
    if (c->opt.quiet || !isatty(fd) || !term || strcmp(term, "dumb") == 0)
        return false;
    return !isatty(STDOUT_FILENO) || fstat(fd, &err) != 0 || fstat(STDOUT_FILENO, &out) != 0 ||
           err.st_rdev != out.st_rdev;
}

static enum ds_status_shown how(const struct ds_cli *c)
{
    switch (c->opt.progress) {
    case DS_PROGRESS_LINE:
        return isatty(fileno(c->err)) ? DS_STATUS_DRAWN : DS_STATUS_LINES;
    case DS_PROGRESS_JSON:
        return DS_STATUS_OBJECTS;
    case DS_PROGRESS_NONE:
        return DS_STATUS_NOTHING;
    case DS_PROGRESS_AUTO:
        break;
    }
    return has_terminal(c) ? DS_STATUS_DRAWN : DS_STATUS_NOTHING;
}

void ds_status_start(struct ds_status *s, struct ds_cli *c, dstream_loop *loop, ds_status_ask asked,
                     void *ctx)
{
    *s = (struct ds_status){.cli = c, .loop = loop, .ask = asked, .ctx = ctx, .shown = how(c)};
    s->timer.fire = on_time;
    s->timer.ctx = s;
    s->rated_at = ds_loop_now(loop);
    start_telling(s);
    if (s->shown == DS_STATUS_NOTHING && !c->opt.status_file)
        return;
    if (s->shown == DS_STATUS_DRAWN) {
        c->before_message = clear;
        c->before_message_ctx = s;
    }
    (void)ds_timer_set(loop, &s->timer, s->rated_at + every(s));
}

void ds_status_end(struct ds_status *s)
{
    if (!s->cli)
        return;
    clear(s);
    (void)fflush(s->cli->err);
    stop_telling(s);
    ds_timer_stop(s->loop, &s->timer);
    s->cli->before_message = NULL;
    if (s->shown == DS_STATUS_OBJECTS)
        print_object(s, "ended");
    keep_file(s, "ended");
    s->cli = NULL;
}

void ds_status_say(struct ds_status *s)
{
    struct ds_buf text;
    bool quiet = s->cli->opt.quiet;
    ds_buf_init(&text, TEXT_MAX);
    add_text(s, &text);
    const char *line = ds_buf_str(&text);
    s->cli->opt.quiet = false; /* it was asked for */
    if (line)
        ds_cli_say(s->cli, "%s", line);
    s->cli->opt.quiet = quiet;
    ds_buf_free(&text);
}
