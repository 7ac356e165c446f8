/* SPDX-License-Identifier: Apache-2.0 */
/* The format of recordings: what is read, and what is written. */
#include "config.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/recorder.h"
#include "cli/wall.h"
#include "tests/unit/home.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

/* --- reading ---------------------------------------------------------------------------------- */

#define JSON_HEAD                                                                                  \
    "{\"dstream-recording\":1,\"url\":\"http://h/s\",\"contentType\":\"application/json\","        \
    "\"begun\":1767323045678}\n"
#define TEXT_HEAD                                                                                  \
    "{\"dstream-recording\":1,\"url\":\"http://h/s\",\"contentType\":\"text/"                      \
    "plain\",\"begun\":7}\n"

/* What was read, as one text: an entry a line, then why it ended. */
static void show(struct ds_buf *out, const struct ds_recording_entry *e)
{
    ds_buf_addf(out, "%lld ", (long long)e->time);
    if (e->begins)
        ds_buf_addf(out, "%s %d ", ds_recorded_name(e->by), e->status);
    for (size_t at = 0; e->begins && at < e->headers.len;) {
        const char *name = e->headers.data + at, *value = name + strlen(name) + 1;
        ds_buf_addf(out, "%s=%s ", name, value);
        at += strlen(name) + strlen(value) + 2;
    }
    ds_buf_addf(out, "%s,%llu>%s c=%s f=%u", e->offset, (unsigned long long)e->skip, e->next,
                e->cursor, e->flags);
    ds_buf_addf(out, " n=%zu:", e->items.count);
    ds_buf_add(out, e->items.bytes.data, e->items.bytes.len);
    ds_buf_addc(out, '\n');
}

/* Feeds the text in two pieces, cut at `at`, or a byte at a time. */
static void read_all(struct ds_buf *out, const char *text, size_t n, size_t at, bool each)
{
    struct ds_recording r;
    struct dstream_error err = {0};
    enum dstream_code rc = DSTREAM_OK;
    ds_recording_init(&r, "F", 3);
    for (size_t i = 0; i < n && rc == DSTREAM_OK;) {
        size_t piece = each ? 1 : i < at ? at - i : n - i;
        rc = ds_recording_feed(&r, text + i, piece, &err);
        i += piece;
        bool got = true;
        while (rc == DSTREAM_OK && got) {
            rc = ds_recording_next(&r, &got, &err);
            if (rc == DSTREAM_OK && got)
                show(out, &r.entry);
        }
    }
    if (rc != DSTREAM_OK)
        ds_buf_addf(out, "%s", err.message);
    else if (ds_recording_torn(&r) > 0)
        ds_buf_addf(out, "torn");
    else
        ds_buf_addf(out, r.begun ? "end" : "empty");
    ds_recording_free(&r);
}

static const struct {
    const char *text, *want;
} readings[] = {
    {"", "empty"},
    {JSON_HEAD, "end"},
    {JSON_HEAD
     "{\"time\":5,\"by\":\"catch-up\",\"status\":200,\"headers\":{\"etag\":\"\\\"a\\\"\","
     "\"date\":\"x\"},\"offset\":\"-1\",\"next\":\"b\",\"cursor\":\"c\",\"upToDate\":true,"
     "\"json\":[1, {\"a\":[1.0]} ,\"\\u0000\"]}\n"
     "{\"time\":5,\"offset\":\"b\",\"skip\":2,\"next\":null,\"json\":[]}\n"
     "{\"time\":6,\"offset\":\"b\",\"next\":\"c\",\"closed\":true}\n",
     "5 catch-up 200 etag=\"a\" date=x -1,0>b c=c f=9 n=3:1\n{\"a\":[1.0]}\n\"\\u0000\"\n\n"
     "5 b,2> c= f=12 n=0:\n"
     "6 b,0>c c= f=10 n=0:\nend"},
    /* Any order, white space, escapes in what is known, and keys that are not. */
    {JSON_HEAD " { \"next\" : \"b\" , \"later\":{\"time\":\"x}\"}, \"offset\":\"\\u00e9\\u0061\","
               "\"time\":0 , \"text\":\"[1,\\n2]\" } \r\n",
     "0 \xE9"
     "a,0>b c= f=8 n=2:1\n2\n\nend"},
    {TEXT_HEAD "{\"time\":1,\"by\":\"sse\",\"status\":200,\"offset\":\"a\",\"next\":\"b\",\"text\":"
               "\"\\u00e9\\ud83d\\ude00\\r\\n\\t\\b\\f\\/\"}\n"
               "{\"time\":1,\"by\":\"long-poll\",\"status\":204,\"offset\":\"b\",\"next\":\"c\","
               "\"base64\":\"/wA=\",\"upToDate\":false}\n",
     "1 sse 200 a,0>b c= f=0 n=0:\xC3\xA9\xF0\x9F\x98\x80\r\n\t\b\f/\n"
     "1 long-poll 204 b,0>c c= f=0 n=0:\xFF@\nend"},
    /* What is none. */
    {"\n", "F: line 1: it is not valid JSON"},
    {"[]\n", "F: line 1: it is not a JSON object"},
    {"{}\n", "F: line 1: it is not the first line of a recording"},
    {"{\"dstream-recording\":2,\"contentType\":\"a\",\"begun\":1}\n",
     "F: line 1: dstream-recording is not a version that this release knows"},
    {"{\"dstream-recording\":1,\"contentType\":\"a\"}\n",
     "F: line 1: contentType and begun have to be there"},
    {"{\"dstream-recording\":1,\"contentType\":\"a\",\"begun\":-1}\n",
     "F: line 1: begun is not a number in its range"},
    {JSON_HEAD "x\n", "F: line 2: it is not valid JSON"},
    {JSON_HEAD "{\"time\":1,\"offset\":\"a\"}\n",
     "F: line 2: time, offset and next have to be there"},
    {JSON_HEAD "{\"time\":2,\"offset\":\"a\",\"next\":\"b\"}\n"
               "{\"time\":1,\"offset\":\"b\",\"next\":\"c\"}\n",
     "2 a,0>b c= f=8 n=0:\nF: line 3: time is before that of the line before"},
    {JSON_HEAD "{\"time\":2.5,\"offset\":\"a\",\"next\":\"b\"}\n",
     "F: line 2: time is not a number in its range"},
    {JSON_HEAD "{\"time\":2,\"offset\":\"\",\"next\":\"b\"}\n",
     "F: line 2: offset cannot be an offset or cursor"},
    {JSON_HEAD "{\"time\":2,\"offset\":\"a b\",\"next\":\"b\"}\n",
     "F: line 2: offset cannot be an offset or cursor"},
    {JSON_HEAD "{\"time\":2,\"offset\":\"\\u0100\",\"next\":\"b\"}\n",
     "F: line 2: offset is not text, or has a character above U+00FF in it"},
    {JSON_HEAD "{\"time\":2,\"offset\":\"a\",\"next\":null,\"closed\":true}\n",
     "F: line 2: a part of an answer cannot be the stream's end"},
    {JSON_HEAD "{\"time\":2,\"offset\":\"a\",\"next\":\"b\",\"closed\":1}\n",
     "F: line 2: closed is neither true nor false"},
    {JSON_HEAD "{\"time\":2,\"offset\":\"a\",\"next\":\"b\",\"json\":[[[[1]]]]}\n",
     "2 a,0>b c= f=8 n=1:[[[1]]]\n\nend"},
    {JSON_HEAD "{\"time\":2,\"offset\":\"a\",\"next\":\"b\",\"json\":[[[[[1]]]]]}\n",
     "F: line 2: it is not valid JSON"},
    {JSON_HEAD "{\"time\":2,\"offset\":\"a\",\"next\":\"b\",\"json\":{}}\n",
     "F: line 2: json is not an array of messages"},
    {JSON_HEAD "{\"time\":2,\"offset\":\"a\",\"next\":\"b\",\"json\":[],\"text\":\"[]\"}\n",
     "F: line 2: text is a second body"},
    {JSON_HEAD "{\"time\":2,\"offset\":\"a\",\"next\":\"b\",\"base64\":\"\"}\n",
     "F: line 2: base64 is not for a JSON stream"},
    {TEXT_HEAD "{\"time\":2,\"offset\":\"a\",\"next\":\"b\",\"json\":[]}\n",
     "F: line 2: json is for a JSON stream"},
    {TEXT_HEAD "{\"time\":2,\"offset\":\"a\",\"next\":\"b\",\"text\":\"\\ud800x\"}\n",
     "F: line 2: text is not text, or has half of a surrogate pair in it"},
    {TEXT_HEAD "{\"time\":2,\"offset\":\"a\",\"next\":\"b\",\"text\":\"\\ud800\\u0041\"}\n",
     "F: line 2: text is not text, or has half of a surrogate pair in it"},
    {TEXT_HEAD "{\"time\":2,\"offset\":\"a\",\"next\":\"b\",\"text\":7}\n",
     "F: line 2: text is not text, or has half of a surrogate pair in it"},
    {TEXT_HEAD "{\"time\":2,\"by\":\"post\",\"offset\":\"a\",\"next\":\"b\"}\n",
     "F: line 2: by is not catch-up, long-poll or sse"},
};

static void expect_read(const char *text, size_t n, size_t at, bool each, const char *want)
{
    struct ds_buf got;
    ds_buf_init(&got, 100000);
    read_all(&got, text, n, at, each);
    /* A NUL in the data is shown as @. */
    for (size_t i = 0; i < got.len; i++)
        got.data[i] = got.data[i] ? got.data[i] : '@';
    cr_expect_str_eq(ds_buf_str(&got), want, "%s\ncut at %zu: got %s\nwant %s", text, at,
                     ds_buf_str(&got), want);
    ds_buf_free(&got);
}

Test(recording, is_read_whatever_the_pieces)
{
    for (size_t i = 0; i < COUNT(readings); i++) {
        size_t n = strlen(readings[i].text);
        for (size_t at = 0; at <= n; at++)
            expect_read(readings[i].text, n, at, false, readings[i].want);
        expect_read(readings[i].text, n, 0, true, readings[i].want);
    }
}

/* Cut at each byte: the entries before, and a line that is torn is none, and is named. */
Test(recording, that_is_cut_has_what_is_whole)
{
    const char *text = readings[2].text, *want = readings[2].want;
    size_t n = strlen(text);
    for (size_t end = 0; end < n; end++) {
        struct ds_buf got;
        ds_buf_init(&got, 100000);
        read_all(&got, text, end, 0, false);
        size_t tail = end == 0 ? 5 : text[end - 1] == '\n' ? 3 : 4;
        cr_assert_geq(got.len, tail);
        const char *shown = ds_buf_str(&got), *ending = shown + got.len - tail;
        cr_expect_str_eq(ending,
                         tail == 5   ? "empty"
                         : tail == 3 ? "end"
                                     : "torn",
                         "at %zu: %s", end, shown);
        cr_expect_eq(memcmp(shown, want, got.len - tail), 0, "at %zu: %s", end, shown);
        ds_buf_free(&got);
    }
}

/* --- writing ---------------------------------------------------------------------------------- */

TestSuite(recorder, .init = home_enter, .fini = home_leave);

struct recorded {
    struct ds_recorder recorder;
    struct ds_exporter_form form;
    struct ds_exporter *x;
    struct ds_items items;
    const char *type;
};

static enum dstream_code open_recorder(struct recorded *r, const char *type, int64_t now,
                                       struct dstream_error *err)
{
    *r = (struct recorded){.type = type};
    ds_recorder_init(&r->recorder, "http://me:secret@h/s?token=secret&a=1");
    ds_recorder_form(&r->recorder, &r->form);
    ds_items_init(&r->items, 10000);
    struct ds_exporter_config c = {.file = {.path = "out"},
                                   .url = r->recorder.url,
                                   .form = &r->form,
                                   .sync_ms = 1000,
                                   .max_witness = 1000};
    enum dstream_code rc = ds_exporter_open(&r->x, &c, err);
    return rc == DSTREAM_OK ? ds_recorder_start(&r->recorder, r->x, now, err) : rc;
}

static void close_recorder(struct recorded *r)
{
    ds_exporter_free(r->x);
    ds_recorder_free(&r->recorder);
    ds_items_free(&r->items);
}

static void answer(struct recorded *r, bool live, const char *type)
{
    struct ds_head h = {.status = live && !type ? 204 : 200};
    ds_buf_init(&h.fields, 1000);
    static const char *const fields[][2] = {{"Set-Cookie", "secret"},
                                            {"ETag", "\"e\""},
                                            {"Authorization", "secret"},
                                            {"Stream-Cursor", "\xE9"}};
    for (size_t i = 0; i < COUNT(fields); i++)
        ds_head_add(&h, fields[i][0], strlen(fields[i][0]), fields[i][1], strlen(fields[i][1]));
    if (type)
        ds_head_add(&h, "Content-Type", 12, type, strlen(type));
    ds_recorder_head(&r->recorder, live, &h);
    ds_head_free(&h);
}

/* `data`: messages between bars, or bytes. `skip` of them were taken before. */
static enum dstream_code batch(struct recorded *r, const char *start, const char *next,
                               const char *data, size_t n, uint64_t skip, unsigned flags,
                               int64_t now)
{
    struct dstream_error err = {0};
    bool json = ds_type_is_json(r->type), stop;
    ds_items_reset(&r->items, 0);
    for (size_t i = 0; i < n; i++) {
        bool end = json && data[i] == '|';
        ds_buf_addc(&r->items.bytes, end ? '\n' : data[i]);
        if (end)
            ds_items_end(&r->items);
    }
    struct dstream_batch b = {.items = &r->items, .skip = skip, .cursor = ""};
    b.flags = flags | (json ? DSTREAM_BATCH_JSON : 0U);
    b.start = start;
    b.next = next;
    b.first = json ? (size_t)skip : 0;
    b.first_byte = !json ? (size_t)skip : skip == 0 ? 0 : r->items.ends[skip - 1];
    return ds_exporter_take(r->x, r->type, &b, now, &stop, &err);
}

/* The file, the clock's time in its first line being put out of the way. */
static const char *contents(void)
{
    static char text[10000];
    FILE *f = fopen("out", "rb");
    cr_assert_not_null(f);
    text[fread(text, 1, sizeof text - 1, f)] = '\0';
    fclose(f);
    char *begun = strstr(text, "\"begun\":");
    cr_assert_not_null(begun);
    size_t digits = strspn(begun + 8, "0123456789");
    memmove(begun + 9, begun + 8 + digits, strlen(begun + 8 + digits) + 1);
    begun[8] = '0';
    return text;
}

#define WRITTEN_HEAD(type)                                                                         \
    "{\"dstream-recording\":1,\"url\":\"http://h/s?a=1\",\"contentType\":\"" type                  \
    "\",\"begun\":0}\n"

Test(recorder, writes_what_is_read)
{
    struct recorded r;
    struct dstream_error err = {0};
    cr_assert_eq(open_recorder(&r, "application/json", 1000, &err), DSTREAM_OK);
    answer(&r, false, "application/json");
    batch(&r, "-1", "b", "1|{\"a\": \"\\u00e9\"}|", 19, 0, 0, 1000);
    batch(&r, "b", "b", "", 0, 0, DSTREAM_BATCH_UP_TO_DATE, 1001); /* says nothing new */
    answer(&r, true, "text/event-stream; charset=utf-8");
    batch(&r, "b", "c", "[1,\n2]|", 7, 0, DSTREAM_BATCH_UP_TO_DATE, 1010);
    batch(&r, "c", "", "3|", 2, 0, DSTREAM_BATCH_PARTIAL, 1011);
    batch(&r, "c", "d", "3|4|5|", 6, 1, 0, 1012);
    answer(&r, true, NULL);
    batch(&r, "d", "d", "", 0, 0, DSTREAM_BATCH_UP_TO_DATE | DSTREAM_BATCH_CLOSED, 2000);
    cr_expect_eq(ds_exporter_finish(r.x, true, &err), DSTREAM_OK);
    close_recorder(&r);
    cr_expect_str_eq(
        contents(),
        WRITTEN_HEAD(
            "application/json") "{\"time\":0,\"by\":\"catch-up\",\"status\":200,\"headers\":{"
                                "\"content-type\":"
                                "\"application/"
                                "json\",\"etag\":\"\\\"e\\\"\",\"stream-cursor\":\"\\u00e9\"},"
                                "\"offset\":"
                                "\"-1\",\"next\":\"b\",\"json\":[1,{\"a\": \"\\u00e9\"}]}\n"
                                "{\"time\":10,\"by\":\"sse\",\"status\":200,\"headers\":{\"content-"
                                "type\":"
                                "\"text/event-stream; "
                                "charset=utf-8\",\"etag\":\"\\\"e\\\"\",\"stream-cursor\":"
                                "\"\\u00e9\"},"
                                "\"offset\":\"b\",\"next\":\"c\",\"upToDate\":true,\"text\":\"[[1,"
                                "\\n2]]\"}\n"
                                "{\"time\":11,\"offset\":\"c\",\"next\":null,\"json\":[3]}\n"
                                "{\"time\":12,\"offset\":\"c\",\"skip\":1,\"next\":\"d\",\"json\":["
                                "4,5]}\n"
                                "{\"time\":1000,\"by\":\"long-poll\",\"status\":204,\"headers\":{"
                                "\"etag\":\"\\\"e\\\"\","
                                "\"stream-cursor\":\"\\u00e9\"},\"offset\":\"d\",\"next\":\"d\","
                                "\"upToDate\":true,"
                                "\"closed\":true}\n");
}

Test(recorder, keeps_each_byte)
{
    struct recorded r;
    struct dstream_error err = {0};
    char all[256];
    for (size_t i = 0; i < sizeof all; i++)
        all[i] = (char)i;
    cr_assert_eq(open_recorder(&r, "text/plain", 0, &err), DSTREAM_OK);
    batch(&r, "-1", "b", all, 128, 0, 0, 0);
    batch(&r, "b", "\xFF", all, 256, 100, 0, 0);
    cr_expect_eq(ds_exporter_finish(r.x, true, &err), DSTREAM_OK);
    close_recorder(&r);
    static char text[10000];
    FILE *f = fopen("out", "rb");
    size_t n = fread(text, 1, sizeof text, f);
    fclose(f);
    struct ds_recording in;
    bool got;
    ds_recording_init(&in, "out", 10);
    cr_assert_eq(ds_recording_feed(&in, text, n, &err), DSTREAM_OK);
    cr_assert_eq(ds_recording_next(&in, &got, &err), DSTREAM_OK, "%s", err.message);
    cr_assert(got && in.entry.items.bytes.len == 128);
    cr_expect_eq(memcmp(in.entry.items.bytes.data, all, 128), 0);
    cr_assert_eq(ds_recording_next(&in, &got, &err), DSTREAM_OK, "%s", err.message);
    cr_assert(got && in.entry.items.bytes.len == 156);
    cr_expect_eq(memcmp(in.entry.items.bytes.data, all + 100, 156), 0);
    cr_expect_eq(in.entry.skip, 100);
    cr_expect_str_eq(in.entry.next, "\xFF");
    ds_recording_free(&in);
}

/* A second run, whose clock begins anew, goes on with the time of day; but never goes back. */
Test(recorder, goes_on_with_its_time)
{
    struct recorded r;
    struct dstream_error err = {0};
    cr_assert_eq(open_recorder(&r, "text/plain", 5000, &err), DSTREAM_OK);
    batch(&r, "-1", "b", "one", 3, 0, 0, 5100);
    batch(&r, "b", "c", "two", 3, 0, 0, 3605000); /* an hour later, by that clock alone */
    cr_expect_eq(ds_exporter_finish(r.x, true, &err), DSTREAM_OK);
    close_recorder(&r);
    cr_assert_eq(open_recorder(&r, "text/plain", 7, &err), DSTREAM_OK, "%s", err.message);
    cr_expect_eq(r.recorder.last, 3600000);
    batch(&r, "c", "d", "three", 5, 0, 0, 20);
    cr_expect_eq(ds_exporter_finish(r.x, true, &err), DSTREAM_OK);
    close_recorder(&r);
    cr_expect_str_eq(
        contents(),
        WRITTEN_HEAD(
            "text/plain") "{\"time\":100,\"offset\":\"-1\",\"next\":\"b\",\"text\":\"one\"}\n"
                          "{\"time\":3600000,\"offset\":\"b\",\"next\":\"c\",\"text\":\"two\"}\n"
                          "{\"time\":3600013,\"offset\":\"c\",\"next\":\"d\",\"text\":\"three\"}"
                          "\n");
}

/* The last line is found however long it is, and wherever a piece of it is cut. */
Test(recorder, finds_the_last_line)
{
    static char data[200000];
    memset(data, 'x', sizeof data);
    static const size_t sizes[] = {0, 1, 65300, 65400, 65450, 65536, 131000, 199999};
    for (size_t i = 0; i < COUNT(sizes); i++) {
        struct recorded r;
        struct dstream_error err = {0};
        (void)unlink("out");
        (void)unlink("out.dstate");
        cr_assert_eq(open_recorder(&r, "text/plain", 0, &err), DSTREAM_OK);
        r.items.bytes.max = sizeof data;
        batch(&r, "-1", "b", data, sizes[i], 0, 0, 123456);
        cr_expect_eq(ds_exporter_finish(r.x, true, &err), DSTREAM_OK);
        close_recorder(&r);
        cr_assert_eq(open_recorder(&r, "text/plain", 0, &err), DSTREAM_OK, "%s", err.message);
        cr_expect_eq(r.recorder.last, 123456, "%zu: %lld", sizes[i], (long long)r.recorder.last);
        close_recorder(&r);
    }
}

/* An export and a recording are not continued as each other. */
Test(recorder, refuses_what_is_no_recording)
{
    struct recorded r;
    struct dstream_error err = {0};
    cr_assert_eq(open_recorder(&r, "text/plain", 0, &err), DSTREAM_OK);
    batch(&r, "-1", "b", "one", 3, 0, 0, 0);
    cr_expect_eq(ds_exporter_finish(r.x, true, &err), DSTREAM_OK);
    close_recorder(&r);
    struct ds_exporter_config c = {
        .file = {.path = "out"}, .url = "http://h/s?a=1", .sync_ms = 1000, .max_witness = 1000};
    struct ds_exporter *x;
    cr_expect_neq(ds_exporter_open(&x, &c, &err), DSTREAM_OK);
    cr_expect(strstr(err.message, "recording"), "%s", err.message);
}

Test(wall, time_is_printed)
{
    char text[DS_TIME_SIZE];
    ds_print_time(0, text);
    cr_expect_str_eq(text, "1970-01-01T00:00:00.000Z");
    ds_print_time(1767323045078, text);
    cr_expect_str_eq(text, "2026-01-02T03:04:05.078Z");
    ds_print_time(-1, text);
    cr_expect_str_eq(text, "");
    cr_expect_gt(ds_wall_now(), 1767323045078);
}
