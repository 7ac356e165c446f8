/* SPDX-License-Identifier: Apache-2.0 */
/* The same entries and errors whether a recording is read whole or in pieces; and messages that
 * came out of it are valid, each by itself. */
#include "decode/jsoncut.h"
#include "decode/recording.h"
#include "tests/fuzz/fuzz.h"

#define DEPTH 5

static void add(struct ds_buf *out, const void *p, size_t n)
{
    must(ds_buf_add(out, p, n) == DSTREAM_OK);
}

static void add_entry(struct ds_buf *out, const struct ds_recording *r)
{
    const struct ds_recording_entry *e = &r->entry;
    must(r->begun && e->offset[0] && (e->next[0] || (e->flags & DSTREAM_BATCH_PARTIAL)));
    must(!(e->flags & DSTREAM_BATCH_JSON) == !r->about.json);
    for (size_t i = 0; i < e->items.count; i++) {
        size_t n;
        const char *p = ds_items_get(&e->items, i, &n);
        must(ds_json_valid(p, n, DEPTH));
    }
    add(out, &e->time, sizeof e->time);
    add(out, &e->skip, sizeof e->skip);
    add(out, &e->flags, sizeof e->flags);
    add(out, e->offset, strlen(e->offset));
    add(out, e->next, strlen(e->next));
    add(out, e->headers.data, e->headers.len);
    add(out, e->items.bytes.data, e->items.bytes.len);
}

static enum dstream_code run(const char *p, size_t n, uint32_t seed, struct ds_buf *out)
{
    struct ds_recording r;
    struct dstream_error err = {0};
    enum dstream_code rc = DSTREAM_OK;
    ds_recording_init(&r, "F", DEPTH);
    for (size_t i = 0, piece; i < n && rc == DSTREAM_OK; i += piece) {
        piece = seed ? piece_of(&seed, n - i) : n - i;
        char *copy = exact_copy(p + i, piece);
        bool got = true;
        rc = ds_recording_feed(&r, copy, piece, &err);
        free(copy);
        while (rc == DSTREAM_OK && got) {
            rc = ds_recording_next(&r, &got, &err);
            if (rc == DSTREAM_OK && got)
                add_entry(out, &r);
        }
    }
    must((rc != DSTREAM_OK) == (err.message[0] != '\0'));
    must(ds_recording_torn(&r) <= n);
    add(out, err.message, strlen(err.message));
    ds_recording_free(&r);
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ds_buf whole, pieces;
    uint32_t seed = (uint32_t)size * 2654435761u + 1;
    ds_buf_init(&whole, SIZE_MAX);
    ds_buf_init(&pieces, SIZE_MAX);
    enum dstream_code a = run((const char *)data, size, 0, &whole);
    must(run((const char *)data, size, seed, &pieces) == a);
    must_be_equal(&whole, &pieces);
    ds_buf_free(&whole);
    ds_buf_free(&pieces);
    return 0;
}
