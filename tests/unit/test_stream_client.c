/* SPDX-License-Identifier: Apache-2.0 */
/* Single calls of the library, on real connections to a small server in a thread. */
#include "config.h"

#include <criterion/criterion.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/reader.h"
#include "tests/unit/clients.h"
#include "tests/unit/taker.h"

#define TEXT "text/plain"
#define JSON "application/json"

TestSuite(stream_client, .init = clients_start);

static dstream_stream *open_on(dstream_loop *loop, struct taker *t, dstream_options *o)
{
    dstream_stream *s;
    cr_assert_eq(dstream_stream_open(&s, loop, t->url, o), DSTREAM_OK);
    dstream_options_free(o);
    return s;
}

static dstream_call *call(enum dstream_call_kind kind, const char *type, const char *body)
{
    dstream_call *c = dstream_call_new(kind);
    cr_assert_not_null(c);
    if (type)
        cr_assert_eq(dstream_call_set_type(c, type), DSTREAM_OK);
    if (body)
        cr_assert_eq(dstream_call_set_body(c, body, strlen(body)), DSTREAM_OK);
    return c;
}

/* The whole call, and whether it ended so. */
static void run(dstream_stream *s, dstream_call *c, enum dstream_code want)
{
    enum dstream_code got = dstream_call_run(c, s, LIMIT_MS);
    cr_assert_eq(got, want, "%s, not %s: %s", dstream_code_name(got), dstream_code_name(want),
                 dstream_error_message(dstream_call_error(c)));
    cr_assert_eq(dstream_error_code(dstream_call_error(c)), want);
}

static void append(dstream_stream *s, const char *body, enum dstream_code want)
{
    dstream_call *c = call(DSTREAM_CALL_APPEND, NULL, body);
    run(s, c, want);
    dstream_call_free(c);
}

/* --- the calls -------------------------------------------------------------------------------- */

Test(stream_client, creates)
{
    struct taker *t = taker_new(NULL);
    dstream_stream *s = open_on(NULL, t, quick());
    dstream_call *c = call(DSTREAM_CALL_CREATE, TEXT, NULL);
    dstream_call_set_ttl(c, 3600);
    cr_assert_eq(dstream_error_code(dstream_call_error(c)), DSTREAM_ERR_STATE);
    run(s, c, DSTREAM_OK);
    cr_assert(dstream_call_created(c));
    cr_assert_not(dstream_call_ambiguous(c));
    cr_assert_str_eq(dstream_call_offset(c), "00000000");
    cr_assert_str_eq(dstream_call_content_type(c), TEXT);
    cr_assert_eq(taker_count(t, "Stream-TTL: 3600\r\n"), 1);
    cr_assert_eq(dstream_call_run(c, s, -1), DSTREAM_ERR_STATE);
    cr_assert_eq(dstream_call_set_ttl(c, 1), DSTREAM_ERR_STATE);
    dstream_call_free(c);
    c = call(DSTREAM_CALL_CREATE, TEXT, NULL);
    run(s, c, DSTREAM_OK);
    cr_assert_not(dstream_call_created(c));
    dstream_call_free(c);
    c = call(DSTREAM_CALL_CREATE, JSON, NULL);
    run(s, c, DSTREAM_ERR_CONFLICT);
    dstream_call_free(c);
    c = call(DSTREAM_CALL_CREATE, TEXT, "data");
    run(s, c, DSTREAM_ERR_CONFLICT);
    cr_assert(strstr(dstream_error_message(dstream_call_error(c)), "not written"));
    dstream_call_free(c);
    dstream_stream_free(s);
    taker_free(t);
}

Test(stream_client, creates_with_all_that_can_be_said)
{
    struct taker *t = taker_new(NULL);
    dstream_stream *s = open_on(NULL, t, quick());
    dstream_call *c = call(DSTREAM_CALL_CREATE, JSON, "{\"a\":1}");
    cr_assert_eq(dstream_call_set_expires(c, "2030-01-01T00:00:00Z"), DSTREAM_OK);
    cr_assert_eq(dstream_call_set_closed(c, true), DSTREAM_OK);
    cr_assert_eq(dstream_call_set_fork(c, "/v1/stream/a", "0001_2", 3), DSTREAM_OK);
    run(s, c, DSTREAM_OK);
    cr_assert(dstream_call_closed(c));
    cr_assert_str_eq(taker_data(t), "[{\"a\":1}]");
    static const char *const said[] = {
        "Stream-Expires-At: 2030-01-01T00:00:00Z\r\n",
        "Stream-Closed: true\r\n",
        "Stream-Forked-From: /v1/stream/a\r\n",
        "Stream-Fork-Offset: 0001_2\r\n",
        "Stream-Fork-Sub-Offset: 3\r\n",
    };
    for (size_t i = 0; i < sizeof said / sizeof *said; i++)
        cr_assert_eq(taker_count(t, said[i]), 1, "%s", said[i]);
    dstream_call_free(c);
    dstream_stream_free(s);
    taker_free(t);
}

Test(stream_client, creates_with_what_is_given_as_it_stands)
{
    static const char *const contents[] = {"[{\"a\":1},2]", "[]", "3"};
    for (size_t i = 0; i < 3; i++) {
        struct taker *t = taker_new(NULL);
        dstream_stream *s = open_on(NULL, t, quick());
        dstream_call *c = call(DSTREAM_CALL_CREATE, JSON, "replaced");
        cr_assert_eq(dstream_call_set_content(c, contents[i], strlen(contents[i])), DSTREAM_OK);
        run(s, c, DSTREAM_OK);
        cr_assert_str_eq(taker_data(t), contents[i]);
        dstream_call_free(c);
        c = call(DSTREAM_CALL_CREATE, JSON, NULL);
        dstream_call_set_content(c, "[1", 2);
        run(s, c, DSTREAM_ERR_INPUT);
        dstream_call_free(c);
        c = call(DSTREAM_CALL_APPEND, JSON, NULL);
        cr_assert_eq(dstream_call_set_content(c, "1", 1), DSTREAM_ERR_ARGUMENT);
        dstream_call_free(c);
        dstream_stream_free(s);
        taker_free(t);
    }
}

Test(stream_client, appends_in_order_under_one_identity)
{
    struct taker *t = taker_new(JSON);
    dstream_stream *s = open_on(NULL, t, quick());
    dstream_call *c = call(DSTREAM_CALL_APPEND, NULL, "[1]");
    run(s, c, DSTREAM_OK);
    cr_assert_str_eq(dstream_call_offset(c), "00000005");
    dstream_call_free(c);
    append(s, "{\"b\":2}", DSTREAM_OK);
    append(s, "{\"b\":", DSTREAM_ERR_INPUT);
    append(s, "3", DSTREAM_OK);
    cr_assert_str_eq(taker_bodies(t), "[[1]]\n[{\"b\":2}]\n[3]\n");
    cr_assert_eq(taker_count(t, "HEAD "), 1, "the type is asked for once");
    cr_assert_eq(taker_count(t, "Producer-Seq: 2\r\n"), 1);
    cr_assert_eq(t->nproducers, 1);
    cr_assert_eq(strlen(t->producers[0].id), 32);
    dstream_stream_free(s);
    taker_free(t);
}

Test(stream_client, appends_without_an_identity)
{
    struct taker *t = taker_new(TEXT);
    dstream_options *o = quick();
    dstream_options_set_append_identity(o, false);
    dstream_stream *s = open_on(NULL, t, o);
    append(s, "a", DSTREAM_OK);
    cr_assert_eq(taker_count(t, "Producer-"), 0);
    cr_assert_str_eq(taker_data(t), "a");
    dstream_stream_free(s);
    taker_free(t);
}

Test(stream_client, closes)
{
    struct taker *t = taker_new(TEXT);
    dstream_stream *s = open_on(NULL, t, quick());
    append(s, "a", DSTREAM_OK);
    dstream_call *c = call(DSTREAM_CALL_CLOSE, NULL, "z");
    run(s, c, DSTREAM_OK);
    cr_assert(dstream_call_closed(c));
    cr_assert_str_eq(dstream_call_offset(c), "00000002");
    dstream_call_free(c);
    c = call(DSTREAM_CALL_CLOSE, NULL, NULL);
    run(s, c, DSTREAM_OK);
    cr_assert(dstream_call_closed(c));
    dstream_call_free(c);
    c = call(DSTREAM_CALL_APPEND, NULL, "x");
    run(s, c, DSTREAM_ERR_CLOSED);
    cr_assert_str_eq(dstream_call_offset(c), "00000002");
    cr_assert_str_eq(dstream_error_offset(dstream_call_error(c)), "00000002");
    dstream_call_free(c);
    c = call(DSTREAM_CALL_CLOSE, NULL, "y");
    run(s, c, DSTREAM_ERR_CLOSED);
    dstream_call_free(c);
    cr_assert_str_eq(taker_data(t), "az");
    dstream_stream_free(s);
    taker_free(t);
}

static enum take forget_to_close(void *ctx, struct asked *a)
{
    (void)ctx;
    strcpy(a->answer, "204 No Content\r\nStream-Next-Offset: 00000000\r\n");
    return strcmp(a->method, "POST") == 0 ? SAY : TAKE;
}

Test(stream_client, sees_whether_it_is_closed)
{
    struct taker *t = taker_new(TEXT);
    dstream_stream *s = open_on(NULL, t, quick());
    t->plan = forget_to_close;
    dstream_call *c = call(DSTREAM_CALL_CLOSE, NULL, NULL);
    run(s, c, DSTREAM_ERR_PROTOCOL);
    cr_assert_not(dstream_call_closed(c));
    cr_assert_eq(taker_count(t, "HEAD "), 1);
    dstream_call_free(c);
    dstream_stream_free(s);
    taker_free(t);
}

Test(stream_client, looks_and_deletes)
{
    struct taker *t = taker_new(TEXT);
    dstream_stream *s = open_on(NULL, t, quick());
    append(s, "abc", DSTREAM_OK);
    dstream_call *c = call(DSTREAM_CALL_HEAD, NULL, NULL);
    run(s, c, DSTREAM_OK);
    cr_assert_str_eq(dstream_call_offset(c), "00000003");
    cr_assert_str_eq(dstream_call_etag(c), "\"3\"");
    cr_assert_str_eq(dstream_call_content_type(c), TEXT);
    cr_assert_eq(dstream_call_ttl(c), 60);
    cr_assert_str_eq(dstream_call_expires(c), "");
    cr_assert_not(dstream_call_closed(c));
    dstream_call_free(c);
    for (int i = 0; i < 2; i++) {
        c = call(DSTREAM_CALL_DELETE, NULL, NULL);
        run(s, c, i == 0 ? DSTREAM_OK : DSTREAM_ERR_NOT_FOUND);
        dstream_call_free(c);
    }
    append(s, "x", DSTREAM_ERR_NOT_FOUND);
    dstream_stream_free(s);
    taker_free(t);
}

Test(stream_client, says_what_a_conflict_is)
{
    struct taker *t = taker_new(TEXT);
    dstream_stream *s = open_on(NULL, t, quick());
    static const struct {
        const char *seq, *type;
        enum dstream_code want;
    } row[] = {
        {"b", NULL, DSTREAM_OK},
        {"a", NULL, DSTREAM_ERR_SEQUENCE},
        {"b", NULL, DSTREAM_ERR_SEQUENCE},
        {"c", JSON, DSTREAM_ERR_CONFLICT},
        {NULL, JSON, DSTREAM_ERR_CONFLICT},
        {"c", TEXT, DSTREAM_OK},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        dstream_call *c = call(DSTREAM_CALL_APPEND, row[i].type, "1");
        cr_assert_eq(dstream_call_set_sequence(c, row[i].seq), DSTREAM_OK);
        run(s, c, row[i].want);
        dstream_call_free(c);
    }
    cr_assert_str_eq(taker_data(t), "11");
    dstream_stream_free(s);
    taker_free(t);
}

/* --- what is repeated ------------------------------------------------------------------------- */

struct turns {
    const char *what; /* a letter for each POST; then all as it should */
    unsigned n;
};

static enum take in_turn(void *ctx, struct asked *a)
{
    struct turns *p = ctx;
    char what = strcmp(a->method, "POST") == 0 && p->what[p->n] ? p->what[p->n++] : '.';
    strcpy(a->answer, what == '4'   ? "400 Bad\r\n"
                      : what == 'T' ? "413 Large\r\n"
                      : what == 'C' ? "409 Closed\r\nStream-Closed: true\r\n"
                      : what == 'G' ? "409 Gap\r\nProducer-Expected-Seq: 0\r\n"
                      : what == 'M' ? "302 There\r\nLocation: /t\r\n"
                                    : "500 Down\r\n");
    switch (what) {
    case 'd':
        return DROP;
    case 'l':
        return LOSE;
    case 'w': /* stored, and then 500 */
        return TAKE_WRONG;
    case '.':
        return TAKE;
    default:
        return SAY;
    }
}

Test(stream_client, no_limit_to_a_time_is_none)
{
    struct taker *t = taker_new(TEXT);
    struct turns turns = {.what = "5."};
    dstream_stream *s = open_on(NULL, t, patient());
    t->plan = in_turn;
    t->ctx = &turns;
    append(s, "a", DSTREAM_OK);
    cr_assert_str_eq(taker_data(t), "a");
    dstream_stream_free(s);
    taker_free(t);
}

/* Appends "a", "b", ... one after another; the codes are those of the table. */
static void appends(const char *what, bool identity, bool producers, const char *want,
                    const enum dstream_code *codes, unsigned n)
{
    struct taker *t = taker_new(TEXT);
    struct turns turns = {.what = what};
    dstream_options *o = quick();
    dstream_options_set_append_identity(o, identity);
    dstream_stream *s = open_on(NULL, t, o);
    t->plan = in_turn;
    t->ctx = &turns;
    t->no_producers = !producers;
    for (unsigned i = 0; i < n; i++) {
        char body[2] = {(char)('a' + i), '\0'};
        dstream_call *c = call(DSTREAM_CALL_APPEND, TEXT, body);
        enum dstream_code got = dstream_call_run(c, s, LIMIT_MS);
        cr_expect_eq(got, codes[i], "%s, %s: %s", what, body,
                     dstream_error_message(dstream_call_error(c)));
        dstream_call_free(c);
    }
    cr_expect_str_eq(taker_data(t), want, "%s: %s", what, taker_data(t));
    dstream_stream_free(s);
    taker_free(t);
}

#define APPENDS(what, identity, producers, want, ...)                                              \
    appends(what, identity, producers, want, (const enum dstream_code[]){__VA_ARGS__},             \
            sizeof((const enum dstream_code[]){__VA_ARGS__}) / sizeof(enum dstream_code))

Test(stream_client, appends_are_repeated_where_that_is_safe)
{
    const enum dstream_code ok = DSTREAM_OK, unknown = DSTREAM_ERR_OUTCOME_UNKNOWN;
    /* What the server answers is repeated; what it took, it knows. */
    APPENDS("55.", true, true, "ab", ok, ok);
    APPENDS("w.", true, true, "ab", ok, ok);
    APPENDS("555555", true, true, "b", unknown, ok);
    /* A lost answer: only of a server that has shown that it has producers. */
    APPENDS("l", true, true, "ab", unknown, ok);
    APPENDS("d", true, true, "b", unknown, ok);
    APPENDS(".l", true, true, "ab", ok, ok);
    APPENDS(".dl.", true, true, "abc", ok, ok, ok);
    APPENDS(".l", true, false, "abc", ok, unknown, ok);
    /* Without an identity nothing is. */
    APPENDS("5", false, true, "b", unknown, ok);
    APPENDS(".l", false, true, "ab", ok, unknown);
    /* What was refused was not stored, and the next one takes its number; but not where an earlier
     * try may have been. */
    APPENDS("4T", true, true, "c", DSTREAM_ERR_BAD_REQUEST, DSTREAM_ERR_TOO_LARGE, ok);
    APPENDS(".54.", true, true, "ac", ok, unknown, ok);
    APPENDS(".wC.", true, true, "abc", ok, unknown, ok);
    /* The server forgets the identity. */
    APPENDS(".G", true, true, "ab", ok, ok);
    APPENDS(".GG.", true, true, "ac", ok, DSTREAM_ERR_STATE_LOST, ok);
    APPENDS(".5G.", true, true, "ac", ok, unknown, ok);
    /* A POST stays one. */
    APPENDS("M.", true, true, "b", DSTREAM_ERR_REDIRECT, ok);
}

/* Loses the first answer, and notes under which id each append comes. */
static enum take lose_one(void *ctx, struct asked *a)
{
    char(*ids)[64] = ctx;
    if (strcmp(a->method, "POST") != 0)
        return TAKE;
    size_t n = 0;
    while (ids[n][0])
        n++;
    asked_header(a->head, "Producer-Id", ids[n], sizeof ids[n]);
    return n == 0 ? LOSE : TAKE;
}

/* Its number may be taken or not, so that no other could be given. */
Test(stream_client, behind_an_unknown_outcome_the_identity_is_a_new_one)
{
    struct taker *t = taker_new(TEXT);
    char ids[4][64] = {""};
    dstream_stream *s = open_on(NULL, t, quick());
    t->plan = lose_one;
    t->ctx = ids;
    append(s, "a", DSTREAM_ERR_OUTCOME_UNKNOWN);
    append(s, "b", DSTREAM_OK);
    append(s, "c", DSTREAM_OK);
    cr_assert_eq(strlen(ids[0]), 32);
    cr_assert_eq(strlen(ids[1]), 32);
    cr_assert_str_neq(ids[0], ids[1]);
    cr_assert_str_eq(ids[1], ids[2]);
    cr_assert_str_eq(taker_data(t), "abc");
    dstream_stream_free(s);
    taker_free(t);
}

Test(stream_client, a_server_that_is_known_to_have_producers_need_not_show_it)
{
    for (int known = 0; known < 2; known++) {
        struct taker *t = taker_new(TEXT);
        struct turns turns = {.what = "dl."};
        dstream_options *o = quick();
        dstream_options_set_producers_known(o, known);
        dstream_stream *s = open_on(NULL, t, o);
        t->plan = in_turn;
        t->ctx = &turns;
        append(s, "a", known ? DSTREAM_OK : DSTREAM_ERR_OUTCOME_UNKNOWN);
        cr_assert_str_eq(taker_data(t), known ? "a" : "");
        dstream_stream_free(s);
        taker_free(t);
    }
}

/* What lies behind an append that may be stored, in one that ends with the letter. */
static void lies_behind(const char *what, enum dstream_code cause, int status)
{
    struct taker *t = taker_new(TEXT);
    struct turns turns = {.what = what};
    dstream_options *o = quick();
    dstream_stream *s = open_on(NULL, t, o);
    t->plan = in_turn;
    t->ctx = &turns;
    dstream_call *c = call(DSTREAM_CALL_APPEND, TEXT, "a");
    enum dstream_code rc = dstream_call_run(c, s, LIMIT_MS);
    const dstream_error *e = dstream_call_cause(c);
    cr_expect_eq(dstream_error_code(e), cause, "%s: %s", what, dstream_error_message(e));
    cr_expect_eq(dstream_error_status(e), status, "%s", what);
    cr_expect(rc == DSTREAM_ERR_OUTCOME_UNKNOWN || rc == cause, "%s", what);
    dstream_call_free(c);
    dstream_stream_free(s);
    taker_free(t);
}

Test(stream_client, says_what_lies_behind_an_unknown_outcome)
{
    lies_behind("555555", DSTREAM_ERR_SERVER, 500);
    lies_behind("l", DSTREAM_ERR_NETWORK, 0);
    lies_behind("54", DSTREAM_ERR_BAD_REQUEST, 400);
    lies_behind("4", DSTREAM_ERR_BAD_REQUEST, 400);
}

Test(stream_client, a_server_that_forgets_is_not_noticed)
{
    struct taker *t = taker_new(TEXT);
    dstream_stream *s = open_on(NULL, t, quick());
    append(s, "a", DSTREAM_OK);
    taker_forget(t);
    append(s, "b", DSTREAM_OK);
    append(s, "c", DSTREAM_OK);
    cr_assert_str_eq(taker_data(t), "abc");
    dstream_stream_free(s);
    taker_free(t);
}

/* --- the callback way ------------------------------------------------------------------------- */

struct done {
    char order[16];
    dstream_stream *s;
    dstream_call *more; /* started from inside the first */
    bool run;           /* or run, which cannot be */
};

static void on_done(void *ctx, dstream_call *c)
{
    struct done *d = ctx;
    size_t n = strlen(d->order);
    d->order[n] = dstream_error_code(dstream_call_error(c)) == DSTREAM_OK ? '+' : '-';
    if (d->more && d->run)
        cr_assert_eq(dstream_call_run(d->more, d->s, -1), DSTREAM_ERR_STATE);
    else if (d->more)
        cr_assert_eq(dstream_call_start(d->more, d->s, on_done, d), DSTREAM_OK);
    d->more = NULL;
    dstream_call_free(c);
}

Test(stream_client, calls_are_made_one_after_another)
{
    struct taker *t = taker_new(NULL);
    struct done d = {.order = ""};
    dstream_loop *loop = dstream_loop_new();
    dstream_stream *s = open_on(loop, t, quick());
    static const struct {
        enum dstream_call_kind kind;
        const char *type, *body;
    } row[] = {
        {DSTREAM_CALL_APPEND, NULL, "x"}, {DSTREAM_CALL_CREATE, TEXT, NULL},
        {DSTREAM_CALL_APPEND, NULL, "a"}, {DSTREAM_CALL_APPEND, NULL, "b"},
        {DSTREAM_CALL_CLOSE, NULL, "c"},  {DSTREAM_CALL_APPEND, NULL, "y"},
        {DSTREAM_CALL_HEAD, NULL, NULL},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++)
        cr_assert_eq(
            dstream_call_start(call(row[i].kind, row[i].type, row[i].body), s, on_done, &d),
            DSTREAM_OK);
    d.s = s;
    d.more = call(DSTREAM_CALL_DELETE, NULL, NULL);
    turn_until(loop, strlen(d.order) == 8);
    cr_assert_str_eq(d.order, "-++++-++");
    cr_assert_str_eq(taker_data(t), "abc");
    cr_assert_leq(t->most_at_once, 1);
    d.more = call(DSTREAM_CALL_HEAD, NULL, NULL);
    dstream_call *unmade = d.more;
    d.run = true;
    cr_assert_eq(dstream_call_start(call(DSTREAM_CALL_HEAD, NULL, NULL), s, on_done, &d),
                 DSTREAM_OK);
    turn_until(loop, strlen(d.order) == 9);
    dstream_call_free(unmade);
    dstream_stream_free(s);
    dstream_loop_free(loop);
    taker_free(t);
}

static enum take hold(void *ctx, struct asked *a)
{
    (void)ctx;
    return strcmp(a->method, "HEAD") == 0 ? TAKE : HOLD;
}

Test(stream_client, is_given_up_after_its_time)
{
    struct taker *t = taker_new(TEXT);
    dstream_stream *s = open_on(NULL, t, quick());
    t->plan = hold;
    static const struct {
        enum dstream_call_kind kind;
        const char *body;
        enum dstream_code want;
    } row[] = {
        {DSTREAM_CALL_APPEND, "a", DSTREAM_ERR_OUTCOME_UNKNOWN},
        {DSTREAM_CALL_CLOSE, "a", DSTREAM_ERR_OUTCOME_UNKNOWN},
        {DSTREAM_CALL_CLOSE, NULL, DSTREAM_ERR_TIMEOUT},
        {DSTREAM_CALL_CREATE, NULL, DSTREAM_ERR_TIMEOUT},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        dstream_call *c = call(row[i].kind, NULL, row[i].body);
        cr_assert_eq(dstream_call_run(c, s, 100), row[i].want, "%zu: %s", i,
                     dstream_error_message(dstream_call_error(c)));
        cr_assert(dstream_call_ambiguous(c));
        cr_assert_eq(dstream_error_code(dstream_call_cause(c)), DSTREAM_ERR_TIMEOUT);
        dstream_call_free(c);
    }
    t->plan = NULL;
    append(s, "b", DSTREAM_OK);
    cr_assert_eq(t->nproducers, 1, "after one that may be stored the identity is another");
    cr_assert_eq(taker_count(t, "Producer-Seq: 0\r\n"), 3);
    dstream_stream_free(s);
    taker_free(t);
}

/* --- cancelling ------------------------------------------------------------------------------- */

struct other {
    struct taker *t;
    dstream_stream *s;
};

static void *cancel_held(void *ctx)
{
    struct other *o = ctx;
    while (taker_count(o->t, "POST ") == 0)
        poll(NULL, 0, 1);
    dstream_stream_cancel(o->s);
    return NULL;
}

Test(stream_client, cancelled_from_another_thread_while_it_waits)
{
    struct taker *t = taker_new(TEXT);
    dstream_stream *s = open_on(NULL, t, quick());
    struct other other = {t, s};
    struct done d = {.order = ""};
    pthread_t thread;
    t->plan = hold;
    pthread_create(&thread, NULL, cancel_held, &other);
    dstream_call *c = call(DSTREAM_CALL_APPEND, NULL, "a");
    dstream_call *queued = call(DSTREAM_CALL_HEAD, NULL, NULL);
    dstream_call *late = call(DSTREAM_CALL_HEAD, NULL, NULL);
    cr_assert_eq(dstream_call_start(queued, s, NULL, NULL), DSTREAM_OK);
    run(s, c, DSTREAM_ERR_OUTCOME_UNKNOWN);
    pthread_join(thread, NULL);
    cr_assert_eq(dstream_error_code(dstream_call_error(queued)), DSTREAM_OK);
    cr_assert_eq(dstream_call_start(late, s, on_done, &d), DSTREAM_ERR_CANCELLED);
    dstream_call_free(c);
    dstream_call_free(queued);
    dstream_call_free(late);
    dstream_stream_free(s);
    taker_free(t);
}

Test(stream_client, freed_with_calls_under_way)
{
    struct taker *t = taker_new(TEXT);
    struct done d = {.order = ""};
    dstream_loop *loop = dstream_loop_new();
    dstream_stream *s = open_on(loop, t, quick());
    t->plan = hold;
    dstream_call *c[4];
    for (size_t i = 0; i < 4; i++) {
        c[i] = call(DSTREAM_CALL_APPEND, TEXT, "a");
        cr_assert_eq(dstream_call_start(c[i], s, on_done, &d), DSTREAM_OK);
    }
    turn_until(loop, t->requests > 0);
    dstream_call_free(c[0]); /* is under way */
    dstream_call_free(c[2]); /* is queued */
    turn_until(loop, t->requests > 1);
    dstream_stream_free(s);
    cr_assert_eq(dstream_error_code(dstream_call_error(c[1])), DSTREAM_ERR_OUTCOME_UNKNOWN);
    cr_assert_eq(dstream_error_code(dstream_call_error(c[3])), DSTREAM_ERR_CANCELLED);
    cr_assert_str_eq(d.order, "");
    dstream_call_free(c[1]);
    dstream_call_free(c[3]);
    dstream_loop_free(loop);
    taker_free(t);
}

/* --- credentials ------------------------------------------------------------------------------ */

struct wallet {
    unsigned token, asked, refused, valid;
};

static enum dstream_code on_request(void *ctx, dstream_request *q, bool refused)
{
    struct wallet *w = ctx;
    char header[64];
    w->asked++;
    w->refused += refused;
    w->token += refused;
    if (w->token > 100)
        return refused ? DSTREAM_ERR_AUTH : DSTREAM_ERR_IO;
    snprintf(header, sizeof header, "Authorization: token-%u", w->token);
    return dstream_request_add_header(q, header);
}

static enum take guard(void *ctx, struct asked *a)
{
    struct wallet *w = ctx;
    char token[64], want[64];
    asked_header(a->head, "Authorization", token, sizeof token);
    snprintf(want, sizeof want, "token-%u", w->valid);
    strcpy(a->answer, "401 No\r\n");
    return strcmp(token, want) == 0 ? TAKE : SAY;
}

Test(stream_client, credentials_are_made_for_each_request)
{
    struct taker *t = taker_new(TEXT);
    struct wallet w = {.token = 1, .valid = 2};
    dstream_options *o = quick();
    dstream_options_set_on_request(o, on_request, &w);
    dstream_stream *s = open_on(NULL, t, o);
    t->plan = guard;
    t->ctx = &w;
    append(s, "a", DSTREAM_OK); /* HEAD, refused; HEAD; POST */
    cr_assert_eq(w.asked, 3);
    cr_assert_eq(w.refused, 1);
    w.valid = 50;
    append(s, "b", DSTREAM_ERR_AUTH);
    cr_assert_eq(w.refused, 2);
    append(s, "c", DSTREAM_ERR_AUTH);
    cr_assert_eq(w.refused, 2, "only a success makes it ask again");
    w.token = 50;
    append(s, "d", DSTREAM_OK);
    w.valid = 51;
    append(s, "e", DSTREAM_OK);
    cr_assert_eq(w.refused, 3);
    w.token = 101;
    append(s, "f", DSTREAM_ERR_IO);
    w.token = 100;
    dstream_call *c = call(DSTREAM_CALL_APPEND, NULL, "g");
    run(s, c, DSTREAM_ERR_AUTH); /* there are no others: it ends with what the server said */
    cr_assert_eq(dstream_error_status(dstream_call_error(c)), 401);
    cr_assert(strstr(dstream_error_message(dstream_call_error(c)), "401"));
    dstream_call_free(c);
    cr_assert_str_eq(taker_data(t), "ade");
    dstream_stream_free(s);
    taker_free(t);
}

/* --- what cannot be --------------------------------------------------------------------------- */

Test(stream_client, what_cannot_be_said)
{
    struct taker *t = taker_new(TEXT);
    dstream_stream *s = (dstream_stream *)1;
    cr_assert_eq(dstream_stream_open(&s, NULL, "ftp://h/s", NULL), DSTREAM_ERR_ARGUMENT);
    cr_assert_null(s);
    s = open_on(NULL, t, quick());
    dstream_call *c = call(DSTREAM_CALL_HEAD, NULL, NULL);
    cr_assert_eq(dstream_call_set_type(c, TEXT), DSTREAM_ERR_ARGUMENT);
    cr_assert_eq(dstream_call_set_body(c, "a", 1), DSTREAM_ERR_ARGUMENT);
    cr_assert_eq(dstream_call_set_sequence(c, "a"), DSTREAM_ERR_ARGUMENT);
    dstream_call_free(c);
    c = call(DSTREAM_CALL_CREATE, NULL, NULL);
    cr_assert_eq(dstream_call_set_ttl(c, 0), DSTREAM_ERR_ARGUMENT);
    cr_assert_eq(dstream_call_set_body(c, "", 0), DSTREAM_ERR_ARGUMENT);
    cr_assert_eq(dstream_call_set_fork(c, "", NULL, 0), DSTREAM_ERR_ARGUMENT);
    cr_assert_eq(dstream_call_set_fork(c, "/a", "a b", 0), DSTREAM_ERR_ARGUMENT);
    cr_assert_eq(dstream_call_set_fork(c, "/a\r\nX: y", NULL, 0), DSTREAM_ERR_ARGUMENT);
    cr_assert_eq(dstream_call_set_expires(c, "2030\r\nX: y"), DSTREAM_ERR_ARGUMENT);
    cr_assert_eq(dstream_call_set_ttl(c, UINT64_MAX), DSTREAM_OK);
    cr_assert_eq(dstream_call_set_expires(c, "2030-01-01T00:00:00Z"), DSTREAM_OK);
    run(s, c, DSTREAM_ERR_ARGUMENT); /* both */
    dstream_call_free(c);
    c = call(DSTREAM_CALL_APPEND, "plain", "a");
    cr_assert_eq(dstream_call_set_type(c, "text/plain\r\nX: y"), DSTREAM_ERR_ARGUMENT);
    cr_assert_eq(dstream_call_set_sequence(c, "1\n"), DSTREAM_ERR_ARGUMENT);
    run(s, c, DSTREAM_ERR_ARGUMENT);
    dstream_call_free(c);
    c = call(DSTREAM_CALL_APPEND, NULL, NULL);
    run(s, c, DSTREAM_ERR_ARGUMENT);
    dstream_call_free(c);
    cr_assert_eq(t->requests, 0);
    dstream_call_free(NULL);
    dstream_stream_free(NULL);
    dstream_stream_free(s);
    taker_free(t);
}
