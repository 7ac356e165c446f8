/* SPDX-License-Identifier: Apache-2.0 */
/* What the server prints as events, read back by the reader's own parser. */
#include <criterion/criterion.h>

#include "devserver/sse.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "sse/events.h"
#include "tests/unit/storing.h"

#define WALL INT64_C(1800000000000)
#define END  60000

struct fixture {
    struct ds_store *store;
    struct ds_stream *s;
    struct ds_feed feed;
    struct ds_buf wire; /* all that was printed */
};

static struct fixture *begin(const char *type, const void *data, size_t n, size_t page)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct ds_stream_spec spec = {.path = "/s", .type = type, .body = data, .body_len = n};
    f->store = ds_store_new((size_t)1 << 30, changed, NULL);
    cr_assert_eq(ds_store_create(f->store, &spec, WALL, &f->s), DS_STORED_OK);
    ds_feed_init(&f->feed, ds_stream_hold(f->s), 0, page, 7, 0, END);
    ds_buf_init(&f->wire, (size_t)1 << 28);
    return f;
}

static void end(struct fixture *f)
{
    ds_feed_free(&f->feed);
    ds_buf_free(&f->wire);
    ds_store_free(f->store);
    free(f);
}

/* Takes what there is, in pieces of `piece` bytes at most. */
static enum ds_feed_result take(struct fixture *f, size_t piece, int64_t now)
{
    char *to = malloc(piece);
    enum ds_feed_result r;
    size_t n;
    while ((r = ds_feed_take(&f->feed, to, piece, &n, now, WALL)) == DS_FEED_BYTES) {
        cr_assert(n > 0 && n <= piece);
        ds_buf_add(&f->wire, to, n);
    }
    free(to);
    return r;
}

static void check_wire(struct fixture *f, const char *want)
{
    const char *got = ds_buf_str(&f->wire);
    cr_expect_str_eq(got, want, "got %s\nwanted %s", got, want);
    f->wire.len = 0;
}

#define AT(n) "\"streamNextOffset\":\"0000000000000000_00000000000000" n "\""
/* The interval of WALL. */
#define CURSOR ",\"streamCursor\":\"3578400\""

Test(devserver_feed, an_empty_stream_says_where_it_stands)
{
    struct fixture *f = begin("text/plain", "", 0, 100);
    cr_expect_eq(take(f, 1000, 0), DS_FEED_WAIT);
    check_wire(f, "event: control\ndata:{" AT("00") CURSOR ",\"upToDate\":true}\n\n");
    cr_expect_eq(take(f, 1000, 1), DS_FEED_WAIT);
    check_wire(f, "");
    end(f);
}

Test(devserver_feed, each_page_is_followed_by_its_position)
{
    struct fixture *f = begin("application/json", "[1,{\"a\":\n 2}]", 13, 4);
    cr_expect_eq(take(f, 1000, 0), DS_FEED_WAIT);
    check_wire(f, "event: data\ndata:[1]\n\nevent: control\ndata:{" AT("02") CURSOR
               "}\n\n"
               "event: data\ndata:[{\"a\":\ndata:  2}]\n\n"
               "event: control\ndata:{" AT("12") CURSOR ",\"upToDate\":true}\n\n");
    struct ds_append a = {.type = "application/json", .body = "3", .body_len = 1, .close = true};
    ds_store_append(f->store, f->s, &a, WALL);
    cr_expect_eq(take(f, 1000, 0), DS_FEED_END);
    check_wire(f,
               "event: data\ndata:[3]\n\n"
               "event: control\ndata:{" AT("14") ",\"upToDate\":true,\"streamClosed\":true}\n\n");
    end(f);
}

Test(devserver_feed, lines_of_text)
{
    static const struct {
        const char *text, *wire;
    } row[] = {
        {"a", "data:a\n\n"},
        {" a", "data:  a\n\n"},
        {"a\n b", "data:a\ndata:  b\n\n"},
        {"\n", "data:\ndata:\n\n"},
        {"a\r\nb\rc\nd", "data:a\ndata:b\ndata:c\ndata:d\n\n"},
        {"\r\n\r\n", "data:\ndata:\ndata:\n\n"},
        {"\r\r\n\n", "data:\ndata:\ndata:\ndata:\n\n"},
        {"a\n\nevent: control\ndata:x\n\n", "data:a\ndata:\ndata:event: control\ndata:data:x\n"
                                            "data:\ndata:\n\n"},
        {"\xff", "data:\xef\xbf\xbd\n\n"},
        {"\xc3\xa4\xc3", "data:\xc3\xa4\xef\xbf\xbd\n\n"},
        {":x", "data::x\n\n"},
    };
    for (size_t i = 0; i < COUNT(row); i++) {
        struct fixture *f = begin("text/plain", row[i].text, strlen(row[i].text), 100);
        take(f, 1000, 0);
        const char *got = ds_buf_str(&f->wire), *control = strstr(got, "event: control\ndata:{");
        cr_assert_not_null(control);
        f->wire.len = (size_t)(control - got);
        ds_buf_drop(&f->wire, strlen("event: data\n"));
        check_wire(f, row[i].wire);
        end(f);
    }
}

Test(devserver_feed, base64_for_what_is_no_text)
{
    struct fixture *f = begin("image/png", "\0\xff\n\r", 4, 3);
    take(f, 1000, 0);
    check_wire(f, "event: data\ndata:AP8K\n\nevent: control\ndata:{" AT("03") CURSOR
               "}\n\n"
               "event: data\ndata:DQ==\n\n"
               "event: control\ndata:{" AT("04") CURSOR ",\"upToDate\":true}\n\n");
    end(f);
}

Test(devserver_feed, an_idle_connection_is_kept_alive_and_ends)
{
    struct fixture *f = begin("text/plain", "", 0, 100);
    take(f, 1000, 0);
    f->wire.len = 0;
    cr_expect_eq(ds_feed_due(&f->feed), DS_KEEP_ALIVE);
    cr_expect_eq(take(f, 1000, DS_KEEP_ALIVE - 1), DS_FEED_WAIT);
    check_wire(f, "");
    cr_expect_eq(take(f, 1000, DS_KEEP_ALIVE), DS_FEED_WAIT);
    check_wire(f, "event: control\ndata:{" AT("00") CURSOR ",\"upToDate\":true}\n\n");
    cr_expect_eq(take(f, 1000, END - 1), DS_FEED_WAIT);
    cr_expect_eq(ds_feed_due(&f->feed), END);
    cr_expect_eq(take(f, 1000, END), DS_FEED_END);
    end(f);
}

Test(devserver_feed, a_connection_without_time_says_one_thing)
{
    struct fixture *f = begin("text/plain", "abcdef", 6, 4);
    cr_expect_eq(take(f, 1000, END), DS_FEED_END);
    check_wire(f, "event: data\ndata:abcd\n\nevent: control\ndata:{" AT("04") CURSOR "}\n\n");
    end(f);
}

Test(devserver_feed, a_deleted_stream_ends_behind_a_whole_event)
{
    struct fixture *f = begin("text/plain", "abc", 3, 100);
    char to[16];
    size_t n;
    cr_expect_eq(ds_feed_take(&f->feed, to, sizeof to, &n, 0, WALL), DS_FEED_BYTES);
    ds_buf_add(&f->wire, to, n);
    ds_store_delete(f->store, f->s);
    cr_expect_eq(take(f, 1000, 0), DS_FEED_END);
    check_wire(f, "event: data\ndata:abc\n\n"
                  "event: control\ndata:{" AT("03") CURSOR ",\"upToDate\":true}\n\n");
    end(f);
}

Test(devserver_feed, the_cursor_never_falls)
{
    struct fixture *f = begin("text/plain", "", 0, 100);
    f->feed.cursor = 99999999; /* as a client's that was ahead */
    take(f, 1000, 0);
    check_wire(f, "event: control\ndata:{" AT("00") ",\"streamCursor\":\"99999999\","
                                                    "\"upToDate\":true}\n\n");
    end(f);
}

/* --- read back -------------------------------------------------------------------------------- */

static uint64_t state = 88172645463325252u;

static uint64_t draw(uint64_t below)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state % below;
}

/* Bytes of which many are line ends, parts of characters and spaces. */
static void fill(char *p, size_t n)
{
    static const char *const part[] = {"\r",
                                       "\n",
                                       "\r\n",
                                       " ",
                                       "x",
                                       "\xc3\xa4",
                                       "\xc3",
                                       "\xe2\x82\xac",
                                       "\xe2",
                                       "\x80",
                                       "\xf0\x9f\x98\x80",
                                       "\xf0\x9f",
                                       "\xff",
                                       "data",
                                       ":"};
    for (size_t i = 0; i < n;) {
        const char *s = part[draw(COUNT(part))];
        for (; *s && i < n; s++)
            p[i++] = *s;
    }
}

/* What is left of text on its way: line ends are LF, what is no UTF-8 is U+FFFD. */
static void lossy(struct ds_buf *out, const char *p, size_t n)
{
    struct ds_buf ends;
    ds_buf_init(&ends, n);
    for (size_t i = 0; i < n; i++) {
        if (p[i] == '\n' && i > 0 && p[i - 1] == '\r')
            continue;
        ds_buf_addc(&ends, p[i] == '\r' ? '\n' : p[i]);
    }
    ds_utf8_replace(out, ends.data, ends.len);
    ds_buf_free(&ends);
}

/* Reads the wire; appends the data of all batches. */
static void read_back(struct fixture *f, enum ds_sse_kind kind, struct ds_buf *data)
{
    struct ds_limits limits = ds_limits_default();
    struct ds_events e;
    ds_events_init(&e, &limits);
    ds_events_reset(&e, kind);
    size_t used;
    for (size_t i = 0; i < f->wire.len; i += used) {
        enum ds_events_result r = ds_events_feed(&e, f->wire.data + i, f->wire.len - i, &used);
        cr_assert_neq(r, DS_EVENTS_ERROR, "%s", e.error.message);
        if (r == DS_EVENTS_BATCH) {
            ds_buf_add(data, e.staged.bytes.data, e.staged.bytes.len);
            ds_events_take(&e);
        }
    }
    cr_expect(e.control.closed);
    ds_events_free(&e);
}

static void round_trip(const char *type, const char *p, size_t n, size_t page, size_t piece)
{
    struct fixture *f = begin(type, p, n, page);
    struct ds_buf want, got;
    bool text = strcmp(type, "text/plain") == 0;
    ds_buf_init(&want, 3 * n + 1);
    ds_buf_init(&got, 3 * n + 1);
    ds_store_close(f->store, f->s, NULL, WALL);
    cr_assert_eq(take(f, piece, 0), DS_FEED_END);
    read_back(f, text ? DS_SSE_TEXT : DS_SSE_BASE64, &got);
    if (text)
        lossy(&want, p, n);
    else
        ds_buf_add(&want, p, n);
    cr_assert_eq(got.len, want.len, "%s of %zu, pages of %zu: %zu, not %zu", type, n, page, got.len,
                 want.len);
    cr_assert(n == 0 || memcmp(got.data, want.data, got.len) == 0, "%s of %zu, pages of %zu", type,
              n, page);
    ds_buf_free(&want);
    ds_buf_free(&got);
    end(f);
}

Test(devserver_feed, any_bytes_arrive_whatever_the_pages_and_pieces)
{
    static char data[100000];
    for (int i = 0; i < 3000; i++) {
        size_t n = draw(40);
        fill(data, n);
        size_t page = 1 + draw(20), piece = 1 + draw(30);
        round_trip("text/plain", data, n, page, piece);
        round_trip("application/x", data, n, page, piece);
    }
    for (int i = 0; i < 20; i++) { /* of several slices */
        size_t n = sizeof data - draw(50);
        fill(data, n);
        size_t page = 1 + draw(2 * sizeof data);
        round_trip("text/plain", data, n, page, 1 + draw(40000));
        round_trip("application/x", data, n, page, 1 + draw(40000));
    }
}

Test(devserver_feed, large_json_messages_arrive_as_they_are)
{
    static char body[200000];
    size_t n = 0;
    body[n++] = '[';
    while (n < sizeof body - 4000) {
        size_t len = draw(3000);
        if (n > 1)
            body[n++] = ',';
        body[n++] = '"';
        memset(body + n, 'a' + (int)draw(26), len);
        n += len;
        memcpy(body + n, "\\u2028\"", 7);
        n += 7;
    }
    body[n++] = ']';
    for (size_t page = 1; page < 3 * sizeof body; page *= 3) {
        struct fixture *f = begin("application/json", body, n, page);
        struct ds_buf got;
        ds_buf_init(&got, sizeof body);
        ds_store_close(f->store, f->s, NULL, WALL);
        cr_assert_eq(take(f, 5000, 0), DS_FEED_END);
        read_back(f, DS_SSE_JSON, &got);
        cr_assert_eq(got.len, n - 1);
        for (size_t i = 0; i < got.len; i++)
            cr_assert_eq(got.data[i] == '\n' ? ',' : got.data[i], i < n - 2 ? body[i + 1] : ',');
        ds_buf_free(&got);
        end(f);
    }
}

Test(devserver_feed, a_large_event_is_printed_in_slices)
{
    const size_t size = 4000000;
    char *data = calloc(1, size);
    struct fixture *f = begin("image/png", data, size, size);
    char to[4096];
    size_t n, most = 0;
    while (ds_feed_take(&f->feed, to, sizeof to, &n, 0, WALL) == DS_FEED_BYTES)
        most = f->feed.out.cap > most ? f->feed.out.cap : most;
    cr_expect_leq(most, 128 * 1024, "%zu", most);
    cr_expect_eq(f->feed.out.cap, 0, "an idle client holds %zu", f->feed.out.cap);
    end(f);
    free(data);
}

Test(devserver_feed, without_memory_it_says_so)
{
    bool whole = false;
    for (long n = 0; !whole; n++) {
        struct fixture *f = begin("text/plain", "abc", 3, 100);
        char to[1000];
        size_t len;
        ds_alloc_fail_after(n);
        enum ds_feed_result r = ds_feed_take(&f->feed, to, sizeof to, &len, 0, WALL);
        ds_alloc_fail_after(-1);
        whole = r == DS_FEED_BYTES;
        cr_expect(whole || r == DS_FEED_FAILED);
        end(f);
    }
}
