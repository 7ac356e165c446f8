/* SPDX-License-Identifier: Apache-2.0 */
/* That the proxy for writes does what it says it does, and no more: a proxy without faults would
 * let every writer pass, and one that loses by itself none. */
#include "config.h"

#include "tests/e2e/fault_proxy.h"
#include "tests/e2e/harness.h"
#include "tests/e2e/listener.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define TEXT     "text/plain"
#define COUNT(a) (sizeof(a) / sizeof *(a))

static struct e2e_answer post(const char *url, unsigned long long epoch, unsigned long long seq,
                              const char *body)
{
    const char *const headers[] = {"Content-Type: " TEXT, "Producer-Id: p",
                                   e2e_printf("Producer-Epoch: %llu", epoch),
                                   e2e_printf("Producer-Seq: %llu", seq), NULL};
    return e2e_http("POST", url, headers, e2e_text(body));
}

static const char *story(struct fault_proxy *p)
{
    char *text = fault_proxy_story(p);
    char *copy = e2e_printf("%s", text);
    free(text);
    return copy;
}

/* Each kind by itself: what the writer sees, and whether the server has it in the end. */
E2E_BOTH(faults, each_does_what_its_name_says)
{
    static const struct {
        enum fault fault;
        long status;
        bool stored, retry_after;
    } row[] = {
        {FAULT_NONE, 200, true, false},         {FAULT_LOST_REQUEST, 0, false, false},
        {FAULT_LOST_ANSWER, 0, true, false},    {FAULT_CUT_ANSWER, 0, true, false},
        {FAULT_LATE_REQUEST, 200, true, false}, {FAULT_LATE_ANSWER, 200, true, false},
        {FAULT_STRAGGLER, 0, true, false},      {FAULT_500, 500, false, false},
        {FAULT_503, 503, false, true},          {FAULT_429, 429, false, true},
        {FAULT_500_AFTER, 500, true, false},
    };
    cr_assert_eq(COUNT(row), FAULTS);
    for (size_t i = 0; i < COUNT(row); i++) {
        struct fault_plan plan = {.seed = i, .retry_after = "7"};
        plan.rate[row[i].fault] = 1000;
        const char *name = e2e_printf("s%zu", i);
        e2e_create(e2e_url(name), TEXT);
        struct fault_proxy *p = fault_proxy_start(e2e_base(), &plan);
        struct e2e_answer a = post(e2e_url_at(fault_proxy_url(p), name), 0, 0, "x");
        fault_proxy_settle(p);
        const char *what = e2e_printf("%s: %s", fault_name(row[i].fault), story(p));
        long cut = row[i].fault == FAULT_CUT_ANSWER ? a.status : 0;
        cr_expect_eq(a.status - cut, row[i].status, "%s: %ld", what, a.status);
        cr_expect_eq(strstr(a.head.p, "Retry-After: 7") != NULL, row[i].retry_after, "%s", what);
        cr_expect_eq(e2e_get(e2e_url(name), "-1").n, row[i].stored, "%s", what);
        struct fault_counts c = fault_proxy_counts(p);
        cr_expect_eq(c.requests, 1, "%s", what);
        cr_expect_eq(c.forwarded, row[i].stored, "%s", what);
        cr_expect_eq(c.befell[row[i].fault], 1, "%s", what);
        fault_proxy_stop(p);
    }
}

/* What is not planned passes as it is, whatever its length and framing. */
E2E_BOTH(faults, other_requests_pass)
{
    struct fault_plan plan = {.seed = 1};
    plan.rate[FAULT_LOST_REQUEST] = 1000;
    struct fault_proxy *p = fault_proxy_start(e2e_base(), &plan);
    char *url = e2e_url_at(fault_proxy_url(p), "s");
    struct e2e_bytes big = e2e_random(3000000, 1);
    e2e_create(url, TEXT);
    e2e_append(e2e_url("s"), TEXT, big);
    e2e_same("the stream", e2e_get(url, "-1"), big);
    cr_assert_eq(e2e_http("HEAD", url, NULL, (struct e2e_bytes){0}).status, 200);
    struct e2e_answer a = e2e_http("GET", e2e_printf("%s?offset=now&live=long-poll", url), NULL,
                                   (struct e2e_bytes){0});
    cr_assert_eq(a.status, 204);
    e2e_delete(url);
    cr_assert_eq(e2e_http("GET", url, NULL, (struct e2e_bytes){0}).status, 404);
    cr_assert_eq(fault_proxy_counts(p).requests, 0);
    fault_proxy_stop(p);
}

/* Writes `n` messages, each again until it is acknowledged, and says what the proxy did. */
static const char *write_all(uint64_t seed, unsigned rate, unsigned n, unsigned long long epoch,
                             struct fault_counts *counts)
{
    struct fault_plan plan = fault_everything(seed, rate);
    struct fault_proxy *p = fault_proxy_start(e2e_base(), &plan);
    const char *name = e2e_printf("s%llu", epoch);
    char *url = e2e_url_at(fault_proxy_url(p), name);
    struct e2e_bytes want = e2e_text("");
    e2e_create(e2e_url(name), TEXT);
    for (unsigned seq = 0; seq < n; seq++) {
        char *body = e2e_printf("%u,", seq);
        long status;
        unsigned tries = 0;
        do
            status = post(url, epoch, seq, body).status;
        while (status != 200 && status != 204 && tries++ < 100);
        cr_assert_lt(tries, 100, "seed %llu: message %u: %ld\n%s", (unsigned long long)seed, seq,
                     status, story(p));
        e2e_add_text(&want, body);
    }
    fault_proxy_settle(p);
    const char *told = story(p);
    e2e_same(told, e2e_get(e2e_url(name), "-1"), want);
    *counts = fault_proxy_counts(p);
    fault_proxy_stop(p);
    return told;
}

E2E_BOTH(faults, a_writer_that_repeats_gets_through)
{
    struct fault_counts c;
    unsigned sum = 0;
    write_all(1, 60, 400, 0, &c);
    for (size_t f = 0; f < FAULTS; f++) {
        cr_expect_gt(c.befell[f], 10, "%s: %u", fault_name((enum fault)f), c.befell[f]);
        sum += c.befell[f];
    }
    cr_expect_eq(sum, c.requests);
    write_all(2, 0, 100, 1, &c);
    cr_expect_eq(c.befell[FAULT_NONE], 100);
    cr_expect_eq(c.forwarded, 100);
}

/* The draws, without what the server said: a straggler may come in before or behind its repetition.
 */
static const char *draws(const char *story)
{
    struct e2e_bytes b = e2e_text("");
    for (const char *line = story; *line; line = strchr(line, '\n') + 1)
        e2e_add_text(&b, e2e_printf("%.*s\n", (int)strcspn(line, "\n") - 4, line));
    return b.p;
}

E2E_EMBEDDED(faults, a_seed_repeats_itself)
{
    struct fault_counts c;
    /* Whatever the epoch is: it comes from a clock. */
    const char *first = draws(write_all(7, 60, 60, 1000, &c));
    cr_expect_str_eq(first, draws(write_all(7, 60, 60, 2000, &c)));
    cr_expect_str_neq(first, draws(write_all(8, 60, 60, 3000, &c)));
}

/* --- overtaking ------------------------------------------------------------------------------- */

static int send_batch(const char *base, unsigned seq)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons((uint16_t)atoi(strrchr(base, ':') + 1))};
    const struct timeval limit = {.tv_sec = E2E_MS / 1000};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert(fd >= 0 && connect(fd, (struct sockaddr *)(void *)&a, sizeof a) == 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    char *text = e2e_printf("POST /v1/stream/s HTTP/1.1\r\nHost: h\r\nContent-Type: " TEXT "\r\n"
                            "Producer-Id: p\r\nProducer-Epoch: 0\r\nProducer-Seq: %u\r\n"
                            "Content-Length: 1\r\n\r\nx",
                            seq);
    cr_assert(listener_send(fd, text, strlen(text)));
    return fd;
}

static int status_of(int fd)
{
    char head[8192];
    cr_assert(listener_head(fd, head, sizeof head));
    close(fd);
    return atoi(head + strcspn(head, " "));
}

struct coming {
    struct fault_proxy *p;
    unsigned n;
};

static bool have_come(void *ctx)
{
    struct coming *c = ctx;
    return fault_proxy_counts(c->p).requests >= c->n;
}

/* Of two batches that are under way at once, the second is first at the server when the first is
 * held back, and only then. */
E2E_BOTH(faults, requests_overtake_each_other)
{
    bool overtaken = false, in_order = false;
    for (uint64_t seed = 0; seed < 100 && !(overtaken && in_order); seed++) {
        struct fault_plan plan = {.seed = seed, .hold_ms = 10000};
        plan.rate[FAULT_LATE_REQUEST] = 500;
        e2e_create(e2e_url("s"), TEXT);
        struct fault_proxy *p = fault_proxy_start(e2e_base(), &plan);
        int first = send_batch(fault_proxy_url(p), 0);
        struct coming one = {p, 1};
        e2e_wait_for(have_come, &one, "the first batch came");
        bool held = strstr(story(p), "late request") != NULL;
        overtaken = overtaken || held;
        in_order = in_order || !held;
        if (held) {
            /* It lets four pass, at the most. */
            int others[4];
            for (unsigned i = 0; i < COUNT(others); i++)
                others[i] = send_batch(fault_proxy_url(p), 100 + i);
            for (unsigned i = 0; i < COUNT(others); i++)
                cr_expect_eq(status_of(others[i]), 409, "%s", story(p));
        }
        cr_expect_eq(status_of(first), 200, "%s", story(p));
        fault_proxy_stop(p);
        e2e_delete(e2e_url("s"));
    }
    cr_assert(overtaken && in_order);
}

/* Stopping does not wait for what is held back. */
E2E_EMBEDDED(faults, it_stops_at_once)
{
    struct fault_plan plan = {.hold_ms = 1000000};
    plan.rate[FAULT_LATE_REQUEST] = 1000;
    e2e_create(e2e_url("s"), TEXT);
    struct fault_proxy *p = fault_proxy_start(e2e_base(), &plan);
    int fd = send_batch(fault_proxy_url(p), 0);
    struct coming one = {p, 1};
    e2e_wait_for(have_come, &one, "the batch came");
    fault_proxy_stop(p);
    close(fd);
}
