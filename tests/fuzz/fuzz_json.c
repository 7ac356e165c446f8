/* SPDX-License-Identifier: Apache-2.0 */
/* The same messages and errors whether JSON is cut whole, in pieces or in place; and what was cut
 * out is valid, each message by itself. */
#include "decode/jsoncut.h"
#include "tests/fuzz/fuzz.h"

#define DEPTH 5

struct outcome {
    enum dstream_code rc;
    uint64_t pos;
    struct ds_items out;
};

static struct outcome run(enum ds_json_shape shape, const char *p, size_t n, size_t max,
                          uint32_t seed)
{
    struct outcome o = {DSTREAM_OK, 0, {{0}, NULL, 0, 0}};
    struct ds_json_cut c;
    ds_items_init(&o.out, max);
    ds_json_cut_init(&c, shape, DEPTH);
    for (size_t i = 0, piece; i < n && o.rc == DSTREAM_OK; i += piece) {
        piece = seed ? piece_of(&seed, n - i) : n - i;
        char *copy = exact_copy(p + i, piece);
        o.rc = ds_json_cut_feed(&c, copy, piece, &o.out);
        free(copy);
    }
    if (o.rc == DSTREAM_OK)
        o.rc = ds_json_cut_finish(&c, &o.out);
    must((o.rc != DSTREAM_OK) == (c.why != NULL));
    o.pos = c.pos;
    ds_json_cut_free(&c);
    o.out.bytes.len = o.out.count > 0 ? o.out.ends[o.out.count - 1] : 0;
    return o;
}

static struct outcome run_in_place(const char *p, size_t n)
{
    struct outcome o = {DSTREAM_OK, 0, {{0}, NULL, 0, 0}};
    struct ds_json_cut c;
    ds_items_init(&o.out, n);
    ds_json_cut_init(&c, DS_JSON_ARRAY, DEPTH);
    must(ds_buf_add(&o.out.bytes, p, n) == DSTREAM_OK);
    o.rc = ds_json_cut_in_place(&c, &o.out, 0);
    o.pos = c.pos;
    ds_json_cut_free(&c);
    return o;
}

static void compare(const struct outcome *a, const struct outcome *b)
{
    must(a->rc == b->rc && a->pos == b->pos);
    must(a->out.count == b->out.count);
    must_be_equal(&a->out.bytes, &b->out.bytes);
}

static void check_messages(const struct ds_items *it)
{
    for (size_t i = 0; i < it->count; i++) {
        size_t n;
        const char *p = ds_items_get(it, i, &n);
        must(ds_json_valid(p, n, DEPTH) && p[n] == '\n');
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 3)
        return 0;
    enum ds_json_shape shape = data[0] & 1 ? DS_JSON_VALUES : DS_JSON_ARRAY;
    size_t n = size - 3, max = data[2] < 200 ? size : data[2] - 200u;
    const char *p = (const char *)data + 3;
    struct outcome whole = run(shape, p, n, max, 0), cut = run(shape, p, n, max, data[1] + 1u);
    compare(&whole, &cut);
    check_messages(&whole.out);
    if (shape == DS_JSON_ARRAY && max == size) {
        struct outcome there = run_in_place(p, n);
        must(there.rc == whole.rc);
        if (there.rc == DSTREAM_OK)
            compare(&there, &whole);
        else
            must(there.pos == whole.pos && there.out.count == 0 && there.out.bytes.len == 0);
        ds_items_free(&there.out);
    }
    ds_items_free(&whole.out);
    ds_items_free(&cut.out);
    return 0;
}
