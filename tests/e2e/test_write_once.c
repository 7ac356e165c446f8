/* SPDX-License-Identifier: Apache-2.0 */
/* write --producer: exactly once, and what is said where it is not. */
#include "config.h"

#include "tests/e2e/fault_proxy.h"
#include "tests/e2e/proxy.h"
#include "tests/e2e/reading.h"
#include "tests/e2e/scripted.h"
#include "tests/e2e/writing.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof *(a))

static struct proxy_plan whole(void *ctx, unsigned k)
{
    (void)ctx;
    (void)k;
    return (struct proxy_plan){.how = PROXY_WHOLE};
}

/* The offset at which the stream ends, and a line break. */
static struct e2e_bytes tail_line(const char *url)
{
    return e2e_text(e2e_printf("%s\n", e2e_http("HEAD", url, NULL, (struct e2e_bytes){0}).next));
}

/* --- what is written -------------------------------------------------------------------------- */

E2E_BOTH(once, messages_lines_and_bytes)
{
    static const char *const types[] = {TYPE_JSON, TYPE_TEXT, TYPE_BINARY};
    struct e2e_bytes data = writing_lines(0, 20000), odd = e2e_random(3000000, 5);
    for (size_t i = 0; i < COUNT(types); i++) {
        char *url = e2e_url(e2e_printf("s%zu", i));
        e2e_create(url, types[i]);
        struct e2e_process *p = feed(data, "write", url, "--producer", "p", "--print-offset");
        e2e_status(p, 0);
        e2e_same("offset", p->out_data, tail_line(url));
        writing_holds(url, data);
    }
    char *url = e2e_url("odd");
    e2e_create(url, TYPE_BINARY);
    e2e_status(feed(odd, "write", url, "--producer", "p", "--batch-bytes", "10000"), 0);
    writing_holds(url, odd);
}

/* A request is never larger than it may be, and a line never in two of them. */
E2E_BOTH(once, lines_stay_whole)
{
    char *url = e2e_url("s");
    struct e2e_bytes data = writing_lines(0, 2000);
    e2e_create(url, TYPE_TEXT);
    struct proxy *proxy = proxy_start(e2e_base(), "POST", whole, NULL);
    e2e_status(feed(data, "write", e2e_url_at(proxy_url(proxy), "s"), "--producer", "p", "--split",
                    "newline", "--batch-bytes", "100", "--in-flight", "3"),
               0);
    cr_assert_geq(proxy_count(proxy, "POST"), data.n / 100);
    proxy_stop(proxy);
    writing_holds(url, data);
    struct e2e_process *p = feed(e2e_text("short\nno longer so short\n"), "write", url,
                                 "--producer", "p", "--split", "newline", "--batch-bytes", "10");
    e2e_status(p, 15);
    e2e_says(p, "is larger than 10 bytes");
    e2e_says(p, "stored: message 1, bytes 0 to 5 of the input");
}

static bool stream_has(void *ctx)
{
    const char *const *want = ctx;
    return strcmp(writing_stream(want[0]).p, want[1]) == 0;
}

E2E_BOTH(once, a_lone_line_does_not_wait_for_more)
{
    char *url = e2e_url("slow");
    const char *states[] = {"1\n", "1\n[2]\n", "1\n[2]\n{}\n"};
    e2e_create(url, TYPE_JSON);
    struct e2e_process *p = begin("write", url, "--producer", "p");
    for (size_t i = 0; i < COUNT(states); i++) {
        const char *want[] = {url, states[i]};
        e2e_give(p, e2e_text(states[i] + (i ? strlen(states[i - 1]) : 0)));
        e2e_wait_for(stream_has, want, "the message is there");
    }
    e2e_end_input(p);
    e2e_status(p, 0);
}

E2E_BOTH(once, empty_input_sends_nothing)
{
    char *url = e2e_url("empty");
    e2e_create(url, TYPE_JSON);
    struct proxy *proxy = proxy_start(e2e_base(), "POST", whole, NULL);
    char *through = e2e_url_at(proxy_url(proxy), "empty");
    struct e2e_process *p =
        feed(e2e_text(" \n"), "write", through, "--producer", "p", "--print-offset");
    e2e_status(p, 0);
    e2e_same("offset", p->out_data, tail_line(url));
    cr_assert_eq(proxy_count(proxy, "POST"), 0);
    e2e_status(feed(e2e_text(""), "write", through, "--producer", "p", "--close"), 0);
    cr_assert_eq(proxy_count(proxy, "POST"), 1);
    cr_assert(e2e_http("HEAD", url, NULL, (struct e2e_bytes){0}).closed);
    /* Closed already, which is all that is asked for. */
    e2e_status(feed(e2e_text(""), "write", through, "--producer", "p", "--close"), 0);
    cr_assert_eq(proxy_count(proxy, "POST"), 1);
    proxy_stop(proxy);
}

E2E_BOTH(once, the_last_batch_closes_in_the_same_request)
{
    char *url = e2e_url("s");
    struct e2e_bytes data = writing_lines(0, 1000);
    struct proxy *proxy = proxy_start(e2e_base(), "POST", whole, NULL);
    char *through = e2e_url_at(proxy_url(proxy), "s");
    struct e2e_process *p =
        feed(data, "write", through, "--producer", "p", "--create=application/json", "--ttl", "1h",
             "--close", "--tee", "--linger", "10s", "-vv");
    e2e_status(p, 0);
    e2e_same("what --tee printed", p->out_data, data);
    cr_assert_eq(proxy_count(proxy, "POST"), 1, "%s%s", proxy_log(proxy), p->err_data.p);
    proxy_stop(proxy);
    struct e2e_answer head = e2e_http("HEAD", url, NULL, (struct e2e_bytes){0});
    cr_assert(head.closed);
    cr_assert(strcasestr(head.head.p, "Stream-TTL: 3600"), "%s", head.head.p);
    writing_holds(url, data);
}

/* --- what is not ------------------------------------------------------------------------------ */

E2E_BOTH(once, json_that_is_not_valid)
{
    char *url = e2e_url("bad");
    e2e_create(url, TYPE_JSON);
    struct e2e_process *p = feed(e2e_text("{\"a\":1}\n{\"b\":2}\n{\"c\":}\n4\n"), "write", url,
                                 "--producer", "p", "--close");
    e2e_status(p, 65);
    e2e_says(p, "standard input: not JSON at byte 21");
    e2e_says(p, "stored: messages 1 to 2, bytes 0 to 14 of the input");
    writing_holds(url, e2e_text("{\"a\":1}\n{\"b\":2}\n"));
    cr_assert_not(e2e_http("HEAD", url, NULL, (struct e2e_bytes){0}).closed);
    p = feed(e2e_text("{\"unfinished\":"), "write", url, "--producer", "p");
    e2e_status(p, 65);
    e2e_says(p, "nothing was stored");
}

E2E_BOTH(once, wrong_use_and_wrong_streams)
{
    char *json = e2e_url("json"), *closed = e2e_url("closed");
    e2e_create(json, TYPE_JSON);
    e2e_create(closed, TYPE_TEXT);
    e2e_close(closed);
    const struct {
        const char *args[10];
        int status;
        const char *says;
    } row[] = {
        {{"write", json, "--producer", ""}, 2, "not empty"},
        {{"write", json, "--producer", "a\nb"}, 2, "producer id"},
        {{"write", json, "--producer", "p", "--epoch", "9007199254740992"}, 2, "2^53-1"},
        {{"write", json, "--producer", "p", "--epoch", "-1"}, 2, "2^53-1"},
        {{"write", json, "--producer", "p", "--in-flight", "65"}, 2, "from 1 to 64"},
        {{"write", json, "--producer", "p", "--split", "tabs"}, 2, "newline"},
        {{"write", json, "--producer", "p", "--force"}, 2, "--state"},
        {{"write", json, "--producer", "p", "--ttl", "1h"}, 2, "--create"},
        {{"write", json, "--producer", "p", "--tee", "--print-offset"}, 2, "exclude"},
        {{"write", json, "--producer", "p", "--batch-bytes", "2GiB"}, 2, "1024 MiB"},
        {{"write", json, "--epoch", "1"}, 2, "--epoch is for --producer"},
        {{"write", json, "--state", "s"}, 2, "--state is for --producer"},
        {{"write", json, "--in-flight", "1"}, 2, "--in-flight is for --producer"},
        {{"write", json, "--producer", "p", "--batch-bytes", "2"}, 15, "larger than 1 bytes"},
        {{"write", json, "--producer", "p", "--create=text/plain"}, 11, "json, not text"},
        {{"write", json, "--producer", "p", "--type", TYPE_TEXT}, 11, "of another type"},
        {{"write", closed, "--producer", "p"}, 11, "is closed"},
        {{"write", closed, "--producer", "p", "--close"}, 11, "is closed"},
        {{"write", closed, "--producer", "p", "--type", TYPE_TEXT}, 11, "is closed (409)"},
        {{"write", e2e_url("none"), "--producer", "p"}, 66, "404"},
        {{"write", e2e_url("none"), "--producer", "p", "--type", TYPE_TEXT}, 66, "not stored"},
    };
    for (size_t i = 0; i < COUNT(row); i++) {
        struct e2e_process *p = writing_fed(e2e_text("12"), row[i].args);
        e2e_status(p, row[i].status);
        e2e_says(p, row[i].says);
    }
    writing_holds(json, e2e_text(""));
}

static void no_producers(void *ctx, struct exchange *x)
{
    (void)ctx;
    if (asks(x, "HEAD"))
        answer(x, "200 OK", "Content-Type: text/plain\r\nStream-Next-Offset: 1_0\r\n", "");
    else
        say(x, "HTTP/1.1 204 No Content\r\nStream-Next-Offset: 2_0\r\n\r\n");
    x->last = true;
}

E2E(once, a_server_that_has_no_producers)
{
    struct scripted *s = scripted_start(no_producers, NULL);
    struct e2e_process *p =
        feed(e2e_text("x"), "write", e2e_url_at(scripted_url(s), "s"), "--producer", "p");
    e2e_status(p, 16);
    e2e_says(p, "does not support producers");
    e2e_says(p, "may be stored or not: bytes 0 to 0 of the input");
    scripted_stop(s);
}
