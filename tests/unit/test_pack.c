/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "base/buf.h"
#include "store/pack.h"

static const enum ds_pack_kind kinds[] = {DS_PACK_GZIP, DS_PACK_ZSTD};

static int add(void *ctx, const void *p, size_t n)
{
    return ds_buf_add(ctx, p, n) == DSTREAM_OK ? 0 : -ENOMEM;
}

static int refuse(void *ctx, const void *p, size_t n)
{
    (void)ctx, (void)p, (void)n;
    return -ENOSPC;
}

/* Text that is compressible and long enough for several pieces of output, or bytes that are not. */
static void fill(struct ds_buf *b, size_t n, bool random)
{
    uint32_t x = 1;
    for (size_t i = 0; i < n; i++) {
        x = x * 1664525 + 1013904223;
        ds_buf_addc(b, random ? (char)(x >> 24) : (char)('a' + (x >> 30)));
    }
}

/* What is in it, and whether it is whole; taken in pieces of `piece` bytes. */
static int unpack(enum ds_pack_kind kind, const char *p, size_t n, size_t piece, struct ds_buf *out,
                  bool *whole)
{
    struct ds_unpack *u = ds_unpack_new(kind);
    int rc = 0;
    out->len = 0;
    for (size_t i = 0; i < n && rc == 0; i += piece)
        rc = ds_unpack_add(u, p + i, n - i < piece ? n - i : piece, add, out);
    *whole = ds_unpack_is_whole(u);
    ds_unpack_free(u);
    return rc;
}

static bool same(const struct ds_buf *a, const char *p, size_t n)
{
    return a->len == n && (n == 0 || memcmp(a->data, p, n) == 0);
}

Test(pack, gives_back_what_was_put_in_whatever_the_pieces)
{
    static const size_t sizes[] = {1,      7,     1000, DS_PACK_MEMBER - 1, DS_PACK_MEMBER + 1,
                                   100000, 700000};
    for (size_t k = 0; k < 2; k++) {
        for (size_t i = 0; i < 14; i++) {
            struct ds_buf in, packed, out;
            bool whole;
            ds_buf_init(&in, 10000000), ds_buf_init(&packed, 10000000), ds_buf_init(&out, 10000000);
            fill(&in, sizes[i / 2], i % 2);
            struct ds_pack *p = ds_pack_new(kinds[k]);
            for (size_t at = 0; at < in.len; at += 33333)
                cr_assert_eq(ds_pack_add(p, in.data + at, in.len - at < 33333 ? in.len - at : 33333,
                                         add, &packed),
                             0);
            cr_expect(ds_pack_is_open(p));
            cr_assert_eq(ds_pack_end(p, add, &packed), 0);
            cr_expect_not(ds_pack_is_open(p));
            cr_expect_eq(unpack(kinds[k], packed.data, packed.len, 1000000, &out, &whole), 0);
            cr_expect(whole && same(&out, in.data, in.len));
            cr_expect_eq(unpack(kinds[k], packed.data, packed.len, 1, &out, &whole), 0);
            cr_expect(whole && same(&out, in.data, in.len));
            ds_pack_free(p);
            ds_buf_free(&in), ds_buf_free(&packed), ds_buf_free(&out);
        }
    }
}

static int count(void *ctx, const void *p, size_t n)
{
    (void)p;
    *(size_t *)ctx += n;
    return 0;
}

/* What is full goes out at once: memory is bounded however much comes before a commit. */
Test(pack, gathers_no_more_than_a_member)
{
    for (size_t k = 0; k < 2; k++) {
        struct ds_buf in;
        size_t put = 0;
        ds_buf_init(&in, 10000000);
        fill(&in, 3 * DS_PACK_MEMBER, true);
        struct ds_pack *p = ds_pack_new(kinds[k]);
        cr_assert_eq(ds_pack_add(p, in.data, DS_PACK_MEMBER - 1, count, &put), 0);
        cr_expect_eq(put, 0);
        cr_assert_eq(ds_pack_add(p, in.data, 1, count, &put), 0);
        cr_expect_geq(put, DS_PACK_MEMBER);
        cr_expect_not(ds_pack_is_open(p), "there is nothing to be ended");
        cr_assert_eq(ds_pack_add(p, in.data, 2 * DS_PACK_MEMBER + 1, count, &put), 0);
        cr_expect_geq(put, 3 * DS_PACK_MEMBER);
        cr_expect(ds_pack_is_open(p));
        ds_pack_free(p);
        ds_buf_free(&in);
    }
}

/* Behind the end of each member the file is whole, and nowhere else. */
Test(pack, can_be_cut_between_members)
{
    for (size_t k = 0; k < 2; k++) {
        struct ds_buf in, packed, out;
        size_t ends[4] = {0}, had[4] = {0};
        ds_buf_init(&in, 100000), ds_buf_init(&packed, 100000), ds_buf_init(&out, 100000);
        struct ds_pack *p = ds_pack_new(kinds[k]);
        cr_expect_eq(ds_pack_end(p, add, &packed), 0);
        cr_expect_eq(packed.len, 0, "no empty members");
        for (size_t m = 1; m < 4; m++) {
            fill(&in, 50 * m, false);
            cr_assert_eq(ds_pack_add(p, in.data + had[m - 1], in.len - had[m - 1], add, &packed),
                         0);
            cr_assert_eq(ds_pack_end(p, add, &packed), 0);
            ends[m] = packed.len;
            had[m] = in.len;
        }
        for (size_t n = 0, m = 0; n <= packed.len; n++) {
            bool whole;
            m += m < 3 && n == ends[m + 1];
            cr_expect_eq(unpack(kinds[k], packed.data, n, 10, &out, &whole), 0);
            cr_expect_eq(whole, n == ends[m], "%zu", n);
            cr_expect(!whole || same(&out, in.data, had[m]));
        }
        ds_pack_free(p);
        ds_buf_free(&in), ds_buf_free(&packed), ds_buf_free(&out);
    }
}

Test(pack, passes_on_what_fails_and_begins_anew)
{
    for (size_t k = 0; k < 2; k++) {
        struct ds_buf in, packed, out;
        bool whole;
        ds_buf_init(&in, 10000000), ds_buf_init(&packed, 10000000), ds_buf_init(&out, 10000000);
        fill(&in, 1000000, true);
        struct ds_pack *p = ds_pack_new(kinds[k]);
        cr_expect_eq(ds_pack_add(p, in.data, in.len, refuse, NULL), -ENOSPC);
        ds_pack_drop(p);
        cr_expect_eq(ds_pack_add(p, "abc", 3, add, &packed), 0);
        cr_expect_eq(ds_pack_end(p, refuse, NULL), -ENOSPC);
        ds_pack_drop(p);
        packed.len = 0;
        cr_expect_eq(ds_pack_add(p, "abc", 3, add, &packed), 0);
        cr_expect_eq(ds_pack_end(p, add, &packed), 0);
        cr_expect_eq(unpack(kinds[k], packed.data, packed.len, 3, &out, &whole), 0);
        cr_expect(whole && same(&out, "abc", 3));
        packed.data[packed.len / 2] ^= 0x55;
        cr_expect(unpack(kinds[k], packed.data, packed.len, 3, &out, &whole) != 0 ||
                  !same(&out, "abc", 3) || !whole);
        cr_expect_eq(unpack(kinds[k], "no such thing at all", 20, 20, &out, &whole), -EBADMSG);
        ds_pack_free(p);
        ds_buf_free(&in), ds_buf_free(&packed), ds_buf_free(&out);
    }
}
