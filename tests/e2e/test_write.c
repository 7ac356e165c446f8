/* SPDX-License-Identifier: Apache-2.0 */
/* create, write, close, delete and stat. */
#include "config.h"

#include "tests/e2e/harness.h"
#include "tests/e2e/listener.h"
#include "tests/e2e/proxy.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/socket.h>
#include <unistd.h>

#define COUNT(a) (sizeof(a) / sizeof *(a))

/* The command with an input that is given at once. */
static struct e2e_process *fed(struct e2e_bytes input, const char *const *args)
{
    struct e2e_process *p = e2e_spawn(&(struct e2e_run){.argv = e2e_command(args), .input = true});
    e2e_give(p, input);
    e2e_end_input(p);
    return e2e_finished(p);
}
#define feed(input, ...) fed((input), (const char *const[]){__VA_ARGS__, NULL})

static struct e2e_answer head(const char *url)
{
    return e2e_http("HEAD", url, NULL, (struct e2e_bytes){0});
}

static void holds(const char *url, const char *text)
{
    e2e_same(url, e2e_get(url, "-1"), e2e_text(text));
}

static struct proxy_plan whole(void *ctx, unsigned k)
{
    (void)ctx;
    (void)k;
    return (struct proxy_plan){.how = PROXY_WHOLE};
}

/* The messages of JSON bodies as one array, without what a server may put between tokens. */
static struct e2e_bytes packed(struct e2e_bytes b)
{
    struct e2e_bytes to = {0};
    bool string = false;
    int depth = 0;
    e2e_add(&to, "", 0);
    for (size_t i = 0; i < b.n; i++) {
        char c = b.p[i];
        if (c == '"' && (i == 0 || b.p[i - 1] != '\\'))
            string = !string;
        if (!string && strchr(" \n\r\t", c))
            continue;
        if (!string && (c == '[' || c == '{') && depth++ == 0 && to.n > 0) {
            to.n--; /* one more page: its messages go on where the last one's ended */
            c = ',';
        }
        depth -= !string && (c == ']' || c == '}');
        e2e_add(&to, &c, 1);
    }
    return to;
}

static void holds_json(const char *url, const char *text)
{
    e2e_same(url, packed(e2e_get(url, "-1")), e2e_text(text));
}

/* --- against servers in order ----------------------------------------------------------------- */

E2E_BOTH(write, a_stream_from_its_creation_to_its_end)
{
    char *url = e2e_url("life");
    struct e2e_process *p = dstream_run("create", url, "--type", "text/plain");
    e2e_status(p, 0);
    e2e_says(p, "created");
    p = dstream_run("create", url, "--type", "text/plain");
    e2e_status(p, 0);
    e2e_says(p, "was there already");
    p = dstream_run("create", url, "--type", "application/json");
    e2e_status(p, 11);
    e2e_status(feed(e2e_text("one\n"), "write", url), 0);
    p = feed(e2e_text("two\n"), "write", url, "--print-offset");
    e2e_status(p, 0);
    e2e_same("offset", p->out_data, e2e_text(e2e_printf("%s\n", head(url).next)));
    holds(url, "one\ntwo\n");
    p = dstream_run("stat", url);
    e2e_status(p, 0);
    cr_assert(strstr(p->out_data.p, "text/plain") && strstr(p->out_data.p, "closed: no"), "%s",
              p->out_data.p);
    cr_assert(strstr(p->out_data.p, head(url).next));
    p = dstream_run("close", url);
    e2e_status(p, 0);
    e2e_says(p, "closed");
    cr_assert(head(url).closed);
    e2e_status(dstream_run("close", url), 0);
    p = feed(e2e_text("three\n"), "write", url);
    e2e_status(p, 11);
    e2e_says(p, "is closed");
    p = feed(e2e_text("three\n"), "write", url, "--type", "text/plain");
    e2e_status(p, 11);
    e2e_says(p, head(url).next);
    e2e_says(p, "nothing was stored");
    p = dstream_run("delete", url);
    e2e_status(p, 2);
    e2e_says(p, "--yes");
    e2e_status(dstream_run("delete", "--yes", url), 0);
    cr_assert_eq(head(url).status, 404);
    e2e_status(dstream_run("delete", "--yes", url), 66);
    e2e_status(dstream_run("stat", url), 66);
    e2e_status(dstream_run("close", url), 66);
    e2e_status(feed(e2e_text("x"), "write", url), 66);
}

E2E_BOTH(write, bytes_are_exact)
{
    char *url = e2e_url("binary");
    struct e2e_bytes data = e2e_random(5000000, 7), odd = {0};
    e2e_create(url, "application/octet-stream");
    e2e_add(&odd, "\0\r\n\0\xff\xfe \n", 9);
    e2e_status(feed(odd, "write", url), 0);
    e2e_status(feed(data, "write", url), 0);
    e2e_add(&odd, data.p, data.n);
    e2e_same("stream", e2e_get(url, "-1"), odd);
}

E2E_BOTH(write, text_with_a_parameter_in_its_type)
{
    char *url = e2e_url("text");
    e2e_create(url, "text/plain; charset=utf-8");
    e2e_status(feed(e2e_text("gr\xc3\xbc\xc3\x9f\x65\n"), "write", url), 0);
    e2e_status(feed(e2e_text("x\n"), "write", url, "--type", "text/plain;charset=utf-8"), 0);
    holds(url, "gr\xc3\xbc\xc3\x9f\x65\nx\n");
}

E2E_BOTH(write, json_values_become_messages)
{
    char *url = e2e_url("json");
    e2e_create(url, "application/json; charset=utf-8");
    e2e_status(feed(e2e_text("{\"a\":1}\n{\"b\":[1,2]}\n"), "write", url), 0);
    e2e_status(feed(e2e_text("1 \"x\\\"\\u00e9\" null[]{}[[1],2]"), "write", url), 0);
    holds_json(url, e2e_kind() == E2E_REFERENCE
                        ? "[{\"a\":1},{\"b\":[1,2]},1,\"x\\\"\xc3\xa9\",null,[],{},[[1],2]]"
                        : "[{\"a\":1},{\"b\":[1,2]},1,\"x\\\"\\u00e9\",null,[],{},[[1],2]]");
}

E2E_BOTH(write, an_array_is_one_message)
{
    char *url = e2e_url("array");
    e2e_create(url, "application/json");
    e2e_status(feed(e2e_text("[1,2,3]\n"), "write", url), 0);
    e2e_status(feed(e2e_text("[]"), "write", url), 0);
    holds_json(url, "[[1,2,3],[]]");
}

E2E_EMBEDDED(write, json_is_stored_as_it_was_written)
{
    static const char text[] =
        "9007199254740993 1e400 1.0 {\"a\":1,\"a\":2} \"\\u2028\\/\" \"\\ud800\"";
    char *url = e2e_url("exact");
    e2e_create(url, "application/json");
    e2e_status(feed(e2e_text(text), "write", url), 0);
    holds_json(url, "[9007199254740993,1e400,1.0,{\"a\":1,\"a\":2},\"\\u2028\\/\",\"\\ud800\"]");
}

E2E_BOTH(write, one_huge_message)
{
    char *url = e2e_url("huge");
    struct e2e_bytes data = {0}, want = e2e_text("[0,");
    e2e_create(url, "application/json");
    e2e_add_text(&data, "\"");
    for (int i = 0; i < 10000000 / 50; i++)
        e2e_add_text(&data, "01234567890123456789012345678901234567890123456789");
    e2e_add_text(&data, "\"");
    e2e_add(&want, data.p, data.n);
    e2e_add_text(&want, ",1]");
    e2e_write_file(e2e_path("huge"), data);
    e2e_write_file(e2e_path("before"), e2e_text("0"));
    e2e_write_file(e2e_path("after"), e2e_text("1"));
    struct e2e_process *p =
        dstream_run("write", url, e2e_path("before"), e2e_path("huge"), e2e_path("after"));
    e2e_status(p, 0);
    e2e_same("stream", packed(e2e_get(url, "-1")), want);
}

E2E_BOTH(write, many_small_messages_go_together)
{
    char *url = e2e_url("many");
    struct e2e_bytes data = {0}, want = e2e_text("[");
    for (int i = 0; i < 200000; i++) {
        e2e_add_text(&data, e2e_printf("{\"n\":%d}\n", i));
        e2e_add_text(&want, e2e_printf("%s{\"n\":%d}", i ? "," : "", i));
    }
    e2e_add_text(&want, "]");
    e2e_create(url, "application/json");
    e2e_write_file(e2e_path("many"), data);
    struct proxy *proxy = proxy_start(e2e_base(), "POST", whole, NULL);
    e2e_status(dstream_run("write", e2e_url_at(proxy_url(proxy), "many"), e2e_path("many")), 0);
    cr_assert_leq(proxy_count(proxy, "POST"), data.n / 1000000 + 1);
    proxy_stop(proxy);
    e2e_same("stream", packed(e2e_get(url, "-1")), want);
}

static bool stream_has(void *ctx)
{
    const char *const *want = ctx;
    return strcmp(e2e_get(want[0], "-1").p, want[1]) == 0;
}

E2E_BOTH(write, a_lone_line_does_not_wait_for_more)
{
    char *url = e2e_url("slow");
    const char *args[] = {"write", url, NULL};
    const char *states[] = {"one\n", "one\ntwo\n", "one\ntwo\nhalf"};
    e2e_create(url, "text/plain");
    struct e2e_process *p = e2e_spawn(&(struct e2e_run){.argv = e2e_command(args), .input = true});
    for (size_t i = 0; i < COUNT(states); i++) {
        const char *want[] = {url, states[i]};
        e2e_give(p, e2e_text(states[i] + (i ? strlen(states[i - 1]) : 0)));
        e2e_wait_for(stream_has, want, "the line is there");
    }
    e2e_end_input(p);
    e2e_status(p, 0);
}

E2E_BOTH(write, a_lone_message_does_not_wait_for_more)
{
    char *url = e2e_url("slow");
    const char *args[] = {"write", url, NULL};
    e2e_create(url, "application/json");
    struct e2e_process *p = e2e_spawn(&(struct e2e_run){.argv = e2e_command(args), .input = true});
    const char *first[] = {url, "[{\"a\":1}]"}, *second[] = {url, "[{\"a\":1},[2]]"};
    e2e_give(p, e2e_text("{\"a\":1}"));
    e2e_wait_for(stream_has, first, "the message is there");
    e2e_give(p, e2e_text("[2"));
    e2e_give(p, e2e_text("]\n3"));
    e2e_wait_for(stream_has, second, "the second one is there");
    e2e_end_input(p);
    e2e_status(p, 0);
    holds_json(url, "[{\"a\":1},[2],3]");
}

E2E_BOTH(write, files_and_standard_input_in_order)
{
    char *url = e2e_url("files");
    e2e_create(url, "text/plain");
    e2e_write_file(e2e_path("a"), e2e_text("aaa"));
    e2e_write_file(e2e_path("empty"), e2e_text(""));
    e2e_write_file(e2e_path("b"), e2e_text("bbb"));
    e2e_status(
        feed(e2e_text("---"), "write", url, e2e_path("a"), "-", e2e_path("empty"), e2e_path("b")),
        0);
    holds(url, "aaa---bbb");
    e2e_status(feed(e2e_text("---"), "write", url, "-", "-"), 2);
    /* Before anything is sent. */
    struct e2e_process *p = dstream_run("write", url, e2e_path("a"), e2e_path("missing"));
    e2e_status(p, 66);
    e2e_says(p, "missing");
    p = dstream_run("write", url, e2e_path("."));
    e2e_status(p, 74);
    holds(url, "aaa---bbb");
}

E2E_BOTH(write, a_fifo_is_read_like_any_file)
{
    char *url = e2e_url("fifo"), *fifo = e2e_path("fifo");
    const char *args[] = {"write", url, fifo, NULL};
    const char *echo[] = {"sh", "-c", e2e_printf("echo late > '%s'", fifo), NULL};
    e2e_create(url, "text/plain");
    cr_assert_eq(mkfifo(fifo, 0600), 0);
    struct e2e_process *p = e2e_spawn(&(struct e2e_run){.argv = e2e_command(args)});
    e2e_status(e2e_spawn(&(struct e2e_run){.argv = echo}), 0);
    e2e_status(p, 0);
    holds(url, "late\n");
}

E2E_BOTH(write, empty_input_sends_nothing)
{
    static const char *const nothing[] = {"", " \n\t\r\n"};
    char *url = e2e_url("empty");
    e2e_create(url, "application/json");
    struct proxy *proxy = proxy_start(e2e_base(), "POST", whole, NULL);
    char *through = e2e_url_at(proxy_url(proxy), "empty");
    for (size_t i = 0; i < COUNT(nothing); i++) {
        struct e2e_process *p = feed(e2e_text(nothing[i]), "write", through, "--print-offset");
        e2e_status(p, 0);
        e2e_same("offset", p->out_data, e2e_text(e2e_printf("%s\n", head(url).next)));
        e2e_status(feed(e2e_text(nothing[i]), "write", through, "--type", "application/json",
                        "--print-offset"),
                   0);
    }
    cr_assert_eq(proxy_count(proxy, "POST"), 0);
    e2e_status(feed(e2e_text(""), "write", through, "--close"), 0);
    cr_assert_eq(proxy_count(proxy, "POST"), 1);
    proxy_stop(proxy);
    cr_assert(head(url).closed);
    /* Closed already, which is all that is asked for. */
    e2e_status(feed(e2e_text(""), "write", url, "--close"), 0);
    e2e_status(feed(e2e_text("1"), "write", url, "--close"), 11);
    holds_json(url, "[]");
}

E2E_BOTH(write, the_last_load_closes_in_the_same_request)
{
    static const size_t sizes[] = {1, 1 << 20, (1 << 20) + 1, 3 << 20};
    for (size_t i = 0; i < COUNT(sizes); i++) {
        char *name = e2e_printf("last%zu", i), *url = e2e_url(name);
        struct e2e_bytes data = e2e_random(sizes[i], i);
        e2e_create(url, "application/octet-stream");
        e2e_write_file(e2e_path("data"), data);
        struct proxy *proxy = proxy_start(e2e_base(), "POST", whole, NULL);
        e2e_status(
            dstream_run("write", "--close", e2e_url_at(proxy_url(proxy), name), e2e_path("data")),
            0);
        cr_assert_eq(proxy_count(proxy, "POST"), (sizes[i] + (1 << 20) - 1) >> 20);
        proxy_stop(proxy);
        cr_assert(head(url).closed);
        e2e_same("stream", e2e_get(url, "-1"), data);
    }
}

E2E_BOTH(write, json_that_is_not_valid)
{
    char *url = e2e_url("bad");
    e2e_create(url, "application/json");
    struct e2e_process *p =
        feed(e2e_text("{\"a\":1}\n{\"b\":2}\n{\"c\":}\n4\n"), "write", url, "--close");
    e2e_status(p, 65);
    e2e_says(p, "standard input: not JSON at byte 21");
    e2e_says(p, "2 messages");
    holds_json(url, "[{\"a\":1},{\"b\":2}]");
    cr_assert_not(head(url).closed);
    p = feed(e2e_text("{\"unfinished\":"), "write", url);
    e2e_status(p, 65);
    e2e_says(p, "nothing was stored");
    e2e_write_file(e2e_path("good"), e2e_text("1 2"));
    e2e_write_file(e2e_path("wrong"), e2e_text("3 \"\x01\""));
    p = dstream_run("write", url, e2e_path("good"), e2e_path("wrong"));
    e2e_status(p, 65);
    e2e_says(p, e2e_printf("%s: not JSON at byte 3", e2e_path("wrong")));
    holds_json(url, "[{\"a\":1},{\"b\":2},1,2,3]");
}

E2E_BOTH(write, a_stream_can_be_created_on_the_way)
{
    char *url = e2e_url("made");
    e2e_status(feed(e2e_text("1 2"), "write", "--create=application/json", url), 0);
    e2e_status(feed(e2e_text("3"), "write", "--create=application/json", url), 0);
    e2e_status(feed(e2e_text("4"), "write", "--create", "--type", "application/json", url), 0);
    e2e_status(feed(e2e_text("5"), "write", "--create", url), 0);
    holds_json(url, "[1,2,3,4,5]");
    struct e2e_process *p = feed(e2e_text("x"), "write", "--create=text/plain", url);
    e2e_status(p, 11);
    e2e_says(p, "application/json, not text/plain");
    e2e_status(feed(e2e_text("x"), "write", "--create=text/plain", "--type", "a/b", url), 2);
    url = e2e_url("plain");
    e2e_status(feed(e2e_text("x\0y"), "write", "--create", url), 0);
    cr_assert_str_eq(head(url).type, "application/octet-stream");
    /* Made, though there is nothing to write. */
    url = e2e_url("nothing");
    e2e_status(feed(e2e_text(""), "write", "--create=text/plain", url), 0);
    cr_assert_eq(head(url).status, 200);
    e2e_status(feed(e2e_text("x"), "write", "--create=nonsense", e2e_url("n")), 2);
}

E2E_BOTH(write, creating_with_data_and_limits)
{
    char *url = e2e_url("with");
    e2e_write_file(e2e_path("data"), e2e_text("1 [2]"));
    struct e2e_process *p = dstream_run("create", url, "--type", "application/json", "--data",
                                        e2e_path("data"), "--closed", "--ttl", "1h");
    e2e_status(p, 0);
    holds_json(url, "[1,[2]]");
    cr_assert(head(url).closed);
    cr_assert(strcasestr(head(url).head.p, "Stream-TTL: 3600"), "%s", head(url).head.p);
    p = dstream_run("stat", "--json", url);
    e2e_status(p, 0);
    cr_assert(strstr(p->out_data.p, "\"contentType\":\"application/json\"") &&
                  strstr(p->out_data.p, "\"ttl\":3600") &&
                  strstr(p->out_data.p, "\"closed\":true") &&
                  strstr(p->out_data.p, "\"expiresAt\":null"),
              "%s", p->out_data.p);
    /* The data are not in the stream by this command. */
    p = dstream_run("create", url, "--type", "application/json", "--data", e2e_path("data"),
                    "--closed", "--ttl", "1h");
    e2e_status(p, 11);
    e2e_says(p, "not written");
    p = dstream_run("create", e2e_url("t"), "--expires", "2039-01-02T03:04:05Z");
    e2e_status(p, 0);
    e2e_status(dstream_run("create", e2e_url("u"), "--expires", "tomorrow"), 2);
    e2e_status(dstream_run("create", e2e_url("u"), "--ttl", "1500ms"), 2);
    e2e_status(dstream_run("create", e2e_url("u"), "--ttl", "0"), 2);
    e2e_status(
        dstream_run("create", e2e_url("u"), "--ttl", "1", "--expires", "2039-01-02T03:04:05Z"), 2);
    e2e_status(dstream_run("create", e2e_url("u"), "--type", "json"), 2);
    e2e_status(dstream_run("create", e2e_url("u"), "--data", e2e_path("none")), 66);
    e2e_write_file(e2e_path("bad"), e2e_text("{"));
    e2e_status(dstream_run("create", e2e_url("u"), "--type", "application/json", "--data",
                           e2e_path("bad")),
               65);
    cr_assert_eq(head(e2e_url("u")).status, 404);
}

/* A terminal is asked, by way of script(1), which is part of every Debian. */
E2E_BOTH(write, deleting_asks_on_a_terminal)
{
    static const struct {
        const char *typed;
        bool deleted;
    } row[] = {
        {"\n", false}, {"n\n", false}, {"yesterday\n", false}, {"y\n", true}, {"Yes\n", true}};
    char *url = e2e_url("ask");
    const char *const *command = e2e_command((const char *const[]){"delete", url, NULL});
    const char *argv[] = {"script", "-qec", e2e_printf("'%s' delete '%s'", command[0], url),
                          "/dev/null", NULL};
    for (size_t i = 0; i < COUNT(row); i++) {
        e2e_http("PUT", url, NULL, (struct e2e_bytes){0});
        struct e2e_process *p = e2e_spawn(&(struct e2e_run){.argv = argv, .input = true});
        e2e_until_out(p, strlen("delete  for good? [y/N] ") + strlen(url));
        e2e_give(p, e2e_text(row[i].typed));
        e2e_status(p, row[i].deleted ? 0 : 1);
        cr_assert_eq(head(url).status, row[i].deleted ? 404 : 200, "%s", row[i].typed);
    }
}

E2E_BOTH(write, closing_with_a_last_message)
{
    char *url = e2e_url("bye");
    e2e_create(url, "application/json");
    e2e_status(feed(e2e_text("1"), "write", url), 0);
    e2e_write_file(e2e_path("bye"), e2e_text("[\"bye\"]\n"));
    e2e_status(dstream_run("close", url, "--data", e2e_path("bye")), 0);
    holds_json(url, "[1,[\"bye\"]]");
    cr_assert(head(url).closed);
    struct e2e_process *p = dstream_run("close", url, "--data", e2e_path("bye"));
    e2e_status(p, 11);
    e2e_says(p, "closed already");
}

E2E_BOTH(write, a_signal_says_what_is_stored)
{
    char *url = e2e_url("stop");
    const char *args[] = {"write", url, NULL};
    const char *want[] = {url, "[1,2]"};
    e2e_create(url, "application/json");
    struct e2e_process *p = e2e_spawn(&(struct e2e_run){.argv = e2e_command(args), .input = true});
    e2e_give(p, e2e_text("1 2 {\"half\":"));
    e2e_wait_for(stream_has, want, "two messages are there");
    e2e_kill(p, SIGTERM);
    e2e_status(p, 128 + SIGTERM);
    e2e_says(p, "stored for sure: 2 messages, the first 3 bytes of the input");
    holds_json(url, "[1,2]");
}

E2E_BOTH(write, standard_input_that_is_closed)
{
    char *url = e2e_url("closed");
    e2e_create(url, "text/plain");
    const char *const *command = e2e_command((const char *const[]){"write", url, NULL});
    const char *argv[] = {"sh",       "-c",       "exec \"$@\" <&-", "sh",
                          command[0], command[1], command[2],        NULL};
    struct e2e_process *p = e2e_spawn(&(struct e2e_run){.argv = argv});
    e2e_status(p, 74);
    e2e_says(p, "standard input");
}

/* Nothing of the request has left: not in doubt. */
E2E_BOTH(write, tls_that_the_server_does_not_speak)
{
    const char *url = e2e_printf("https%s", strchr(e2e_url("tls"), ':'));
    e2e_limits("backoff_base=1");
    struct e2e_process *p = feed(e2e_text("x"), "write", "--type", "text/plain", url);
    e2e_status(p, 69);
    e2e_says(p, "TLS");
    e2e_says(p, "after 6 tries");
    e2e_says(p, "nothing was stored");
}

E2E_BOTH(write, memory_stays_bounded)
{
    char *url = e2e_url("memory");
    if (e2e_sanitized())
        return;
    e2e_create(url, "application/octet-stream");
    const char *const *command = e2e_command((const char *const[]){"write", url, NULL});
    const char *argv[] = {"sh",       "-c",       "head -c 100000000 /dev/zero | exec \"$@\"",
                          "sh",       command[0], command[1],
                          command[2], NULL};
    struct e2e_process *p = e2e_spawn(&(struct e2e_run){.argv = argv});
    e2e_status(p, 0);
    cr_assert_lt(p->max_rss, 32 * 1024, "%ld KiB", p->max_rss);
}

/* --- against a server that misbehaves --------------------------------------------------------- */

/* What it does with each request that carries the method. */
struct plan {
    const char *method;
    enum {
        READ_BODY,
        CLOSE_AFTER, /* the connection, without having said so */
        SKIP_BODY    /* answer before the body is read, and drop that */
    } how;
    const char *answer; /* the whole answer; "": the connection ends without one; "!": reset; "?":
                           silence */
};

struct rogue {
    struct listener *listener;
    const struct plan
        *plans; /* the next one of a method is taken, and the last one again and again */
    size_t nplans;
    pthread_mutex_t lock; /* guards what follows */
    unsigned used[16];
    char *log; /* heads and bodies; not the test's memory, which is of one thread */
    size_t log_len, log_cap;
    unsigned requests;
};

static void note(struct rogue *r, const char *p, size_t n)
{
    pthread_mutex_lock(&r->lock);
    if (r->log_len + n + 1 > r->log_cap) {
        r->log_cap = (r->log_len + n + 1) * 2;
        r->log = realloc(r->log, r->log_cap);
    }
    memcpy(r->log + r->log_len, p, n);
    r->log_len += n;
    r->log[r->log_len] = '\0';
    pthread_mutex_unlock(&r->lock);
}

static const struct plan *next_plan(struct rogue *r, const char *head)
{
    const struct plan *found = NULL;
    for (size_t i = 0; i < r->nplans; i++) {
        const struct plan *p = &r->plans[i];
        if (strncmp(head, p->method, strlen(p->method)) != 0)
            continue;
        found = p;
        if (r->used[i] == 0) {
            r->used[i]++;
            break;
        }
    }
    return found;
}

static size_t body_length(const char *head)
{
    const char *p = strcasestr(head, "\r\nContent-Length:");
    return p ? (size_t)strtoul(p + 17, NULL, 10) : 0;
}

static bool take_body(struct rogue *r, int fd, size_t left)
{
    char piece[4096];
    while (left > 0) {
        ssize_t n = recv(fd, piece, left < sizeof piece ? left : sizeof piece, 0);
        if (n <= 0)
            return false;
        left -= (size_t)n;
        note(r, piece, (size_t)n);
    }
    return true;
}

/* False where that was all on this connection. */
static bool give_answer(const struct plan *p, int fd)
{
    if (!*p->answer)
        return false;
    if (strcmp(p->answer, "!") == 0)
        listener_reset(fd);
    if (strcmp(p->answer, "?") == 0)
        listener_linger(fd);
    return strlen(p->answer) > 1 && listener_send(fd, p->answer, strlen(p->answer));
}

static void play(void *ctx, int fd)
{
    struct rogue *r = ctx;
    char head[8192];
    while (listener_head(fd, head, sizeof head)) {
        note(r, head, strlen(head));
        pthread_mutex_lock(&r->lock);
        r->requests++;
        const struct plan *p = next_plan(r, head);
        pthread_mutex_unlock(&r->lock);
        if (!p || (p->how != SKIP_BODY && !take_body(r, fd, body_length(head))))
            return;
        if (!give_answer(p, fd))
            return;
        if (p->how == SKIP_BODY)
            listener_linger(fd);
        if (p->how == CLOSE_AFTER) {
            shutdown(fd, SHUT_RDWR);
            note(r, "\nclosed\n", 8);
        }
    }
}

static struct rogue rogue;

static const char *start_rogue(const struct plan *plans, size_t n)
{
    rogue = (struct rogue){.plans = plans, .nplans = n};
    pthread_mutex_init(&rogue.lock, NULL);
    note(&rogue, "", 0);
    rogue.listener = listener_start(play, &rogue);
    return e2e_printf("%s/s", listener_url(rogue.listener));
}

/* What it noted can still be asked for. */
static void stop_rogue(void)
{
    struct e2e_bytes log = {0};
    listener_stop(rogue.listener);
    e2e_add(&log, rogue.log, rogue.log_len);
    free(rogue.log);
    rogue.log = log.p;
}

static unsigned logged(const char *text)
{
    unsigned n = 0;
    pthread_mutex_lock(&rogue.lock);
    const char *end = rogue.log + rogue.log_len, *p = rogue.log;
    for (; (p = memmem(p, (size_t)(end - p), text, strlen(text))) != NULL; p++)
        n++;
    pthread_mutex_unlock(&rogue.lock);
    return n;
}

static bool has_logged(void *text)
{
    return logged(text) > 0;
}

#define HEAD_JSON                                                                                  \
    {                                                                                              \
        "HEAD", READ_BODY,                                                                         \
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nStream-Next-Offset: 1_0\r\n"     \
            "Content-Length: 0\r\n\r\n"                                                            \
    }
#define HEAD_TEXT                                                                                  \
    {                                                                                              \
        "HEAD", READ_BODY,                                                                         \
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nStream-Next-Offset: 1_0\r\n"           \
            "Content-Length: 0\r\n\r\n"                                                            \
    }
#define STORED "HTTP/1.1 204 No Content\r\nStream-Next-Offset: 2_0\r\n\r\n"
#define EMPTY  "Content-Length: 0\r\n\r\n"

E2E(rogue, an_answer_that_is_lost_is_not_asked_for_again)
{
    static const char *const lost[] = {
        "",
        "!",
        "?",
        "HTTP/1.1 500 Oh\r\n" EMPTY,
        "HTTP/1.1 503 Oh\r\nRetry-After: 0\r\n" EMPTY,
        "HTTP/1.1 408 Oh\r\n" EMPTY,
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>",
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 204 No Content\r\nStream-Next-Offset: now\r\n\r\n",
        "nonsense\r\n\r\n",
    };
    e2e_limits("header=2000");
    for (size_t i = 0; i < COUNT(lost); i++) {
        struct plan plans[] = {HEAD_TEXT, {"POST", READ_BODY, lost[i]}};
        const char *url = start_rogue(plans, COUNT(plans));
        struct e2e_process *p = feed(e2e_text("data"), "write", url);
        e2e_status(p, 16);
        e2e_says(p, "may be stored or not");
        e2e_says(p, "in doubt: bytes 0 to 3");
        e2e_says(p, "stored for sure: 0 bytes");
        stop_rogue();
        cr_assert_eq(logged("POST /s"), 1, "%zu: %s", i, rogue.log);
    }
}

E2E(rogue, what_was_stored_before_a_loss_is_told)
{
    struct plan plans[] = {HEAD_JSON, {"POST", READ_BODY, STORED}, {"POST", READ_BODY, ""}};
    const char *url = start_rogue(plans, COUNT(plans));
    struct e2e_bytes large = {0};
    for (int i = 0; i < 100001; i++)
        e2e_add_text(&large, "\"12345678\" ");
    e2e_write_file(e2e_path("large"), large);
    struct e2e_process *p = dstream_run("write", url, e2e_path("large"));
    e2e_status(p, 16);
    /* A load is as much as fits into 1 MiB; a message and its separator are 11 bytes. */
    e2e_says(p, "stored for sure: 95325 messages, the first 1048574 bytes of the input");
    e2e_says(p, e2e_printf("in doubt: bytes 1048574 to %zu of the input", large.n - 2));
    cr_assert_eq(logged("POST /s"), 2);
    stop_rogue();
}

E2E(rogue, a_request_is_as_the_protocol_has_it)
{
    struct plan plans[] = {HEAD_TEXT, {"POST", READ_BODY, STORED}};
    const char *url = start_rogue(plans, COUNT(plans));
    struct e2e_bytes large = e2e_random(2000000, 1);
    e2e_write_file(e2e_path("large"), large);
    e2e_status(dstream_run("write", url, "-H", "X-Mine: 1", e2e_path("large")), 0);
    stop_rogue();
    cr_assert_eq(logged("POST /s HTTP/1.1\r\n"), 2);
    cr_assert_eq(logged("Content-Type: text/plain\r\n"), 2);
    cr_assert_eq(logged("Content-Length: 1048576\r\n"), 1);
    cr_assert_eq(logged("Content-Length: 951424\r\n"), 1);
    cr_assert_eq(logged("X-Mine: 1\r\n"), 3);
    cr_assert_eq(logged("Expect:"), 0);
    cr_assert_eq(logged("Transfer-Encoding:"), 0);
}

E2E(rogue, a_close_is_an_empty_post)
{
    struct plan plans[] = {
        {"POST", READ_BODY,
         "HTTP/1.1 204 No Content\r\nStream-Next-Offset: 2_0\r\nStream-Closed: true\r\n\r\n"}};
    const char *url = start_rogue(plans, COUNT(plans));
    e2e_status(dstream_run("close", url), 0);
    stop_rogue();
    cr_assert_eq(logged("Content-Length: 0\r\n"), 1, "%s", rogue.log);
    cr_assert_eq(logged("Stream-Closed: true\r\n"), 1);
    cr_assert_eq(logged("Content-Type:"), 0);
}

E2E(rogue, a_server_that_does_not_close)
{
    struct plan plans[] = {HEAD_TEXT, {"POST", READ_BODY, STORED}};
    const char *url = start_rogue(plans, COUNT(plans));
    struct e2e_process *p = dstream_run("close", url);
    e2e_status(p, 76);
    e2e_says(p, "did not close");
    p = feed(e2e_text("x"), "write", "--close", url);
    e2e_status(p, 76);
    e2e_says(p, "stored for sure: 1 byte");
    stop_rogue();
}

/* One that answers a HEAD with what it stands in for. */
E2E(rogue, refusals_have_their_codes)
{
    static const struct {
        const char *answer;
        int status;
        const char *says;
    } row[] = {
        {"HTTP/1.1 400 No\r\nContent-Length: 9\r\n\r\nno\x1b[2J it", 14, "(400): \"no[2J it\""},
        {"HTTP/1.1 401 No\r\n" EMPTY, 77, "(401)"},
        {"HTTP/1.1 403 No\r\n" EMPTY, 77, "(403)"},
        {"HTTP/1.1 404 No\r\n" EMPTY, 66, "(404)"},
        {"HTTP/1.1 405 No\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>", 14,
         "(405)"},
        {"HTTP/1.1 409 No\r\nStream-Closed: true\r\nStream-Next-Offset: 9_9\r\n" EMPTY, 11, "9_9"},
        {"HTTP/1.1 409 No\r\n" EMPTY, 11, "another type"},
        {"HTTP/1.1 410 No\r\n" EMPTY, 10, "forks"},
        {"HTTP/1.1 413 No\r\n" EMPTY, 14, "(413)"},
        {"HTTP/1.1 415 No\r\n" EMPTY, 14, "(415)"},
        {"HTTP/1.1 429 No\r\nRetry-After: 1000\r\n" EMPTY, 75, "1000 s"},
        {"HTTP/1.1 501 No\r\n" EMPTY, 14, "(501)"},
        {"HTTP/1.1 301 No\r\nLocation: /t\r\n" EMPTY, 69, "not followed (301)"},
        {"HTTP/1.1 302 No\r\nLocation: /t\r\n" EMPTY, 69, "not followed (302)"},
        {"HTTP/1.1 307 No\r\nLocation: http://127.0.0.1:1/t\r\n" EMPTY, 69, "not followed (307)"},
    };
    for (size_t i = 0; i < COUNT(row); i++) {
        struct plan plans[] = {HEAD_TEXT, {"POST", READ_BODY, row[i].answer}};
        const char *url = start_rogue(plans, COUNT(plans));
        struct e2e_process *p = feed(e2e_text("data"), "write", url);
        e2e_status(p, row[i].status);
        e2e_says(p, row[i].says);
        e2e_says(p, "nothing was stored");
        cr_assert_null(strstr(p->err_data.p, "doubt"));
        cr_assert_null(strstr(p->err_data.p, "html"));
        cr_assert_null(strchr(p->err_data.p, '\x1b'));
        stop_rogue();
        cr_assert_eq(rogue.requests, 2, "%zu: %s", i, rogue.log);
    }
}

E2E(rogue, what_is_certain_is_tried_again)
{
    struct plan plans[] = {HEAD_TEXT,
                           {"POST", READ_BODY, "HTTP/1.1 429 Slow\r\nRetry-After: 1\r\n" EMPTY},
                           {"POST", READ_BODY, "HTTP/1.1 429 Slow\r\n" EMPTY},
                           {"POST", READ_BODY, "HTTP/1.1 307 There\r\nLocation: /t\r\n" EMPTY},
                           {"POST", READ_BODY, STORED}};
    const char *url = start_rogue(plans, COUNT(plans));
    struct e2e_process *p = feed(e2e_text("data"), "write", "-v", "--print-offset", url);
    e2e_status(p, 0);
    e2e_says(p, "retry in 1000 ms");
    e2e_same("offset", p->out_data, e2e_text("2_0\n"));
    stop_rogue();
    cr_assert_eq(logged("POST /s"), 3);
    cr_assert_eq(logged("POST /t"), 1);
    cr_assert_eq(logged("\r\n\r\ndata"), 4);
}

E2E(rogue, what_may_be_repeated_is)
{
    static const char *const lost[] = {"", "!", "?", "HTTP/1.1 503 Oh\r\n" EMPTY,
                                       "HTTP/1.1 500 Oh\r\n" EMPTY};
    e2e_limits("header=1000,backoff_base=10");
    for (size_t i = 0; i < COUNT(lost); i++) {
        struct plan plans[] = {
            {"PUT", READ_BODY, lost[i]},
            {"PUT", READ_BODY,
             "HTTP/1.1 200 OK\r\nContent-Type: a/b\r\nStream-Next-Offset: 0_0\r\n" EMPTY},
            {"DELETE", READ_BODY, lost[i]},
            {"DELETE", READ_BODY, "HTTP/1.1 404 No\r\n" EMPTY},
            {"HEAD", READ_BODY, lost[i]},
            HEAD_TEXT,
            {"POST", READ_BODY, lost[i]},
            {"POST", READ_BODY,
             "HTTP/1.1 409 No\r\nStream-Closed: true\r\nStream-Next-Offset: 2_0\r\n" EMPTY}};
        const char *url = start_rogue(plans, COUNT(plans));
        struct e2e_process *p = dstream_run("create", "--type", "a/b", url);
        e2e_status(p, 0);
        e2e_says(p, "was made by this command, or was there before");
        p = dstream_run("delete", "--yes", url);
        e2e_status(p, 0);
        e2e_says(p, "the answer was lost");
        e2e_status(dstream_run("stat", url), 0);
        p = dstream_run("close", url);
        e2e_status(p, 0);
        stop_rogue();
        cr_assert_eq(rogue.requests, 8, "%zu: %s", i, rogue.log);
    }
}

E2E(rogue, a_create_with_data_whose_answer_was_lost)
{
    struct plan plans[] = {
        {"PUT", READ_BODY, ""},
        {"PUT", READ_BODY,
         "HTTP/1.1 200 OK\r\nContent-Type: a/b\r\nStream-Next-Offset: 0_0\r\n" EMPTY}};
    const char *url = start_rogue(plans, COUNT(plans));
    struct e2e_process *p = feed(e2e_text("data"), "create", "--type", "a/b", "--data", "-", url);
    e2e_status(p, 16);
    stop_rogue();
}

E2E(rogue, tries_end)
{
    struct plan plans[] = {{"HEAD", READ_BODY, "HTTP/1.1 503 Oh\r\n\r\n"}};
    const char *url = start_rogue(plans, COUNT(plans));
    e2e_limits("backoff_base=1");
    struct e2e_process *p = dstream_run("stat", url);
    e2e_status(p, 69);
    e2e_says(p, "after 6 tries");
    cr_assert_eq(rogue.requests, 6);
    stop_rogue();
    p = dstream_run("stat", url); /* nobody listens there now */
    e2e_status(p, 69);
    p = feed(e2e_text("x"), "write", "--type", "text/plain", url);
    e2e_status(p, 69);
    e2e_says(p, "nothing was stored");
    e2e_status(dstream_run("stat", "http://name.invalid/s"), 69);
}

/* A write in flight when the signal comes: the answer that comes in time counts. */
E2E(rogue, a_signal_during_a_request)
{
    struct plan plans[] = {HEAD_TEXT, {"POST", READ_BODY, "?"}};
    const char *url = start_rogue(plans, COUNT(plans));
    const char *args[] = {"write", url, NULL};
    struct e2e_process *p = e2e_spawn(&(struct e2e_run){.argv = e2e_command(args), .input = true});
    e2e_give(p, e2e_text("data"));
    e2e_wait_for(has_logged, (void *)"\r\n\r\ndata", "the request has come whole");
    e2e_kill(p, SIGINT);
    e2e_status(p, 128 + SIGINT);
    e2e_says(p, "in doubt: bytes 0 to 3");
    stop_rogue();
}

static bool has_closed(void *ctx)
{
    return logged("\nclosed\n") >= *(const unsigned *)ctx;
}

/* None of them is used again. */
E2E(rogue, connections_that_the_server_has_closed)
{
    struct plan plans[] = {HEAD_TEXT, {"POST", CLOSE_AFTER, STORED}};
    const char *url = start_rogue(plans, COUNT(plans));
    const char *args[] = {"write", url, NULL};
    struct e2e_process *p = e2e_spawn(&(struct e2e_run){.argv = e2e_command(args), .input = true});
    for (unsigned i = 1; i <= 20; i++) {
        e2e_give(p, e2e_text("line\n"));
        e2e_wait_for(has_closed, &i, "the server has closed the connection");
    }
    e2e_end_input(p);
    e2e_status(p, 0);
    stop_rogue();
    cr_assert_eq(logged("POST /s"), 20);
}

E2E(rogue, a_refusal_that_comes_before_the_body_is_read)
{
    struct plan plans[] = {
        HEAD_TEXT, {"POST", SKIP_BODY, "HTTP/1.1 413 Large\r\nConnection: close\r\n" EMPTY}};
    const char *url = start_rogue(plans, COUNT(plans));
    e2e_write_file(e2e_path("large"), e2e_random(30000000, 1));
    struct e2e_process *p = dstream_run("write", url, e2e_path("large"));
    e2e_status(p, 14);
    stop_rogue();
}
