/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>

#include <cjson/cJSON.h>
#include <string.h>

#include "base/alloc.h"
#include "store/checkpoint.h"
#include "store/witness.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

static struct ds_checkpoint sample(void)
{
    struct ds_checkpoint c = {
        .url = "https://example.org/s?a=b",
        .left_out = "token&X-Sig&",
        .content_type = "application/json; charset=\"utf-8\"",
        .format = "ndjson",
        .from = "now",
        .from_skip = 9007199254740993,
        .from_offset = "0000_0001",
        .first = "0000_0001",
        .offset = "0000_00ff",
        .skip = UINT64_MAX,
        .closed = true,
        .has_output = true,
        .length = 9007199254740995,
        .tail = "00112233445566778899aabbccddeeff",
        .witness = {.start = "0000_00f0",
                    .delivered = 3,
                    .hashed = 2,
                    .hash = "ffeeddccbbaa99887766554433221100"},
        .time = "2026-07-01T12:34:56Z",
    };
    return c;
}

static void line_of(struct ds_buf *b, const struct ds_checkpoint *c)
{
    ds_buf_init(b, DS_CHECKPOINT_LINE_MAX);
    cr_assert_eq(ds_checkpoint_write(b, c), DSTREAM_OK);
}

static void expect_round_trip(const struct ds_checkpoint *c)
{
    struct ds_buf b;
    line_of(&b, c);
    struct ds_checkpoint back;
    struct dstream_error err = {0};
    cr_expect_eq(ds_checkpoint_read(&back, b.data, b.len, "f", &err), DSTREAM_OK, "%s",
                 err.message);
    struct ds_buf again;
    line_of(&again, &back);
    cr_expect(b.len == again.len && memcmp(b.data, again.data, b.len) == 0);
    cr_expect_str_eq(back.url, c->url);
    cr_expect_str_eq(back.left_out, c->left_out);
    cr_expect_str_eq(back.content_type, c->content_type);
    cr_expect_str_eq(back.offset, c->offset);
    cr_expect_eq(back.skip, c->skip);
    cr_expect_eq(back.from_skip, c->from_skip);
    cr_expect_eq(back.length, c->length);
    cr_expect_str_eq(back.witness.start, c->witness.start);
    cr_expect_str_eq(back.witness.hash, c->witness.hash);
    cr_expect_eq(back.has_output, c->has_output);
    cr_expect_eq(back.closed, c->closed);
    ds_buf_free(&b);
    ds_buf_free(&again);
}

Test(checkpoint, keeps_a_template_and_an_open_line)
{
    struct ds_checkpoint c = sample(), back;
    struct dstream_error err = {0};
    struct ds_buf b;
    strcpy(c.format, "template");
    memset(c.template, '\xFF', DS_TEMPLATE_MAX);
    memcpy(c.template, "%s\\n\n", 6);
    c.in_line = true;
    expect_round_trip(&c);
    line_of(&b, &c);
    cr_assert_eq(ds_checkpoint_read(&back, b.data, b.len, "f", &err), DSTREAM_OK, "%s",
                 err.message);
    cr_expect_str_eq(back.template, c.template);
    cr_expect(back.in_line);
    ds_buf_free(&b);
}

Test(checkpoint, reads_back_what_it_wrote)
{
    struct ds_checkpoint c = sample();
    expect_round_trip(&c);
    c.closed = false;
    c.has_output = false;
    c.length = 0;
    c.witness = (struct ds_checkpoint_witness){0};
    c.left_out[0] = '\0';
    expect_round_trip(&c);
}

Test(checkpoint, any_byte_of_an_offset_and_the_longest_one_survive)
{
    struct ds_checkpoint c = sample();
    for (int i = 0; i < 255; i++)
        c.offset[i] = (char)(i + 1);
    c.offset[255] = '\0';
    memset(c.first, 0xFF, DS_TOKEN_MAX);
    memset(c.from, '"', DS_TOKEN_MAX);
    memset(c.from_offset, '\\', DS_TOKEN_MAX);
    memset(c.witness.start, 0x80, DS_TOKEN_MAX);
    memset(c.url, 0xC3, DS_CHECKPOINT_URL_MAX);
    memset(c.content_type, 0xE9, sizeof c.content_type - 1);
    expect_round_trip(&c);
}

Test(checkpoint, is_one_line_that_a_json_reader_takes)
{
    struct ds_checkpoint c = sample();
    struct ds_buf b;
    line_of(&b, &c);
    cr_expect_eq(strchr(ds_buf_str(&b), '\n') - b.data, (ptrdiff_t)b.len - 1);
    cJSON *o = cJSON_Parse(b.data);
    cr_assert_not_null(o);
    cr_expect_str_eq(cJSON_GetObjectItem(o, "skip")->valuestring, "18446744073709551615");
    cr_expect_str_eq(cJSON_GetObjectItem(o, "offset")->valuestring, "0000_00ff");
    cr_expect_eq(cJSON_GetArraySize(cJSON_GetObjectItem(o, "left_out")), 2);
    cJSON_Delete(o);
    ds_buf_free(&b);
}

static enum dstream_code read_line(const char *line, size_t n, struct dstream_error *err)
{
    struct ds_checkpoint c;
    return ds_checkpoint_read(&c, line, n, "the/path", err);
}

Test(checkpoint, no_changed_cut_or_extended_line_is_taken)
{
    struct ds_checkpoint c = sample();
    struct ds_buf b;
    line_of(&b, &c);
    struct dstream_error err = {0};
    for (size_t i = 0; i < b.len; i++) {
        char good = b.data[i];
        for (int v = 0; v < 256; v++) {
            if ((char)v == good)
                continue;
            b.data[i] = (char)v;
            if (read_line(b.data, b.len, &err) != DSTREAM_ERR_STATE_CORRUPT)
                cr_assert_fail("byte %zu changed to %d", i, v);
        }
        b.data[i] = good;
    }
    for (size_t n = 0; n < b.len; n++)
        cr_expect_eq(read_line(b.data, n, &err), DSTREAM_ERR_STATE_CORRUPT, "cut at %zu", n);
    for (size_t n = 1; n < b.len; n++)
        cr_expect_eq(read_line(b.data + n, b.len - n, &err), DSTREAM_ERR_STATE_CORRUPT);
    cr_assert_eq(ds_buf_adds(&b, "\n"), DSTREAM_OK);
    cr_expect_eq(read_line(b.data, b.len, &err), DSTREAM_ERR_STATE_CORRUPT);
    ds_buf_free(&b);
}

/* A line with a right CRC, whatever else is wrong with it. */
static void sealed(struct ds_buf *b, const char *text)
{
    ds_buf_init(b, DS_CHECKPOINT_LINE_MAX);
    cr_assert_eq(ds_buf_adds(b, text), DSTREAM_OK);
    cr_assert_eq(ds_buf_addf(b, ",\"crc\":\"%08x\"}\n", (unsigned)ds_crc32(text, strlen(text))),
                 DSTREAM_OK);
}

#define HEAD                                                                                       \
    "{\"dstate\":1,\"url\":\"u\",\"left_out\":[],\"content_type\":\"\",\"format\":\"raw\","        \
    "\"from\":\"-1\",\"from_skip\":\"0\",\"from_offset\":\"-1\",\"first\":\"\","
#define H32 "00112233445566778899aabbccddeeff"

Test(checkpoint, each_bad_state_says_what_is_wrong)
{
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"{\"dstate\":2,\"anything\":1", "version"},
        {"{\"dstate\":10,\"anything\":1", "version"},
        {"{\"state\":1", "not a state file"},
        {"{\"dstate\":1,\"x\":01", "not JSON"},
        {"{\"dstate\":1,\"x\":1", "lacks a field"},
        {HEAD "\"offset\":\"\",\"skip\":\"0\",\"closed\":false,\"time\":\"\"", "lacks a field"},
        {HEAD "\"offset\":1,\"skip\":\"0\",\"closed\":false,\"time\":\"\"", "lacks a field"},
        {HEAD "\"offset\":\"1\",\"skip\":0,\"closed\":false,\"time\":\"\"", "lacks a field"},
        {HEAD "\"offset\":\"1\",\"skip\":\"-1\",\"closed\":false,\"time\":\"\"", "lacks a field"},
        {HEAD "\"offset\":\"1\",\"skip\":\"18446744073709551616\",\"closed\":false,\"time\":\"\"",
         "lacks a field"},
        {HEAD "\"offset\":\"1\",\"skip\":\"0\",\"closed\":\"no\",\"time\":\"\"", "lacks a field"},
        {HEAD "\"offset\":\"\\u0100\",\"skip\":\"0\",\"closed\":false,\"time\":\"\"",
         "lacks a field"},
        {HEAD "\"offset\":\"1\",\"skip\":\"0\",\"closed\":false,\"output\":1,\"time\":\"\"",
         "lacks a field"},
        {HEAD "\"offset\":\"1\",\"skip\":\"0\",\"closed\":false,"
              "\"output\":{\"length\":\"1\",\"tail\":\"md5:" H32 "\"},\"time\":\"\"",
         "lacks a field"},
        {HEAD "\"offset\":\"1\",\"skip\":\"0\",\"closed\":false,"
              "\"output\":{\"length\":\"1\",\"tail\":\"xxh3-128:" H32 "0\"},\"time\":\"\"",
         "lacks a field"},
        {HEAD "\"offset\":\"1\",\"skip\":\"0\",\"closed\":false,"
              "\"witness\":{\"start\":\"\",\"delivered\":\"1\",\"hashed\":\"1\",\"hash\":"
              "\"xxh3-128:" H32 "\"},\"time\":\"\"",
         "lacks a field"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct ds_buf b;
        sealed(&b, cases[i].text);
        struct dstream_error err = {0};
        cr_expect_eq(read_line(b.data, b.len, &err), DSTREAM_ERR_STATE_CORRUPT, "case %zu", i);
        cr_expect(strstr(err.message, cases[i].says), "case %zu: %s", i, err.message);
        cr_expect(strstr(err.message, "the/path") == err.message);
        ds_buf_free(&b);
    }
    struct dstream_error err = {0};
    cr_expect_eq(read_line("", 0, &err), DSTREAM_ERR_STATE_CORRUPT);
    cr_expect(strstr(err.message, "empty"));
    struct ds_buf b;
    sealed(&b, HEAD "\"offset\":\"1\",\"skip\":\"0\",\"closed\":false,\"later\":[1],\"time\":\"\"");
    cr_expect_eq(read_line(b.data, b.len, &err), DSTREAM_OK, "unknown fields are skipped");
    ds_buf_free(&b);
}

Test(checkpoint, a_full_buffer_stays_as_it_was)
{
    struct ds_checkpoint c = sample();
    struct ds_buf b;
    line_of(&b, &c);
    size_t whole = b.len;
    ds_buf_free(&b);
    for (size_t cap = 0; cap < whole; cap += 7) {
        ds_buf_init(&b, cap);
        cr_expect_eq(ds_checkpoint_write(&b, &c), DSTREAM_ERR_LIMIT);
        cr_expect_eq(b.len, 0);
        ds_buf_free(&b);
    }
}

Test(checkpoint, running_out_of_memory_is_reported_as_that)
{
    struct ds_checkpoint c = sample(), back;
    struct ds_buf b;
    line_of(&b, &c);
    ds_buf_free(&b);
    for (long n = 0;; n++) {
        ds_buf_init(&b, DS_CHECKPOINT_LINE_MAX);
        ds_alloc_fail_after(n);
        enum dstream_code rc = ds_checkpoint_write(&b, &c);
        ds_alloc_fail_after(-1);
        if (rc == DSTREAM_OK)
            break;
        cr_expect_eq(rc, DSTREAM_ERR_NOMEM);
        ds_buf_free(&b);
    }
    struct dstream_error err = {0};
    cr_expect_eq(ds_checkpoint_read(&back, b.data, b.len, "f", &err), DSTREAM_OK);
    ds_buf_free(&b);
}

Test(checkpoint, secrets_of_the_url_are_left_out_and_named)
{
    static const struct {
        const char *url, *kept, *left_out;
    } cases[] = {
        {"http://h/p", "http://h/p", ""},
        {"http://user:pw@h:1/p", "http://h:1/p", ""},
        {"http://user:p@w@h/p@q", "http://h/p@q", ""},
        {"https://h", "https://h", ""},
        {"http://u@h?x=1", "http://h?x=1", ""},
        {"http://h/p#frag?token=1", "http://h/p", ""},
        {"http://h/p?a=1&b=2", "http://h/p?a=1&b=2", ""},
        {"http://h/p?token=t", "http://h/p", "token&"},
        {"http://h/p?a=1&token=t&b=2#f", "http://h/p?a=1&b=2", "token&"},
        {"http://h/p?access_token=t&b", "http://h/p?b", "access_token&"},
        {"http://h/p?tok%65n=t", "http://h/p", "tok%65n&"},
        {"http://h/p?to%4Ben=t", "http://h/p", "to%4Ben&"},
        {"http://h/p?x%00token=t", "http://h/p", "x%00token&"},
        {"http://h/p?API_KEY=t&key=k", "http://h/p", "API_KEY&key&"},
        {"http://h/p?apikey=t", "http://h/p", "apikey&"},
        {"http://h/p?secret=s&client_secret=c", "http://h/p", "secret&client_secret&"},
        {"http://h/p?password=s&passwd=c&pwd=x&pass=y", "http://h/p", "password&passwd&pwd&pass&"},
        {"http://h/p?sig=s&signature=c&hmac=1", "http://h/p", "sig&signature&hmac&"},
        {"http://h/p?auth=s&authorization=c&credential=1", "http://h/p",
         "auth&authorization&credential&"},
        {"http://h/p?X-Amz-Signature=1&X-Amz-Date=2&X-Amz-Credential=3&X-Amz-Security-Token=4",
         "http://h/p?X-Amz-Date=2", "X-Amz-Signature&X-Amz-Credential&X-Amz-Security-Token&"},
        {"http://h/p?design=1&keyboard=2&author=3&monkey=4",
         "http://h/p?design=1&keyboard=2&author=3&monkey=4", ""},
        {"http://h/p?&&a=1&", "http://h/p?a=1", ""},
        {"http://h/p?a=token", "http://h/p?a=token", ""},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct ds_checkpoint c = {.url = "old", .left_out = "old"};
        struct dstream_error err = {0};
        cr_expect_eq(ds_checkpoint_set_url(&c, cases[i].url, &err), DSTREAM_OK);
        cr_expect_str_eq(c.url, cases[i].kept);
        cr_expect_str_eq(c.left_out, cases[i].left_out);
    }
}

Test(checkpoint, a_url_that_is_too_long_is_refused_not_cut)
{
    static char url[DS_CHECKPOINT_URL_MAX + 2] = "http://h/";
    struct ds_checkpoint c;
    struct dstream_error err = {0};
    memset(url + strlen(url), 'x', sizeof url - 2 - strlen(url));
    cr_expect_eq(ds_checkpoint_set_url(&c, url, &err), DSTREAM_OK);
    cr_expect_str_eq(c.url, url);
    url[sizeof url - 2] = 'x';
    cr_expect_eq(ds_checkpoint_set_url(&c, url, &err), DSTREAM_ERR_LIMIT);
}

Test(checkpoint, fits_only_the_same_stream_format_and_start)
{
    struct ds_checkpoint c = sample();
    strcpy(c.from, "-1");
    c.from_skip = 0;
    static const struct {
        struct ds_checkpoint_ask ask;
        enum dstream_code code;
    } cases[] = {
        {{.url = "https://example.org/s?a=b"}, DSTREAM_OK},
        {{.url = "https://me@example.org/s?a=b&token=other", .format = "ndjson", .from = "-1"},
         DSTREAM_OK},
        {{.url = "https://example.org/s?a=c"}, DSTREAM_ERR_STATE_MISMATCH},
        {{.url = "https://example.org/s"}, DSTREAM_ERR_STATE_MISMATCH},
        {{.url = "https://example.org/s?a=b", .format = "raw"}, DSTREAM_ERR_ARGUMENT},
        {{.url = "https://example.org/s?a=b", .template = "%s"}, DSTREAM_ERR_ARGUMENT},
        {{.url = "https://example.org/s?a=b", .from = "now"}, DSTREAM_ERR_ARGUMENT},
        {{.url = "https://example.org/s?a=b", .from = "-1", .from_skip = 1}, DSTREAM_ERR_ARGUMENT},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct dstream_error err = {0};
        cr_expect_eq(ds_checkpoint_fits(&c, &cases[i].ask, "f", &err), cases[i].code, "case %zu",
                     i);
    }
}

/* --- witness ---------------------------------------------------------------------------------- */

static void expect_witness(const struct ds_checkpoint_witness *w, const char *start,
                           uint64_t delivered, uint64_t hashed, const char *bytes)
{
    char hex[DS_HASH_HEX];
    ds_hash_of(bytes, strlen(bytes), hex);
    cr_expect_str_eq(w->start, start);
    cr_expect_eq(w->delivered, delivered);
    cr_expect_eq(w->hashed, hashed);
    cr_expect_str_eq(w->hash, hex);
}

static struct ds_witness_piece bytes_at(const char *start, uint64_t at, const char *data)
{
    return (struct ds_witness_piece){.start = start, .at = at, .data = data, .len = strlen(data)};
}

Test(witness, is_the_beginning_of_the_last_batch_with_data)
{
    struct ds_witness_keeper k;
    struct ds_checkpoint_witness w = {0};
    cr_assert_eq(ds_witness_begin(&k, 4), DSTREAM_OK);
    struct ds_witness_piece p = bytes_at("-1", 0, "");
    ds_witness_add(&k, &w, &p);
    cr_expect_str_eq(w.start, "");
    p = bytes_at("-1", 0, "abc");
    ds_witness_add(&k, &w, &p);
    expect_witness(&w, "-1", 3, 3, "abc");
    p = bytes_at("3", 0, "defghi");
    ds_witness_add(&k, &w, &p);
    expect_witness(&w, "3", 6, 4, "defg");
    p = bytes_at("9", 0, "");
    ds_witness_add(&k, &w, &p);
    expect_witness(&w, "3", 6, 4, "defg");
    ds_witness_end(&k);
}

Test(witness, grows_with_the_pieces_of_a_batch)
{
    static const char data[] = "0123456789";
    for (size_t a = 0; a <= 10; a++) {
        for (size_t b = a; b <= 10; b++) {
            struct ds_witness_keeper k;
            struct ds_checkpoint_witness w = {0};
            cr_assert_eq(ds_witness_begin(&k, 6), DSTREAM_OK);
            size_t from[] = {0, a, b}, to[] = {a, b, 10};
            for (size_t i = 0; i < 3; i++) {
                struct ds_witness_piece p = {
                    .start = "s", .at = from[i], .data = data + from[i], .len = to[i] - from[i]};
                ds_witness_add(&k, &w, &p);
            }
            expect_witness(&w, "s", 10, 6, "012345");
            ds_witness_end(&k);
        }
    }
}

Test(witness, of_a_batch_whose_beginning_was_not_seen_stays_the_earlier_one)
{
    struct ds_witness_keeper k;
    struct ds_checkpoint_witness w = {0};
    cr_assert_eq(ds_witness_begin(&k, 100), DSTREAM_OK);
    struct ds_witness_piece p = bytes_at("5", 2, "xx");
    ds_witness_add(&k, &w, &p);
    cr_expect_str_eq(w.start, "");
    p = bytes_at("1", 0, "abc");
    ds_witness_add(&k, &w, &p);
    p = bytes_at("5", 2, "xx");
    ds_witness_add(&k, &w, &p);
    expect_witness(&w, "1", 3, 3, "abc");
    ds_witness_end(&k);

    /* A later session goes on in the middle of the batch: what was hashed stays, more was taken. */
    cr_assert_eq(ds_witness_begin(&k, 100), DSTREAM_OK);
    p = bytes_at("1", 3, "defg");
    ds_witness_add(&k, &w, &p);
    expect_witness(&w, "1", 7, 3, "abc");
    ds_witness_end(&k);
}

Test(witness, covers_whole_messages)
{
    static const char data[] = "1\n22\n333\n";
    static const size_t ends[] = {2, 5, 9};
    static const struct {
        size_t cap;
        uint64_t hashed;
        const char *bytes;
    } cases[] = {{2, 1, "1\n"}, {4, 1, "1\n"}, {5, 2, "1\n22\n"}, {9, 3, data}, {99, 3, data}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct ds_witness_keeper k;
        struct ds_checkpoint_witness w = {0};
        cr_assert_eq(ds_witness_begin(&k, cases[i].cap), DSTREAM_OK);
        struct ds_witness_piece p = {
            .start = "s", .data = data, .len = 9, .ends = ends, .count = 3};
        ds_witness_add(&k, &w, &p);
        expect_witness(&w, "s", 3, cases[i].hashed, cases[i].bytes);
        /* A message that no longer fits ends it, also for smaller ones behind it. */
        static const size_t one[] = {1};
        p = (struct ds_witness_piece){
            .start = "s", .at = 3, .data = "\n", .len = 1, .ends = one, .count = 1};
        ds_witness_add(&k, &w, &p);
        cr_expect_eq(w.delivered, 4);
        cr_expect_eq(w.hashed, cases[i].cap == 99 ? 4 : cases[i].hashed);
        /* One too large as a whole leaves what there was. */
        static const size_t large[] = {200};
        static char text[200];
        p = (struct ds_witness_piece){
            .start = "t", .data = text, .len = 200, .ends = large, .count = 1};
        ds_witness_add(&k, &w, &p);
        cr_expect_str_eq(w.start, "s");
        ds_witness_end(&k);
    }
}

Test(witness, hashes_messages_without_the_line_breaks_inside)
{
    static const char data[] = "[1,\r\n2]\n{\n}\n7\n";
    static const size_t ends[] = {8, 12, 14};
    struct ds_witness_keeper k;
    struct ds_checkpoint_witness w = {0};
    cr_assert_eq(ds_witness_begin(&k, 100), DSTREAM_OK);
    struct ds_witness_piece p = {.start = "s", .data = data, .len = 14, .ends = ends, .count = 3};
    ds_witness_add(&k, &w, &p);
    expect_witness(&w, "s", 3, 3, "[1,2]\n{}\n7\n");
    ds_witness_end(&k);
}
