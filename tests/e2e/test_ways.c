/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Both ways to go live, by plain GETs first or at once, give the same content and end at the same
 * position: for each type of stream, each mode, and each place to begin.
 */
#include "config.h"

#include "client/loop.h"
#include "dstream.h"
#include "tests/e2e/harness.h"
#include "tests/e2e/reading.h"

#include <criterion/criterion.h>
#include <string.h>

struct way {
    bool at_once;
    dstream_reader *reader;
    struct e2e_bytes data;
    bool live, ended, closed;
    enum dstream_code code;
    char at[1025]; /* behind the last batch */
};

static enum dstream_flow on_batch(void *ctx, dstream_reader *r, const dstream_batch *b)
{
    struct way *w = ctx;
    size_t n;
    const char *p = dstream_batch_data(b, &n);
    (void)r;
    cr_expect_not(w->closed, "a batch behind the end");
    e2e_add(&w->data, p, n);
    strcpy(w->at, dstream_batch_next(b));
    w->live |= (dstream_batch_flags(b) & DSTREAM_BATCH_UP_TO_DATE) != 0;
    w->closed = dstream_batch_flags(b) & DSTREAM_BATCH_CLOSED;
    return DSTREAM_FLOW_NEXT;
}

static void on_end(void *ctx, dstream_reader *r, enum dstream_code code)
{
    struct way *w = ctx;
    (void)r;
    w->ended = true;
    w->code = code;
}

static void start(struct way *w, dstream_loop *loop, const char *url, const char *from,
                  enum dstream_live live)
{
    dstream_options *o = dstream_options_new();
    cr_assert_eq(dstream_options_set_start(o, from, 0), DSTREAM_OK);
    cr_assert_eq(dstream_options_set_live(o, live), DSTREAM_OK);
    dstream_options_set_live_at_once(o, w->at_once);
    cr_assert_eq(dstream_reader_open(&w->reader, loop, url, o), DSTREAM_OK);
    dstream_options_free(o);
    cr_assert_eq(dstream_reader_start(w->reader, on_batch, on_end, w), DSTREAM_OK);
}

#define turn_until(loop, condition)                                                                \
    for (int64_t limit = ds_loop_update(loop) + E2E_MS; !(condition);) {                           \
        cr_assert_lt(ds_loop_update(loop), limit, "line %d: waited in vain", __LINE__);            \
        dstream_loop_turn(loop, 20);                                                               \
    }

static void append(const char *url, const char *type, struct e2e_bytes *want, const char *text)
{
    struct e2e_bytes b = e2e_text(text);
    if (strcmp(type, TYPE_BINARY) == 0)
        e2e_add(&b, "\0\xff\r\n", 4);
    e2e_append(url, type, b);
    e2e_add(want, b.p, b.n);
    if (strcmp(type, TYPE_JSON) == 0)
        e2e_add_text(want, "\n");
}

enum place { BEGINNING, MIDDLE, END };

static void both(const char *type, enum dstream_live live, enum place place)
{
    char *url = e2e_url(e2e_printf("s%d", place));
    struct e2e_bytes want = e2e_text(""), none = e2e_text("");
    struct way ways[2] = {{.at_once = false}, {.at_once = true}};
    dstream_loop *loop = dstream_loop_new();
    e2e_create(url, type);
    append(url, type, place == BEGINNING ? &want : &none, "1");
    char *middle = e2e_append(url, type, e2e_text("2"));
    if (place == BEGINNING)
        e2e_add_text(&want, strcmp(type, TYPE_JSON) == 0 ? "2\n" : "2");
    append(url, type, place == END ? &none : &want, "3");
    const char *const from[] = {"-1", middle, "now"};
    for (size_t i = 0; i < 2; i++)
        start(&ways[i], loop, url, from[place], live);
    turn_until(loop, ways[0].live && ways[1].live);
    append(url, type, &want, "4");
    turn_until(loop, ways[0].data.n == want.n && ways[1].data.n == want.n);
    append(url, type, &want, "5");
    e2e_close(url);
    turn_until(loop, ways[0].ended && ways[1].ended);
    const char *tail = e2e_http("HEAD", url, NULL, (struct e2e_bytes){NULL, 0, 0}).next;
    for (size_t i = 0; i < 2; i++) {
        struct way *w = &ways[i];
        cr_assert_eq(w->code, DSTREAM_OK, "%s",
                     dstream_error_message(dstream_reader_error(w->reader)));
        cr_assert(w->closed);
        e2e_same(i ? "at once" : "by plain GETs first", w->data, want);
        cr_assert_str_eq(w->at, tail);
        cr_assert_str_eq(dstream_reader_offset(w->reader), tail);
        dstream_reader_free(w->reader);
    }
    dstream_loop_free(loop);
}

#define WAYS(name, type, live)                                                                     \
    E2E_BOTH(ways, name)                                                                           \
    {                                                                                              \
        both(type, live, BEGINNING);                                                               \
        both(type, live, MIDDLE);                                                                  \
        both(type, live, END);                                                                     \
    }
WAYS(json_as_it_is_followed_by_itself, TYPE_JSON, DSTREAM_LIVE_AUTO)
WAYS(json_by_sse, TYPE_JSON, DSTREAM_LIVE_SSE)
WAYS(json_by_long_poll, TYPE_JSON, DSTREAM_LIVE_LONG_POLL)
WAYS(text_as_it_is_followed_by_itself, TYPE_TEXT, DSTREAM_LIVE_AUTO)
WAYS(text_by_sse, TYPE_TEXT, DSTREAM_LIVE_SSE)
WAYS(text_by_long_poll, TYPE_TEXT, DSTREAM_LIVE_LONG_POLL)
WAYS(binary_as_it_is_followed_by_itself, TYPE_BINARY, DSTREAM_LIVE_AUTO)
WAYS(binary_by_sse, TYPE_BINARY, DSTREAM_LIVE_SSE)
WAYS(binary_by_long_poll, TYPE_BINARY, DSTREAM_LIVE_LONG_POLL)
