/* SPDX-License-Identifier: Apache-2.0 */
/* Batches and errors are the same whether an event stream is fed whole or in pieces. */
#include "sse/events.h"
#include "tests/fuzz/fuzz.h"

static void note(struct ds_buf *log, const struct ds_events *e)
{
    const struct ds_control *c = &e->control;
    must(c->next[0] != '\0' && strlen(c->next) <= DS_TOKEN_MAX && (!c->closed || c->up_to_date));
    must(e->staged.bytes.len <= e->limits->max_event);
    must(e->kind == DS_SSE_JSON || e->staged.count == 0);
    if (e->kind == DS_SSE_JSON)
        must(e->staged.bytes.len == (e->staged.count ? e->staged.ends[e->staged.count - 1] : 0));
    ds_buf_add(log, e->staged.bytes.data, e->staged.bytes.len);
    ds_buf_addf(log, "|%zu>%s,%s,%d%d;", e->staged.count, c->next, c->cursor, c->up_to_date,
                c->closed);
}

static bool feed(struct ds_events *e, const char *p, size_t n, struct ds_buf *log)
{
    char *copy = exact_copy(p, n);
    enum ds_events_result r = DS_EVENTS_MORE;
    for (size_t i = 0, used; i < n && r != DS_EVENTS_ERROR; i += used) {
        r = ds_events_feed(e, copy + i, n - i, &used);
        must(used <= n - i && (used == n - i || r != DS_EVENTS_MORE));
        if (r == DS_EVENTS_BATCH) {
            note(log, e);
            ds_events_take(e);
        }
    }
    free(copy);
    return r != DS_EVENTS_ERROR;
}

static void run(struct ds_buf *log, enum ds_sse_kind kind, const char *p, size_t n, uint32_t seed)
{
    struct ds_limits limits = ds_limits_default();
    struct ds_events e;
    limits.max_event = 256;
    limits.json_depth = 5;
    ds_events_init(&e, &limits);
    ds_events_reset(&e, kind);
    bool ok = true;
    for (size_t i = 0, piece; i < n && ok; i += piece) {
        piece = seed ? piece_of(&seed, n - i) : n - i;
        ok = feed(&e, p + i, piece, log);
    }
    if (!ok) {
        must(e.error.code == DSTREAM_ERR_PARSE || e.error.code == DSTREAM_ERR_PROTOCOL ||
             e.error.code == DSTREAM_ERR_LIMIT);
        ds_buf_addf(log, "!%d %s", e.error.code, e.error.message);
    }
    ds_events_free(&e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    enum ds_sse_kind kind = (enum ds_sse_kind)(data[0] % 3);
    const char *p = (const char *)data + 2;
    struct ds_buf whole, cut;
    ds_buf_init(&whole, (size_t)1 << 28);
    ds_buf_init(&cut, (size_t)1 << 28);
    run(&whole, kind, p, size - 2, 0);
    run(&cut, kind, p, size - 2, data[1] + 1u);
    must_be_equal(&whole, &cut);
    ds_buf_free(&whole);
    ds_buf_free(&cut);
    return 0;
}
