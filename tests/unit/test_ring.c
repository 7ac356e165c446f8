/* SPDX-License-Identifier: Apache-2.0 */
/* The last messages and lines of a stream, however it was cut into batches. */
#include "config.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "cli/ring.h"

/* Puts in a batch: its own bytes, or messages that end in '|'; `skip` of its units are left out. */
static enum dstream_code add(struct ds_ring *r, bool json, const char *p, size_t n, size_t skip,
                             unsigned number)
{
    struct ds_items it;
    char start[16], next[16];
    ds_items_init(&it, 4096);
    for (size_t i = 0; i < n; i++) {
        ds_buf_addc(&it.bytes, json && p[i] == '|' ? '\n' : p[i]);
        if (json && p[i] == '|')
            ds_items_end(&it);
    }
    snprintf(start, sizeof start, "%u", number);
    snprintf(next, sizeof next, "%u", number + 1);
    struct dstream_batch b = {.items = &it,
                              .start = start,
                              .next = next,
                              .cursor = "",
                              .skip = skip,
                              .first = json ? skip : 0,
                              .flags = json ? DSTREAM_BATCH_JSON : 0U};
    b.first_byte = !json ? skip : skip > 0 ? it.ends[skip - 1] : 0;
    enum dstream_code rc = ds_ring_add(r, &b);
    ds_items_free(&it);
    memset(start, '?', sizeof start - 1); /* it has copies */
    return rc;
}

/* All that is in, and "start+skip" of its first batch that has any. */
static void take_all(struct ds_ring *r, char *out, char *at)
{
    struct dstream_batch b;
    out[0] = at[0] = '\0';
    while (ds_ring_get(r, &b)) {
        size_t n = b.items->bytes.len - b.first_byte;
        if (n > 0 && !at[0])
            sprintf(at, "%s+%llu", b.start, (unsigned long long)b.skip);
        strncat(out, n > 0 ? b.items->bytes.data + b.first_byte : "", n);
        ds_ring_drop(r);
    }
}

static void last_of(bool json, const char *text, uint64_t want, const char *expected)
{
    size_t n = strlen(text);
    for (size_t size = 1; size <= n + 1; size++) {
        struct ds_ring r;
        char out[256], at[64];
        unsigned number = 0;
        ds_ring_init(&r, want, 1000);
        for (size_t i = 0; i < n;) {
            size_t take = size < n - i ? size : n - i;
            while (json && text[i + take - 1] != '|')
                take++;
            cr_assert_eq(add(&r, json, text + i, take, 0, number++), DSTREAM_OK);
            i += take;
            cr_assert_eq(add(&r, json, "", 0, 0, number), DSTREAM_OK); /* an empty one between */
        }
        take_all(&r, out, at);
        for (char *lf = out; json && (lf = strchr(lf, '\n'));)
            *lf = '|';
        cr_expect_str_eq(out, expected, "the last %llu of '%s' by %zu: '%s'",
                         (unsigned long long)want, text, size, out);
        ds_ring_free(&r);
    }
}

Test(ring, the_last_messages)
{
    last_of(true, "", 3, "");
    last_of(true, "1|", 3, "1|");
    last_of(true, "1|22|333|", 3, "1|22|333|");
    last_of(true, "1|22|333|", 2, "22|333|");
    last_of(true, "1|22|333|4|5|", 1, "5|");
    last_of(true, "1|22|333|4|5|", UINT64_MAX, "1|22|333|4|5|");
}

Test(ring, the_last_lines)
{
    last_of(false, "", 1, "");
    last_of(false, "a", 1, "a");
    last_of(false, "a\n", 1, "a\n");
    last_of(false, "a\nbb\nccc\n", 1, "ccc\n");
    last_of(false, "a\nbb\nccc\n", 2, "bb\nccc\n");
    last_of(false, "a\nbb\nccc\n", 3, "a\nbb\nccc\n");
    last_of(false, "a\nbb\nccc\n", 4, "a\nbb\nccc\n");
    last_of(false, "a\nbb\nccc", 1, "ccc");
    last_of(false, "a\nbb\nccc", 2, "bb\nccc");
    last_of(false, "a\n\n\n", 1, "\n");
    last_of(false, "a\n\n\nb", 2, "\nb");
    last_of(false, "\n", 1, "\n");
    last_of(false, "abcdefghij", 1, "abcdefghij");
}

Test(ring, what_is_in_knows_where_it_was)
{
    struct ds_ring r;
    char out[256], at[64];
    ds_ring_init(&r, 3, 1000);
    add(&r, true, "1|2|", 4, 0, 7);
    add(&r, true, "3|4|5|6|", 8, 1, 8); /* 3 is left out */
    take_all(&r, out, at);
    cr_assert_str_eq(out, "4\n5\n6\n");
    cr_assert_str_eq(at, "8+1");
    ds_ring_init(&r, 2, 1000);
    add(&r, true, "3|4|5|6|", 8, 1, 8);
    take_all(&r, out, at);
    cr_assert_str_eq(at, "8+2");
    ds_ring_init(&r, 1, 1000);
    add(&r, false, "ab\ncd\nef", 8, 1, 9);
    take_all(&r, out, at);
    cr_assert_str_eq(out, "ef");
    cr_assert_str_eq(at, "9+6");
}

Test(ring, has_a_limit)
{
    struct ds_ring r;
    ds_ring_init(&r, 2, 10);
    cr_assert_eq(add(&r, true, "12345678|", 9, 0, 0), DSTREAM_OK);
    cr_assert_eq(add(&r, true, "1|", 2, 0, 1), DSTREAM_ERR_LIMIT);
    ds_ring_free(&r);
    ds_ring_init(&r, 1, 10);
    cr_assert_eq(add(&r, true, "12345678|", 9, 0, 0), DSTREAM_OK);
    cr_assert_eq(add(&r, true, "1|", 2, 0, 1), DSTREAM_OK);
    ds_ring_free(&r);
}
