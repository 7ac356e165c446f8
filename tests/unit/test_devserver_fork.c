/* SPDX-License-Identifier: Apache-2.0 */
/* Forks: where they may leave their source, what is read through them, and who goes when. */
#include <criterion/criterion.h>

#include "devserver/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "devserver/sse.h"
#include "tests/unit/storing.h"

#define MAX 1000000

static void add(struct ds_store *st, struct ds_stream *s, const char *body)
{
    struct ds_append a = {.type = s->type, .body = body, .body_len = strlen(body)};
    cr_assert_eq(ds_store_append(st, s, &a, NOW), DS_STORED_OK);
}

static struct ds_stream *fork_at(struct ds_store *st, const char *path, const char *of, size_t pos,
                                 uint64_t sub, enum ds_stored want)
{
    char at[DS_OFFSET_SIZE];
    struct ds_stream *s;
    ds_offset_print(pos, at);
    struct ds_stream_spec spec = {.path = path, .fork_of = of, .fork_at = at, .fork_sub = sub};
    enum ds_stored rc = ds_store_create(st, &spec, NOW, &s);
    cr_assert_eq(rc, want, "%s at %zu + %llu: %d", of, pos, (unsigned long long)sub, rc);
    return s;
}

/* All of it, read in pages of `max` bytes. */
static void check_data(const struct ds_stream *s, const char *want)
{
    char got[4096];
    cr_assert_eq(ds_stream_tail(s), strlen(want), "%zu, not %s", ds_stream_tail(s), want);
    for (size_t max = 1; max <= strlen(want) + 1; max++) {
        size_t pos = 0;
        while (pos < ds_stream_tail(s)) {
            size_t end = ds_stream_page(s, pos, max);
            cr_assert(end > pos && end <= ds_stream_tail(s));
            cr_assert_eq(ds_stream_begin(s, pos), pos, "a page begins in a message");
            ds_stream_copy(s, pos, end - pos, got + pos);
            pos = end;
        }
        cr_assert_arr_eq(got, want, strlen(want), "%.*s, not %s", (int)pos, got, want);
    }
}

Test(devserver_fork, where_a_source_may_be_left)
{
    static const struct {
        bool json;
        size_t pos;
        uint64_t sub;
        enum ds_stored rc;
        const char *data;
    } row[] = {
        /* Bytes: "abc" "de". */
        {false, 0, 0, DS_STORED_OK, ""},
        {false, 3, 0, DS_STORED_OK, "abc"},
        {false, 5, 0, DS_STORED_OK, "abcde"},
        {false, 6, 0, DS_STORED_FORK_AT, NULL},
        {false, 1, 0, DS_STORED_OK, "a"}, /* a page may end there */
        {false, 0, 2, DS_STORED_OK, "ab"},
        {false, 0, 3, DS_STORED_OK, "abc"},
        {false, 0, 4, DS_STORED_FORK_SUB, NULL}, /* of one append only */
        {false, 1, 2, DS_STORED_OK, "abc"},
        {false, 1, 3, DS_STORED_FORK_SUB, NULL},
        {false, 3, 2, DS_STORED_OK, "abcde"},
        {false, 3, 3, DS_STORED_FORK_SUB, NULL},
        {false, 5, 1, DS_STORED_FORK_SUB, NULL},
        {false, 0, UINT64_MAX, DS_STORED_FORK_SUB, NULL},
        /* JSON: "1,22," "333,". */
        {true, 0, 0, DS_STORED_OK, ""},
        {true, 2, 0, DS_STORED_OK, "1,"},
        {true, 3, 0, DS_STORED_OK, "1,"}, /* within a message: before it */
        {true, 5, 0, DS_STORED_OK, "1,22,"},
        {true, 9, 0, DS_STORED_OK, "1,22,333,"},
        {true, 10, 0, DS_STORED_FORK_AT, NULL},
        {true, 0, 1, DS_STORED_OK, "1,"},
        {true, 0, 2, DS_STORED_OK, "1,22,"},
        {true, 0, 3, DS_STORED_FORK_SUB, NULL},
        {true, 2, 1, DS_STORED_OK, "1,22,"},
        {true, 2, 2, DS_STORED_FORK_SUB, NULL},
        {true, 5, 1, DS_STORED_OK, "1,22,333,"},
        {true, 9, 1, DS_STORED_FORK_SUB, NULL},
        {true, 0, UINT64_MAX, DS_STORED_FORK_SUB, NULL},
    };
    for (size_t i = 0; i < COUNT(row); i++) {
        struct ds_store *st = new_store(MAX);
        struct ds_stream *s = make(st, "/s", row[i].json ? "application/json" : "text/plain");
        add(st, s, row[i].json ? "[1,22]" : "abc");
        add(st, s, row[i].json ? "333" : "de");
        struct ds_stream *f = fork_at(st, "/f", "/s", row[i].pos, row[i].sub, row[i].rc);
        cr_expect_eq(s->forks, row[i].rc == DS_STORED_OK, "row %zu", i);
        if (row[i].data) {
            check_data(f, row[i].data);
            cr_expect_str_eq(f->type, s->type);
            /* Again it is the same, said or not said where; elsewhere it is another. */
            cr_expect_eq(fork_at(st, "/f", "/s", row[i].pos, row[i].sub, DS_STORED_EXISTS), f);
            fork_at(st, "/f", "/s", row[i].pos, row[i].sub + 1, DS_STORED_DIFFERS);
            fork_at(st, "/f", "/s", row[i].pos + 1, row[i].sub, DS_STORED_DIFFERS);
            fork_at(st, "/f", "/f", row[i].pos, row[i].sub, DS_STORED_DIFFERS);
        }
        ds_store_free(st);
    }
}

/* Each side goes on by itself, and forks of forks read through all of them. */
Test(devserver_fork, what_is_read_through)
{
    struct ds_store *st = new_store(MAX);
    struct ds_stream *a = make(st, "/a", "application/json");
    add(st, a, "[1,2,3]");
    struct ds_stream *b = fork_at(st, "/b", "/a", 4, 0, DS_STORED_OK);
    add(st, b, "[40,50]");
    add(st, a, "4");
    struct ds_stream *c = fork_at(st, "/c", "/b", 7, 0, DS_STORED_OK);
    struct ds_stream *d = fork_at(st, "/d", "/c", 2, 1, DS_STORED_OK);
    struct ds_stream *e = fork_at(st, "/e", "/c", 7, 0, DS_STORED_OK);
    add(st, c, "6");
    add(st, d, "7");
    add(st, b, "8");
    check_data(a, "1,2,3,4,");
    check_data(b, "1,2,40,50,8,");
    check_data(c, "1,2,40,6,");
    check_data(d, "1,2,7,");
    check_data(e, "1,2,40,");
    /* A fork's beginning ends an append: what it inherits is none of its first. */
    fork_at(st, "/x", "/c", 0, 2, DS_STORED_OK);
    fork_at(st, "/y", "/c", 0, 3, DS_STORED_FORK_SUB);
    fork_at(st, "/y", "/c", 4, 1, DS_STORED_OK);
    fork_at(st, "/z", "/c", 4, 2, DS_STORED_FORK_SUB);
    ds_store_close(st, a, NULL, NOW);
    cr_expect(!b->closed && !c->closed);
    add(st, e, "9");
    ds_store_free(st);
}

static bool has(struct ds_store *st, const char *path)
{
    return ds_store_find(st, path, NOW) != NULL;
}

static bool is_kept(struct ds_store *st, const char *path)
{
    struct ds_stream *s = ds_store_find(st, path, NOW);
    return s && s->deleted;
}

static void delete_at(struct ds_store *st, const char *path)
{
    ds_store_delete(st, ds_store_find(st, path, NOW));
}

Test(devserver_fork, a_source_is_kept_for_its_forks)
{
    struct ds_store *st = new_store(MAX);
    struct ds_stream *s;
    struct ds_stream_spec again = {.path = "/a", .type = "text/plain"};
    add(st, make(st, "/a", "text/plain"), "abc");
    fork_at(st, "/b", "/a", 3, 0, DS_STORED_OK);
    struct ds_stream *c = fork_at(st, "/c", "/b", 2, 0, DS_STORED_OK);
    fork_at(st, "/d", "/a", 1, 0, DS_STORED_OK);
    delete_at(st, "/a");
    cr_expect(is_kept(st, "/a"));
    cr_expect_eq(ds_store_create(st, &again, NOW, &s), DS_STORED_TAKEN);
    fork_at(st, "/x", "/a", 0, 0, DS_STORED_DELETED);
    delete_at(st, "/b");
    cr_expect(is_kept(st, "/b"));
    check_data(c, "ab");
    delete_at(st, "/d");
    cr_expect(!has(st, "/d") && is_kept(st, "/a"));
    ds_stream_hold(c); /* somebody still reads it */
    delete_at(st, "/c");
    cr_expect(!has(st, "/a") && !has(st, "/b") && !has(st, "/c"));
    check_data(c, "ab");
    ds_stream_release(c);
    cr_expect_eq(ds_store_create(st, &again, NOW, &s), DS_STORED_OK);
    check_data(s, "");
    /* One that is not deleted stays when its forks go. */
    fork_at(st, "/b", "/a", 0, 0, DS_STORED_OK);
    delete_at(st, "/b");
    cr_expect(has(st, "/a") && !is_kept(st, "/a"));
    ds_store_free(st);
}

Test(devserver_fork, a_refused_one_takes_no_hold)
{
    struct ds_store *st = new_store(MAX);
    char *big = calloc(1, MAX + 1);
    struct ds_stream *s = make(st, "/s", "application/json"), *f;
    struct ds_stream_spec type = {.path = "/f", .type = "text/plain", .fork_of = "/s"};
    struct ds_stream_spec json = {.path = "/f", .fork_of = "/s", .body = "[", .body_len = 1};
    struct ds_stream_spec full = {.path = "/f", .fork_of = "/s", .body = big, .body_len = MAX + 1};
    struct ds_stream_spec none = {.path = "/f", .fork_of = "/none"};
    struct ds_stream_spec self = {.path = "/f", .fork_of = "/f"};
    cr_expect_eq(ds_store_create(st, &type, NOW, &f), DS_STORED_SOURCE_TYPE);
    cr_expect_eq(ds_store_create(st, &json, NOW, &f), DS_STORED_JSON);
    cr_expect_eq(ds_store_create(st, &full, NOW, &f), DS_STORED_FULL);
    cr_expect_eq(ds_store_create(st, &none, NOW, &f), DS_STORED_SOURCE);
    cr_expect_eq(ds_store_create(st, &self, NOW, &f), DS_STORED_SOURCE);
    cr_expect_eq(s->refs, 1);
    cr_expect_eq(s->forks, 0);
    bool whole = false;
    struct ds_stream_spec good = {.path = "/f", .fork_of = "/s", .body = "1", .body_len = 1};
    for (long n = 0; !whole; n++) {
        ds_alloc_fail_after(n);
        whole = ds_store_create(st, &good, NOW, &f) == DS_STORED_OK;
        ds_alloc_fail_after(-1);
        cr_expect_eq(s->refs, whole ? 2 : 1);
        cr_expect_eq(s->forks, whole);
    }
    ds_store_free(st);
    free(big);
}

Test(devserver_fork, lifetimes_are_inherited_or_given)
{
    struct ds_store *st = new_store(MAX);
    struct ds_stream *s, *f;
    struct ds_stream_spec ttl = {.path = "/s", .type = "a/b", .has_ttl = true, .ttl = 10};
    struct ds_stream_spec same = {.path = "/same", .fork_of = "/s"};
    struct ds_stream_spec more = {.path = "/more", .fork_of = "/s", .has_ttl = true, .ttl = 100};
    struct ds_stream_spec at = {.path = "/at", .fork_of = "/s", .expires = "2030-01-01T00:00:00Z"};
    ds_store_create(st, &ttl, NOW, &s);
    cr_expect_eq(ds_store_create(st, &same, NOW, &f), DS_STORED_OK);
    cr_expect(f->has_ttl && f->ttl == 10);
    cr_expect_eq(ds_store_create(st, &same, NOW, &f), DS_STORED_EXISTS);
    cr_expect_eq(ds_store_create(st, &more, NOW, &f), DS_STORED_OK);
    cr_expect(f->ttl == 100);
    cr_expect_eq(ds_store_create(st, &at, NOW, &f), DS_STORED_OK);
    cr_expect(!f->has_ttl && f->expires);
    /* The source's time is over; the forks that live need it. */
    s = ds_store_find(st, "/s", NOW + 10000);
    cr_expect(s && s->deleted);
    cr_expect_null(ds_store_find(st, "/same", NOW + 10000));
    cr_expect_not_null(ds_store_find(st, "/s", NOW + 10000));
    cr_expect_null(ds_store_find(st, "/more", NOW + 100000));
    ds_store_delete(st, ds_store_find(st, "/at", NOW + 100000));
    cr_expect_null(ds_store_find(st, "/s", NOW + 100000));
    ds_store_free(st);
}

Test(devserver_fork, forks_of_forks_are_bounded)
{
    struct ds_store *st = new_store(MAX);
    char path[16], before[16] = "/0", want[DS_FORKS_MAX + 2] = "x";
    add(st, make(st, "/0", "a/b"), "x");
    for (unsigned i = 1; i <= DS_FORKS_MAX; i++) {
        snprintf(path, sizeof path, "/%u", i);
        struct ds_stream *f = fork_at(st, path, before, i, 0, DS_STORED_OK);
        add(st, f, "y");
        strcat(want, "y");
        strcpy(before, path);
    }
    check_data(ds_store_find(st, before, NOW), want);
    fork_at(st, "/more", before, 1, 0, DS_STORED_DEEP);
    for (unsigned i = 0; i < DS_FORKS_MAX; i++) {
        snprintf(path, sizeof path, "/%u", i);
        delete_at(st, path);
        cr_expect(is_kept(st, path));
    }
    delete_at(st, before);
    cr_expect_not(has(st, "/0"));
    ds_store_free(st);
}

/* What has expired goes in any order while room is looked for, with what it was kept for. */
Test(devserver_fork, a_sweep_takes_whole_families)
{
    char *big = calloc(1, MAX - 20000);
    for (unsigned seed = 1; seed < 200; seed++) {
        struct ds_store *st = new_store(MAX);
        char path[16], of[16];
        srand(seed);
        for (int i = 0; i < 30; i++) {
            struct ds_stream *s;
            struct ds_stream_spec spec = {
                .path = path, .fork_of = i > 0 ? of : NULL, .has_ttl = true, .ttl = 1};
            snprintf(path, sizeof path, "/%d", i);
            snprintf(of, sizeof of, "/%d", i > 0 ? rand() % i : 0);
            cr_assert_eq(ds_store_create(st, &spec, NOW, &s), DS_STORED_OK);
            add(st, s, "0123456789");
        }
        for (int i = 0; i < 10; i++) {
            snprintf(path, sizeof path, "/%d", rand() % 30);
            struct ds_stream *s = ds_store_find(st, path, NOW);
            if (s && !s->deleted)
                ds_store_delete(st, s);
        }
        struct ds_stream *s = make(st, "/s", "a/b");
        struct ds_append a = {.type = "a/b", .body = big, .body_len = MAX - 20000};
        s->touched = NOW;
        cr_assert_eq(ds_store_append(st, s, &a, NOW + 1000), DS_STORED_OK);
        struct ds_stream_spec spec = {.path = "/t", .body = big, .body_len = 19000};
        cr_expect_eq(ds_store_create(st, &spec, NOW + 1000, &s), DS_STORED_OK, "seed %u", seed);
        for (int i = 0; i < 30; i++) {
            snprintf(path, sizeof path, "/%d", i);
            cr_expect_null(ds_store_find(st, path, NOW + 1000), "seed %u: %s", seed, path);
        }
        ds_store_free(st);
    }
    free(big);
}

/* A character that lies on both sides of a fork arrives as one. */
Test(devserver_fork, events_cross_the_fork)
{
    struct ds_store *st = new_store(MAX);
    struct ds_stream *s = make(st, "/s", "text/plain");
    add(st, s, "a\xe2\x82?");
    struct ds_stream *f = fork_at(st, "/f", "/s", 0, 3, DS_STORED_OK);
    add(st, f,
        "\xac"
        "b");
    for (size_t page = 1; page < 8; page++) {
        struct ds_feed feed;
        char got[4096];
        size_t n = 0, all = 0;
        ds_feed_init(&feed, ds_stream_hold(f), 0, page, 0, 0, INT64_MAX);
        while (ds_feed_take(&feed, got + all, sizeof got - 1 - all, &n, 0, NOW) == DS_FEED_BYTES)
            all += n;
        got[all] = '\0';
        cr_expect_not_null(strstr(got, "\xe2\x82\xac"), "page %zu: %s", page, got);
        cr_expect_null(strstr(got, "\xef\xbf\xbd"), "page %zu: %s", page, got);
        cr_expect_null(strstr(got, "?"));
        ds_feed_free(&feed);
    }
    ds_store_free(st);
}
