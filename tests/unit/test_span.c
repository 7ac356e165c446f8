/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <string.h>

#include "cli/span.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

/* A batch of messages that are each as long as their digit says (LF included), or of bytes. */
struct made {
    struct ds_items items;
    struct dstream_batch b;
};

static void make(struct made *m, bool json, const char *what, uint64_t skip, size_t first)
{
    memset(m, 0, sizeof *m);
    ds_items_init(&m->items, 4096);
    for (const char *p = what; *p; p++) {
        for (int i = 0; json && i < *p - '1'; i++)
            ds_buf_addc(&m->items.bytes, '7');
        ds_buf_addc(&m->items.bytes, json ? '\n' : *p);
        if (json)
            ds_items_end(&m->items);
    }
    m->b = (struct dstream_batch){.items = &m->items, .skip = skip, .first = json ? first : 0};
    m->b.first_byte = !json ? first : first == 0 ? 0 : m->items.ends[first - 1];
    m->b.flags = (json ? DSTREAM_BATCH_JSON : 0U) | DSTREAM_BATCH_CLOSED;
    m->b.start = "s";
    m->b.next = "n";
}

Test(span, takes_exactly_what_is_wanted_and_says_where_it_left_off)
{
    static const struct {
        bool json;
        const char *what;
        uint64_t skip;
        size_t first;
        long count, bytes; /* -1: no limit */
        size_t takes;      /* units */
        bool enough;
        const char *offset; /* afterwards, */
        uint64_t at_skip;
    } cases[] = {
        {true, "333", 0, 0, -1, -1, 3, false, "n", 0},
        {true, "333", 0, 0, 4, -1, 3, false, "n", 0},
        {true, "333", 0, 0, 3, -1, 3, true, "n", 0},
        {true, "333", 0, 0, 2, -1, 2, true, "s", 2},
        {true, "333", 1, 1, 1, -1, 1, true, "s", 2},
        {true, "333", 7, 1, 1, -1, 1, true, "s", 8}, /* 6 of them are not even in its items */
        {true, "333", 0, 0, -1, 9, 3, true, "n", 0},
        {true, "333", 0, 0, -1, 8, 2, true, "s", 2},
        {true, "333", 0, 0, -1, 6, 2, true, "s", 2},
        {true, "333", 0, 0, -1, 2, 0, true, "s", 0}, /* a message is never cut */
        {true, "333", 2, 2, -1, 3, 1, true, "n", 0},
        {true, "192", 0, 0, 2, 100, 2, true, "s", 2},
        {true, "192", 0, 0, 2, 5, 1, true, "s", 1},
        {true, "", 0, 0, 2, 5, 0, false, "n", 0},
        {false, "abcdef", 0, 0, -1, -1, 6, false, "n", 0},
        {false, "abcdef", 0, 0, -1, 7, 6, false, "n", 0},
        {false, "abcdef", 0, 0, -1, 6, 6, true, "n", 0},
        {false, "abcdef", 0, 0, -1, 2, 2, true, "s", 2},
        {false, "abcdef", 3, 3, -1, 2, 2, true, "s", 5},
        {false, "abcdef", 13, 3, -1, 2, 2, true, "s", 15},
        {false, "", 0, 0, -1, 2, 0, false, "n", 0},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct made m;
        make(&m, cases[i].json, cases[i].what, cases[i].skip, cases[i].first);
        struct ds_left left = {.has_count = cases[i].count >= 0,
                               .has_bytes = cases[i].bytes >= 0,
                               .count = (uint64_t)cases[i].count,
                               .bytes = (uint64_t)cases[i].bytes};
        struct ds_checkpoint at = {.offset = "before", .skip = 99};
        struct ds_span s = ds_span_of(&m.b, &left);
        cr_expect_eq(s.take - s.first, cases[i].takes, "case %zu", i);
        ds_span_advance(&s, &m.b, &at, NULL);
        cr_expect_eq(ds_span_spend(&s, &left), cases[i].enough, "case %zu", i);
        cr_expect_str_eq(at.offset, cases[i].offset, "case %zu", i);
        cr_expect_eq(at.skip, cases[i].at_skip, "case %zu", i);
        cr_expect_eq(at.closed, at.offset[0] == 'n', "case %zu: only all of it reaches the end", i);
        ds_items_free(&m.items);
    }
}

Test(span, counts_lines_and_knows_whether_one_is_open)
{
    static const struct {
        const char *what;
        size_t first;
        long count, bytes;
        bool closed, was_open;
        size_t takes;
        uint64_t lines;
        bool ends_open, stays_open;
    } cases[] = {
        {"a\nb\nc", 0, -1, -1, false, false, 5, 2, false, true},
        {"a\nb\nc", 0, -1, -1, true, false, 5, 2, true, false},
        {"a\nb\nc", 0, 3, -1, true, false, 5, 2, true, false},
        {"a\nb\nc", 0, 2, -1, true, false, 4, 2, false, false},
        {"a\nb\nc", 1, 1, -1, true, true, 1, 1, false, false},
        {"a\nb\nc", 0, 2, 3, true, false, 3, 1, false, true},
        {"a\nb\n", 0, 2, -1, true, false, 4, 2, false, false},
        {"\n\n", 0, 1, -1, true, true, 1, 1, false, false},
        {"abc", 0, 1, -1, false, false, 3, 0, false, true},
        {"", 0, 1, -1, false, true, 0, 0, false, true},
        {"", 0, 1, -1, true, true, 0, 0, true, false},
        {"", 0, 1, -1, true, false, 0, 0, false, false},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct made m;
        make(&m, false, cases[i].what, cases[i].first, cases[i].first);
        m.b.flags = cases[i].closed ? DSTREAM_BATCH_CLOSED : 0;
        struct ds_left left = {.lines = true,
                               .has_count = cases[i].count >= 0,
                               .has_bytes = cases[i].bytes >= 0,
                               .count = (uint64_t)cases[i].count,
                               .bytes = (uint64_t)cases[i].bytes};
        struct ds_checkpoint at = {.in_line = cases[i].was_open};
        struct ds_span s = ds_span_of(&m.b, &left);
        cr_expect_eq(s.take - s.first, cases[i].takes, "case %zu", i);
        cr_expect_eq(s.messages, cases[i].lines, "case %zu", i);
        cr_expect_eq(ds_span_ends_open(&s, &m.b, &at), cases[i].ends_open, "case %zu", i);
        ds_span_advance(&s, &m.b, &at, NULL);
        cr_expect_eq(at.in_line, cases[i].stays_open, "case %zu", i);
        ds_items_free(&m.items);
    }
}

Test(span, a_segment_ends_where_a_line_does)
{
    static const struct {
        const char *what;
        uint64_t room;
        bool one;
        size_t takes;
    } cases[] = {
        {"aa\nbb\ncc", 100, false, 8}, {"aa\nbb\ncc", 7, false, 6}, {"aa\nbb\ncc", 5, false, 3},
        {"aa\nbb\ncc", 2, false, 0},   {"aa\nbb\ncc", 2, true, 3},  {"aa\nbb\ncc", 0, true, 3},
        {"aabb", 2, true, 4},          {"aabb", 2, false, 0},       {"", 2, true, 0},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct made m;
        make(&m, false, cases[i].what, 0, 0);
        struct ds_left left = {.lines = true};
        struct ds_span s = ds_span_of(&m.b, &left);
        s = ds_span_within(&m.b, s, cases[i].room, cases[i].one);
        cr_expect_eq(s.take, cases[i].takes, "case %zu", i);
        ds_items_free(&m.items);
    }
}

/* A limit is spread over batches. */
Test(span, what_is_left_is_left_for_the_next)
{
    struct made m;
    struct ds_left left = {.has_count = true, .count = 5};
    make(&m, true, "222", 0, 0);
    struct ds_span s = ds_span_of(&m.b, &left);
    cr_expect_not(ds_span_spend(&s, &left));
    s = ds_span_of(&m.b, &left);
    cr_expect_eq(s.take, 2);
    cr_expect_eq(s.bytes, 4);
    cr_expect_eq(s.messages, 2);
    cr_expect(ds_span_spend(&s, &left));
    ds_items_free(&m.items);
}
