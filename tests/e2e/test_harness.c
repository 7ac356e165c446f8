/* SPDX-License-Identifier: Apache-2.0 */
/* That the tools of these tests do what they say: a proxy that never cut would let every test pass.
 */
#include "config.h"

#include "tests/e2e/harness.h"
#include "tests/e2e/proxy.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

E2E(harness, a_process_is_watched_to_its_end)
{
    const char *const argv[] = {"sh", "-c", "cat; echo oops >&2; exit 7", NULL};
    struct e2e_process *p = e2e_spawn(&(struct e2e_run){.argv = argv, .input = true});
    e2e_give(p, e2e_text("hello"));
    e2e_until_out(p, 5);
    e2e_end_input(p);
    e2e_status(p, 7);
    e2e_says(p, "oops");
    e2e_same("output", p->out_data, e2e_text("hello"));
}

E2E(harness, a_signal_is_told_from_a_status)
{
    const char *const argv[] = {"sleep", "100", NULL};
    struct e2e_process *p = e2e_spawn(&(struct e2e_run){.argv = argv});
    e2e_kill(p, SIGTERM);
    e2e_status(p, 128 + SIGTERM);
}

/* What a plan for the answer to one GET makes of a body. */
static struct proxy_plan first_as(void *ctx, unsigned k)
{
    return k == 0 ? *(struct proxy_plan *)ctx : (struct proxy_plan){.how = PROXY_WHOLE};
}

static void cut_and_compare(enum proxy_how how, size_t at, bool whole)
{
    struct proxy_plan plan = {.how = how, .at = at};
    struct proxy *p = proxy_start(e2e_base(), "offset=-1", first_as, &plan);
    char *url = e2e_printf("%s?offset=-1", e2e_url_at(proxy_url(p), "s"));
    struct e2e_answer a = e2e_http("GET", url, NULL, (struct e2e_bytes){0});
    e2e_same("what passed", a.body, e2e_text(e2e_printf("%.*s", (int)at, "0123456789")));
    cr_assert_eq(a.status != 0, whole, "how %d: status %ld", how, a.status);
    a = e2e_http("GET", url, NULL, (struct e2e_bytes){0});
    e2e_same("the second time", a.body, e2e_text("0123456789"));
    cr_assert_eq(proxy_count(p, "GET"), 2);
    cr_assert_eq(proxy_count(p, "POST"), 0);
    proxy_stop(p);
}

E2E_BOTH(harness, the_proxy_cuts_where_it_is_told)
{
    e2e_create(e2e_url("s"), "application/octet-stream");
    e2e_append(e2e_url("s"), "application/octet-stream", e2e_text("0123456789"));
    cut_and_compare(PROXY_WHOLE, 10, true);
    for (size_t at = 0; at < 10; at++) {
        cut_and_compare(PROXY_CLEAN, at, true);
        cut_and_compare(PROXY_BREAK, at, false);
        cut_and_compare(PROXY_RESET, at, false);
    }
}

/* What becomes of a GET that is answered so at the second time. */
static struct proxy_plan second_as(void *ctx, unsigned k)
{
    return k == 1 ? *(struct proxy_plan *)ctx : (struct proxy_plan){.how = PROXY_WHOLE};
}

/* Asks twice, with an append in between, and expects this status and body of the second answer. */
static void second_answer(enum proxy_how how, const char *query, long status, const char *body)
{
    struct proxy_plan plan = {.how = how, .at = 3};
    e2e_create(e2e_url("s"), "application/octet-stream");
    char *start = e2e_append(e2e_url("s"), "application/octet-stream", e2e_text("1"));
    if (strcmp(query, "offset=") == 0)
        query = e2e_printf("offset=%s", start);
    struct proxy *p = proxy_start(e2e_base(), "GET", second_as, &plan);
    char *url = e2e_printf("%s?%s", e2e_url_at(proxy_url(p), "s"), query);
    e2e_http("GET", url, NULL, (struct e2e_bytes){0});
    char *next = e2e_append(e2e_url("s"), "application/octet-stream", e2e_text("234567"));
    struct e2e_answer a = e2e_http("GET", url, NULL, (struct e2e_bytes){0});
    cr_expect_eq(a.status, status, "%s: %ld", proxy_name(how), a.status);
    e2e_same(proxy_name(how), a.body, e2e_text(body));
    cr_expect_eq(proxy_befell(p, how), how == PROXY_WHOLE ? 2 : 1, "%s", proxy_name(how));
    if (how == PROXY_EARLY)
        cr_expect_str_eq(a.next, next, "%s", a.next);
    proxy_stop(p);
    e2e_delete(e2e_url("s"));
}

E2E_BOTH(harness, the_proxy_delays_and_makes_up_answers)
{
    second_answer(PROXY_WHOLE, "offset=-1", 200, "1234567");
    second_answer(PROXY_PAUSE, "offset=-1", 200, "1234567");
    second_answer(PROXY_DRIP, "offset=-1", 200, "1234567");
    second_answer(PROXY_STALE, "offset=-1", 200, "1");
    second_answer(PROXY_STALE, "live=long-poll&offset=now", 204, "");
    second_answer(PROXY_EARLY, "offset=", 200, "");
    second_answer(PROXY_EARLY, "live=long-poll&offset=-1", 204, "");
}

/* Nothing comes, or no more, whether the connection stays or not. */
E2E_EMBEDDED(harness, the_proxy_stands_still_and_loses)
{
    static const struct proxy_plan plans[] = {
        {.how = PROXY_MUTE}, {.how = PROXY_STALL, .at = 4}, {.how = PROXY_LOST}};
    static const char *const says[] = {"no answer began", "no byte of the answer came", "reset"};
    e2e_limits("header=1500,silence=1500,retries=0");
    e2e_create(e2e_url("s"), "text/plain");
    e2e_append(e2e_url("s"), "text/plain", e2e_text("0123456789"));
    for (int i = 0; i < 3; i++) {
        struct proxy_plan plan = plans[i];
        struct proxy *p = proxy_start(e2e_base(), "GET", first_as, &plan);
        struct e2e_process *c = dstream_run("read", "-v", e2e_url_at(proxy_url(p), "s"));
        e2e_status(c, i < 2 ? 75 : 69);
        e2e_says(c, says[i]);
        proxy_stop(p);
    }
}

E2E_BOTH(harness, streams_are_made_written_closed_and_deleted)
{
    char *url = e2e_url("s");
    e2e_create(url, "text/plain");
    e2e_append(url, "text/plain", e2e_text("one "));
    e2e_append(url, "text/plain", e2e_text("two"));
    e2e_same("body", e2e_get(url, "-1"), e2e_text("one two"));
    e2e_close(url);
    cr_assert(e2e_http("HEAD", url, NULL, (struct e2e_bytes){0}).closed);
    e2e_delete(url);
    cr_assert_eq(e2e_http("GET", url, NULL, (struct e2e_bytes){0}).status, 404);
}
