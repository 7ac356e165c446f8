/* SPDX-License-Identifier: Apache-2.0 */
/* A producer of the library where the way or the server is not the usual one: HTTP/2 on connections
 * that break, and a server that stands still. */
#include "config.h"

#include "tests/e2e/front.h"
#include "tests/e2e/harness.h"
#include "tests/e2e/internal.h"
#include "tests/e2e/reading.h"

#include <dstream.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/reader.h"

#define MIB ((size_t)1 << 20)

static dstream_options *quick(void)
{
    struct ds_limits limits = ds_limits_default();
    dstream_options *o = dstream_options_new();
    limits.backoff_base = 1;
    limits.backoff_max = 20;
    ds_options_set_limits(o, &limits);
    return o;
}

static dstream_producer *open_on(dstream_loop *loop, const char *url, dstream_options *o)
{
    dstream_producer *p;
    cr_assert_eq(dstream_producer_open(&p, loop, url, TYPE_TEXT, NULL, o), DSTREAM_OK);
    dstream_options_free(o);
    return p;
}

/* --- HTTP/2 ----------------------------------------------------------------------------------- */

static void append_line(dstream_producer *p, unsigned i, struct e2e_bytes *want)
{
    const char *line = e2e_printf("%u %0*d\n", i, (int)(1 + i * 37 % 400), 0);
    cr_assert_eq(dstream_producer_append(p, line, strlen(line), E2E_MS, NULL), DSTREAM_APPEND_TAKEN,
                 "%s", dstream_error_message(dstream_producer_refusal(p)));
    e2e_add_text(want, line);
}

/* Turns the loop until that number of the producer's is so high. */
static void until(dstream_loop *loop, dstream_producer *p, enum dstream_count what, uint64_t n)
{
    int64_t limit = e2e_now() + E2E_MS;
    while (dstream_producer_count(p, what) < n) {
        cr_assert_lt(e2e_now(), limit, "count %d is %llu", what,
                     (unsigned long long)dstream_producer_count(p, what));
        cr_assert_eq(dstream_loop_turn(loop, 20), DSTREAM_OK);
    }
}

enum { CUTS = 8 };

/* While requests are under way on it, the connection is cut, again and again. */
E2E_BOTH(produce, by_http2_on_connections_that_break)
{
    struct front f;
    struct e2e_bytes want = {0};
    cert_authority("ca");
    cert_issue("server", "ca", "IP:127.0.0.1", 1);
    front_start(&f, "server", e2e_base(), "");
    e2e_create(e2e_url("s"), TYPE_TEXT);
    dstream_options *o = quick();
    dstream_options_set_cacert(o, cert_file("ca"));
    cr_assert_eq(dstream_options_set_batch(o, 4096, SIZE_MAX), DSTREAM_OK);
    dstream_options_set_linger(o, 0);
    dstream_loop *loop = dstream_loop_new();
    dstream_producer *p = open_on(loop, e2e_url_at(f.url, "s"), o);
    for (unsigned i = 0; i < 8000; i++)
        append_line(p, i, &want);
    /* Later those that overtake each other behind the front are fewer. */
    until(loop, p, DSTREAM_COUNT_IN_FLIGHT, 5);
    for (unsigned cuts = 1; cuts <= CUTS; cuts++) {
        front_cut(&f);
        until(loop, p, DSTREAM_COUNT_STORED, cuts * 800);
        until(loop, p, DSTREAM_COUNT_IN_FLIGHT, 1);
    }
    cr_assert_eq(dstream_producer_detach(p, E2E_MS), DSTREAM_OK, "%s",
                 dstream_error_message(dstream_producer_error(p)));
    cr_expect_gt(dstream_producer_count(p, DSTREAM_COUNT_RETRIES), 0);
    dstream_producer_free(p);
    dstream_loop_free(loop);
    e2e_same("the stream", e2e_get(e2e_url("s"), "-1"), want);
    e2e_kill(f.process, SIGTERM);
    e2e_wait(f.process);
    /* What was under way goes on together: on one connection, but where it met the end of two. */
    size_t connections = front_connections(&f, "HTTP/2.0");
    cr_expect(connections > CUTS / 2 && connections <= 3 * CUTS, "%zu connections", connections);
    cr_expect_eq(front_connections(&f, "HTTP/1.1"), 0);
}

/* --- a server that stands still --------------------------------------------------------------- */

/* KiB. */
static size_t resident(void)
{
    char line[256];
    size_t kib = 0;
    FILE *f = fopen("/proc/self/status", "re");
    while (f && kib == 0 && fgets(line, sizeof line, f)) {
        if (strncmp(line, "VmRSS:", 6) == 0)
            kib = strtoul(line + 6, NULL, 10);
    }
    if (f)
        fclose(f);
    cr_assert_gt(kib, 0);
    return kib;
}

/* What is buffered is bounded, and with it the memory; who does not wait is told so, who waits
 * does. Once the server goes on, so does all of it. */
E2E_EMBEDDED(produce, a_server_that_stands_still)
{
    static char message[1000];
    struct e2e_process *server;
    const char *base = e2e_serve(&server, NULL);
    char *url = e2e_url_at(base, "s");
    dstream_options *o = quick();
    uint64_t taken = 0, tried = 0;
    e2e_create(url, TYPE_TEXT);
    memset(message, 'x', sizeof message);
    dstream_options_set_buffer(o, 8 * MIB);
    dstream_producer *p = open_on(NULL, url, o);
    cr_assert_eq(dstream_producer_append(p, message, sizeof message, 0, NULL),
                 DSTREAM_APPEND_TAKEN);
    cr_assert_eq(dstream_producer_flush(p, E2E_MS, NULL), DSTREAM_OK);
    size_t before = resident();
    kill(server->pid, SIGSTOP);
    for (; tried < 100000; tried++) {
        enum dstream_append a = dstream_producer_append(p, message, sizeof message, 0, NULL);
        cr_assert_neq(a, DSTREAM_APPEND_REFUSED, "%s",
                      dstream_error_message(dstream_producer_refusal(p)));
        taken += a == DSTREAM_APPEND_TAKEN;
        cr_assert_leq(dstream_producer_count(p, DSTREAM_COUNT_BUFFERED), 8 * MIB);
    }
    size_t after = resident();
    cr_log_info("resident: %zu KiB, then %zu; %llu messages of 100000 taken", before, after,
                (unsigned long long)taken);
    cr_expect_gt(taken * sizeof message, 7 * MIB, "it takes what it may");
    if (!e2e_sanitized())
        cr_expect_lt(after, before + 12 * 1024, "from %zu KiB to %zu", before, after);
    int64_t start = e2e_now();
    cr_expect_eq(dstream_producer_append(p, message, sizeof message, 50, NULL),
                 DSTREAM_APPEND_AGAIN);
    cr_expect_geq(e2e_now(), start + 50);
    kill(server->pid, SIGCONT);
    cr_expect_eq(dstream_producer_append(p, message, sizeof message, E2E_MS, NULL),
                 DSTREAM_APPEND_TAKEN);
    cr_expect_eq(dstream_producer_detach(p, E2E_MS), DSTREAM_OK);
    cr_expect_eq(dstream_producer_count(p, DSTREAM_COUNT_STORED), taken + 2);
    cr_expect_eq(e2e_get(url, "-1").n, (taken + 2) * sizeof message);
    dstream_producer_free(p);
}
