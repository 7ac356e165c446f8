/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include <criterion/criterion.h>

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/buf.h"
#include "transport/gunzip.h"

/* Takes so many pieces between pauses; 0: none is ever refused. */
struct taker {
    struct ds_buf all;
    size_t each, left;
};

static bool take(void *ctx, const char *p, size_t n)
{
    struct taker *t = ctx;
    cr_expect_gt(n, 0);
    cr_assert_eq(ds_buf_add(&t->all, p, n), DSTREAM_OK);
    if (t->each == 0 || --t->left > 0)
        return true;
    t->left = t->each;
    return false;
}

static void add_member(struct ds_buf *out, const void *p, size_t n)
{
    z_stream z = {.next_in = (unsigned char *)p, .avail_in = (uInt)n};
    cr_assert_eq(deflateInit2(&z, 9, Z_DEFLATED, 31, 9, Z_DEFAULT_STRATEGY), Z_OK);
    cr_assert_eq(ds_buf_reserve(out, deflateBound(&z, n)), DSTREAM_OK);
    z.next_out = (unsigned char *)out->data + out->len;
    z.avail_out = (uInt)(out->cap - out->len);
    cr_assert_eq(deflate(&z, Z_FINISH), Z_STREAM_END);
    out->len += z.total_out;
    deflateEnd(&z);
}

/* Fed in pieces of `by` bytes. */
static enum ds_gunzip_result feed(struct ds_gunzip *g, struct taker *t, const char *p, size_t n,
                                  size_t by)
{
    enum ds_gunzip_result r = DS_GUNZIP_USED;
    for (size_t at = 0; at < n && r == DS_GUNZIP_USED; at += by) {
        size_t now = n - at < by ? n - at : by;
        do
            r = ds_gunzip_feed(g, p + at, now, take, t);
        while (r == DS_GUNZIP_HELD);
    }
    return r;
}

/* Two members, one of which is a thousand times as large as what comes. */
Test(gunzip, comes_through_whole_however_it_is_cut_and_held_up)
{
    static const size_t pieces[] = {1, 7, 100, 100000};
    const size_t size = 3000000;
    char *large = calloc(1, size);
    struct ds_buf code;
    ds_buf_init(&code, 1 << 23);
    memset(large, 'x', size);
    add_member(&code, large, size);
    add_member(&code, "the end", 7);
    for (size_t i = 0; i < 4; i++) {
        for (size_t each = 0; each < 4; each++) {
            struct taker t = {.each = each, .left = each};
            struct ds_gunzip *g = ds_gunzip_new();
            ds_buf_init(&t.all, 1 << 22);
            cr_expect(ds_gunzip_whole(g), "nothing is whole");
            cr_expect_eq(feed(g, &t, code.data, code.len, pieces[i]), DS_GUNZIP_USED);
            cr_expect(ds_gunzip_whole(g));
            cr_expect_eq(t.all.len, size + 7, "by %zu, %zu each", pieces[i], each);
            cr_expect_eq(memcmp(t.all.data, large, size), 0);
            cr_expect_eq(memcmp(t.all.data + size, "the end", 7), 0);
            ds_gunzip_free(g);
            ds_buf_free(&t.all);
        }
    }
    ds_buf_free(&code);
    free(large);
}

/* Cut anywhere it is not whole; with any byte changed it is bad, cut, or the same. */
Test(gunzip, sees_what_is_cut_or_changed)
{
    struct ds_buf code;
    ds_buf_init(&code, 10000);
    add_member(&code, "some text, some text", 20);
    for (size_t n = 1; n < code.len; n++) {
        struct taker t = {.each = 0};
        struct ds_gunzip *g = ds_gunzip_new();
        ds_buf_init(&t.all, 1000);
        cr_expect_eq(feed(g, &t, code.data, n, n), DS_GUNZIP_USED);
        cr_expect_not(ds_gunzip_whole(g), "%zu", n);
        ds_gunzip_free(g);
        ds_buf_free(&t.all);
    }
    for (size_t k = 0; k < code.len; k++) {
        struct taker t = {.each = 0};
        struct ds_gunzip *g = ds_gunzip_new();
        ds_buf_init(&t.all, 1000);
        code.data[k] ^= 0x10;
        bool passes =
            feed(g, &t, code.data, code.len, code.len) == DS_GUNZIP_USED && ds_gunzip_whole(g);
        cr_expect(!passes ||
                      (t.all.len == 20 && memcmp(t.all.data, "some text, some text", 20) == 0),
                  "byte %zu", k);
        code.data[k] ^= 0x10;
        ds_gunzip_free(g);
        ds_buf_free(&t.all);
    }
    ds_buf_free(&code);
}
