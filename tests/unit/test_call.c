/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/reason.h"
#include "producer/call.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))
#define URL      "http://h/s"

/* --- a life of a call ------------------------------------------------------------------------- */

/* How one request ends: with an answer where status is not 0, else by `end`. */
struct ending {
    int status;
    enum ds_end end;
    bool left;            /* bytes may have left */
    const char *next;     /* Stream-Next-Offset */
    const char *field[4]; /* name, value, name, value */
    int64_t retry_after;  /* ms, plus one; 0: none */
    const char *redirect;
    const char *body;
    bool silent; /* nothing comes at all: our limit ends it */
};

struct life {
    struct ds_call *call;
    int64_t now;
    uint64_t random;
    unsigned requests, notices, aborts, auths;
    int64_t waited; /* for retries */
    char url[256];  /* of the last request */
    bool user_headers;
    enum ds_method method;
    char headers[512]; /* of the last request, a line each */
    size_t body_len;
};

static struct ds_call_config config_of(enum ds_call_kind kind)
{
    struct ds_call_config c = {.kind = kind, .url = URL, .limits = ds_limits_default()};
    if (kind == DS_CALL_APPEND) {
        c.content_type = "text/plain";
        c.body = "data";
        c.body_len = 4;
    }
    return c;
}

static void begin(struct life *l, const struct ds_call_config *c)
{
    struct dstream_error err = {0};
    *l = (struct life){.now = 1000000};
    cr_assert_eq(ds_call_new(&l->call, c, &err), DSTREAM_OK, "%s", err.message);
}

static void note_request(struct life *l, const struct ds_request *r)
{
    l->requests++;
    l->user_headers = r->send_user_headers;
    l->method = r->method;
    l->body_len = r->body_len;
    cr_assert_lt(strlen(r->url), sizeof l->url);
    strcpy(l->url, r->url);
    l->headers[0] = '\0';
    for (size_t i = 0; i < r->nheaders; i++) {
        strcat(l->headers, r->headers[i]);
        strcat(l->headers, "\n");
    }
}

/* Steps up to the next request (true) or the end (false). Time passes only where it is waited. */
static bool to_request(struct life *l)
{
    for (int i = 0; i < 100; i++) {
        struct ds_call_step s = ds_call_step(l->call, l->now, l->random);
        switch (s.kind) {
        case DS_CALL_STEP_REQUEST:
            note_request(l, &s.request);
            return true;
        case DS_CALL_STEP_NOTICE:
            l->notices++;
            l->waited += s.delay;
            cr_assert_neq(ds_call_error(l->call)->code, DSTREAM_OK);
            break;
        case DS_CALL_STEP_AUTH:
            l->auths++;
            break;
        case DS_CALL_STEP_WAIT:
            cr_assert_gt(s.until, l->now);
            l->now = s.until;
            break;
        case DS_CALL_STEP_DONE:
            return false;
        case DS_CALL_STEP_ABORT:
            cr_assert_fail("nothing is under way");
        }
    }
    cr_assert_fail("it spins");
    return false;
}

static void give_head(struct life *l, const struct ending *e)
{
    struct ds_head h = {
        .status = e->status, .retry_after_ms = e->retry_after - 1, .redirect = e->redirect};
    ds_buf_init(&h.fields, 65536);
    if (e->next)
        cr_assert_eq(ds_head_add(&h, "Stream-Next-Offset", 18, e->next, strlen(e->next)), 0);
    for (size_t i = 0; i < 4 && e->field[i]; i += 2)
        cr_assert_eq(ds_head_add(&h, e->field[i], strlen(e->field[i]), e->field[i + 1],
                                 strlen(e->field[i + 1])),
                     0);
    ds_call_head(l->call, &h, l->now);
    ds_head_free(&h);
    if (e->body)
        ds_call_body(l->call, e->body, strlen(e->body));
}

static void give(struct life *l, const struct ending *e)
{
    if (e->status != 0)
        give_head(l, e);
    if (e->silent && e->left)
        ds_call_connected(l->call, l->now);
    if (e->silent) {
        struct ds_call_step s = ds_call_step(l->call, l->now, 0);
        cr_assert_eq(s.kind, DS_CALL_STEP_WAIT);
        l->now = s.until;
        cr_assert_eq(ds_call_step(l->call, l->now - 1, 0).kind, DS_CALL_STEP_WAIT);
        cr_assert_eq(ds_call_step(l->call, l->now, 0).kind, DS_CALL_STEP_ABORT);
        l->aborts++;
        ds_call_aborted(l->call);
        return;
    }
    struct ds_result r = {.end = e->end, .connected = e->left};
    ds_call_end(l->call, &r);
}

/* Plays the endings in turn, the last one as often as it takes, and returns the code. */
static enum dstream_code play(struct life *l, const struct ending *e, size_t n)
{
    for (size_t i = 0; to_request(l); i++) {
        cr_assert_lt(l->requests, 100);
        give(l, &e[i < n ? i : n - 1]);
    }
    return ds_call_error(l->call)->code;
}

static enum dstream_code live(struct life *l, enum ds_call_kind kind, const struct ending *e,
                              size_t n)
{
    struct ds_call_config c = config_of(kind);
    begin(l, &c);
    return play(l, e, n);
}

static const struct ending good = {.status = 200, .left = true, .next = "5_0"};

/* --- requests --------------------------------------------------------------------------------- */

Test(call, requests_are_those_of_the_protocol)
{
    struct {
        struct ds_call_config c;
        enum ds_method method;
        const char *headers;
        size_t body;
    } row[] = {
        {{.kind = DS_CALL_CREATE}, DS_PUT, "", 0},
        {{.kind = DS_CALL_CREATE,
          .content_type = "application/json",
          .ttl = "60",
          .close = true,
          .body = "[1]",
          .body_len = 3},
         DS_PUT,
         "Content-Type: application/json\nStream-TTL: 60\nStream-Closed: true\n",
         3},
        {{.kind = DS_CALL_CREATE, .expires = "2030-01-02T03:04:05Z"},
         DS_PUT,
         "Stream-Expires-At: 2030-01-02T03:04:05Z\n",
         0},
        {{.kind = DS_CALL_APPEND,
          .content_type = "text/plain; charset=utf-8",
          .body = "x",
          .body_len = 1},
         DS_POST,
         "Content-Type: text/plain; charset=utf-8\n",
         1},
        {{.kind = DS_CALL_APPEND, .content_type = "a/b", .body = "x", .body_len = 1, .close = true},
         DS_POST,
         "Content-Type: a/b\nStream-Closed: true\n",
         1},
        {{.kind = DS_CALL_CREATE,
          .fork_from = "/v1/stream/a",
          .fork_offset = "0_1",
          .fork_skip = UINT64_MAX},
         DS_PUT,
         "Stream-Forked-From: /v1/stream/a\nStream-Fork-Offset: 0_1\n"
         "Stream-Fork-Sub-Offset: 18446744073709551615\n",
         0},
        {{.kind = DS_CALL_CREATE, .fork_from = "/a"}, DS_PUT, "Stream-Forked-From: /a\n", 0},
        {{.kind = DS_CALL_APPEND,
          .body = "x",
          .body_len = 1,
          .seq = "7",
          .producer_id = "id",
          .producer_seq = 120},
         DS_POST,
         "Stream-Seq: 7\nProducer-Id: id\nProducer-Epoch: 0\nProducer-Seq: 120\n",
         1},
        {{.kind = DS_CALL_CLOSE}, DS_POST, "Stream-Closed: true\n", 0},
        {{.kind = DS_CALL_DELETE}, DS_DELETE, "", 0},
        {{.kind = DS_CALL_STAT}, DS_HEAD, "", 0},
    };
    for (size_t i = 0; i < COUNT(row); i++) {
        struct life l;
        row[i].c.url = "http://h/s?b=2&a=1#f";
        row[i].c.limits = ds_limits_default();
        begin(&l, &row[i].c);
        cr_assert(to_request(&l));
        cr_expect_eq(l.method, row[i].method, "row %zu", i);
        cr_expect_str_eq(l.headers, row[i].headers, "row %zu", i);
        cr_expect_eq(l.body_len, row[i].body, "row %zu", i);
        cr_expect_str_eq(l.url, "http://h/s?a=1&b=2", "row %zu", i);
        cr_expect(l.user_headers);
        give(&l, &good);
        cr_expect_not(to_request(&l));
        cr_expect_eq(ds_call_error(l.call)->code, DSTREAM_OK, "row %zu", i);
        cr_expect_str_eq(ds_call_result(l.call)->next, "5_0");
        ds_call_free(l.call);
    }
}

Test(call, bad_arguments_are_refused)
{
    struct ds_call_config row[] = {
        {.kind = DS_CALL_STAT, .url = "ftp://h/s"},
        {.kind = DS_CALL_STAT, .url = "h/s"},
        {.kind = DS_CALL_CREATE, .url = URL, .content_type = "json"},
        {.kind = DS_CALL_CREATE, .url = URL, .content_type = ""},
        {.kind = DS_CALL_CREATE, .url = URL, .content_type = "/json"},
        {.kind = DS_CALL_CREATE, .url = URL, .content_type = "text/"},
        {.kind = DS_CALL_CREATE, .url = URL, .content_type = "text/plain x"},
        {.kind = DS_CALL_CREATE, .url = URL, .content_type = "text/plain\r\nX: y"},
        {.kind = DS_CALL_CREATE, .url = URL, .ttl = "1\n"},
        {.kind = DS_CALL_CREATE, .url = URL, .expires = "1\r"},
        {.kind = DS_CALL_CREATE, .url = URL, .ttl = "1", .expires = "2030-01-01T00:00:00Z"},
        {.kind = DS_CALL_APPEND, .url = URL, .content_type = "a/b", .body = ""},
    };
    for (size_t i = 0; i < COUNT(row); i++) {
        struct ds_call *c = (struct ds_call *)&row;
        struct dstream_error err = {0};
        cr_expect_eq(ds_call_new(&c, &row[i], &err), DSTREAM_ERR_ARGUMENT, "row %zu", i);
        cr_expect_null(c);
        cr_expect_neq(err.message[0], '\0');
    }
}

/* --- which are sent again --------------------------------------------------------------------- */

enum fate { FINAL, AGAIN, UNKNOWN };

/* What an ending means for an append (which is never repeated in doubt) and for the others. */
struct rule {
    struct ending e;
    enum dstream_code code;
    enum fate append, other;
};

static const struct rule rules[] = {
    {{.status = 400}, DSTREAM_ERR_BAD_REQUEST, FINAL, FINAL},
    {{.status = 401}, DSTREAM_ERR_AUTH, FINAL, FINAL},
    {{.status = 403}, DSTREAM_ERR_AUTH, FINAL, FINAL},
    {{.status = 404}, DSTREAM_ERR_NOT_FOUND, FINAL, FINAL},
    {{.status = 405}, DSTREAM_ERR_BAD_REQUEST, FINAL, FINAL},
    {{.status = 406}, DSTREAM_ERR_BAD_REQUEST, UNKNOWN, FINAL},
    {{.status = 407}, DSTREAM_ERR_AUTH, FINAL, FINAL},
    {{.status = 408}, DSTREAM_ERR_TIMEOUT, UNKNOWN, AGAIN},
    {{.status = 409}, DSTREAM_ERR_CONFLICT, FINAL, FINAL},
    {{.status = 410}, DSTREAM_ERR_GONE, FINAL, FINAL},
    {{.status = 411}, DSTREAM_ERR_BAD_REQUEST, FINAL, FINAL},
    {{.status = 413}, DSTREAM_ERR_TOO_LARGE, FINAL, FINAL},
    {{.status = 414}, DSTREAM_ERR_BAD_REQUEST, FINAL, FINAL},
    {{.status = 415}, DSTREAM_ERR_BAD_REQUEST, FINAL, FINAL},
    {{.status = 418}, DSTREAM_ERR_BAD_REQUEST, UNKNOWN, FINAL},
    {{.status = 422}, DSTREAM_ERR_BAD_REQUEST, UNKNOWN, FINAL},
    {{.status = 425}, DSTREAM_ERR_BUSY, AGAIN, AGAIN},
    {{.status = 429}, DSTREAM_ERR_BUSY, AGAIN, AGAIN},
    {{.status = 431}, DSTREAM_ERR_BAD_REQUEST, FINAL, FINAL},
    {{.status = 500}, DSTREAM_ERR_SERVER, UNKNOWN, AGAIN},
    {{.status = 501}, DSTREAM_ERR_BAD_REQUEST, FINAL, FINAL},
    {{.status = 502}, DSTREAM_ERR_SERVER, UNKNOWN, AGAIN},
    {{.status = 503}, DSTREAM_ERR_SERVER, UNKNOWN, AGAIN},
    {{.status = 504}, DSTREAM_ERR_SERVER, UNKNOWN, AGAIN},
    {{.status = 505}, DSTREAM_ERR_BAD_REQUEST, FINAL, FINAL},
    {{.status = 599}, DSTREAM_ERR_SERVER, UNKNOWN, AGAIN},
    /* Not what a stream server answers. */
    {{.status = 300}, DSTREAM_ERR_PROTOCOL, UNKNOWN, FINAL},
    {{.status = 304}, DSTREAM_ERR_PROTOCOL, UNKNOWN, FINAL},
    {{.status = 600}, DSTREAM_ERR_PROTOCOL, UNKNOWN, FINAL},
    {{.status = 200, .field = {"content-type", "text/html"}}, DSTREAM_ERR_PROTOCOL, UNKNOWN, FINAL},
    {{.status = 301, .redirect = "http://other/s"}, DSTREAM_ERR_REDIRECT, FINAL, FINAL},
    {{.status = 307, .redirect = "ftp://h/s"}, DSTREAM_ERR_REDIRECT, FINAL, FINAL},
    {{.status = 308}, DSTREAM_ERR_REDIRECT, FINAL, FINAL},
    /* No answer. */
    {{.end = DS_END_RESOLVE}, DSTREAM_ERR_RESOLVE, AGAIN, AGAIN},
    {{.end = DS_END_CONNECT}, DSTREAM_ERR_CONNECT, AGAIN, AGAIN},
    {{.end = DS_END_CUT}, DSTREAM_ERR_NETWORK, AGAIN, AGAIN},
    {{.end = DS_END_CUT, .left = true}, DSTREAM_ERR_NETWORK, UNKNOWN, AGAIN},
    {{.end = DS_END_TLS}, DSTREAM_ERR_TLS, AGAIN, AGAIN},
    {{.end = DS_END_TLS, .left = true}, DSTREAM_ERR_TLS, UNKNOWN, AGAIN},
    {{.end = DS_END_TLS_REFUSED}, DSTREAM_ERR_TLS, FINAL, FINAL},
    {{.end = DS_END_BAD}, DSTREAM_ERR_ARGUMENT, FINAL, FINAL},
    {{.end = DS_END_LIMIT, .left = true}, DSTREAM_ERR_LIMIT, UNKNOWN, FINAL},
    {{.end = DS_END_NOMEM}, DSTREAM_ERR_NOMEM, FINAL, FINAL},
    {{.end = DS_END_NOMEM, .left = true}, DSTREAM_ERR_NOMEM, UNKNOWN, FINAL},
    {{.end = DS_END_COMPLETE, .left = true}, DSTREAM_ERR_PROTOCOL, UNKNOWN, FINAL},
    /* Certain, but when it is known the time is over. */
    {{.silent = true}, DSTREAM_ERR_CONNECT, FINAL, FINAL},
    {{.silent = true, .left = true}, DSTREAM_ERR_TIMEOUT, UNKNOWN, AGAIN},
};

static const enum ds_call_kind kinds[] = {DS_CALL_CREATE, DS_CALL_APPEND, DS_CALL_CLOSE,
                                          DS_CALL_DELETE, DS_CALL_STAT};

/* A HEAD goes to another host, so no answer to it is a redirect that is refused for that. */
static bool fits(const struct rule *r, enum ds_call_kind kind)
{
    return kind != DS_CALL_STAT || r->e.status != 301;
}

/* `before` failures that are certain and pass, then the rule's ending, then a good answer. */
static void check_rule(const struct rule *r, enum ds_call_kind kind, unsigned before)
{
    struct ending e[8];
    struct life l;
    enum fate fate = kind == DS_CALL_APPEND ? r->append : r->other;
    for (unsigned i = 0; i < before; i++)
        e[i] = (struct ending){.end = DS_END_CONNECT};
    e[before] = r->e;
    e[before + 1] = good;
    /* Silence takes 10 s each. */
    enum dstream_code code = live(&l, kind, e, before + 2), want = r->code;
    bool last = before == ds_limits_default().retries;
    if (fate == UNKNOWN)
        want = DSTREAM_ERR_OUTCOME_UNKNOWN;
    else if (fate == AGAIN && !last)
        want = DSTREAM_OK;
    cr_expect_eq(code, want, "status %d end %d kind %d after %u: %s, %s", r->e.status, r->e.end,
                 kind, before, dstream_code_name(code), ds_call_error(l.call)->message);
    cr_expect_eq(l.requests, before + 1 + (want == DSTREAM_OK), "status %d end %d kind %d",
                 r->e.status, r->e.end, kind);
    if (want != DSTREAM_OK)
        cr_expect_eq(ds_call_error(l.call)->status, r->e.status);
    ds_call_free(l.call);
}

Test(call, each_ending_at_each_try_has_its_fate)
{
    for (size_t i = 0; i < COUNT(rules); i++) {
        for (size_t k = 0; k < COUNT(kinds); k++) {
            for (unsigned before = 0; fits(&rules[i], kinds[k]) && before <= 5; before++)
                check_rule(&rules[i], kinds[k], before);
        }
    }
}

/* Of any two endings, an append is requested a second time only where the first one is certain. */
Test(call, no_append_is_repeated_in_doubt)
{
    for (size_t i = 0; i < COUNT(rules); i++) {
        for (size_t k = 0; k < COUNT(rules); k++) {
            struct life l;
            struct ending e[] = {rules[i].e, rules[k].e};
            enum dstream_code code = live(&l, DS_CALL_APPEND, e, 2);
            if (rules[i].append != AGAIN)
                cr_expect_eq(l.requests, 1, "%zu %zu", i, k);
            else if (rules[k].append != AGAIN)
                cr_expect_eq(l.requests, 2, "%zu %zu", i, k);
            bool doubt = rules[i].append == UNKNOWN ||
                         (rules[i].append == AGAIN && rules[k].append == UNKNOWN);
            cr_expect_eq(code == DSTREAM_ERR_OUTCOME_UNKNOWN, doubt, "%zu %zu", i, k);
            cr_expect_eq(ds_call_result(l.call)->ambiguous, doubt, "%zu %zu", i, k);
            ds_call_free(l.call);
        }
    }
}

Test(call, retries_end_after_five)
{
    for (size_t i = 0; i < COUNT(rules); i++) {
        struct life l;
        if (rules[i].other != AGAIN || rules[i].e.silent)
            continue;
        cr_expect_eq(live(&l, DS_CALL_STAT, &rules[i].e, 1), rules[i].code, "%zu", i);
        cr_expect_eq(l.requests, 6, "%zu", i);
        cr_expect_eq(l.notices, 5, "%zu", i);
        cr_expect(strstr(ds_call_error(l.call)->message, "after 6 tries"), "%s",
                  ds_call_error(l.call)->message);
        ds_call_free(l.call);
    }
}

Test(call, retries_end_after_twenty_seconds)
{
    struct life l;
    struct ending silent = {.silent = true, .left = true};
    int64_t began = 1000000;
    cr_expect_eq(live(&l, DS_CALL_STAT, &silent, 1), DSTREAM_ERR_TIMEOUT);
    cr_expect_eq(l.requests, 2);
    cr_expect_leq(l.now - began, 20500);
    ds_call_free(l.call);
}

/* --- waiting ---------------------------------------------------------------------------------- */

Test(call, waits_grow_with_a_drawn_half)
{
    static const uint64_t draws[] = {0, 1, 49, 50, 12345678901234567u, UINT64_MAX};
    struct ds_limits limits = ds_limits_default();
    for (size_t d = 0; d < COUNT(draws); d++) {
        struct life l;
        struct ds_call_config c = config_of(DS_CALL_STAT);
        struct ending refused = {.end = DS_END_CONNECT};
        begin(&l, &c);
        l.random = draws[d];
        for (unsigned n = 0; n <= 5 && to_request(&l); n++) {
            int64_t want = 0;
            for (unsigned i = 0; i < n; i++)
                want += ds_backoff(&limits, i, draws[d]);
            cr_expect_eq(l.waited, want);
            cr_expect_eq(l.now, 1000000 + want);
            give(&l, &refused);
        }
        ds_call_free(l.call);
    }
}

Test(call, retry_after_is_a_floor)
{
    static const int status[] = {429, 503};
    for (size_t i = 0; i < COUNT(status); i++) {
        struct life l;
        struct ending e[] = {{.status = status[i], .retry_after = 3001}, good};
        cr_expect_eq(live(&l, DS_CALL_CLOSE, e, 2), DSTREAM_OK);
        cr_expect_eq(l.waited, 3000);
        ds_call_free(l.call);
        e[0].retry_after = 2; /* 1 ms: less than the back-off */
        cr_expect_eq(live(&l, DS_CALL_CLOSE, e, 2), DSTREAM_OK);
        cr_expect_eq(l.waited, 50);
        ds_call_free(l.call);
    }
}

Test(call, a_retry_after_beyond_what_is_left_fails_at_once_as_busy)
{
    static const int64_t after[] = {20001, 300000, INT64_C(31536000000)};
    static const int status[] = {429, 503};
    for (size_t i = 0; i < COUNT(after) * COUNT(status); i++) {
        struct life l;
        struct ending e = {.status = status[i % 2], .retry_after = after[i / 2] + 1};
        cr_expect_eq(live(&l, DS_CALL_STAT, &e, 1), DSTREAM_ERR_BUSY);
        cr_expect_eq(l.requests, 1);
        cr_expect_eq(l.now, 1000000);
        ds_call_free(l.call);
    }
}

Test(call, a_large_body_has_time_to_be_sent)
{
    struct life l;
    struct ds_call_config c = config_of(DS_CALL_APPEND);
    char *large = calloc(1, 1 << 20);
    c.body = large;
    c.body_len = 1 << 20;
    begin(&l, &c);
    cr_assert(to_request(&l));
    struct ds_call_step s = ds_call_step(l.call, l.now, 0);
    cr_expect_eq(s.until - l.now, 20000);
    l.now += 7000; /* what connecting took is not taken from it */
    ds_call_connected(l.call, l.now);
    s = ds_call_step(l.call, l.now, 0);
    cr_expect_eq(s.until - l.now, 10000 + (1 << 20) / 32);
    ds_call_free(l.call);
    free(large);
}

/* The head says all: an answer whose body never ends, or is cut, counts all the same. */
Test(call, a_body_cannot_hold_an_answer_back)
{
    struct life l;
    struct ending cut = {.status = 200, .next = "5_0", .end = DS_END_CUT, .left = true};
    struct ending slow = {.status = 200, .next = "5_0", .silent = true, .left = true};
    struct ending failing = {.status = 404, .body = "no", .silent = true, .left = true};
    cr_expect_eq(live(&l, DS_CALL_APPEND, &cut, 1), DSTREAM_OK);
    ds_call_free(l.call);
    cr_expect_eq(live(&l, DS_CALL_APPEND, &slow, 1), DSTREAM_OK);
    cr_expect_eq(l.now, 1010000);
    ds_call_free(l.call);
    cr_expect_eq(live(&l, DS_CALL_APPEND, &failing, 1), DSTREAM_ERR_NOT_FOUND);
    ds_call_free(l.call);
}

Test(call, an_endless_body_is_cut_off)
{
    struct life l;
    struct ds_call_config c = config_of(DS_CALL_APPEND);
    static char piece[4096];
    struct ending e = {.status = 401};
    memset(piece, 'x', sizeof piece);
    begin(&l, &c);
    cr_assert(to_request(&l));
    give_head(&l, &e);
    int pieces = 0;
    while (ds_call_step(l.call, l.now, 0).kind == DS_CALL_STEP_WAIT && pieces < 100) {
        ds_call_body(l.call, piece, sizeof piece);
        pieces++;
    }
    cr_expect_eq(pieces, 17);
    ds_call_aborted(l.call);
    cr_expect_not(to_request(&l));
    cr_expect_eq(ds_call_error(l.call)->code, DSTREAM_ERR_AUTH);
    cr_expect_lt(strlen(ds_call_error(l.call)->message), 300);
    ds_call_free(l.call);
}

/* --- redirects -------------------------------------------------------------------------------- */

Test(call, redirects_of_a_write)
{
    static const struct {
        int status;
        const char *from, *to;
        bool followed;
    } row[] = {
        {301, URL, "http://h/t", false},          {302, URL, "http://h/t", false},
        {303, URL, "http://h/t", false},          {307, URL, "http://h/t", true},
        {308, URL, "http://h/t", true},           {307, URL, "https://h/t", true},
        {307, URL, "http://other/t", false},      {307, "https://h/s", "http://h/t", false},
        {308, URL, "https://other/t", false},     {307, URL, "http://h:81/t", false},
        {307, URL, "javascript:alert(1)", false}, {307, URL, NULL, false},
    };
    static const enum ds_call_kind writes[] = {DS_CALL_CREATE, DS_CALL_APPEND, DS_CALL_CLOSE,
                                               DS_CALL_DELETE};
    for (size_t i = 0; i < COUNT(row) * COUNT(writes); i++) {
        struct life l;
        struct ds_call_config c = config_of(writes[i % 4]);
        struct ending e[] = {{.status = row[i / 4].status, .redirect = row[i / 4].to}, good};
        c.url = row[i / 4].from;
        begin(&l, &c);
        enum dstream_code code = play(&l, e, 2);
        cr_expect_eq(code, row[i / 4].followed ? DSTREAM_OK : DSTREAM_ERR_REDIRECT, "row %zu", i);
        if (row[i / 4].followed) {
            cr_expect_str_eq(l.url, row[i / 4].to);
            cr_expect(l.user_headers);
        }
        cr_expect_eq(l.requests, row[i / 4].followed ? 2 : 1);
        ds_call_free(l.call);
    }
}

Test(call, redirects_of_a_head_leave_the_headers_behind)
{
    struct life l;
    struct ending e[] = {{.status = 302, .redirect = "http://other/t"},
                         {.status = 302, .redirect = "http://h/elsewhere"},
                         {.end = DS_END_CONNECT},
                         good};
    struct ds_call_config c = config_of(DS_CALL_STAT);
    begin(&l, &c);
    cr_assert(to_request(&l));
    cr_expect(l.user_headers);
    give(&l, &e[0]);
    cr_assert(to_request(&l));
    cr_expect_str_eq(l.url, "http://other/t");
    cr_expect_not(l.user_headers);
    give(&l, &e[1]);
    cr_assert(to_request(&l));
    cr_expect_str_eq(l.url, "http://h/elsewhere");
    cr_expect_not(l.user_headers, "they were asked for by another host");
    give(&l, &e[2]);
    cr_assert(to_request(&l));
    cr_expect_str_eq(l.url, URL, "a retry begins anew");
    cr_expect(l.user_headers);
    give(&l, &e[3]);
    cr_expect_not(to_request(&l));
    cr_expect_eq(ds_call_error(l.call)->code, DSTREAM_OK);
    ds_call_free(l.call);
}

Test(call, redirects_in_a_circle_end)
{
    struct life l;
    struct ending e = {.status = 307, .redirect = URL};
    for (size_t k = 0; k < COUNT(kinds); k++) {
        cr_expect_eq(live(&l, kinds[k], &e, 1), DSTREAM_ERR_REDIRECT);
        cr_expect_eq(l.requests, 6);
        ds_call_free(l.call);
    }
}

/* --- what answers say ------------------------------------------------------------------------- */

Test(call, a_409_is_told_apart_in_order)
{
    static const struct ending e[] = {
        {.status = 409,
         .next = "9_9",
         .field = {"stream-closed", "TRUE", "producer-expected-seq", "3"}},
        {.status = 409, .field = {"stream-closed", "true"}},
        {.status = 409, .field = {"producer-expected-seq", "3"}},
        {.status = 409},
        {.status = 409, .field = {"stream-closed", "yes"}},
    };
    static const enum dstream_code append[] = {DSTREAM_ERR_CLOSED, DSTREAM_ERR_CLOSED,
                                               DSTREAM_ERR_CONFLICT, DSTREAM_ERR_CONFLICT,
                                               DSTREAM_ERR_CONFLICT};
    struct life l;
    for (size_t i = 0; i < COUNT(e); i++) {
        cr_expect_eq(live(&l, DS_CALL_APPEND, &e[i], 1), append[i], "%zu", i);
        ds_call_free(l.call);
        cr_expect_eq(live(&l, DS_CALL_CREATE, &e[i], 1), DSTREAM_ERR_CONFLICT, "%zu", i);
        ds_call_free(l.call);
    }
    live(&l, DS_CALL_APPEND, &e[0], 1);
    cr_expect_str_eq(ds_call_error(l.call)->offset, "9_9");
    cr_expect_str_eq(ds_call_result(l.call)->next, "9_9");
    cr_expect(strstr(ds_call_error(l.call)->message, "9_9"));
    ds_call_free(l.call);
    live(&l, DS_CALL_APPEND, &e[2], 1);
    cr_expect(strstr(ds_call_error(l.call)->message, "sequence number"));
    ds_call_free(l.call);
    /* A close asks for no more than a closed stream. */
    cr_expect_eq(live(&l, DS_CALL_CLOSE, &e[0], 1), DSTREAM_OK);
    cr_expect_str_eq(ds_call_result(l.call)->next, "9_9");
    ds_call_free(l.call);
}

Test(call, a_404_after_a_lost_delete_is_its_success)
{
    static const struct ending lost[] = {{.end = DS_END_CUT, .left = true},
                                         {.status = 503},
                                         {.status = 408},
                                         {.silent = true, .left = true}};
    static const struct ending certain[] = {{.end = DS_END_CONNECT}, {.status = 429}};
    static const struct ending gone[] = {{.status = 404}, {.status = 410}};
    struct life l;
    for (size_t i = 0; i < COUNT(lost) * 2; i++) {
        struct ending e[] = {lost[i / 2], gone[i % 2]};
        cr_expect_eq(live(&l, DS_CALL_DELETE, e, 2), DSTREAM_OK, "%zu", i);
        cr_expect(ds_call_result(l.call)->ambiguous);
        ds_call_free(l.call);
        /* Only a delete is done by that. */
        cr_expect_neq(live(&l, DS_CALL_CLOSE, e, 2), DSTREAM_OK, "%zu", i);
        cr_expect(strstr(ds_call_error(l.call)->message, "may have been carried out"));
        ds_call_free(l.call);
    }
    for (size_t i = 0; i < COUNT(certain); i++) {
        struct ending e[] = {certain[i], gone[0]};
        cr_expect_eq(live(&l, DS_CALL_DELETE, e, 2), DSTREAM_ERR_NOT_FOUND, "%zu", i);
        cr_expect_not(ds_call_result(l.call)->ambiguous);
        ds_call_free(l.call);
    }
}

Test(call, a_create_says_what_it_knows)
{
    struct life l;
    struct ending e[] = {{.end = DS_END_CUT, .left = true},
                         {.status = 200, .next = "0_0", .field = {"content-type", "a/b"}}};
    cr_expect_eq(live(&l, DS_CALL_CREATE, e, 2), DSTREAM_OK);
    cr_expect_eq(ds_call_result(l.call)->status, 200);
    cr_expect(ds_call_result(l.call)->ambiguous);
    cr_expect_str_eq(ds_call_result(l.call)->content_type, "a/b");
    ds_call_free(l.call);
    cr_expect_eq(live(&l, DS_CALL_CREATE, e + 1, 1), DSTREAM_OK);
    cr_expect_not(ds_call_result(l.call)->ambiguous);
    ds_call_free(l.call);
}

Test(call, a_stat_takes_what_is_told)
{
    struct life l;
    struct ds_call_config c = config_of(DS_CALL_STAT);
    begin(&l, &c);
    cr_assert(to_request(&l));
    struct ds_head h = {.status = 200, .retry_after_ms = -1};
    static const char *const fields[] = {"Stream-Next-Offset",
                                         " 7_7 ",
                                         "Content-Type",
                                         "application/json; charset=utf-8",
                                         "Stream-TTL",
                                         "60",
                                         "Stream-Expires-At",
                                         "2030-01-02T03:04:05Z",
                                         "Stream-Closed",
                                         "True",
                                         "ETag",
                                         "W/\"7\""};
    ds_buf_init(&h.fields, 4096);
    for (size_t i = 0; i < COUNT(fields); i += 2)
        ds_head_add(&h, fields[i], strlen(fields[i]), fields[i + 1], strlen(fields[i + 1]));
    ds_call_head(l.call, &h, l.now);
    ds_head_free(&h);
    ds_call_end(l.call, &(struct ds_result){.end = DS_END_COMPLETE, .connected = true});
    cr_expect_not(to_request(&l));
    const struct ds_call_result *r = ds_call_result(l.call);
    cr_expect_eq(ds_call_error(l.call)->code, DSTREAM_OK);
    cr_expect_str_eq(r->next, "7_7");
    cr_expect_str_eq(r->content_type, "application/json; charset=utf-8");
    cr_expect_str_eq(r->ttl, "60");
    cr_expect_str_eq(r->expires, "2030-01-02T03:04:05Z");
    cr_expect_str_eq(r->etag, "W/\"7\"");
    cr_expect(r->closed);
    ds_call_free(l.call);
}

/* A success without a usable position is none. */
Test(call, next_offsets_are_checked)
{
    static char over[DS_TOKEN_MAX + 2];
    static const char *const bad[] = {NULL, "", "-1", "now", "a b", "a\tb", "\x7f", over};
    struct life l;
    memset(over, 'x', sizeof over - 1);
    for (size_t i = 0; i < COUNT(bad); i++) {
        struct ending e = {.status = 204, .next = bad[i], .left = true};
        enum dstream_code code = live(&l, DS_CALL_STAT, &e, 1);
        cr_expect_eq(code, bad[i] == over ? DSTREAM_ERR_LIMIT : DSTREAM_ERR_PROTOCOL, "%zu", i);
        ds_call_free(l.call);
        cr_expect_eq(live(&l, DS_CALL_APPEND, &e, 1), DSTREAM_ERR_OUTCOME_UNKNOWN, "%zu", i);
        cr_expect_eq(l.requests, 1);
        ds_call_free(l.call);
    }
}

/* --- giving up -------------------------------------------------------------------------------- */

Test(call, cancelling_says_whether_it_may_be_stored)
{
    struct life l;
    for (size_t k = 0; k < COUNT(kinds); k++) {
        struct ds_call_config c = config_of(kinds[k]);
        begin(&l, &c);
        ds_call_cancel(l.call); /* before any request */
        cr_expect_eq(ds_call_error(l.call)->code, DSTREAM_ERR_CANCELLED);
        cr_expect_not(ds_call_result(l.call)->ambiguous);
        cr_expect_not(to_request(&l));
        ds_call_free(l.call);

        for (int left = 0; left < 2; left++) {
            begin(&l, &c);
            cr_assert(to_request(&l));
            if (left)
                ds_call_connected(l.call, l.now);
            ds_call_cancel(l.call);
            bool unknown = left && kinds[k] == DS_CALL_APPEND;
            cr_expect_eq(ds_call_error(l.call)->code,
                         unknown ? DSTREAM_ERR_OUTCOME_UNKNOWN : DSTREAM_ERR_CANCELLED);
            cr_expect_eq(ds_call_result(l.call)->ambiguous, left != 0);
            cr_expect_not(to_request(&l));
            ds_call_free(l.call);
        }

        begin(&l, &c); /* with a head that says it all */
        cr_assert(to_request(&l));
        give_head(&l, &good);
        ds_call_cancel(l.call);
        cr_expect_eq(ds_call_error(l.call)->code, DSTREAM_OK);
        ds_call_cancel(l.call);
        cr_expect_eq(ds_call_error(l.call)->code, DSTREAM_OK);
        ds_call_free(l.call);

        begin(&l, &c); /* between two tries */
        cr_assert(to_request(&l));
        give(&l, &(struct ending){.status = 429});
        cr_expect_eq(ds_call_step(l.call, l.now, 0).kind, DS_CALL_STEP_NOTICE);
        ds_call_cancel(l.call);
        cr_expect_eq(ds_call_error(l.call)->code, DSTREAM_ERR_CANCELLED);
        cr_expect_not(ds_call_result(l.call)->ambiguous);
        ds_call_free(l.call);
    }
}

/* --- against a model -------------------------------------------------------------------------- */

static uint64_t draw(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* A server that carries requests out, or does not, and whose answers are lost, or replaced by those
 * of a proxy. */
struct model {
    bool exists, closed;
    unsigned stored, created; /* times */
};

static int carry_out(struct model *m, enum ds_call_kind kind)
{
    if (kind == DS_CALL_CREATE) {
        int status = m->exists ? 200 : 201;
        m->created += !m->exists;
        m->exists = true;
        return status;
    }
    if (!m->exists)
        return 404;
    if (kind == DS_CALL_DELETE)
        m->exists = false;
    if (kind == DS_CALL_CLOSE)
        m->closed = true;
    m->stored += kind == DS_CALL_APPEND;
    return kind == DS_CALL_STAT ? 200 : 204;
}

/* What the caller gets to see of one request. */
static struct ending serve(struct model *m, enum ds_call_kind kind, uint64_t *state)
{
    static const int refusals[] = {400, 401, 403, 405, 413, 415, 429, 501};
    static const int failures[] = {408, 500, 502, 503, 504};
    struct ending e = {.left = true};
    uint64_t fate = draw(state) % 8;
    if (fate == 0)
        return (struct ending){.end = draw(state) % 2 ? DS_END_CONNECT : DS_END_RESOLVE};
    if (fate == 1)
        return (struct ending){.status = refusals[draw(state) % COUNT(refusals)], .left = true};
    if (fate == 2 || draw(state) % 2) /* it gets there */
        e.status = carry_out(m, kind);
    if (e.status >= 200 && e.status < 300)
        e.next = "5_0";
    if (e.status == 0 || fate >= 6) { /* and its answer does not */
        e.status = draw(state) % 2 ? failures[draw(state) % COUNT(failures)] : 0;
        e.next = NULL;
        e.end = DS_END_CUT;
        e.silent = e.status == 0 && draw(state) % 4 == 0;
    }
    return e;
}

static void check_truth(const struct model *m, enum ds_call_kind kind, const struct life *l,
                        bool existed, uint64_t seed)
{
    enum dstream_code code = ds_call_error(l->call)->code;
    const struct ds_call_result *r = ds_call_result(l->call);
    bool ok = code == DSTREAM_OK, doubt = code == DSTREAM_ERR_OUTCOME_UNKNOWN;
    unsigned long long s = seed;
    cr_assert_leq(m->stored, 1, "seed %llu: stored twice", s);
    if (kind == DS_CALL_APPEND)
        cr_assert(doubt || m->stored == ok, "seed %llu: %s, stored %u", s, dstream_code_name(code),
                  m->stored);
    else
        cr_assert_not(doubt);
    if (kind == DS_CALL_CREATE && ok)
        cr_assert(m->exists && (r->ambiguous || (r->status == 201) == !existed), "seed %llu", s);
    if (kind == DS_CALL_CREATE && !ok)
        cr_assert(r->ambiguous || m->created == 0, "seed %llu", s);
    if (kind == DS_CALL_DELETE)
        cr_assert(ok ? !m->exists : r->ambiguous || m->exists == existed, "seed %llu", s);
    if (kind == DS_CALL_CLOSE)
        cr_assert(ok ? m->closed : r->ambiguous || !m->closed, "seed %llu", s);
}

Test(call, tells_the_truth_whatever_happens)
{
    unsigned good_ends[COUNT(kinds)] = {0}, doubts = 0;
    for (uint64_t seed = 1; seed <= 100000; seed++) {
        uint64_t state = seed * UINT64_C(0x9E3779B97F4A7C15);
        size_t k = draw(&state) % COUNT(kinds);
        struct model m = {.exists = draw(&state) % 2};
        bool existed = m.exists;
        struct life l;
        struct ds_call_config c = config_of(kinds[k]);
        begin(&l, &c);
        for (l.random = draw(&state); to_request(&l); l.random = draw(&state)) {
            struct ending e = serve(&m, kinds[k], &state);
            give(&l, &e);
        }
        check_truth(&m, kinds[k], &l, existed, seed);
        enum dstream_code code = ds_call_error(l.call)->code;
        good_ends[k] += code == DSTREAM_OK;
        doubts += code == DSTREAM_ERR_OUTCOME_UNKNOWN;
        ds_call_free(l.call);
    }
    for (size_t k = 0; k < COUNT(kinds); k++)
        cr_expect_gt(good_ends[k], 1000);
    cr_expect_gt(doubts, 1000);
}

/* --- memory ----------------------------------------------------------------------------------- */

/* What is allocated from here on fails after so many; false where the call ended for it. */
static bool asks_after(struct life *l, long allocations)
{
    ds_alloc_fail_after(allocations);
    bool asked = to_request(l);
    ds_alloc_fail_after(-1);
    if (!asked)
        cr_assert_eq(ds_call_error(l->call)->code, DSTREAM_ERR_NOMEM, "%s",
                     ds_call_error(l->call)->message);
    return asked;
}

Test(call, each_allocation_may_fail)
{
    static const struct ending there = {
        .status = 307, .left = true, .redirect = "http://h/elsewhere"};
    for (size_t k = 0; k < COUNT(kinds); k++) {
        struct ds_call_config c = config_of(kinds[k]);
        struct life l = {.now = 1000000};
        struct dstream_error err = {0};
        unsigned failed = 0;
        for (long n = 0; n < 40; n++) {
            ds_alloc_fail_after(n);
            enum dstream_code rc = ds_call_new(&l.call, &c, &err);
            ds_alloc_fail_after(-1);
            cr_assert(rc == DSTREAM_OK || (rc == DSTREAM_ERR_NOMEM && !l.call));
            failed += rc != DSTREAM_OK;
            ds_call_free(l.call);
            begin(&l, &c);
            bool goes_on = asks_after(&l, n);
            if (goes_on) {
                give(&l, &there);
                goes_on = asks_after(&l, n);
            }
            if (goes_on)
                give(&l, &good);
            failed += !goes_on;
            ds_call_free(l.call);
            l.call = NULL;
        }
        cr_assert_gt(failed, 0);
        cr_assert_lt(failed, 60);
    }
}

/* --- with an identity ------------------------------------------------------------------------- */

/* Whether it is sent again after that, by a server that is proven to have producers or not, and how
 * it ends where the next try meets with `then`. */
Test(call, an_append_with_an_identity_is_sent_again)
{
    static const struct ending stored = {
        .status = 200, .left = true, .next = "5_0", .field = {"Producer-Seq", "0"}};
    static const struct ending before = {
        .status = 204, .left = true, .field = {"Producer-Seq", "0"}};
    static const struct ending bad = {.status = 400, .left = true};
    static const struct ending closed = {
        .status = 409, .left = true, .next = "5_0", .field = {"Stream-Closed", "true"}};
    static const struct ending gap = {
        .status = 409, .left = true, .field = {"Producer-Expected-Seq", "0"}};
    const enum dstream_code ok = DSTREAM_OK, unknown = DSTREAM_ERR_OUTCOME_UNKNOWN;
    const struct {
        struct ending first;
        const struct ending *then;
        enum dstream_code proven, not_proven;
        bool ambiguous; /* where it is proven */
    } row[] = {
        {{.status = 500, .left = true}, &stored, ok, ok, false},
        {{.status = 500, .left = true}, &before, ok, ok, false},
        {{.status = 500, .left = true}, &good, ok, ok, true},
        {{.status = 500, .left = true}, &bad, unknown, unknown, true},
        {{.status = 500, .left = true}, &closed, unknown, unknown, true},
        {{.status = 500, .left = true}, &gap, unknown, unknown, true},
        {{.status = 408, .left = true}, &stored, ok, ok, false},
        {{.status = 429, .left = true}, &stored, ok, ok, false},
        {{.status = 429, .left = true},
         &bad,
         DSTREAM_ERR_BAD_REQUEST,
         DSTREAM_ERR_BAD_REQUEST,
         false},
        {{.end = DS_END_CUT, .left = true}, &stored, ok, unknown, false},
        {{.end = DS_END_CUT, .left = true}, &before, ok, unknown, false},
        {{.end = DS_END_CUT, .left = true}, &bad, unknown, unknown, true},
        {{.left = true, .silent = true}, &stored, ok, unknown, false},
        {{.end = DS_END_CONNECT}, &stored, ok, ok, false},
        {{.end = DS_END_CONNECT}, &closed, DSTREAM_ERR_CLOSED, DSTREAM_ERR_CLOSED, false},
        {{.status = 501, .left = true},
         &stored,
         DSTREAM_ERR_BAD_REQUEST,
         DSTREAM_ERR_BAD_REQUEST,
         false},
    };
    for (size_t i = 0; i < COUNT(row); i++) {
        for (int proven = 0; proven < 2; proven++) {
            struct ds_call_config c = config_of(DS_CALL_APPEND);
            const struct ending e[] = {row[i].first, *row[i].then};
            struct life l;
            c.producer_id = "id";
            c.proven = proven;
            begin(&l, &c);
            enum dstream_code want = proven ? row[i].proven : row[i].not_proven;
            cr_expect_eq(play(&l, e, 2), want, "row %zu, %d: %s", i, proven,
                         ds_call_error(l.call)->message);
            if (proven)
                cr_expect_eq(ds_call_result(l.call)->ambiguous, row[i].ambiguous, "row %zu", i);
            ds_call_free(l.call);
        }
    }
}

Test(call, an_append_that_fails_for_good_after_a_doubt_is_in_doubt)
{
    static const struct ending e[] = {{.status = 503, .left = true}, {.end = DS_END_CONNECT}};
    struct ds_call_config c = config_of(DS_CALL_APPEND);
    struct life l;
    c.producer_id = "id";
    begin(&l, &c);
    cr_expect_eq(play(&l, e, 2), DSTREAM_ERR_OUTCOME_UNKNOWN);
    cr_expect_eq(l.requests, 1 + c.limits.retries);
    ds_call_free(l.call);
}

/* --- credentials ------------------------------------------------------------------------------ */

Test(call, asks_for_other_credentials_once)
{
    static const struct {
        struct ending first, then;
        bool hook;
        unsigned auths;
        enum dstream_code code;
    } row[] = {
        {{.status = 401, .left = true}, {.status = 200, .left = true, .next = "5_0"}, true, 1, 0},
        {{.status = 403, .left = true}, {.status = 200, .left = true, .next = "5_0"}, true, 1, 0},
        {{.status = 401, .left = true}, {.status = 401, .left = true}, true, 1, DSTREAM_ERR_AUTH},
        {{.status = 401, .left = true}, {.status = 401, .left = true}, false, 0, DSTREAM_ERR_AUTH},
        {{.status = 407, .left = true}, {.status = 401, .left = true}, true, 0, DSTREAM_ERR_AUTH},
        {{.status = 403, .left = true, .field = {"Producer-Epoch", "5"}},
         {.status = 200, .left = true},
         true,
         0,
         DSTREAM_ERR_AUTH},
    };
    for (size_t i = 0; i < COUNT(row); i++) {
        struct ds_call_config c = config_of(DS_CALL_APPEND);
        const struct ending e[] = {row[i].first, row[i].then};
        struct life l;
        c.auth_hook = row[i].hook;
        begin(&l, &c);
        cr_expect_eq(play(&l, e, 2), row[i].code, "row %zu: %s", i, ds_call_error(l.call)->message);
        cr_expect_eq(l.auths, row[i].auths, "row %zu", i);
        cr_expect_eq(l.requests, 1 + row[i].auths, "row %zu", i);
        cr_expect_eq(l.waited, 0);
        ds_call_free(l.call);
    }
}

/* --- reasons ---------------------------------------------------------------------------------- */

static const char *line_of(struct ds_reason *r, const char *body, size_t n, const char *type)
{
    memset(r, 0, sizeof *r);
    ds_reason_add(r, body, n);
    return ds_reason_line(r, type);
}

Test(reason, is_one_clean_line)
{
    static const struct {
        const char *body, *type, *line;
    } row[] = {
        {"Stream not found", "text/plain", "Stream not found"},
        {"  a\r\n\tb  \n", NULL, "a b"},
        {"\x1b[2Jred\x07", NULL, "[2Jred"},
        {"caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80", NULL,
         "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80"},
        {"\xff\xfeok\xc3", NULL, "ok"},
        {"a\xc2\x9b"
         "b\xe2\x80\xae"
         "c\xe2\x80\xa8"
         "d\xe2\x81\xa6"
         "e",
         NULL, "abcde"},
        {"<html><body>x", NULL, ""},
        {" \n<!DOCTYPE", "text/plain", ""},
        {"words", "text/HTML; charset=x", ""},
        {"{\"error\":\"bad\"}", "application/json", "{\"error\":\"bad\"}"},
        {"", NULL, ""},
        {" \n ", NULL, ""},
    };
    struct ds_reason r;
    for (size_t i = 0; i < COUNT(row); i++)
        cr_expect_str_eq(line_of(&r, row[i].body, strlen(row[i].body), row[i].type), row[i].line,
                         "row %zu: %s", i, r.line);
}

Test(reason, is_bounded_and_does_not_depend_on_cuts)
{
    char body[1000];
    struct ds_reason r, pieces = {0};
    for (size_t i = 0; i < sizeof body; i++)
        body[i] = "\xc3\xa9"[i % 2];
    const char *line = line_of(&r, body, sizeof body, NULL);
    cr_expect_leq(strlen(line), DS_REASON_MAX);
    cr_expect_str_eq(line + strlen(line) - 5, "\xc3\xa9...");
    for (size_t i = 0; i < sizeof body; i++)
        ds_reason_add(&pieces, body + i, 1);
    cr_expect_str_eq(ds_reason_line(&pieces, NULL), line);
}
