/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>

#include "devserver/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "tests/unit/storing.h"

#define MAX 100000

static enum ds_stored add(struct ds_store *st, struct ds_stream *s, const char *body, size_t n)
{
    struct ds_append a = {.type = s->type, .body = body, .body_len = n};
    return ds_store_append(st, s, &a, NOW);
}

static void check_data(const struct ds_stream *s, const char *want)
{
    cr_expect_eq(s->data.bytes.len, strlen(want));
    if (*want)
        cr_expect_arr_eq(s->data.bytes.data, want, strlen(want), "%.*s, not %s",
                         (int)s->data.bytes.len, s->data.bytes.data, want);
}

Test(devserver_store, json_is_cut_one_level_and_kept_as_it_came)
{
    static const struct {
        const char *body;
        enum ds_stored rc;
        const char *stored; /* each message with a comma behind it */
    } row[] = {
        {"1", DS_STORED_OK, "1,"},
        {" 1.0 \n", DS_STORED_OK, "1.0,"},
        {"[1,2]", DS_STORED_OK, "1,2,"},
        {"[ 1 , [2, 3] ]", DS_STORED_OK, "1,[2, 3],"},
        {"[[]]", DS_STORED_OK, "[],"},
        {"{\"a\":1,\"a\":2}", DS_STORED_OK, "{\"a\":1,\"a\":2},"},
        {"[9007199254740993,1e400,\"\\u2028\",-0]", DS_STORED_OK,
         "9007199254740993,1e400,\"\\u2028\",-0,"},
        {"\"[\"", DS_STORED_OK, "\"[\","},
        {"{ \"a\" :\n[ 1 ] }", DS_STORED_OK, "{ \"a\" :\n[ 1 ] },"},
        {"null", DS_STORED_OK, "null,"},
        {"[]", DS_STORED_EMPTY, ""},
        {" [ ] ", DS_STORED_EMPTY, ""},
        {"", DS_STORED_JSON, ""},
        {"  ", DS_STORED_JSON, ""},
        {"1 2", DS_STORED_JSON, ""},
        {"[1,]", DS_STORED_JSON, ""},
        {"[1", DS_STORED_JSON, ""},
        {"[1]]", DS_STORED_JSON, ""},
        {"{\"a\"}", DS_STORED_JSON, ""},
        {"01", DS_STORED_JSON, ""},
        {"[1,\"\xff\"]", DS_STORED_JSON, ""},
        {"{\"a\":1}{\"a\":2}", DS_STORED_JSON, ""},
    };
    for (size_t i = 0; i < COUNT(row); i++) {
        struct ds_store *st = new_store(MAX);
        struct ds_stream *s = make(st, "/s", "Application/JSON; charset=utf-8");
        enum ds_stored rc = add(st, s, row[i].body, strlen(row[i].body));
        cr_expect_eq(rc, row[i].rc, "%s: %d", row[i].body, rc);
        check_data(s, row[i].stored);
        cr_expect_eq(changes, row[i].rc == DS_STORED_OK);
        /* What failed has left nothing behind for the next one. */
        cr_expect_eq(add(st, s, "[7,8]", 5), DS_STORED_OK);
        cr_expect(s->data.bytes.len == strlen(row[i].stored) + 4);
        ds_store_free(st);
    }
}

Test(devserver_store, json_is_nested_no_deeper_than_the_limit)
{
    unsigned depth = ds_limits_default().json_depth;
    struct ds_store *st = new_store(MAX);
    struct ds_stream *s = make(st, "/s", "application/json");
    char text[4096];
    for (unsigned more = 0; more < 2; more++) {
        unsigned n = depth + 1 + more; /* the outermost array is not a message's */
        memset(text, '[', n);
        memset(text + n, ']', n);
        cr_expect_eq(add(st, s, text, 2 * (size_t)n), more ? DS_STORED_JSON : DS_STORED_OK);
    }
    ds_store_free(st);
}

Test(devserver_store, bytes_are_bytes)
{
    struct ds_store *st = new_store(MAX);
    struct ds_stream *s = make(st, "/s", "text/plain");
    cr_expect_eq(add(st, s, "[1,\0\xff", 5), DS_STORED_OK);
    cr_expect_eq(add(st, s, "x", 1), DS_STORED_OK);
    cr_expect_eq(s->data.bytes.len, 6);
    cr_expect_arr_eq(s->data.bytes.data, "[1,\0\xffx", 6);
    ds_store_free(st);
}

Test(devserver_store, creating_again_tells_the_same_from_another)
{
    static const struct ds_stream_spec first[] = {
        {.path = "/s", .type = "text/plain"},
        {.path = "/s", .type = "text/plain", .has_ttl = true, .ttl = 5},
        {.path = "/s", .type = "text/plain", .expires = "2030-01-01T00:00:00Z"},
        {.path = "/s", .type = "text/plain", .closed = true},
    };
    static const struct {
        size_t first;
        struct ds_stream_spec again;
        bool same;
    } row[] = {
        {0, {.path = "/s", .type = "text/plain"}, true},
        {0, {.path = "/s", .type = "TEXT/Plain; charset=utf-8"}, true},
        {0, {.path = "/s", .type = "text/plain", .body = "x", .body_len = 1}, true},
        {0, {.path = "/s", .type = "text/html"}, false},
        {0, {.path = "/s", .type = "text/plain", .closed = true}, false},
        {0, {.path = "/s", .type = "text/plain", .has_ttl = true, .ttl = 5}, false},
        {0, {.path = "/s", .type = "text/plain", .expires = "2030-01-01T00:00:00Z"}, false},
        {1, {.path = "/s", .type = "text/plain", .has_ttl = true, .ttl = 5}, true},
        {1, {.path = "/s", .type = "text/plain", .has_ttl = true, .ttl = 6}, false},
        {1, {.path = "/s", .type = "text/plain"}, false},
        {2, {.path = "/s", .type = "text/plain", .expires = "2030-01-01T01:00:00.0+01:00"}, true},
        {2, {.path = "/s", .type = "text/plain", .expires = "2030-01-01T00:00:00.001Z"}, false},
        {3, {.path = "/s", .type = "text/plain", .closed = true}, true},
        {3, {.path = "/s", .type = "text/plain"}, false},
    };
    for (size_t i = 0; i < COUNT(row); i++) {
        struct ds_store *st = new_store(MAX);
        struct ds_stream *s, *again;
        cr_assert_eq(ds_store_create(st, &first[row[i].first], NOW, &s), DS_STORED_OK);
        cr_expect_eq(ds_store_create(st, &row[i].again, NOW, &again),
                     row[i].same ? DS_STORED_EXISTS : DS_STORED_DIFFERS, "row %zu", i);
        cr_expect_eq(again, s);
        check_data(s, "");
        ds_store_free(st);
    }
}

Test(devserver_store, a_stream_is_created_whole_or_not_at_all)
{
    static const struct {
        const char *type, *body;
        enum ds_stored rc;
        const char *stored;
    } row[] = {
        {"application/json", "[1,2]", DS_STORED_OK, "1,2,"},
        {"application/json", "[]", DS_STORED_OK, ""},
        {"application/json", "[1,", DS_STORED_JSON, NULL},
        {"text/plain", "[1,", DS_STORED_OK, "[1,"},
    };
    for (size_t i = 0; i < COUNT(row); i++) {
        struct ds_store *st = new_store(MAX);
        struct ds_stream *s;
        struct ds_stream_spec spec = {.path = "/s",
                                      .type = row[i].type,
                                      .closed = true,
                                      .body = row[i].body,
                                      .body_len = strlen(row[i].body)};
        cr_expect_eq(ds_store_create(st, &spec, NOW, &s), row[i].rc, "row %zu", i);
        s = ds_store_find(st, "/s", NOW);
        cr_expect_eq(s != NULL, row[i].stored != NULL);
        if (s)
            check_data(s, row[i].stored);
        cr_expect(!s || s->closed);
        ds_store_free(st);
    }
}

Test(devserver_store, appends_are_refused_in_this_order)
{
    static const struct {
        bool closed;
        const char *type, *seq, *body;
        enum ds_stored rc;
    } row[] = {
        {true, "text/plain", "0", "{", DS_STORED_CLOSED},
        {false, "text/plain", "0", "{", DS_STORED_TYPE},
        {false, "application/json", "5", "{", DS_STORED_SEQ},
        {false, "application/json", "10", "1", DS_STORED_SEQ}, /* bytewise */
        {false, "application/json", "6", "{", DS_STORED_JSON},
        {false, "application/json", "6", "1", DS_STORED_OK},
        {false, "application/json", NULL, "1", DS_STORED_OK},
        {false, "application/json", "50", "1", DS_STORED_OK},
    };
    for (size_t i = 0; i < COUNT(row); i++) {
        struct ds_store *st = new_store(MAX);
        struct ds_stream *s = make(st, "/s", "application/json");
        struct ds_append a = {
            .type = s->type, .seq = "5", .body = "0", .body_len = 1, .close = row[i].closed};
        cr_assert_eq(ds_store_append(st, s, &a, NOW), DS_STORED_OK);
        a = (struct ds_append){.type = row[i].type,
                               .seq = row[i].seq,
                               .body = row[i].body,
                               .body_len = strlen(row[i].body)};
        cr_expect_eq(ds_store_append(st, s, &a, NOW), row[i].rc, "row %zu", i);
        cr_expect_eq(s->data.count, row[i].rc == DS_STORED_OK ? 2 : 1);
        /* A refused one does not take its Stream-Seq. */
        bool taken = row[i].rc == DS_STORED_OK && row[i].seq;
        cr_expect_str_eq(s->seq, taken ? row[i].seq : "5", "row %zu", i);
        ds_store_free(st);
    }
}

Test(devserver_store, closing_keeps_the_data_and_can_be_repeated)
{
    struct ds_store *st = new_store(MAX);
    struct ds_stream *s = make(st, "/s", "text/plain");
    add(st, s, "abc", 3);
    ds_store_close(st, s, NULL, NOW);
    ds_store_close(st, s, NULL, NOW);
    cr_expect(s->closed);
    cr_expect_eq(changes, 2);
    check_data(s, "abc");
    ds_store_free(st);
}

Test(devserver_store, a_deleted_stream_lives_for_who_holds_it)
{
    struct ds_store *st = new_store(MAX);
    struct ds_stream *s = ds_stream_hold(make(st, "/s", "text/plain"));
    uint64_t id = s->id;
    add(st, s, "abc", 3);
    ds_store_delete(st, s);
    cr_expect_eq(changed_last, s);
    cr_expect(s->gone);
    check_data(s, "abc");
    cr_expect_null(ds_store_find(st, "/s", NOW));
    struct ds_stream *anew = make(st, "/s", "text/plain");
    cr_expect_neq(anew->id, id);
    check_data(anew, "");
    ds_stream_release(s);
    ds_store_free(st);
}

Test(devserver_store, many_streams_are_told_apart)
{
    struct ds_store *st = ds_store_new((size_t)1 << 30, changed, NULL);
    char path[32];
    for (int i = 0; i < 5000; i++) {
        snprintf(path, sizeof path, "/%d", i);
        struct ds_stream *s = make(st, path, "text/plain");
        cr_assert_eq(add(st, s, path, strlen(path)), DS_STORED_OK);
    }
    for (int i = 0; i < 5000; i += 2) {
        snprintf(path, sizeof path, "/%d", i);
        ds_store_delete(st, ds_store_find(st, path, NOW));
    }
    for (int i = 0; i < 5000; i++) {
        snprintf(path, sizeof path, "/%d", i);
        struct ds_stream *s = ds_store_find(st, path, NOW);
        cr_assert_eq(s != NULL, i % 2 == 1, "%s", path);
        if (s)
            check_data(s, path);
    }
    ds_store_free(st);
}

Test(devserver_store, times_run_out)
{
    struct ds_store *st = new_store(MAX);
    struct ds_stream *s;
    struct ds_stream_spec ttl = {.path = "/ttl", .type = "a/b", .has_ttl = true, .ttl = 2};
    struct ds_stream_spec at = {.path = "/at", .type = "a/b", .expires = "2027-01-15T08:00:02Z"};
    struct ds_stream_spec huge = {
        .path = "/huge", .type = "a/b", .has_ttl = true, .ttl = (UINT64_C(1) << 53) - 1};
    ds_store_create(st, &at, NOW, &s);
    ds_store_create(st, &huge, NOW, &s);
    ds_store_create(st, &ttl, NOW, &s);
    cr_expect_eq(ds_stream_expiry(s), NOW + 2000);
    ds_stream_touch(s, NOW + 1000);
    cr_expect_not_null(ds_store_find(st, "/ttl", NOW + 2999));
    ds_stream_hold(s);
    cr_expect_null(ds_store_find(st, "/ttl", NOW + 3000));
    cr_expect(s->gone);
    cr_expect_eq(changed_last, s);
    ds_stream_release(s);
    cr_expect_not_null(ds_store_find(st, "/at", NOW + 1999));
    cr_expect_null(ds_store_find(st, "/at", NOW + 2000));
    cr_expect_not_null(ds_store_find(st, "/huge", INT64_MAX / 2));
    /* Its place can be taken at once, by another kind of stream. */
    cr_expect_eq(ds_store_create(st, &ttl, NOW, &s), DS_STORED_OK);
    ttl.type = "c/d";
    cr_expect_eq(ds_store_create(st, &ttl, NOW + 2000, &s), DS_STORED_OK);
    ds_store_free(st);
}

Test(devserver_store, what_is_stored_is_bounded)
{
    char *big = calloc(1, MAX + 1);
    struct ds_store *st = new_store(MAX);
    struct ds_stream_spec spec = {
        .path = "/old", .type = "a/b", .has_ttl = true, .ttl = 1, .body = big, .body_len = 60000};
    struct ds_stream *s, *other = make(st, "/s", "a/b");
    cr_expect_eq(add(st, other, big, MAX + 1), DS_STORED_FULL);
    cr_expect_eq(add(st, other, big, MAX), DS_STORED_FULL);
    cr_expect_eq(ds_store_create(st, &spec, NOW, &s), DS_STORED_OK);
    spec.path = "/more";
    cr_expect_eq(ds_store_create(st, &spec, NOW, &s), DS_STORED_FULL);
    cr_expect_eq(add(st, other, big, 60000), DS_STORED_FULL);
    check_data(other, "");
    /* Once the old one's time is over, there is room; and a deleted one leaves its own. */
    cr_expect_eq(ds_store_create(st, &spec, NOW + 1000, &s), DS_STORED_OK);
    ds_store_delete(st, s);
    cr_expect_eq(add(st, other, big, 60000), DS_STORED_OK);
    ds_store_free(st);
    free(big);
}

Test(devserver_store, without_memory_nothing_changes)
{
    bool whole = false;
    for (long n = 0; !whole; n++) {
        struct ds_store *st = new_store(MAX);
        struct ds_stream *s = make(st, "/s", "application/json"), *t;
        struct ds_append a = {
            .type = s->type, .seq = "1", .body = "[[1],[2]]", .body_len = 9, .close = true};
        struct ds_stream_spec spec = {.path = "/t",
                                      .type = "application/json",
                                      .expires = "2030-01-01T00:00:00Z",
                                      .body = "[1]",
                                      .body_len = 3};
        ds_alloc_fail_after(n);
        enum ds_stored first = ds_store_append(st, s, &a, NOW);
        enum ds_stored second = ds_store_create(st, &spec, NOW, &t);
        ds_alloc_fail_after(-1);
        whole = first == DS_STORED_OK && second == DS_STORED_OK;
        cr_expect_eq(s->closed, first == DS_STORED_OK);
        check_data(s, first == DS_STORED_OK ? "[1],[2]," : "");
        cr_expect_eq(ds_store_find(st, "/t", NOW) != NULL, second == DS_STORED_OK);
        ds_store_free(st);
    }
}

/* --- positions -------------------------------------------------------------------------------- */

Test(devserver_store, pages_cut_no_message)
{
    static const struct {
        size_t pos, max, end;
    } row[] = {
        /* "1,22,333,4444," */
        {0, 1, 2},   {0, 2, 2}, {0, 4, 2}, {0, 5, 5}, {0, 13, 9}, {0, 14, 14},
        {0, 99, 14}, {2, 1, 5}, {5, 4, 9}, {5, 8, 9}, {9, 1, 14}, {14, 1, 14},
    };
    struct ds_store *st = new_store(MAX);
    struct ds_stream *s = make(st, "/s", "application/json");
    cr_assert_eq(add(st, s, "[1,22,333,4444]", 15), DS_STORED_OK);
    for (size_t i = 0; i < COUNT(row); i++)
        cr_expect_eq(ds_stream_page(s, row[i].pos, row[i].max), row[i].end, "row %zu", i);
    ds_store_free(st);
}

Test(devserver_store, pages_of_bytes_are_full)
{
    struct ds_store *st = new_store(MAX);
    struct ds_stream *s = make(st, "/s", "text/plain");
    add(st, s, "0123456789", 10);
    cr_expect_eq(ds_stream_page(s, 0, 4), 4);
    cr_expect_eq(ds_stream_page(s, 6, 4), 10);
    cr_expect_eq(ds_stream_page(s, 7, 4), 10);
    cr_expect_eq(ds_stream_page(s, 10, 4), 10);
    ds_store_free(st);
}

Test(devserver_store, reading_begins_at_a_message)
{
    struct ds_store *st = new_store(MAX);
    struct ds_stream *s = make(st, "/s", "application/json");
    static const size_t begin[] = {0, 0, 2, 2, 2, 5, 5, 5, 5, 9, 9};
    add(st, s, "[1,22,333]", 10);
    for (size_t pos = 0; pos < COUNT(begin); pos++)
        cr_expect_eq(ds_stream_begin(s, pos), begin[pos], "%zu", pos);
    cr_expect_eq(ds_stream_begin(s, UINT64_MAX), 9);
    ds_store_free(st);
}

Test(devserver_store, offsets_are_ordered_as_positions)
{
    static const size_t pos[] = {0, 1, 9, 10, 99, 100, 123456789, (size_t)1 << 52};
    char text[DS_OFFSET_SIZE], before[DS_OFFSET_SIZE] = "";
    for (size_t i = 0; i < COUNT(pos); i++) {
        uint64_t back;
        ds_offset_print(pos[i], text);
        cr_expect_eq(strlen(text), DS_OFFSET_SIZE - 1);
        cr_expect_gt(strcmp(text, before), 0);
        cr_expect_null(strpbrk(text, ",&=?/"));
        cr_expect(ds_offset_parse(text, &back));
        cr_expect_eq(back, pos[i]);
        strcpy(before, text);
    }
}

Test(devserver_store, offsets_that_are_none)
{
    static const char *const bad[] = {
        "",
        "-1",
        "now",
        "0",
        "0000000000000000_000000000000000",
        "0000000000000000_00000000000000000",
        "0000000000000000-0000000000000000",
        "0000000000000000_000000000000000a",
        "000000000000000 _0000000000000000",
        "+000000000000000_0000000000000000",
        "00000000000000000000000000000000_",
    };
    uint64_t pos;
    for (size_t i = 0; i < COUNT(bad); i++)
        cr_expect_not(ds_offset_parse(bad[i], &pos), "%s", bad[i]);
    cr_expect(ds_offset_parse("0000000000000001_0000000000000000", &pos));
    cr_expect_eq(pos, UINT64_MAX);
}

Test(devserver_store, times_of_rfc_3339)
{
    static const struct {
        const char *text;
        int64_t ms; /* -1: it is none */
    } row[] = {
        {"1970-01-01T00:00:00Z", 0},
        {"1970-01-01t00:00:01z", 1000},
        {"1970-01-01 00:00:00.5Z", 500},
        {"1970-01-01T00:00:00.123456789Z", 123},
        {"1970-01-01T01:00:00+01:00", 0},
        {"1969-12-31T23:30:00-00:30", 0},
        {"2000-02-29T12:34:56Z", INT64_C(951827696000)},
        {"2027-01-15T08:00:00Z", NOW},
        {"2030-12-31T23:59:60Z", INT64_C(1924992000000)},
        {"9999-12-31T23:59:59Z", INT64_C(253402300799000)},
        {"", -1},
        {"soon", -1},
        {"2030-01-01", -1},
        {"2030-01-01T00:00:00", -1},
        {"2030-01-01T00:00Z", -1},
        {"2030-1-1T00:00:00Z", -1},
        {"2030-00-01T00:00:00Z", -1},
        {"2030-13-01T00:00:00Z", -1},
        {"2030-02-29T00:00:00Z", -1},
        {"1900-02-29T00:00:00Z", -1},
        {"2030-01-00T00:00:00Z", -1},
        {"2030-01-01T24:00:00Z", -1},
        {"2030-01-01T00:60:00Z", -1},
        {"2030-01-01T00:00:61Z", -1},
        {"2030-01-01T00:00:00.Z", -1},
        {"2030-01-01T00:00:00+01", -1},
        {"2030-01-01T00:00:00+24:00", -1},
        {"2030-01-01T00:00:00+00:60", -1},
        {"2030-01-01T00:00:00Z ", -1},
        {" 2030-01-01T00:00:00Z", -1},
        {"2030-01-01T00:00:00ZZ", -1},
        {"0000-01-01T00:00:00Z", -1},
    };
    for (size_t i = 0; i < COUNT(row); i++) {
        int64_t ms = -1;
        cr_expect_eq(ds_time_parse(row[i].text, &ms), row[i].ms >= 0, "%s", row[i].text);
        if (row[i].ms >= 0)
            cr_expect_eq(ms, row[i].ms, "%s: %lld", row[i].text, (long long)ms);
    }
}
