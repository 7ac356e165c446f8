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
    return k == 0 ? *(struct proxy_plan *)ctx : (struct proxy_plan){PROXY_WHOLE, 0};
}

static void cut_and_compare(enum proxy_how how, size_t at, bool whole)
{
    struct proxy_plan plan = {how, at};
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
