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
#include <unistd.h>

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

/* Nobody reads what --tee prints any more: what was taken in is stored, and no more is. */
E2E_BOTH(once, the_reader_of_tee_has_gone)
{
    char *url = e2e_url("s");
    e2e_create(url, TYPE_JSON);
    struct e2e_process *p = begin("write", url, "--producer", "p", "--tee");
    e2e_give(p, e2e_text("1 "));
    e2e_until_out(p, 2);
    close(p->out);
    p->out = -1;
    e2e_give(p, e2e_text("2 "));
    e2e_status(p, 128 + SIGPIPE);
    writing_holds(url, e2e_text("1\n2\n"));
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

/* --- rivals ----------------------------------------------------------------------------------- */

/* What the proxy does to the answers of POSTs from number `from` on, `n` of them. */
struct trouble {
    enum proxy_how how;
    unsigned from, n;
};

static struct proxy_plan plan_trouble(void *ctx, unsigned k)
{
    const struct trouble *t = ctx;
    bool hit = k >= t->from && k - t->from < t->n;
    return (struct proxy_plan){.how = hit ? t->how : PROXY_WHOLE};
}

static void until_stored(char *url, const char *text)
{
    const char *want[] = {url, text};
    e2e_wait_for(stream_has, want, "it is stored");
}

E2E_BOTH(once, the_older_of_two_is_fenced)
{
    char *url = e2e_url("s");
    e2e_create(url, TYPE_JSON);
    struct e2e_process *old = begin("write", url, "--producer", "p");
    e2e_give(old, e2e_text("1 2 "));
    until_stored(url, "1\n2\n");
    e2e_status(feed(e2e_text("\"new\""), "write", url, "--producer", "p"), 0);
    e2e_give(old, e2e_text("3 4 "));
    e2e_end_input(old);
    e2e_status(old, 12);
    e2e_says(old, "another writer has taken over");
    e2e_says(old, "stored: messages 1 to 2, bytes 0 to 2 of the input");
    e2e_says(old, "not stored: messages 3 to 4, bytes 3 to 6 of the input");
    cr_assert_not(strstr(old->err_data.p, "may be"));
    writing_holds(url, e2e_text("1\n2\n\"new\"\n"));
    /* Another id is another producer. */
    e2e_status(feed(e2e_text("5"), "write", url, "--producer", "q"), 0);
}

/* What the journal had not taken in is not lost to the next run, which begins with it. */
E2E_BOTH(once, one_with_a_journal_is_fenced)
{
    char *url = e2e_url("s"), *state = e2e_path("journal");
    e2e_create(url, TYPE_JSON);
    struct e2e_process *old = begin("write", url, "--producer", "p", "--state", state,
                                    "--batch-bytes", "6", "--in-flight", "1");
    e2e_give(old, e2e_text("1000 "));
    until_stored(url, "1000\n");
    e2e_status(feed(e2e_text("\"new\""), "write", url, "--producer", "p"), 0);
    e2e_give(old, e2e_text("2000 3000 4000 "));
    e2e_end_input(old);
    e2e_status(old, 12);
    e2e_says(old, "stored: message 1, bytes 0 to 3 of the input");
    e2e_says(old, "not stored: message 2, bytes 4 to 8 of the input");
    e2e_says(old, "the next run begins with it: messages 3 to 4, bytes 9 to 18 of the input");
    cr_assert_eq(writing_state(state, "inputBytes"), 9);
    e2e_status(feed(e2e_text(" 3000 4000 "), "write", url, "--producer", "p", "--state", state), 0);
    writing_holds(url, e2e_text("1000\n\"new\"\n3000\n4000\n"));
}

/* The server has stored it, nobody was told, and then it is too late to ask. */
E2E_BOTH(once, an_answer_is_lost_before_another_one_takes_over)
{
    static const enum proxy_how how[] = {PROXY_MUTE, PROXY_LOST};
    for (size_t i = 0; i < COUNT(how); i++) {
        char *name = e2e_printf("s%zu", i), *url = e2e_url(name);
        struct trouble t = {.how = how[i], .from = 1, .n = 1};
        e2e_create(url, TYPE_TEXT);
        struct proxy *proxy = proxy_start(e2e_base(), "POST", plan_trouble, &t);
        e2e_limits("header=2000,backoff_base=2000,backoff_max=2000");
        struct e2e_process *old = begin("write", e2e_url_at(proxy_url(proxy), name), "--producer",
                                        "p", "--split", "newline");
        e2e_limits("");
        e2e_give(old, e2e_text("one\n"));
        until_stored(url, "one\n");
        e2e_give(old, e2e_text("two\n"));
        until_stored(url, "one\ntwo\n");
        e2e_kill(old, SIGSTOP);
        e2e_status(feed(e2e_text("new\n"), "write", url, "--producer", "p"), 0);
        e2e_kill(old, SIGCONT);
        e2e_end_input(old);
        e2e_status(old, 16);
        e2e_says(old, "another writer has taken over");
        e2e_says(old, "stored: message 1, bytes 0 to 3 of the input");
        e2e_says(old, "may be stored or not: message 2, bytes 4 to 7 of the input");
        proxy_stop(proxy);
        writing_holds(url, e2e_text("one\ntwo\nnew\n"));
    }
}

/* The same with a request that never came there. */
E2E_BOTH(once, a_request_is_lost_before_another_one_takes_over)
{
    char *url = e2e_url("s");
    struct fault_plan plan = {.seed = 1, .most = 1000, .rate = {[FAULT_LOST_REQUEST] = 1000}};
    e2e_create(url, TYPE_TEXT);
    struct fault_proxy *proxy = fault_proxy_start(e2e_base(), &plan);
    char *through = e2e_url_at(fault_proxy_url(proxy), "s");
    struct e2e_process *p = feed(e2e_text("x"), "write", through, "--producer", "p", "--type",
                                 TYPE_TEXT, "--delivery-timeout", "1500ms");
    e2e_status(p, 16);
    e2e_says(p, "may be stored or not: bytes 0 to 0 of the input");
    fault_proxy_stop(proxy);
    writing_holds(url, e2e_text(""));
}

E2E_BOTH(once, epochs_of_ones_own)
{
    char *url = e2e_url("s");
    e2e_create(url, TYPE_JSON);
    struct e2e_process *p = feed(e2e_text("1"), "write", url, "--producer", "p", "--epoch", "5");
    e2e_status(p, 0);
    e2e_says(p, "epoch 5");
    /* Used already, or lower: not stored, whatever the server answers. */
    p = feed(e2e_text("2"), "write", url, "--producer", "p", "--epoch", "5");
    e2e_status(p, 12);
    e2e_says(p, "another writer uses this epoch");
    p = feed(e2e_text("2"), "write", url, "--producer", "p", "--epoch", "4");
    e2e_status(p, 12);
    e2e_says(p, "not stored: message 1");
    e2e_status(feed(e2e_text("3"), "write", url, "--producer", "p", "--epoch", "6"), 0);
    p = feed(e2e_text("4"), "write", url, "--producer", "p", "--epoch", "claim");
    e2e_status(p, 0);
    cr_assert_gt(strtoul(strstr(p->err_data.p, "epoch ") + 6, NULL, 10), 6);
    e2e_status(feed(e2e_text("5"), "write", url, "--producer", "p", "--epoch", "6"), 12);
    /* No room above. */
    e2e_status(feed(e2e_text("6"), "write", url, "--producer", "p", "--epoch", "9007199254740991"),
               0);
    p = feed(e2e_text("7"), "write", url, "--producer", "p");
    e2e_status(p, 15);
    e2e_says(p, "no room for a higher one");
    writing_holds(url, e2e_text("1\n3\n4\n6\n"));
}

/* Whatever is asked for, where a journal has used the last one. */
E2E_EMBEDDED(once, no_epoch_is_left)
{
    static const char *const more[][2] = {{NULL}, {"--epoch", "claim"}, {"--epoch", "5"}};
    char *url = e2e_url("s"), *state = e2e_path("journal");
    e2e_create(url, TYPE_JSON);
    e2e_status(feed(e2e_text("1"), "write", url, "--producer", "p", "--state", state, "--epoch",
                    "9007199254740991"),
               0);
    for (size_t i = 0; i < COUNT(more); i++) {
        struct e2e_process *p = feed(e2e_text(" 2"), "write", url, "--producer", "p", "--state",
                                     state, more[i][0], more[i][1]);
        e2e_status(p, 15);
        e2e_says(p, "no epoch is left for this producer id");
    }
    writing_holds(url, e2e_text("1\n"));
}

/* --- the journal ------------------------------------------------------------------------------ */

/* A run that ends with something kept: the proxy answers nothing from the second POST on. */
static struct e2e_process *left_kept(const char *through, const char *state, const char *input)
{
    struct e2e_process *p =
        begin("write", through, "--producer", "p", "--state", state, "--batch-bytes", "6",
              "--in-flight", "2", "--delivery-timeout", "1500ms");
    e2e_give(p, e2e_text(input));
    e2e_end_input(p);
    return e2e_finished(p);
}

E2E_BOTH(once, what_is_not_acknowledged_in_time_is_kept)
{
    static const enum proxy_how how[] = {PROXY_MUTE, PROXY_LOST};
    for (size_t i = 0; i < COUNT(how); i++) {
        char *name = e2e_printf("s%zu", i), *url = e2e_url(name);
        char *state = e2e_path(e2e_printf("journal%zu", i));
        struct trouble t = {.how = how[i], .from = 1, .n = 1000};
        e2e_create(url, TYPE_JSON);
        struct proxy *proxy = proxy_start(e2e_base(), "POST", plan_trouble, &t);
        char *through = e2e_url_at(proxy_url(proxy), name);
        struct e2e_process *p = left_kept(through, state, "1000 2000 3000");
        e2e_status(p, i == 0 ? 75 : 69);
        e2e_says(p, "stored: message 1, bytes 0 to 3 of the input");
        e2e_says(p, e2e_printf("kept for the next run in %s: messages 2 to 3", state));
        cr_assert_eq(writing_state(state, "messages"), 2);
        cr_assert_eq(writing_state(state, "inputBytes"), 14);
        cr_assert_eq(writing_state(state, "batches"), 2);
        p = dstream_run("state", "show", state);
        e2e_status(p, 0);
        cr_assert(strstr(p->out_data.p, "producer: p\n") &&
                      strstr(p->out_data.p, "input taken in: 14 bytes") &&
                      strstr(p->out_data.p, "batches not acknowledged: 2\n") &&
                      strstr(p->out_data.p, "not told: 0\n"),
                  "%s", p->out_data.p);
        t.n = 0;
        /* A pipe goes on behind what was taken in. */
        p = feed(e2e_text(" 4000"), "write", through, "--producer", "p", "--state", state, "-v");
        e2e_status(p, 0);
        e2e_says(p, "written: 3 messages");
        cr_assert_eq(writing_state(state, "batches"), 0);
        cr_assert_eq(writing_state(state, "inputBytes"), 19);
        proxy_stop(proxy);
        writing_holds(url, e2e_text("1000\n2000\n3000\n4000\n"));
    }
}

E2E_BOTH(once, a_signal_keeps_what_is_not_acknowledged)
{
    char *url = e2e_url("s"), *state = e2e_path("journal");
    struct trouble t = {.how = PROXY_MUTE, .from = 1, .n = 1000};
    e2e_create(url, TYPE_JSON);
    struct proxy *proxy = proxy_start(e2e_base(), "POST", plan_trouble, &t);
    char *through = e2e_url_at(proxy_url(proxy), "s");
    struct e2e_process *p = begin("write", through, "--producer", "p", "--state", state);
    e2e_give(p, e2e_text("1 "));
    until_stored(url, "1\n");
    e2e_give(p, e2e_text("2 "));
    until_stored(url, "1\n2\n");
    e2e_kill(p, SIGUSR1);
    e2e_until_err(p, ", 1 message, ");
    e2e_kill(p, SIGTERM);
    e2e_status(p, 128 + SIGTERM);
    e2e_says(p, "kept for the next run in ");
    t.n = 0;
    e2e_status(feed(e2e_text(" 3"), "write", through, "--producer", "p", "--state", state), 0);
    proxy_stop(proxy);
    writing_holds(url, e2e_text("1\n2\n3\n"));
}

/* Without a journal a signal leaves nothing behind, and says so. */
E2E_BOTH(once, a_signal_without_a_journal)
{
    char *url = e2e_url("s");
    struct trouble t = {.how = PROXY_MUTE, .from = 1, .n = 1000};
    e2e_create(url, TYPE_JSON);
    struct proxy *proxy = proxy_start(e2e_base(), "POST", plan_trouble, &t);
    struct e2e_process *p = begin("write", e2e_url_at(proxy_url(proxy), "s"), "--producer", "p");
    e2e_give(p, e2e_text("1 "));
    until_stored(url, "1\n");
    e2e_give(p, e2e_text("2 "));
    until_stored(url, "1\n2\n");
    e2e_kill(p, SIGINT);
    e2e_status(p, 128 + SIGINT);
    e2e_says(p, "stored: message 1, bytes 0 to 0 of the input");
    e2e_says(p, "may be stored or not: message 2, bytes 1 to 2 of the input");
    proxy_stop(proxy);
}

E2E_BOTH(once, an_old_journal_is_sent_only_by_force)
{
    char *url = e2e_url("s"), *state = e2e_path("journal");
    struct trouble t = {.how = PROXY_LOST, .from = 1, .n = 1000};
    e2e_create(url, TYPE_JSON);
    struct proxy *proxy = proxy_start(e2e_base(), "POST", plan_trouble, &t);
    char *through = e2e_url_at(proxy_url(proxy), "s");
    e2e_status(left_kept(through, state, "1000 2000"), 69);
    t.n = 0;
    struct e2e_bytes before = e2e_read_file(state);
    struct e2e_process *p = feed(e2e_text(""), "write", through, "--producer", "p", "--state",
                                 state, "--journal-max-age", "1ms");
    e2e_status(p, 16);
    e2e_says(p, "--force");
    e2e_same("the journal", e2e_read_file(state), before);
    e2e_status(feed(e2e_text(""), "write", through, "--producer", "p", "--state", state,
                    "--journal-max-age", "1ms", "--force"),
               0);
    proxy_stop(proxy);
    writing_holds(url, e2e_text("1000\n2000\n"));
}

E2E_BOTH(once, a_journal_of_something_else)
{
    char *url = e2e_url("s"), *other = e2e_url("other"), *state = e2e_path("journal");
    char *one = e2e_path("one"), *two = e2e_path("two");
    e2e_create(url, TYPE_TEXT);
    e2e_create(other, TYPE_TEXT);
    e2e_write_file(one, e2e_text("one\n"));
    e2e_write_file(two, e2e_text("two\n"));
    e2e_status(dstream_run("write", url, one, two, "--producer", "p", "--state", state), 0);
    const struct {
        const char *args[12];
        int status;
        const char *says;
    } row[] = {
        {{"write", other, one, "--producer", "p", "--state", state}, 13, "the journal is of"},
        {{"write", url, one, "--producer", "q", "--state", state}, 13, "the journal is of"},
        {{"write", url, one, "--producer", "p", "--state", state}, 13, "it is shorter than"},
        {{"write", url, one, "-", "--producer", "p", "--state", state}, 2, "the only input"},
        {{"write", url, one, "--producer", "p", "--state", one}, 13, "one:"},
        {{"write", url, one, two, "--producer", "p", "--state", state, "--epoch", "7"},
         2,
         "has used epoch"},
        {{"write", url, one, two, "--producer", "p", "--state", state}, 0, ""},
        {{"write", url, one, two, "--producer", "p", "--state", state, "--close"}, 0, ""},
        {{"write", url, one, two, "--producer", "p", "--state", state, "--close"}, 0, ""},
    };
    for (size_t i = 0; i < COUNT(row); i++) {
        struct e2e_process *p = e2e_finished(
            e2e_spawn(&(struct e2e_run){.argv = e2e_command(row[i].args), .input = false}));
        e2e_status(p, row[i].status);
        e2e_says(p, row[i].says);
    }
    writing_holds(url, e2e_text("one\ntwo\n"));
    e2e_delete(url);
    struct e2e_process *p =
        dstream_run("write", url, one, two, "--producer", "p", "--state", state, "--create");
    e2e_status(p, 10);
    e2e_create(url, TYPE_BINARY);
    e2e_status(dstream_run("write", url, one, two, "--producer", "p", "--state", state), 13);
}

/* A file may have grown; where it is another one, nothing of it is left out unseen. */
E2E_BOTH(once, a_file_that_is_not_the_same)
{
    char *url = e2e_url("s"), *state = e2e_path("journal"), *file = e2e_path("input");
    struct e2e_bytes data = writing_lines(0, 1000), other = writing_lines(5, 2000);
    e2e_create(url, TYPE_JSON);
    const char *const args[] = {"write", url, "--producer", "p", "--state", state, file, NULL};
    e2e_write_file(file, data);
    e2e_status(e2e_finished(e2e_spawn(&(struct e2e_run){.argv = e2e_command(args)})), 0);
    e2e_write_file(file, other);
    struct e2e_process *p = e2e_finished(e2e_spawn(&(struct e2e_run){.argv = e2e_command(args)}));
    e2e_status(p, 13);
    e2e_says(p, "it is not what an earlier run has taken in");
    e2e_add(&data, other.p, other.n);
    e2e_write_file(file, data);
    e2e_status(e2e_finished(e2e_spawn(&(struct e2e_run){.argv = e2e_command(args)})), 0);
    writing_holds(url, data);
    /* The same by standard input, and as the second of two files. */
    const char *const *command = e2e_command((const char *const[]){"write", url, NULL});
    const char *shell[] = {
        "sh",       "-c",       "exec \"$@\" --producer p --state \"$S\" <\"$F\"",
        "sh",       command[0], command[1],
        command[2], NULL};
    const char *env[] = {e2e_printf("S=%s", state), e2e_printf("F=%s", file), NULL};
    e2e_status(e2e_finished(e2e_spawn(&(struct e2e_run){.argv = shell, .env = env})), 0);
    e2e_write_file(e2e_path("before"), other);
    p = dstream_run("write", url, "--producer", "p", "--state", state, e2e_path("before"), file);
    e2e_status(p, 13);
    writing_holds(url, data);
}

E2E_BOTH(once, two_at_one_journal)
{
    char *url = e2e_url("s"), *state = e2e_path("journal");
    e2e_create(url, TYPE_JSON);
    struct e2e_process *p = begin("write", url, "--producer", "p", "--state", state);
    e2e_give(p, e2e_text("1 "));
    until_stored(url, "1\n");
    struct e2e_process *q = feed(e2e_text("2"), "write", url, "--producer", "p", "--state", state);
    e2e_status(q, 73);
    e2e_give(p, e2e_text("3 "));
    e2e_end_input(p);
    e2e_status(p, 0);
    writing_holds(url, e2e_text("1\n3\n"));
}
