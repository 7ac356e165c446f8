/* SPDX-License-Identifier: Apache-2.0 */
/* Reading: catch-up, the live modes, resuming, ends, several streams, formats and limits. */
#include "config.h"

#include "tests/e2e/harness.h"
#include "tests/e2e/proxy.h"
#include "tests/e2e/reading.h"
#include "tests/e2e/scripted.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>

static struct proxy_plan whole(void *ctx, unsigned k)
{
    (void)ctx;
    (void)k;
    return (struct proxy_plan){.how = PROXY_WHOLE};
}

/* Message `i`, as it is appended and as it is printed. */
static struct e2e_bytes message(const char *type, int i)
{
    const char *text =
        strcmp(type, TYPE_JSON) == 0 ? e2e_printf("{\"n\":%d}", i) : e2e_printf("<%d>\n", i);
    return e2e_text(text);
}

static void append_to(const char *url, const char *type, int from, int to, struct e2e_bytes *want)
{
    for (int i = from; i < to; i++) {
        struct e2e_bytes m = message(type, i);
        e2e_append(url, type, m);
        e2e_add(want, m.p, m.n);
        if (strcmp(type, TYPE_JSON) == 0)
            e2e_add_text(want, "\n");
    }
}

static const char *const types[] = {TYPE_JSON, TYPE_TEXT, TYPE_BINARY};

/* --- catching up ------------------------------------------------------------------------------ */

E2E_BOTH(read, a_stream_is_read_to_its_end)
{
    for (size_t t = 0; t < 3; t++) {
        struct e2e_bytes want = {0};
        char *url = e2e_url(e2e_printf("s%zu", t));
        e2e_create(url, types[t]);
        struct e2e_process *p = dstream_run("read", url);
        e2e_status(p, 0);
        e2e_same("an empty stream", p->out_data, e2e_text(""));
        append_to(url, types[t], 0, 5, &want);
        p = dstream_run("read", url);
        e2e_status(p, 0);
        e2e_same(types[t], p->out_data, want);
        cr_assert_eq(p->err_data.n, 0, "it said: %s", p->err_data.p);
        e2e_close(url);
        p = dstream_run("read", "-v", url);
        e2e_status(p, 0);
        e2e_same(types[t], p->out_data, want);
        e2e_says(p, "closed; its end is ");
    }
}

E2E(read, a_stream_is_read_in_pages)
{
    const char *base = e2e_serve(NULL, (const char *const[]){"--page-size", "16", NULL});
    struct proxy *x = proxy_start(base, "GET", whole, NULL);
    for (size_t t = 0; t < 3; t++) {
        struct e2e_bytes want = {0};
        const char *name = e2e_printf("s%zu", t);
        char *url = e2e_url_at(base, name);
        e2e_create(url, types[t]);
        append_to(url, types[t], 0, 40, &want);
        struct e2e_process *p = dstream_run("read", e2e_url_at(proxy_url(x), name));
        e2e_status(p, 0);
        e2e_same(types[t], p->out_data, want);
        cr_assert_gt(proxy_count(x, e2e_printf("GET /v1/stream/%s", name)), 9, "%s", proxy_log(x));
        cr_assert_eq(proxy_count(x, e2e_printf("HEAD /v1/stream/%s", name)), 1, "%s", proxy_log(x));
    }
    proxy_stop(x);
}

/* --- live ------------------------------------------------------------------------------------- */

/* What was there before, what comes once it is live, and the end. */
static void follow(const char *mode, const char *type, const char *name)
{
    struct e2e_bytes want = {0};
    char *url = e2e_url(name);
    e2e_create(url, type);
    append_to(url, type, 0, 3, &want);
    struct e2e_process *p = dstream_start("read", "--follow", "--live", mode, "-vv", url);
    reading_until_live(p);
    for (int i = 3; i < 8; i++) {
        append_to(url, type, i, i + 1, &want);
        e2e_until_out(p, want.n);
    }
    e2e_close(url);
    e2e_status(p, 0);
    e2e_same(name, p->out_data, want);
    e2e_says(p, "closed; its end is ");
    const char *used = strcmp(mode, "auto") != 0      ? mode
                       : strcmp(type, TYPE_TEXT) == 0 ? "long-poll"
                                                      : "sse";
    e2e_says(p, e2e_printf("live=%s", used));
    cr_assert_eq(reading_said(p, "live="), reading_said(p, e2e_printf("live=%s", used)),
                 "another mode was used as well: %s", p->err_data.p);
}

E2E_BOTH(read, followed_by_sse)
{
    follow("sse", TYPE_JSON, "json");
    follow("sse", TYPE_BINARY, "binary");
    follow("sse", TYPE_TEXT, "text");
}

E2E_BOTH(read, followed_by_long_poll)
{
    follow("long-poll", TYPE_JSON, "json");
    follow("long-poll", TYPE_BINARY, "binary");
    follow("long-poll", TYPE_TEXT, "text");
}

E2E_BOTH(read, followed_as_the_type_has_it)
{
    follow("auto", TYPE_JSON, "json");
    follow("auto", TYPE_BINARY, "binary");
    follow("auto", TYPE_TEXT, "text");
}

E2E_BOTH(read, tail_begins_at_the_end)
{
    for (size_t t = 0; t < 3; t++) {
        struct e2e_bytes old = {0}, want = {0};
        char *url = e2e_url(e2e_printf("s%zu", t));
        e2e_create(url, types[t]);
        append_to(url, types[t], 0, 3, &old);
        struct e2e_process *p = dstream_start("tail", "-vv", url);
        reading_until_live(p);
        append_to(url, types[t], 3, 6, &want);
        e2e_close(url);
        e2e_status(p, 0);
        e2e_same(types[t], p->out_data, want);
        cr_assert_eq(reading_said(p, "offset=now"), 2,
                     "now is asked once, said when sent and when "
                     "answered: %s",
                     p->err_data.p);
    }
}

/* A long-poll that is answered without data, again and again, is no end. */
/* The last ones first, then what comes. */
E2E_BOTH(read, tail_begins_with_the_last_messages)
{
    char *url = e2e_url("json");
    e2e_create(url, TYPE_JSON);
    for (int i = 0; i < 5; i++)
        e2e_append(url, TYPE_JSON, e2e_text(e2e_printf("{\"n\":%d}", i)));
    struct e2e_process *p = dstream_start("tail", "--last", "2", url);
    e2e_until_out(p, strlen("{\"n\":3}\n{\"n\":4}\n"));
    e2e_append(url, TYPE_JSON, e2e_text("5"));
    e2e_close(url);
    e2e_status(p, 0);
    e2e_same("the last two", p->out_data, e2e_text("{\"n\":3}\n{\"n\":4}\n5\n"));
    p = dstream_run("tail", "--last", "100", "-n", "2", url);
    e2e_status(p, 0);
    e2e_same("of all", p->out_data, e2e_text("{\"n\":0}\n{\"n\":1}\n"));
}

E2E_BOTH(read, tail_begins_with_the_last_lines)
{
    char *url = e2e_url("text");
    e2e_create(url, TYPE_TEXT);
    e2e_append(url, TYPE_TEXT, e2e_text("one\ntw"));
    e2e_append(url, TYPE_TEXT, e2e_text("o\nthree\nfo"));
    struct e2e_process *p = dstream_start("tail", "--last=3", url);
    e2e_until_out(p, strlen("two\nthree\nfo"));
    e2e_append(url, TYPE_TEXT, e2e_text("ur\n"));
    e2e_close(url);
    e2e_status(p, 0);
    e2e_same("the last three", p->out_data, e2e_text("two\nthree\nfour\n"));
    e2e_status(dstream_run("tail", "--last=3", "--from=now", url), 2);
    e2e_status(dstream_run("tail", "--last=0", url), 2);
    e2e_status(dstream_run("read", "--last=3", url), 2);
}

/* It ends where the stream ended when that was looked at, also where no answer says so. */
E2E(read, tail_of_the_last_up_to_the_end)
{
    struct e2e_process *server;
    const char *base = e2e_serve(&server, (const char *const[]){"--page-size", "4", NULL});
    char *url = e2e_url_at(base, "s");
    e2e_create(url, TYPE_TEXT);
    e2e_append(url, TYPE_TEXT, e2e_text("1\n22\n333\n4444\n55555\n"));
    struct e2e_process *p = dstream_run("tail", "--last=2", "--until", "end", url);
    e2e_status(p, 0);
    e2e_same("the last two", p->out_data, e2e_text("4444\n55555\n"));
    e2e_kill(server, SIGTERM);
}

E2E_BOTH(read, a_long_poll_that_times_out_goes_on)
{
    struct e2e_bytes want = {0};
    char *url = e2e_url("s");
    struct proxy *x = proxy_start(e2e_base(), "live=long-poll", whole, NULL);
    e2e_limits("idle_within=100"); /* these servers hold for half a second */
    e2e_create(url, TYPE_TEXT);
    append_to(url, TYPE_TEXT, 0, 1, &want);
    struct e2e_process *p = dstream_start("read", "-f", "-v", "-v", e2e_url_at(proxy_url(x), "s"));
    reading_until_said(p, ": 204", 2);
    append_to(url, TYPE_TEXT, 1, 2, &want);
    e2e_close(url);
    e2e_status(p, 0);
    e2e_same("text", p->out_data, want);
    proxy_stop(x);
}

/* The server's end of a healthy connection is not told. */
E2E(read, an_ended_sse_connection_is_opened_again)
{
    struct e2e_bytes want = {0};
    const char *base = e2e_serve(NULL, (const char *const[]){"--sse-time", "300ms", NULL});
    struct proxy *x = proxy_start(base, "live=sse", whole, NULL);
    char *url = e2e_url_at(base, "s");
    e2e_limits("healthy_sse=20");
    e2e_create(url, TYPE_JSON);
    struct e2e_process *p = dstream_start("read", "-f", e2e_url_at(proxy_url(x), "s"));
    for (unsigned n = 1; n <= 3; n++) {
        proxy_await(x, "live=sse", n);
        append_to(url, TYPE_JSON, (int)n, (int)n + 1, &want);
        e2e_until_out(p, want.n);
    }
    e2e_close(url);
    e2e_status(p, 0);
    e2e_same("messages", p->out_data, want);
    cr_assert_eq(p->err_data.n, 0, "it said: %s", p->err_data.p);
    cr_assert_eq(proxy_count(x, "live=long-poll"), 0, "%s", proxy_log(x));
    proxy_stop(x);
}

/* --- the end ---------------------------------------------------------------------------------- */

/* Answers what comes before the end, and how each mode says the end. */
static void closing(void *ctx, struct exchange *x)
{
    const char *how = ctx;
    const char *type = "Content-Type: application/json\r\n";
    if (asks(x, "offset=-1")) {
        answer(x, "200 OK",
               e2e_printf("%sStream-Next-Offset: a1\r\nStream-Up-To-Date: true\r\n", type), "[1]");
    } else if (asks(x, "live=sse")) {
        answer_events(x, "");
        if (strcmp(how, "with data") == 0)
            say(x, "event: data\ndata: [2]\n\n");
        say(x,
            strcmp(how, "with data") == 0
                ? "event: control\ndata: {\"streamNextOffset\":\"a2\",\"streamClosed\":true}\n\n"
                : "event: control\ndata: {\"streamNextOffset\":\"a1\",\"streamClosed\":true}\n\n");
        keep_open(x);
    } else if (asks(x, "live=long-poll") && strcmp(how, "with data") == 0) {
        answer(x, "200 OK", e2e_printf("%sStream-Next-Offset: a2\r\nStream-Closed: TRUE\r\n", type),
               "[2]");
    } else {
        say(x, "HTTP/1.1 204 No Content\r\nStream-Next-Offset: a1\r\nStream-Closed: true\r\n\r\n");
    }
}

static void no_request_after_the_end(const char *mode, const char *how, const char *want)
{
    struct scripted *s = scripted_start(closing, (void *)(uintptr_t)how);
    struct e2e_process *p =
        dstream_run("read", "--until", "closed", "--live", mode, e2e_url_at(scripted_url(s), "s"));
    e2e_status(p, 0);
    e2e_same(how, p->out_data, e2e_text(want));
    cr_assert_eq(scripted_count(s, ""), 2, "%s", scripted_log(s));
    scripted_stop(s);
}

E2E(read, nothing_is_asked_after_the_end)
{
    no_request_after_the_end("sse", "with data", "1\n2\n");
    no_request_after_the_end("sse", "without", "1\n");
    no_request_after_the_end("long-poll", "with data", "1\n2\n");
    no_request_after_the_end("long-poll", "without", "1\n");
    no_request_after_the_end("auto", "with data", "1\n2\n");
}

static void deleted(const char *mode, const char *name)
{
    struct e2e_bytes want = {0};
    char *url = e2e_url(name);
    /* The reference server leaves an event stream open when its stream goes. */
    e2e_limits("backoff_base=1,silence_sse=700");
    e2e_create(url, TYPE_JSON);
    append_to(url, TYPE_JSON, 0, 2, &want);
    struct e2e_process *p = dstream_start("read", "-f", "--live", mode, "-vv", url);
    reading_until_live(p);
    e2e_delete(url);
    e2e_status(p, 10);
    e2e_same(name, p->out_data, want);
    e2e_says(p, "deleted");
}

E2E_BOTH(read, a_stream_deleted_while_it_is_followed)
{
    deleted("sse", "one");
    deleted("long-poll", "two");
    deleted("auto", "three");
}

/* Under the same URL while it is followed: shorter, or of another type. */
static void made_anew(const char *name, const char *type)
{
    struct e2e_bytes want = {0};
    char *url = e2e_url(name);
    e2e_limits("backoff_base=1,replica_lag=300");
    e2e_create(url, TYPE_JSON);
    append_to(url, TYPE_JSON, 0, 3, &want);
    struct e2e_process *p = dstream_start("read", "-f", "--live", "long-poll", "-vv", url);
    reading_until_live(p);
    e2e_delete(url);
    e2e_create(url, type);
    e2e_status(p, 13);
    e2e_same(name, p->out_data, want);
    e2e_says(p, "made anew");
}

E2E_BOTH(read, a_stream_made_anew_while_it_is_followed)
{
    made_anew("shorter", TYPE_JSON);
    made_anew("another", TYPE_TEXT);
}

E2E_BOTH(read, a_stream_that_is_missing)
{
    struct e2e_process *p = dstream_run("read", e2e_url("none"));
    e2e_status(p, 66);
    e2e_says(p, "no such stream");
    e2e_says(p, e2e_url("none"));
    e2e_status(dstream_run("read", "-f", e2e_url("none")), 66);
    e2e_status(dstream_run("tail", e2e_url("none")), 66);
}

E2E_BOTH(read, a_missing_stream_is_waited_for)
{
    struct e2e_bytes want = {0};
    char *url = e2e_url("late");
    e2e_limits("backoff_base=1,backoff_max=20");
    struct e2e_process *p = dstream_start("read", "-f", "--wait-create", "-v", url);
    e2e_until_err(p, ": 404");
    e2e_create(url, TYPE_JSON);
    append_to(url, TYPE_JSON, 0, 2, &want);
    e2e_close(url);
    e2e_status(p, 0);
    e2e_same("messages", p->out_data, want);
}

/* --- going on --------------------------------------------------------------------------------- */

E2E_BOTH(read, the_printed_position_goes_on)
{
    for (size_t t = 0; t < 3; t++) {
        struct e2e_bytes first = {0}, rest = {0};
        char *url = e2e_url(e2e_printf("s%zu", t));
        e2e_create(url, types[t]);
        append_to(url, types[t], 0, 4, &first);
        char *at = reading_position(dstream_run("read", "-v", url));
        struct e2e_process *p = dstream_run("read", "--from", at, url);
        e2e_status(p, 0);
        e2e_same("nothing new", p->out_data, e2e_text(""));
        append_to(url, types[t], 4, 7, &rest);
        p = dstream_run("read", "--from", at, url);
        e2e_status(p, 0);
        e2e_same(types[t], p->out_data, rest);
        e2e_close(url);
        p = dstream_run("tail", "--from", at, url);
        e2e_status(p, 0);
        e2e_same(types[t], p->out_data, rest);
    }
}

/* A stop inside an answer. */
E2E_BOTH(read, a_skip_goes_on_inside_an_answer)
{
    for (size_t t = 0; t < 3; t++) {
        struct e2e_bytes all = {0};
        bool json = t == 0;
        char *url = e2e_url(e2e_printf("s%zu", t));
        e2e_create(url, types[t]);
        append_to(url, types[t], 0, 6, &all);
        for (int n = 1; n < 6; n++) {
            const char *option = json ? "--count" : "--bytes";
            char *amount = e2e_printf("%d", json ? n : n * 2);
            struct e2e_bytes got = {0};
            struct e2e_process *p = dstream_run("read", "-v", option, amount, url);
            e2e_status(p, 0);
            e2e_add(&got, p->out_data.p, p->out_data.n);
            if (!json)
                cr_assert_eq(got.n, (size_t)n * 2);
            p = dstream_run("read", "--from", reading_position(p), url);
            e2e_status(p, 0);
            e2e_add(&got, p->out_data.p, p->out_data.n);
            e2e_same(types[t], got, all);
        }
    }
}

E2E_BOTH(read, a_state_goes_on)
{
    char *url = e2e_url("s"), *state = e2e_path("state");
    struct e2e_bytes want = {0}, got = {0};
    e2e_create(url, TYPE_JSON);
    for (int i = 0; i < 4; i++) {
        append_to(url, TYPE_JSON, 2 * i, 2 * i + 2, &want);
        /* A stop in the middle of what is new is kept as well. */
        struct e2e_process *p = i == 2 ? dstream_run("read", "-S", state, "--count", "1", url)
                                       : dstream_run("read", "-S", state, url);
        e2e_status(p, 0);
        e2e_add(&got, p->out_data.p, p->out_data.n);
    }
    e2e_same("over all runs", got, want);
    append_to(url, TYPE_JSON, 8, 9, &want);
    e2e_close(url);
    struct e2e_process *p = dstream_run("tail", "-S", state, url);
    e2e_status(p, 0);
    e2e_add(&got, p->out_data.p, p->out_data.n);
    e2e_same("with the end", got, want);
    p = dstream_run("read", "-S", state, url);
    e2e_status(p, 0);
    e2e_same("after the end", p->out_data, e2e_text(""));
    e2e_says(p, "complete");
    e2e_status(dstream_run("read", "-S", state, "--from", "now", url), 2);
    p = dstream_run("read", "-S", state, "--reset", url);
    e2e_status(p, 0);
    e2e_same("from the beginning again", p->out_data, want);
}

/* The state's stream was made anew. */
E2E_BOTH(read, a_state_of_another_stream_is_refused)
{
    char *url = e2e_url("s"), *state = e2e_path("state");
    struct e2e_bytes one = {0}, other = {0};
    e2e_limits("backoff_base=1");
    e2e_create(url, TYPE_TEXT);
    append_to(url, TYPE_TEXT, 0, 3, &one);
    e2e_status(dstream_run("read", "-S", state, url), 0);
    e2e_delete(url);
    struct e2e_process *p = dstream_run("read", "-S", state, url);
    e2e_status(p, 10);
    e2e_create(url, TYPE_TEXT);
    append_to(url, TYPE_TEXT, 5, 9, &other);
    struct e2e_bytes before = e2e_read_file(state);
    p = dstream_run("read", "-S", state, url);
    e2e_status(p, 13);
    e2e_same("its output", p->out_data, e2e_text(""));
    e2e_same("the state", e2e_read_file(state), before);
}

/* --- several streams -------------------------------------------------------------------------- */

E2E_BOTH(read, several_streams_one_after_another)
{
    struct e2e_bytes want = {0};
    for (int i = 0; i < 3; i++) {
        char *url = e2e_url(e2e_printf("s%d", i));
        e2e_create(url, TYPE_JSON);
        append_to(url, TYPE_JSON, i * 10, i * 10 + 3, &want);
    }
    struct e2e_process *p = dstream_run("read", e2e_url("s0"), e2e_url("s1"), e2e_url("s2"));
    e2e_status(p, 0);
    e2e_same("all", p->out_data, want);
}

E2E_BOTH(read, one_of_several_streams_is_missing)
{
    struct e2e_bytes want = {0};
    e2e_create(e2e_url("a"), TYPE_JSON);
    append_to(e2e_url("a"), TYPE_JSON, 0, 2, &want);
    e2e_create(e2e_url("c"), TYPE_JSON);
    append_to(e2e_url("c"), TYPE_JSON, 2, 4, &want);
    struct e2e_process *p = dstream_run("read", e2e_url("a"), e2e_url("b"), e2e_url("c"));
    e2e_status(p, 66);
    e2e_same("the others", p->out_data, want);
    e2e_says(p, e2e_printf("%s: there is no such stream", e2e_url("b")));
    e2e_says(p, e2e_printf("%s: read to its end", e2e_url("c")));
}

static void has_line(struct e2e_process *p, const char *line)
{
    const char *found = strstr(p->out_data.p, line);
    cr_assert(found && (found == p->out_data.p || found[-1] == '\n'), "no line %s in %s", line,
              p->out_data.p);
}

/* What cannot work is said before anything is asked for. */
E2E_EMBEDDED(read, more_streams_than_open_files)
{
    const char *args[102] = {"tail"};
    for (int i = 0; i < 100; i++)
        args[1 + i] = e2e_url(e2e_printf("m%d", i));
    struct e2e_process *p =
        e2e_finished(e2e_spawn(&(struct e2e_run){.argv = e2e_command(args), .max_files = 120}));
    e2e_status(p, 74);
    e2e_says(p, "100 streams take about 164 open files, and the limit is 120");
}

E2E_BOTH(read, several_streams_are_followed_at_once)
{
    char *a = e2e_url("a"), *b = e2e_url("b");
    e2e_create(a, TYPE_JSON);
    e2e_create(b, TYPE_JSON);
    struct e2e_process *p = dstream_start("tail", "-vv", a, b);
    reading_until_said(p, ": 200", 4);
    e2e_append(a, TYPE_JSON, e2e_text("1"));
    e2e_append(b, TYPE_JSON, e2e_text("2"));
    e2e_append(a, TYPE_JSON, e2e_text("3"));
    e2e_close(a);
    e2e_append(b, TYPE_JSON, e2e_text("4"));
    e2e_close(b);
    e2e_status(p, 0);
    has_line(p, e2e_printf("%s\t1\n", a));
    has_line(p, e2e_printf("%s\t2\n", b));
    has_line(p, e2e_printf("%s\t3\n", a));
    has_line(p, e2e_printf("%s\t4\n", b));
    cr_assert_eq(p->out_data.n, 2 * strlen(a) + 2 * strlen(b) + 4 * 3);
}

/* What of a query is no secret tells them apart; messages show none of its values. */
E2E_EMBEDDED(read, several_streams_that_differ_in_their_queries)
{
    char *url = e2e_url("s");
    e2e_create(url, TYPE_JSON);
    e2e_append(url, TYPE_JSON, e2e_text("1"));
    e2e_close(url);
    struct e2e_process *p = dstream_run("read", "--url", e2e_url(""), "-fv", "s?token=t&part=1",
                                        e2e_printf("%s?part=2", url));
    e2e_status(p, 0);
    has_line(p, "s?part=1\t1\n");
    has_line(p, e2e_printf("%s?part=2\t1\n", url));
    e2e_says(p, "s?token=...&part=...: closed");
}

/* --- formats ---------------------------------------------------------------------------------- */

E2E_BOTH(read, formats_that_do_not_fit_the_stream_are_refused)
{
    e2e_create(e2e_url("json"), TYPE_JSON);
    e2e_create(e2e_url("text"), TYPE_TEXT);
    struct e2e_process *p = dstream_run("read", "-F", "raw", e2e_url("json"));
    e2e_status(p, 2);
    e2e_says(p, e2e_printf("dstream: %s: format raw is not for a JSON stream", e2e_url("json")));
    p = dstream_run("read", "-F", "ndjson", e2e_url("text"));
    e2e_status(p, 2);
    e2e_says(p, "raw");
    p = dstream_run("read", e2e_url("text"), e2e_url("text"));
    e2e_status(p, 2);
    e2e_says(p, "envelope");
    p = dstream_run("read", "--count", "1", e2e_url("text"));
    e2e_status(p, 2);
    e2e_says(p, "--bytes");
    char name[70000];
    memset(name, 'x', sizeof name);
    name[sizeof name - 1] = '\0';
    p = dstream_run("read", "--url", e2e_url(""), name);
    e2e_status(p, 15);
    e2e_says(p, "xxx...: a URL of more than 64 KiB");
}

/* Whether `at` has the text next; moves behind it. */
static bool goes_on(const char **at, const char *text)
{
    bool same = strncmp(*at, text, strlen(text)) == 0;
    *at += same ? strlen(text) : 0;
    return same;
}

/* One envelope: its place, any time, and how its value is told. */
static void is_envelope(const char **at, const char *offset, int index, const char *next,
                        const char *value)
{
    const char *begin = *at;
    bool ok = goes_on(at, e2e_printf("{\"offset\":\"%s\",\"index\":%d,\"next\":\"%s\",\"received\":"
                                     "\"20",
                                     offset, index, next));
    *at += strcspn(*at, "\"");
    cr_assert(ok && goes_on(at, e2e_printf("\",%s}\n", value)), "not an envelope of %s at %d: %s",
              value, index, begin);
}

E2E_BOTH(read, envelopes)
{
    char *url = e2e_url("json");
    e2e_create(url, TYPE_JSON);
    e2e_append(url, TYPE_JSON, e2e_text("[{\"a\":\"x y\"},[2],\"3\"]"));
    char *next = e2e_append(url, TYPE_JSON, e2e_text("4"));
    struct e2e_process *p = dstream_run("read", "-F", "envelope", url);
    e2e_status(p, 0);
    const char *at = p->out_data.p;
    is_envelope(&at, "-1", 0, next, "\"json\":{\"a\":\"x y\"}");
    is_envelope(&at, "-1", 1, next, "\"json\":[2]");
    is_envelope(&at, "-1", 2, next, "\"json\":\"3\"");
    is_envelope(&at, "-1", 3, next, "\"json\":4");
    cr_assert_str_empty(at);

    url = e2e_url("text");
    e2e_create(url, TYPE_TEXT);
    next = e2e_append(url, TYPE_TEXT, e2e_text("a\"\n\tb"));
    p = dstream_run("read", "-F", "envelope", url);
    e2e_status(p, 0);
    at = p->out_data.p;
    is_envelope(&at, "-1", 0, next, "\"text\":\"a\\\"\\n\\tb\"");
    cr_assert_str_empty(at);

    url = e2e_url("binary");
    e2e_create(url, TYPE_BINARY);
    next = e2e_append(url, TYPE_BINARY, e2e_text("\xff\xfe!"));
    p = dstream_run("read", "-F", "envelope", "--from", "-1,1", url);
    e2e_status(p, 0);
    at = p->out_data.p;
    is_envelope(&at, "-1", 1, next, "\"base64\":\"/iE=\"");
    cr_assert_str_empty(at);
}

E2E_BOTH(read, into_a_file)
{
    struct e2e_bytes want = {0};
    char *url = e2e_url("s"), *file = e2e_path("out");
    e2e_create(url, TYPE_TEXT);
    append_to(url, TYPE_TEXT, 0, 4, &want);
    e2e_status(dstream_run("read", "-o", file, url), 0);
    e2e_same("the file", e2e_read_file(file), want);
    struct e2e_process *p = dstream_run("read", "-o", file, url);
    e2e_status(p, 73);
    e2e_says(p, "--overwrite");
    e2e_status(dstream_run("read", "-o", file, "--overwrite", url), 0);
    e2e_same("overwritten", e2e_read_file(file), want);
    e2e_status(dstream_run("read", "-o", file, "--append", "--bytes", "2", url), 0);
    e2e_add(&want, want.p, 2);
    e2e_same("appended", e2e_read_file(file), want);
    p = dstream_run("read", "-o", "-", "--bytes", "2", url);
    e2e_same("standard output", p->out_data, e2e_text(e2e_printf("%.2s", want.p)));
    p = dstream_run("export", "-o", "-", url);
    e2e_status(p, 2);
    e2e_says(p, "dstream read prints");
}

/* --- limits ----------------------------------------------------------------------------------- */

E2E_BOTH(read, a_count_of_messages)
{
    char *url = e2e_url("s");
    struct e2e_bytes all = {0};
    e2e_create(url, TYPE_JSON);
    append_to(url, TYPE_JSON, 0, 5, &all);
    struct e2e_process *p = dstream_run("read", "--count", "3", url);
    e2e_status(p, 0);
    e2e_same("three", p->out_data, e2e_text("{\"n\":0}\n{\"n\":1}\n{\"n\":2}\n"));
    p = dstream_run("read", "--count", "5", "--follow", url);
    e2e_status(p, 0);
    e2e_same("all five, without waiting for more", p->out_data, all);
    p = dstream_run("read", "--count", "9", url);
    e2e_status(p, 0);
    e2e_same("no more than there are", p->out_data, all);
    /* Some that are there, some that come. */
    p = dstream_start("read", "--count", "7", "-f", "-vv", url);
    reading_until_live(p);
    append_to(url, TYPE_JSON, 5, 7, &all);
    e2e_append(url, TYPE_JSON, e2e_text("\"one too many\""));
    e2e_status(p, 0);
    e2e_same("seven", p->out_data, all);
}

E2E_BOTH(read, a_number_of_bytes)
{
    char *url = e2e_url("s");
    e2e_create(url, TYPE_BINARY);
    e2e_append(url, TYPE_BINARY, e2e_text("0123456789"));
    struct e2e_process *p = dstream_run("read", "--bytes", "4", url);
    e2e_status(p, 0);
    e2e_same("four", p->out_data, e2e_text("0123"));
    /* A message is never cut. */
    url = e2e_url("json");
    e2e_create(url, TYPE_JSON);
    e2e_append(url, TYPE_JSON, e2e_text("[\"a\",\"b\",\"c\"]"));
    p = dstream_run("read", "--bytes", "9", url);
    e2e_status(p, 0);
    e2e_same("two whole ones", p->out_data, e2e_text("\"a\"\n\"b\"\n"));
}

E2E_BOTH(read, a_limit_of_time)
{
    char *url = e2e_url("s");
    struct e2e_bytes want = {0};
    e2e_create(url, TYPE_JSON);
    append_to(url, TYPE_JSON, 0, 2, &want);
    const char *const options[] = {"--max-time", "--idle"};
    for (size_t i = 0; i < 2; i++) {
        struct e2e_process *p = dstream_run("read", "-f", options[i], "1500ms", url);
        e2e_status(p, 0);
        e2e_same(options[i], p->out_data, want);
    }
}

E2E_BOTH(read, what_is_required)
{
    char *url = e2e_url("s");
    e2e_create(url, TYPE_JSON);
    e2e_append(url, TYPE_JSON, e2e_text("[1,2,3]"));
    e2e_status(dstream_run("read", "--require", "end", url), 0);
    struct e2e_process *p = dstream_run("read", "--require", "closed", url);
    e2e_status(p, 3);
    e2e_says(p, "--require closed");
    e2e_status(dstream_run("read", "--require", "end", "--count", "2", url), 3);
    e2e_status(dstream_run("read", "--require", "end", "--count", "3", url), 0);
    e2e_status(dstream_run("tail", "--require", "closed", "--max-time", "200ms", url), 3);
    e2e_close(url);
    e2e_status(dstream_run("read", "--require", "closed", url), 0);
    e2e_status(dstream_run("read", "--require", "closed", "--count", "1", url), 3);
    e2e_status(dstream_run("tail", "--require", "closed", url), 0);
}

E2E(read, parameters_that_are_its_own_are_refused)
{
    struct e2e_process *p = dstream_run("read", "http://127.0.0.1:1/s?x=1&offset=3");
    e2e_status(p, 2);
    e2e_says(p, "the query parameter 'offset' is dstream's own: give --from");
    p = dstream_run("tail", "http://127.0.0.1:1/s?live=sse");
    e2e_status(p, 2);
    e2e_says(p, "give --live");
    p = dstream_run("read", "--url", "http://127.0.0.1:1/base", "");
    e2e_status(p, 2);
    e2e_says(p, "the name of a stream is empty");
}
