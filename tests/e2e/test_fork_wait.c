/* SPDX-License-Identifier: Apache-2.0 */
/* fork and wait. */
#include "config.h"

#include "tests/e2e/reading.h"
#include "tests/e2e/writing.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof *(a))

/* --- fork ------------------------------------------------------------------------------------- */

E2E_BOTH(fork, a_stream_goes_two_ways)
{
    char *url = e2e_url("s"), *fork = e2e_url("f");
    e2e_create(url, TYPE_JSON);
    e2e_append(url, TYPE_JSON, e2e_text("1"));
    char *end = e2e_append(url, TYPE_JSON, e2e_text("2"));
    struct e2e_process *p = dstream_run("fork", fork, "--from", url);
    e2e_status(p, 0);
    e2e_says(p, "created; it ends at ");
    e2e_says(p, end);
    e2e_append(url, TYPE_JSON, e2e_text("\"old\""));
    e2e_append(fork, TYPE_JSON, e2e_text("\"new\""));
    writing_holds(url, e2e_text("1\n2\n\"old\"\n"));
    writing_holds(fork, e2e_text("1\n2\n\"new\"\n"));
}

E2E_BOTH(fork, at_a_position)
{
    char *url = e2e_url("s");
    e2e_create(url, TYPE_JSON);
    char *one = e2e_append(url, TYPE_JSON, e2e_text("1"));
    e2e_append(url, TYPE_JSON, e2e_text("[2,3,4]"));
    const struct {
        const char *at, *want;
    } row[] = {{one, "1\n"}, {e2e_printf("%s,2", one), "1\n2\n3\n"}};
    for (size_t i = 0; i < COUNT(row); i++) {
        char *fork = e2e_url(e2e_printf("f%zu", i));
        e2e_status(dstream_run("fork", "--at", row[i].at, fork, "--from", url), 0);
        writing_holds(fork, e2e_text(row[i].want));
        struct e2e_process *p = dstream_run("fork", "--at", row[i].at, fork, "--from", url);
        e2e_status(p, 0);
        e2e_says(p, "was there already, as the same fork");
    }
    /* By names under a base. */
    e2e_status(dstream_run("fork", "--url", e2e_printf("%.*s", (int)strlen(url) - 2, url), "n",
                           "--from", "s"),
               0);
}

/* As others name it too: a browser's way, whatever libcurl's is. */
E2E_BOTH(fork, of_a_name_that_is_not_ascii)
{
    char *url = e2e_url("s\xC3\xA4"), *fork = e2e_url("f");
    e2e_create(e2e_url("s%C3%A4"), TYPE_JSON);
    e2e_status(writing_fed(e2e_text("1"), (const char *[]){"write", url, NULL}), 0);
    e2e_status(writing_fed(e2e_text("2"), (const char *[]){"write", "--producer", "p", url, NULL}),
               0);
    e2e_status(dstream_run("fork", fork, "--from", url), 0);
    writing_holds(fork, e2e_text("1\n2\n"));
    writing_holds(url, e2e_text("1\n2\n"));
}

E2E_BOTH(fork, what_cannot_be_forked)
{
    char *url = e2e_url("s"), *fork = e2e_url("f");
    e2e_create(url, TYPE_TEXT);
    const struct {
        const char *args[8];
        int status;
        const char *says;
    } row[] = {
        {{"fork", fork}, 2, "--from what"},
        {{"fork", "--from", url}, 2, "one stream"},
        {{"fork", fork, "--from", ""}, 2, "the stream to begin as"},
        {{"fork", fork, "--from", "http://127.0.0.1:1/s"}, 2, "the same server"},
        {{"fork", fork, "--from", e2e_url("none")}, 66, "404"},
        {{"fork", fork, "--from", url, "--at", "-1,2"}, 2, "no server can fork at -1"},
        {{"fork", fork, "--from", url, "--at", ","}, 2, "wanted is OFFSET"},
        {{"fork", fork, "--from", url, "--at", "1,x"}, 2, "wanted is OFFSET"},
        {{"fork", fork, "--from", url, "--at", "no_offset"}, 14, "400"},
    };
    for (size_t i = 0; i < COUNT(row); i++) {
        struct e2e_process *p = writing_fed(e2e_text(""), row[i].args);
        e2e_status(p, row[i].status);
        e2e_says(p, row[i].says);
    }
    e2e_create(fork, TYPE_BINARY);
    e2e_status(dstream_run("fork", fork, "--from", url), 11);
}

/* --- wait ------------------------------------------------------------------------------------- */

static struct e2e_process *waiting(const char *url, const char *what)
{
    struct e2e_process *p = dstream_start("wait", url, "--for", what, "-vv");
    e2e_until_err(p, "GET ");
    return p;
}

E2E_BOTH(wait, until_it_is_so)
{
    char *url = e2e_url("s");
    struct e2e_process *exists = waiting(url, "exists"), *data = waiting(url, "data"),
                       *closed = waiting(url, "closed");
    e2e_until_err(exists, ": 404");
    e2e_create(url, TYPE_JSON);
    e2e_status(exists, 0);
    reading_until_live(data);
    reading_until_live(closed);
    e2e_append(url, TYPE_JSON, e2e_text("1"));
    e2e_status(data, 0);
    e2e_close(url);
    e2e_status(closed, 0);
    cr_assert_eq(exists->out_data.n + data->out_data.n + closed->out_data.n, 0);
    /* It is so already. */
    e2e_status(dstream_run("wait", url, "--for", "exists"), 0);
    e2e_status(dstream_run("wait", url, "--for", "data"), 0);
    e2e_status(dstream_run("wait", url, "--for", "closed"), 0);
}

E2E_BOTH(wait, in_vain)
{
    char *url = e2e_url("s");
    struct e2e_process *p = dstream_run("wait", url, "--for", "exists", "--max-time", "50ms");
    e2e_status(p, 3);
    e2e_says(p, "does not exist yet");
    e2e_create(url, TYPE_TEXT);
    p = dstream_run("wait", url, "--for", "data", "--max-time", "100ms");
    e2e_status(p, 3);
    e2e_says(p, "has no data yet");
    p = dstream_run("wait", url, "--for", "closed", "--max-time", "100ms");
    e2e_status(p, 3);
    e2e_says(p, "is not closed yet");
    p = dstream_start("wait", url, "--for", "data", "-vv");
    reading_until_live(p);
    e2e_kill(p, SIGTERM);
    e2e_status(p, 128 + SIGTERM);
    p = dstream_start("wait", url, "--for", "data", "-vv");
    reading_until_live(p);
    e2e_close(url);
    e2e_status(p, 3);
    e2e_says(p, "has no data, and is closed");
    e2e_status(dstream_run("wait", url), 2);
    e2e_status(dstream_run("wait", url, "--for", "rain"), 2);
    e2e_status(dstream_run("wait", "--for", "data"), 2);
}
