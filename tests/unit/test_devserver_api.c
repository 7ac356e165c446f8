/* SPDX-License-Identifier: Apache-2.0 */
/* Requests and what is answered to them, as tables; several lines of one table are one life. */
#include <criterion/criterion.h>

#include "devserver/api.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/alloc.h"
#include "tests/unit/storing.h"

#define PAGE 8

static struct ds_api new_api(void)
{
    return (struct ds_api){
        .store = ds_store_new(1000000, changed, NULL), .page = PAGE, .random = 1, .boot = 0xb007};
}

/* Looks into "Name: value\n..." lines. */
static const char *lookup(void *ctx, const char *name)
{
    static char value[8][128];
    static size_t turn;
    const char *p = ctx;
    size_t n = strlen(name);
    while (p && *p) {
        const char *end = strchr(p, '\n') ? strchr(p, '\n') : p + strlen(p);
        if (strncasecmp(p, name, n) == 0 && p[n] == ':') {
            char *to = value[turn++ % COUNT(value)];
            snprintf(to, sizeof value[0], "%.*s", (int)(end - p - (long)n - 2), p + n + 2);
            return to;
        }
        p = *end ? end + 1 : end;
    }
    return NULL;
}

struct step {
    const char *method, *target, *headers, *body;
    int status;
    const char *has[6]; /* names of fields and their values, in pairs */
    const char *text;   /* the body of the answer; NULL: whatever */
};

/* What the body of a reply is. */
static void body_of(const struct ds_reply *r, char *out, size_t size)
{
    if (r->kind != DS_REPLY_PAGE) {
        snprintf(out, size, "%s", r->text ? r->text : "");
        return;
    }
    size_t n = r->end - r->start;
    const char *p = n > 0 ? r->stream->data.bytes.data + r->start : "";
    if (r->stream->json)
        snprintf(out, size, "[%.*s]", n > 0 ? (int)n - 1 : 0, p);
    else
        snprintf(out, size, "%.*s", (int)n, p);
}

static void check_fields(const struct step *s, const struct ds_reply *r, size_t line)
{
    for (size_t i = 0; i + 1 < COUNT(s->has) && s->has[i]; i += 2) {
        const char *got = field(r, s->has[i]), *want = s->has[i + 1];
        cr_expect(want ? got && strcmp(got, want) == 0 : !got, "line %zu: %s: %s", line, s->has[i],
                  got ? got : "missing");
    }
    cr_expect_str_eq(field(r, "X-Content-Type-Options"), "nosniff");
    cr_expect_str_eq(field(r, "Access-Control-Allow-Origin"), "*");
}

/* Answers, and leaves the reply to the caller. */
static void ask(struct ds_api *api, const struct step *s, int64_t now, struct ds_target *t,
                struct ds_call *call, struct ds_reply *r)
{
    cr_assert_eq(ds_target_parse(t, s->target), DSTREAM_OK);
    *call = (struct ds_call){.method = s->method,
                             .target = t,
                             .header = lookup,
                             .ctx = (void *)(uintptr_t)s->headers,
                             .base = "http://h",
                             .body = s->body,
                             .body_len = s->body ? strlen(s->body) : 0,
                             .now = now};
    ds_api_answer(api, call, r);
}

static void check_step(const struct step *s, const struct ds_reply *r, size_t line)
{
    char text[256];
    cr_expect_eq(r->status, s->status, "line %zu: %s %s: %d", line, s->method, s->target,
                 r->status);
    check_fields(s, r, line);
    body_of(r, text, sizeof text);
    if (s->text)
        cr_expect_str_eq(text, s->text, "line %zu: %s", line, text);
}

static void run(const struct step *steps, size_t n)
{
    struct ds_api api = new_api();
    for (size_t i = 0; i < n; i++) {
        struct ds_target t;
        struct ds_call call;
        struct ds_reply r;
        ask(&api, &steps[i], NOW, &t, &call, &r);
        check_step(&steps[i], &r, i + 1);
        ds_reply_free(&r);
        ds_target_free(&t);
    }
    ds_store_free(api.store);
}

#define AT(n)   "0000000000000000_00000000000000" n
#define NEXT(n) "Stream-Next-Offset", AT(n)
#define UP      "Stream-Up-To-Date", "true"
#define CLOSED  "Stream-Closed", "true"
#define JSON    "Content-Type: application/json"
#define TEXT    "Content-Type: text/plain"

Test(devserver_api, the_life_of_a_json_stream)
{
    static const struct step steps[] = {
        {"GET", "/s", NULL, NULL, 404, {"Content-Type", "text/plain"}, "Stream not found"},
        {"HEAD", "/s", NULL, NULL, 404, {NULL}, NULL},
        {"DELETE", "/s", NULL, NULL, 404, {NULL}, NULL},
        {"POST", "/s", JSON, "1", 404, {NULL}, NULL},
        {"POST", "/s", "Stream-Closed: true", "", 404, {NULL}, NULL},
        {"PUT",
         "/s",
         JSON,
         NULL,
         201,
         {NEXT("00"), "Location", "http://h/s", "Content-Type", "application/json"},
         ""},
        {"PUT", "/s", JSON, NULL, 200, {NEXT("00"), "Location", NULL}, ""},
        {"PUT", "/s", TEXT, NULL, 409, {NULL}, NULL},
        {"GET", "/s", NULL, NULL, 200, {NEXT("00"), UP, "Stream-Closed", NULL}, "[]"},
        {"POST", "/s", JSON, "[1,[2]]", 204, {NEXT("06"), "Stream-Closed", NULL}, ""},
        {"POST", "/s", JSON, "[]", 400, {NULL}, NULL},
        {"POST", "/s", JSON, "{", 400, {NULL}, NULL},
        {"POST", "/s", JSON, "", 400, {NULL}, NULL},
        {"POST", "/s", NULL, "1", 400, {NULL}, NULL},
        {"POST", "/s", TEXT, "1", 409, {"Stream-Closed", NULL}, NULL},
        {"POST", "/s", JSON, "1234567890", 204, {NEXT("17")}, ""},
        {"GET", "/s", NULL, NULL, 200, {NEXT("06"), "Stream-Up-To-Date", NULL}, "[1,[2]]"},
        {"GET", "/s?offset=-1", NULL, NULL, 200, {NEXT("06")}, "[1,[2]]"},
        {"GET", "/s?offset=" AT("06"), NULL, NULL, 200, {NEXT("17"), UP}, "[1234567890]"},
        {"GET", "/s?offset=" AT("17"), NULL, NULL, 200, {NEXT("17"), UP}, "[]"},
        {"GET", "/s?offset=" AT("99"), NULL, NULL, 200, {NEXT("17"), UP}, "[]"},
        {"GET",
         "/s?offset=now",
         NULL,
         NULL,
         200,
         {NEXT("17"), UP, "Cache-Control", "no-store"},
         "[]"},
        {"HEAD",
         "/s",
         NULL,
         NULL,
         200,
         {NEXT("17"), "Cache-Control", "no-store", "Stream-Closed", NULL},
         NULL},
        {"POST", "/s", JSON "\nStream-Closed: TRUE", "[9]", 204, {NEXT("19"), CLOSED}, ""},
        {"POST", "/s", JSON, "1", 409, {NEXT("19"), CLOSED}, NULL},
        {"POST", "/s", JSON "\nStream-Closed: true", "1", 409, {NEXT("19"), CLOSED}, NULL},
        {"POST", "/s", "Stream-Closed: true", "", 204, {NEXT("19"), CLOSED}, ""},
        {"GET", "/s", NULL, NULL, 200, {NEXT("06"), "Stream-Closed", NULL}, "[1,[2]]"},
        {"GET", "/s?offset=" AT("17"), NULL, NULL, 200, {NEXT("19"), UP, CLOSED}, "[9]"},
        {"GET", "/s?offset=now", NULL, NULL, 200, {NEXT("19"), UP, CLOSED}, "[]"},
        {"GET", "/s?offset=now&live=long-poll", NULL, NULL, 204, {NEXT("19"), UP, CLOSED}, ""},
        {"PUT", "/s", JSON, NULL, 409, {NULL}, NULL},
        {"PUT", "/s", JSON "\nStream-Closed: true", NULL, 200, {NEXT("19"), CLOSED}, ""},
        {"HEAD", "/s", NULL, NULL, 200, {NEXT("19"), CLOSED}, NULL},
        {"DELETE", "/s", NULL, NULL, 204, {NULL}, ""},
        {"GET", "/s", NULL, NULL, 404, {NULL}, NULL},
    };
    run(steps, COUNT(steps));
}

Test(devserver_api, bytes_and_types)
{
    static const struct step steps[] = {
        {"PUT",
         "/b",
         NULL,
         "0123456789",
         201,
         {NEXT("10"), "Content-Type", "application/octet-stream"},
         ""},
        {"GET", "/b", NULL, NULL, 200, {NEXT("08"), "Stream-Up-To-Date", NULL}, "01234567"},
        {"GET", "/b?offset=" AT("03"), NULL, NULL, 200, {NEXT("10"), UP}, "3456789"},
        {"GET", "/b?offset=" AT("10"), NULL, NULL, 200, {NEXT("10"), UP}, ""},
        {"PUT",
         "/odd",
         "Content-Type: nonsense",
         NULL,
         201,
         {"Content-Type", "application/octet-stream"},
         ""},
        {"PUT",
         "/t",
         "Content-Type: text/x; charset=utf-8",
         NULL,
         201,
         {"Content-Type", "text/x; charset=utf-8"},
         ""},
        {"POST", "/t", "Content-Type: TEXT/X", "a", 204, {NEXT("01")}, ""},
        {"GET", "/t", NULL, NULL, 200, {"Content-Type", "text/x; charset=utf-8"}, "a"},
        {"GET", "/%74", NULL, NULL, 200, {NULL}, "a"},
        {"GET", "/T", NULL, NULL, 404, {NULL}, NULL},
        {"PUT", "/j", "Content-Type: application/json;v=1", "[ ]", 201, {NEXT("00")}, ""},
        {"PUT", "/bad", JSON, "[", 400, {NULL}, NULL},
        {"GET", "/bad", NULL, NULL, 404, {NULL}, NULL},
        {"PUT", "/closed", TEXT "\nStream-Closed: true", "end", 201, {NEXT("03"), CLOSED}, ""},
        {"POST", "/closed", TEXT, "x", 409, {NEXT("03"), CLOSED}, NULL},
        {"GET", "/closed", NULL, NULL, 200, {NEXT("03"), UP, CLOSED}, "end"},
    };
    run(steps, COUNT(steps));
}

Test(devserver_api, requests_that_are_refused)
{
    static const struct step steps[] = {
        {"PUT", "/s", TEXT, "abc", 201, {NULL}, NULL},
        {"GET", "/s?offset=", NULL, NULL, 400, {NULL}, NULL},
        {"GET", "/s?offset=5", NULL, NULL, 400, {NULL}, NULL},
        {"GET", "/s?offset=-2", NULL, NULL, 400, {NULL}, NULL},
        {"GET", "/s?offset=NOW", NULL, NULL, 400, {NULL}, NULL},
        {"GET", "/s?offset=" AT("00") "," AT("00"), NULL, NULL, 400, {NULL}, NULL},
        {"GET", "/s?offset=-1&offset=-1", NULL, NULL, 400, {NULL}, NULL},
        {"GET", "/s?live=sse", NULL, NULL, 400, {NULL}, NULL},
        {"GET", "/s?live=long-poll", NULL, NULL, 400, {NULL}, NULL},
        {"GET", "/none?offset=", NULL, NULL, 404, {NULL}, NULL},
        {"PUT",
         "/x",
         "Stream-TTL: 5\nStream-Expires-At: 2030-01-01T00:00:00Z",
         NULL,
         400,
         {NULL},
         NULL},
        {"PUT", "/x", "Stream-TTL: ", NULL, 400, {NULL}, NULL},
        {"PUT", "/x", "Stream-TTL: 05", NULL, 400, {NULL}, NULL},
        {"PUT", "/x", "Stream-TTL: +5", NULL, 400, {NULL}, NULL},
        {"PUT", "/x", "Stream-TTL: -5", NULL, 400, {NULL}, NULL},
        {"PUT", "/x", "Stream-TTL: 5.0", NULL, 400, {NULL}, NULL},
        {"PUT", "/x", "Stream-TTL: 1e3", NULL, 400, {NULL}, NULL},
        {"PUT", "/x", "Stream-TTL: 99999999999999999999", NULL, 400, {NULL}, NULL},
        {"PUT", "/x", "Stream-Expires-At: tomorrow", NULL, 400, {NULL}, NULL},
        {"GET", "/x", NULL, NULL, 404, {NULL}, NULL},
        {"GET", "/s", NULL, NULL, 200, {NEXT("03")}, "abc"},
        {"PATCH", "/s", NULL, NULL, 405, {"Allow", "GET, POST, PUT, DELETE, HEAD, OPTIONS"}, NULL},
        {"get", "/s", NULL, NULL, 405, {NULL}, NULL},
        {"OPTIONS", "/anything", NULL, NULL, 204, {NULL}, ""},
    };
    run(steps, COUNT(steps));
}

Test(devserver_api, lifetimes)
{
    static const struct step steps[] = {
        {"PUT", "/ttl", "Stream-TTL: 60", NULL, 201, {NULL}, NULL},
        {"PUT", "/ttl", "Stream-TTL: 60", NULL, 200, {NULL}, NULL},
        {"PUT", "/ttl", "Stream-TTL: 61", NULL, 409, {NULL}, NULL},
        {"HEAD", "/ttl", NULL, NULL, 200, {"Stream-TTL", "60", "Stream-Expires-At", NULL}, NULL},
        {"PUT", "/at", "Stream-Expires-At: 2030-01-01T00:00:00+01:00", NULL, 201, {NULL}, NULL},
        {"PUT", "/at", "Stream-Expires-At: 2029-12-31T23:00:00Z", NULL, 200, {NULL}, NULL},
        {"HEAD",
         "/at",
         NULL,
         NULL,
         200,
         {"Stream-Expires-At", "2030-01-01T00:00:00+01:00", "Stream-TTL", NULL},
         NULL},
        {"PUT", "/gone", "Stream-Expires-At: 2001-01-01T00:00:00Z", NULL, 201, {NULL}, NULL},
        {"HEAD", "/gone", NULL, NULL, 404, {NULL}, NULL},
        {"PUT", "/zero", "Stream-TTL: 0", NULL, 201, {NULL}, NULL},
        {"HEAD", "/zero", NULL, NULL, 404, {NULL}, NULL},
    };
    run(steps, COUNT(steps));
}

/* Which requests prolong a TTL of 10 s. */
Test(devserver_api, accesses)
{
    static const struct {
        const char *method, *target, *headers, *body;
        bool prolongs;
    } row[] = {
        {"GET", "/s", NULL, NULL, true},
        {"GET", "/s?offset=now", NULL, NULL, true},
        {"GET", "/s?offset=-1&live=sse", NULL, NULL, true},
        {"GET", "/s?offset=x", NULL, NULL, false},
        {"POST", "/s", TEXT, "x", true},
        {"POST", "/s", JSON, "x", false},
        {"POST", "/s", "Stream-Closed: true", NULL, true},
        {"HEAD", "/s", NULL, NULL, false},
        {"PUT", "/s", TEXT "\nStream-TTL: 10", NULL, false},
    };
    for (size_t i = 0; i < COUNT(row); i++) {
        struct ds_api api = new_api();
        struct step create = {.method = "PUT", .target = "/s", .headers = TEXT "\nStream-TTL: 10"};
        struct step access = {row[i].method, row[i].target, row[i].headers, row[i].body, 0,
                              {NULL},        NULL};
        struct step look = {.method = "HEAD", .target = "/s"};
        const struct step *steps[] = {&create, &access, &look};
        const int64_t when[] = {NOW, NOW + 9000, NOW + 12000};
        int status = 0;
        for (size_t k = 0; k < 3; k++) {
            struct ds_target t;
            struct ds_call call;
            struct ds_reply r;
            ask(&api, steps[k], when[k], &t, &call, &r);
            status = r.status;
            ds_reply_free(&r);
            ds_target_free(&t);
        }
        cr_expect_eq(status, row[i].prolongs ? 200 : 404, "%s %s", row[i].method, row[i].target);
        ds_store_free(api.store);
    }
}

/* --- waiting ---------------------------------------------------------------------------------- */

/* Polls an open stream at its tail, lets something happen, and gives the reply after it. */
static void poll_and(const struct step *meanwhile, int64_t later, const struct step *want)
{
    struct ds_api api = new_api();
    struct step create = {.method = "PUT", .target = "/s", .headers = TEXT, .body = "abc"};
    struct step poll = {.method = "GET", .target = "/s?offset=now&live=long-poll&cursor=5"};
    struct ds_target t[3];
    struct ds_call call[3];
    struct ds_reply r[3];
    if (later > 1000)
        create.headers = TEXT "\nStream-TTL: 1";
    ask(&api, &create, NOW, &t[0], &call[0], &r[0]);
    ask(&api, &poll, NOW, &t[1], &call[1], &r[1]);
    cr_assert_eq(r[1].kind, DS_REPLY_WAIT);
    if (meanwhile) {
        ask(&api, meanwhile, NOW, &t[2], &call[2], &r[2]);
        ds_reply_free(&r[2]);
        ds_target_free(&t[2]);
    }
    call[1].now = NOW + later;
    ds_api_resume(&api, &call[1], &r[1]);
    check_step(want, &r[1], 0);
    for (size_t i = 0; i < 2; i++) {
        ds_reply_free(&r[i]);
        ds_target_free(&t[i]);
    }
    ds_store_free(api.store);
}

Test(devserver_api, a_long_poll_ends)
{
    static const struct {
        struct step meanwhile;
        int64_t later;
        struct step want;
    } row[] = {
        {{.method = "HEAD", .target = "/s"},
         0,
         {"GET", "", NULL, NULL, 204, {NEXT("03"), UP, "Stream-Cursor", "3578400"}, ""}},
        {{.method = "POST", .target = "/s", .headers = TEXT, .body = "de"},
         0,
         {"GET", "", NULL, NULL, 200, {NEXT("05"), UP, "Stream-Cursor", "3578400"}, "de"}},
        {{.method = "POST", .target = "/s", .headers = TEXT, .body = "123456789"},
         0,
         {"GET", "", NULL, NULL, 200, {NEXT("11"), "Stream-Up-To-Date", NULL}, "12345678"}},
        {{.method = "POST", .target = "/s", .headers = "Stream-Closed: true"},
         0,
         {"GET", "", NULL, NULL, 204, {NEXT("03"), UP, CLOSED}, ""}},
        {{.method = "POST", .target = "/s", .headers = TEXT "\nStream-Closed: true", .body = "d"},
         0,
         {"GET", "", NULL, NULL, 200, {NEXT("04"), UP, CLOSED}, "d"}},
        {{.method = "DELETE", .target = "/s"},
         0,
         {"GET", "", NULL, NULL, 404, {NULL}, "Stream not found"}},
        {{.method = "HEAD", .target = "/s"},
         2000,
         {"GET", "", NULL, NULL, 404, {NULL}, "Stream not found"}},
    };
    for (size_t i = 0; i < COUNT(row); i++)
        poll_and(&row[i].meanwhile, row[i].later, &row[i].want);
}

Test(devserver_api, which_reads_wait)
{
    static const struct {
        const char *target;
        enum ds_reply_kind kind;
    } row[] = {
        {"/s?offset=now&live=long-poll", DS_REPLY_WAIT},
        {"/s?offset=" AT("03") "&live=long-poll", DS_REPLY_WAIT},
        {"/s?offset=" AT("02") "&live=long-poll", DS_REPLY_PAGE},
        {"/s?offset=" AT("04") "&live=long-poll", DS_REPLY_PAGE},
        {"/s?offset=-1&live=long-poll", DS_REPLY_PAGE},
        {"/empty?offset=-1&live=long-poll", DS_REPLY_WAIT},
        {"/s?offset=" AT("03"), DS_REPLY_PAGE},
        {"/s?offset=now&live=sse", DS_REPLY_EVENTS},
    };
    struct ds_api api = new_api();
    for (size_t i = 0; i < COUNT(row) + 2; i++) {
        static const struct step create[] = {
            {.method = "PUT", .target = "/s", .headers = TEXT, .body = "abc"},
            {.method = "PUT", .target = "/empty", .headers = TEXT},
        };
        struct step get = {.method = "GET", .target = i < 2 ? "" : row[i - 2].target};
        struct ds_target t;
        struct ds_call call;
        struct ds_reply r;
        ask(&api, i < 2 ? &create[i] : &get, NOW, &t, &call, &r);
        if (i >= 2)
            cr_expect_eq(r.kind, row[i - 2].kind, "%s", get.target);
        ds_reply_free(&r);
        ds_target_free(&t);
    }
    ds_store_free(api.store);
}

Test(devserver_api, event_streams_say_how_they_are_encoded)
{
    static const struct step steps[] = {
        {"PUT", "/json", JSON, NULL, 201, {NULL}, NULL},
        {"PUT", "/text", "Content-Type: text/csv", NULL, 201, {NULL}, NULL},
        {"PUT", "/xml", "Content-Type: application/xml", NULL, 201, {NULL}, NULL},
        {"GET",
         "/json?offset=-1&live=sse",
         NULL,
         NULL,
         200,
         {"Content-Type", "text/event-stream", "Stream-SSE-Data-Encoding", NULL, "Cache-Control",
          "no-cache"},
         NULL},
        {"GET",
         "/text?offset=-1&live=sse",
         NULL,
         NULL,
         200,
         {"Stream-SSE-Data-Encoding", NULL},
         NULL},
        {"GET",
         "/xml?offset=-1&live=sse",
         NULL,
         NULL,
         200,
         {"Stream-SSE-Data-Encoding", "base64"},
         NULL},
    };
    run(steps, COUNT(steps));
}

/* --- caches ----------------------------------------------------------------------------------- */

#define TAG "\"b007-1:-1:" AT("03") "\""

Test(devserver_api, what_has_not_changed_is_not_sent_again)
{
    static const struct step steps[] = {
        {"PUT", "/s", TEXT, "abc", 201, {NULL}, NULL},
        {"GET", "/s", NULL, NULL, 200, {"ETag", TAG}, "abc"},
        {"HEAD", "/s", NULL, NULL, 200, {"ETag", TAG}, NULL},
        {"GET",
         "/s",
         "If-None-Match: " TAG,
         NULL,
         304,
         {"ETag", TAG, "Content-Type", NULL, NEXT("03")},
         ""},
        {"GET", "/s", "If-None-Match: \"x\", W/" TAG, NULL, 304, {NULL}, ""},
        {"GET", "/s", "If-None-Match: *", NULL, 304, {NULL}, ""},
        {"GET", "/s", "If-None-Match: \"x\"", NULL, 200, {NULL}, "abc"},
        {"GET", "/s", "If-None-Match: \"", NULL, 200, {NULL}, "abc"},
        {"GET", "/s", "If-None-Match: x, y,", NULL, 200, {NULL}, "abc"},
        {"GET", "/s", "If-None-Match: ", NULL, 200, {NULL}, "abc"},
        {"GET", "/s?offset=" AT("01"), "If-None-Match: " TAG, NULL, 200, {NULL}, "bc"},
        {"POST", "/s", "Stream-Closed: true", NULL, 204, {NULL}, NULL},
        {"GET",
         "/s",
         "If-None-Match: " TAG,
         NULL,
         200,
         {"ETag", "\"b007-1:-1:" AT("03") ":c\""},
         "abc"},
        {"DELETE", "/s", NULL, NULL, 204, {NULL}, NULL},
        {"PUT", "/s", TEXT, "xyz", 201, {NULL}, NULL},
        {"GET",
         "/s",
         "If-None-Match: " TAG,
         NULL,
         200,
         {"ETag", "\"b007-2:-1:" AT("03") "\""},
         "xyz"},
        {"GET", "/s?offset=now", NULL, NULL, 200, {"ETag", NULL}, ""},
    };
    run(steps, COUNT(steps));
}

Test(devserver_api, cursors_only_grow)
{
    uint64_t random = 1;
    const uint64_t current = 3578400;
    char client[32];
    cr_expect_eq(ds_cursor(NOW, NULL, &random), current);
    cr_expect_eq(ds_cursor(NOW + 19999, NULL, &random), current);
    cr_expect_eq(ds_cursor(NOW + 20000, NULL, &random), current + 1);
    cr_expect_eq(ds_cursor(0, NULL, &random), 0);
    static const char *const old[] = {"", "0", "3578399", "x", "-1", "99999999999999999999", "1 "};
    for (size_t i = 0; i < COUNT(old); i++)
        cr_expect_eq(ds_cursor(NOW, old[i], &random), current, "%s", old[i]);
    for (uint64_t theirs = current; theirs < current + 2000; theirs++) {
        snprintf(client, sizeof client, "%llu", (unsigned long long)theirs);
        uint64_t c = ds_cursor(NOW, client, &random);
        cr_expect(c > theirs && c <= theirs + 180, "%s: %llu", client, (unsigned long long)c);
    }
}

Test(devserver_api, without_memory_it_fails_whole)
{
    bool whole = false;
    for (long n = 0; !whole; n++) {
        struct ds_api api = new_api();
        struct step s = {.method = "PUT", .target = "/s", .headers = TEXT};
        struct ds_target t;
        struct ds_call call = {.method = "PUT",
                               .target = &t,
                               .header = lookup,
                               .ctx = (void *)(uintptr_t)s.headers,
                               .base = "http://h",
                               .now = NOW};
        struct ds_reply r;
        cr_assert_eq(ds_target_parse(&t, s.target), DSTREAM_OK);
        ds_alloc_fail_after(n);
        ds_api_answer(&api, &call, &r);
        ds_alloc_fail_after(-1);
        whole = r.status == 201 && !r.failed;
        cr_expect(whole || r.failed || r.status == 500, "%d", r.status);
        ds_reply_free(&r);
        ds_target_free(&t);
        ds_store_free(api.store);
    }
}
