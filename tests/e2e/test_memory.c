/* SPDX-License-Identifier: Apache-2.0 */
/* Memory stays bounded, however much is read and however slowly it is taken. The servers make up
 * what they send, so that a stream of 1 GiB needs no such store. */
#include "config.h"

#include "tests/e2e/harness.h"
#include "tests/e2e/listener.h"
#include "tests/e2e/reading.h"
#include "tests/e2e/scripted.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MIB       ((size_t)1 << 20)
#define LIMIT_KIB (32 * 1024)

static size_t whole_length(void)
{
    return getenv("DSTREAM_SOAK") ? 1024 * MIB : e2e_sanitized() ? 20 * MIB : 100 * MIB;
}

struct flood {
    const char *type, *encoding; /* header line of SSE answers */
    const char *page;            /* body of one page */
    const char *event;           /* payload of one event */
    size_t length;               /* of the whole stream, counted on the wire */
    size_t room;                 /* bytes of the page's or event's payload */
    atomic_size_t sent;
    atomic_bool stalled;
    bool drop; /* a stalled connection is reset, once */
};

static size_t asked_offset(const struct exchange *x)
{
    const char *given = strstr(x->head, "offset=p");
    return given ? strtoul(given + 8, NULL, 10) : 0;
}

static void head_of_page(struct exchange *x, const struct flood *f, size_t at, bool end)
{
    say(x, e2e_printf("HTTP/1.1 200 OK\r\nContent-Type: %s\r\nStream-Next-Offset: p%012zu\r\n"
                      "%sContent-Length: %zu\r\n\r\n",
                      f->type, at, end ? "Stream-Up-To-Date: true\r\n" : "", strlen(f->page)));
}

/* Pages from any offset p<number> on, all alike. */
static void play_pages(void *ctx, struct exchange *x)
{
    struct flood *f = ctx;
    size_t at = asked_offset(x);
    if (strncmp(x->head, "HEAD", 4) == 0) {
        answer(
            x, "200 OK",
            e2e_printf("Content-Type: %s\r\nStream-Next-Offset: p%012zu\r\n", f->type, f->length),
            "");
        return;
    }
    at += f->room;
    head_of_page(x, f, at, at >= f->length);
    say(x, f->page);
    atomic_fetch_add(&f->sent, f->room);
}

/* Sends all that the peer takes; notes when it takes nothing for a while. */
static bool push(struct exchange *x, struct flood *f, const char *p, size_t n)
{
    struct pollfd out = {.fd = x->fd, .events = POLLOUT};
    while (poll(&out, 1, 300) == 0) {
        bool first = !atomic_exchange(&f->stalled, true);
        if (first && f->drop) {
            listener_reset(x->fd);
            return false;
        }
    }
    atomic_fetch_add(&f->sent, n);
    return say_bytes(x, p, n);
}

/* Nothing by catch-up, everything by event streams, in small events. */
static void play_events(void *ctx, struct exchange *x)
{
    struct flood *f = ctx;
    size_t from = asked_offset(x);
    if (!asks(x, "live=sse")) {
        answer(x, "200 OK",
               e2e_printf("Content-Type: %s\r\nStream-Next-Offset: p%012zu\r\n"
                          "Stream-Up-To-Date: true\r\n",
                          f->type, from),
               strcmp(f->type, TYPE_JSON) == 0 ? "[]" : "");
        return;
    }
    char block[65536];
    answer_events(x, f->encoding);
    for (size_t at = from, n = 0; at < f->length;) {
        at += f->room;
        n += (size_t)snprintf(block + n, sizeof block - n,
                              "event: data\ndata: %s\n\nevent: control\ndata: "
                              "{\"streamNextOffset\":\"p%012zu\",\"streamCursor\":\"1\"%s}\n\n",
                              f->event, at, at >= f->length ? ",\"streamClosed\":true" : "");
        if (sizeof block - n < 2048 || at >= f->length) {
            if (!push(x, f, block, n))
                return;
            n = 0;
        }
    }
    keep_open(x);
}

/* `n` times the same text, joined. */
static char *repeated(const char *text, const char *before, const char *between, const char *after,
                      size_t n)
{
    struct e2e_bytes b = e2e_text(before);
    for (size_t i = 0; i < n; i++) {
        e2e_add_text(&b, i > 0 ? between : "");
        e2e_add_text(&b, text);
    }
    e2e_add_text(&b, after);
    return b.p;
}

static void stays_small(struct e2e_process *p)
{
    if (!e2e_sanitized())
        cr_assert_lt(p->max_rss, LIMIT_KIB, "%s: %ld KiB resident", p->line, p->max_rss);
}

/* Reads all of it into /dev/null. */
static void read_flood(struct flood *f, script play, bool live)
{
    f->length = whole_length();
    struct scripted *s = scripted_start(play, f);
    char *url = e2e_url_at(scripted_url(s), "s");
    const char *const args[] = {
        "read", "-v", live ? "--follow" : "--until", live ? url : "end", live ? NULL : url, NULL};
    struct e2e_process *p =
        e2e_spawn(&(struct e2e_run){.argv = e2e_command(args), .out = "/dev/null"});
    e2e_status(p, 0);
    char *end = reading_position(p);
    cr_assert_geq(strtoul(end + 1, NULL, 10), f->length, "it was read to %s only", end);
    stays_small(p);
    scripted_stop(s);
}

E2E(memory, pages_of_bytes)
{
    struct flood f = {.type = TYPE_BINARY, .page = repeated("0123456789abcdef", "", "", "", 65536)};
    f.room = strlen(f.page);
    read_flood(&f, play_pages, false);
}

E2E(memory, pages_of_messages)
{
    struct flood f = {.type = TYPE_JSON,
                      .page = repeated("{\"n\":123456,\"text\":\"abc\"}", "[", ",", "]", 10000)};
    f.room = strlen(f.page);
    read_flood(&f, play_pages, false);
}

/* --- one answer that is larger than any memory for it ----------------------------------------- */

/* The stream is one answer, however long, and breaks off a few times on the way. Its bytes follow
 * from their place, so that what was read can be compared without being kept. */
struct giant {
    const char *type;
    size_t length;
    atomic_uint requests;
};

static char byte_at(size_t i)
{
    return (char)('!' + (i ^ i >> 9 ^ i >> 17) % 90);
}

/* JSON: messages of 100 bytes each, quotes and comma counted. */
static char wire_at(const struct giant *g, size_t i)
{
    if (strcmp(g->type, TYPE_JSON) != 0)
        return byte_at(i);
    size_t in = i % 100;
    char c = byte_at(i);
    if (in == 0)
        return i == 0 ? '[' : ',';
    if (in == 1 || in == 99)
        return '"';
    return c == '"' || c == '\\' ? 'x' : c;
}

static void play_giant(void *ctx, struct exchange *x)
{
    struct giant *g = ctx;
    bool json = strcmp(g->type, TYPE_JSON) == 0;
    unsigned nth = atomic_fetch_add(&g->requests, 1);
    size_t until = nth < 3 ? g->length / 4 * (nth + 1) : g->length;
    char block[65536];
    say(x, e2e_printf("HTTP/1.1 200 OK\r\nContent-Type: %s\r\nStream-Next-Offset: p%012zu\r\n"
                      "Stream-Up-To-Date: true\r\nStream-Closed: true\r\n"
                      "Content-Length: %zu\r\n\r\n",
                      g->type, g->length, g->length + json));
    for (size_t i = 0, n = 0; i < until; n = 0) {
        while (n < sizeof block && i < until)
            block[n++] = wire_at(g, i++);
        if (!say_bytes(x, block, n))
            return;
    }
    if (until == g->length && json)
        say(x, "]");
    x->last = true;
}

/* What `read` prints of it: with JSON a line a message. */
static void compare_giant(const struct giant *g, const char *path)
{
    bool json = strcmp(g->type, TYPE_JSON) == 0;
    FILE *f = fopen(path, "r");
    cr_assert_not_null(f);
    for (size_t i = 0; i < g->length; i++) {
        if (json && i % 100 == 0) {
            cr_assert(i == 0 || getc(f) == '\n', "at %zu", i);
            continue;
        }
        if (getc(f) != (unsigned char)wire_at(g, i))
            cr_assert_fail("%s: differs at %zu", g->type, i);
    }
    cr_assert(!json || getc(f) == '\n');
    cr_assert_eq(getc(f), EOF);
    fclose(f);
}

static void read_giant(const char *type, const char *command)
{
    struct giant g = {.type = type, .length = whole_length() / 4};
    g.length -= g.length % 100;
    struct scripted *s = scripted_start(play_giant, &g);
    char *url = e2e_url_at(scripted_url(s), "s"), *path = e2e_path("out");
    e2e_limits("backoff_base=1");
    struct e2e_process *p = dstream_run(command, url, "-o", path);
    e2e_status(p, 0);
    compare_giant(&g, path);
    cr_assert_geq(g.requests, 4); /* an export looks for its witness as well */
    stays_small(p);
    scripted_stop(s);
}

E2E(memory, one_answer_of_bytes)
{
    read_giant(TYPE_BINARY, "read");
}

E2E(memory, one_answer_of_messages)
{
    read_giant(TYPE_JSON, "read");
}

E2E(memory, one_answer_exported)
{
    read_giant(TYPE_JSON, "export");
}

E2E(memory, events_of_messages)
{
    struct flood f = {.type = TYPE_JSON,
                      .encoding = "",
                      .event = repeated("{\"n\":123456,\"text\":\"abc\"}", "[", ",", "]", 30)};
    f.room = strlen(f.event);
    read_flood(&f, play_events, true);
}

E2E(memory, events_of_base64)
{
    struct flood f = {.type = TYPE_BINARY,
                      .encoding = "Stream-SSE-Data-Encoding: base64\r\n",
                      .event = repeated("AAECAwQF", "", "", "", 100)};
    f.room = strlen(f.event);
    read_flood(&f, play_events, true);
}

/* --- a consumer that stalls ------------------------------------------------------------------- */

static bool has_stalled(void *ctx)
{
    struct flood *f = ctx;
    return atomic_load(&f->stalled);
}

/* Nobody takes the output: the server is held back, and memory does not grow. Then all of it is
 * taken, and nothing is missing. */
static void stall(bool drop)
{
    struct flood f = {.type = TYPE_JSON,
                      .encoding = "",
                      .event = repeated("\"abcdefgh\"", "[", ",", "]", 50),
                      .length = 40 * MIB,
                      .drop = drop};
    f.room = strlen(f.event);
    e2e_limits("backoff_base=1");
    struct scripted *s = scripted_start(play_events, &f);
    struct e2e_process *p = dstream_start("read", "--follow", e2e_url_at(scripted_url(s), "s"));
    e2e_wait_for(has_stalled, &f, "the server to be held back");
    size_t sent = atomic_load(&f.sent);
    cr_assert_lt(sent, 30 * MIB, "%zu bytes were taken from the server", sent);
    if (!e2e_sanitized())
        cr_assert_lt(reading_peak(p->pid), LIMIT_KIB);
    e2e_status(p, 0);
    size_t events = (f.length + f.room - 1) / f.room;
    cr_assert_eq(p->out_data.n, events * 50 * 11);
    cr_assert_eq(scripted_count(s, "live=sse"), drop ? 2 : 1);
    stays_small(p);
    scripted_stop(s);
}

E2E(memory, a_stalled_reader_holds_an_event_stream_back)
{
    stall(false);
}

E2E(memory, a_stalled_reader_loses_its_connection)
{
    stall(true);
}

struct quiet {
    struct scripted *s;
    unsigned count, same;
};

/* No request has come for several looks. */
static bool asks_no_more(void *ctx)
{
    struct quiet *q = ctx;
    unsigned now = scripted_count(q->s, "GET");
    q->same = now == q->count && now > 0 ? q->same + 1 : 0;
    q->count = now;
    return q->same > 15;
}

E2E(memory, a_stalled_reader_asks_for_no_more_pages)
{
    struct flood f = {.type = TYPE_BINARY,
                      .page = repeated("0123456789abcdef", "", "", "", 4096),
                      .length = 40 * MIB};
    f.room = strlen(f.page);
    struct scripted *s = scripted_start(play_pages, &f);
    struct e2e_process *p = dstream_start("read", e2e_url_at(scripted_url(s), "s"));
    struct quiet q = {.s = s};
    e2e_wait_for(asks_no_more, &q, "the reader to ask no more");
    cr_assert_lt(q.count, 10, "%u pages were asked for", q.count);
    if (!e2e_sanitized())
        cr_assert_lt(reading_peak(p->pid), LIMIT_KIB);
    e2e_status(p, 0);
    cr_assert_eq(p->out_data.n, 40 * MIB);
    stays_small(p);
    scripted_stop(s);
}

/* --- a server that takes nothing -------------------------------------------------------------- */

/* Knows the stream, and answers to nothing that is written to it. */
static void stand_still(void *ctx, struct exchange *x)
{
    const char *type = ctx;
    if (asks(x, "HEAD"))
        answer(x, "200 OK", e2e_printf("Content-Type: %s\r\nStream-Next-Offset: 0_0\r\n", type),
               "");
    else
        keep_open(x);
}

/* Input without end, until for a while none is taken. Returns how much was. */
static size_t give_endlessly(struct e2e_process *p, const char *line)
{
    struct pollfd in = {.fd = p->in, .events = POLLOUT};
    char *piece = repeated(line, "", "", "", 4096 / strlen(line));
    size_t room = strlen(piece), given = 0;
    fcntl(p->in, F_SETFL, O_NONBLOCK);
    while (poll(&in, 1, given > 4 * MIB ? 500 : E2E_MS) > 0) {
        ssize_t put = write(p->in, piece + given % room, room - given % room);
        given += put > 0 ? (size_t)put : 0;
        cr_assert_lt(given, 100 * MIB, "it takes everything");
    }
    return given;
}

/* What a producer may hold, the buffers that it is in, and the command itself. */
#define WRITER_KIB (64 * 1024)

static void write_into_nothing(const char *type, const char *line, const char *const *more)
{
    struct scripted *s = scripted_start(stand_still, (void *)(uintptr_t)type);
    const char *args[8] = {"write", e2e_url_at(scripted_url(s), "s"), "--producer", "p"};
    for (size_t i = 0; more[i]; i++)
        args[4 + i] = more[i];
    struct e2e_process *p = e2e_spawn(&(struct e2e_run){.argv = e2e_command(args), .input = true});
    size_t given = give_endlessly(p, line);
    cr_assert_lt(given, 40 * MIB, "%zu bytes were taken", given);
    if (!e2e_sanitized())
        cr_assert_lt(reading_peak(p->pid), WRITER_KIB, "%ld KiB", reading_peak(p->pid));
    e2e_kill(p, SIGTERM);
    e2e_status(p, 128 + SIGTERM);
    scripted_stop(s);
}

E2E(memory, bytes_that_nobody_takes)
{
    write_into_nothing(TYPE_BINARY, "y\n", (const char *const[]){NULL});
}

E2E(memory, lines_that_nobody_takes)
{
    write_into_nothing(TYPE_TEXT, "y\n", (const char *const[]){"--split", "newline", NULL});
}

E2E(memory, messages_that_nobody_takes)
{
    write_into_nothing(TYPE_JSON, "{\"n\":1}\n",
                       (const char *const[]){"--state", e2e_path("journal"), NULL});
}
