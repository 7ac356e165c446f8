/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The official client reads what `dstream serve --replay` plays, by each of its ways, and gets what
 * was recorded. DSTREAM_E2E_CLIENT names the folder that it is installed in.
 */
#include "config.h"

#include "tests/e2e/recording.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static const char *client(void)
{
    const char *dir = getenv("DSTREAM_E2E_CLIENT");
    return dir && *dir ? dir : NULL;
}

/* Records a stream while it is written, and plays it in pages. Returns where. */
static const char *play(const char *type, const char *speed, struct e2e_bytes *want)
{
    if (!client()) {
        e2e_end(); /* which a test that is skipped does not come to */
        cr_skip("DSTREAM_E2E_CLIENT names no client");
    }
    struct written w = written_begin(e2e_url("s"), type);
    written_add(&w, 20000);
    struct e2e_process *p = dstream_start("record", w.url, "-o", exported(), "-f", "-vv");
    reading_until_live(p);
    for (int i = 0; i < 5; i++)
        written_add(&w, 3000);
    e2e_close(w.url);
    e2e_status(p, 0);
    *want = w.want;
    const char *base =
        e2e_serve(NULL, (const char *const[]){"--replay", e2e_printf("%s=/played", exported()),
                                              "--speed", speed, "--page-size", "2500",
                                              "--poll-time", "500ms", "--sse-time", "1s", NULL});
    return e2e_printf("%s/played", base);
}

static void reads(const char *url, const char *mode, struct e2e_bytes want)
{
    const char *const argv[] = {
        "node", E2E_SRCDIR "/tests/e2e/client/read.mjs", client(), url, mode, NULL};
    struct e2e_process *p = e2e_spawn(&(struct e2e_run){.argv = argv});
    e2e_status(p, 0);
    e2e_same(mode, p->out_data, want);
}

/* The first one reads while it is played. */
static void by_each(const char *type, const char *const *modes, const char *speed)
{
    struct e2e_bytes want;
    const char *url = play(type, speed, &want);
    for (size_t i = 0; modes[i]; i++)
        reads(url, modes[i], want);
}

E2E_EMBEDDED(client, messages_by_sse)
{
    by_each(TYPE_JSON, (const char *const[]){"sse", "catch-up", NULL}, "1");
}

E2E_EMBEDDED(client, messages_by_long_poll)
{
    by_each(TYPE_JSON, (const char *const[]){"long-poll", "auto", NULL}, "1");
}

E2E_EMBEDDED(client, bytes_by_sse)
{
    by_each(TYPE_BINARY, (const char *const[]){"sse", "catch-up", "long-poll", NULL}, "1");
}

/* Not by SSE, which cannot carry text as it is. */
E2E_EMBEDDED(client, text)
{
    by_each(TYPE_TEXT, (const char *const[]){"long-poll", "catch-up", NULL}, "2");
}
