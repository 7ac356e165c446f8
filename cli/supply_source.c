/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/supply_source.h"

#include <string.h>

#include "base/http.h"

#define KEEP_MS 1000 /* between two commits of the origin */

/* --- the origin ------------------------------------------------------------------------------- */

static enum dstream_code fail(struct ds_supply_source *s, enum dstream_code rc)
{
    if (rc != DSTREAM_OK)
        s->run.stop = true;
    return rc;
}

/* Keeps a position that is acknowledged by now, and notes the next one. */
static void on_keep(void *ctx)
{
    struct ds_supply_source *s = ctx;
    if (s->due && s->stored >= s->due->mark) {
        enum dstream_code rc = ds_origin_commit(s->origin, s->due, &s->error);
        s->due = NULL;
        if (fail(s, rc) != DSTREAM_OK)
            return;
    }
    if (!s->due && s->at.mark > s->origin->at.mark) {
        s->due_at = s->at;
        s->due = &s->due_at;
    }
    if (s->due)
        (void)ds_timer_set(s->run.loop, &s->keep, ds_loop_now(s->run.loop) + KEEP_MS);
}

/* Before anything is taken, so that the journal is never there alone. */
static enum dstream_code keep_beginning(struct ds_supply_source *s, const dstream_batch *b)
{
    if (s->origin->resumed || s->at.from_offset[0])
        return DSTREAM_OK;
    bool now = strcmp(b->start, "now") == 0;
    strcpy(s->at.from_offset, now ? b->next : b->start);
    strcpy(s->at.offset, s->at.from_offset);
    s->at.skip = now ? 0 : b->skip;
    return ds_origin_commit(s->origin, &s->at, &s->error);
}

/* --- batches ---------------------------------------------------------------------------------- */

static enum dstream_code check_exact(struct ds_supply_source *s)
{
    if (ds_cli_live(&s->run.cli->opt) != DSTREAM_LIVE_SSE ||
        !ds_type_is_text(dstream_reader_content_type(s->source.reader)))
        return DSTREAM_OK;
    return ds_error_set(&s->error, DSTREAM_ERR_ARGUMENT,
                        "SSE changes the bytes of a text stream, so it is not copied by it: use "
                        "--live long-poll, or auto");
}

static enum dstream_code begin_batch(struct ds_supply_source *s, const dstream_batch *b)
{
    enum dstream_code rc = DSTREAM_OK;
    s->span = ds_span_of(b, &s->left);
    if (!s->span.json && s->left.has_count)
        rc = ds_error_set(&s->error, DSTREAM_ERR_ARGUMENT,
                          "--count counts messages, which only JSON streams have: use --bytes");
    if (rc == DSTREAM_OK)
        rc = check_exact(s);
    if (rc == DSTREAM_OK)
        rc = keep_beginning(s, b);
    if (rc != DSTREAM_OK)
        return rc;
    ds_checkpoint_set_type(&s->at, dstream_reader_content_type(s->source.reader));
    s->batch = b;
    s->unit = s->span.first;
    s->source.hold = true;
    return rc;
}

/* All that is wanted of it was taken. */
static void end_batch(struct ds_supply_source *s)
{
    const dstream_batch *b = s->batch;
    s->batch = NULL;
    ds_span_advance(&s->span, b, &s->at, &s->keeper);
    s->at.mark = s->mark;
    s->source.up_to_date = s->span.take == s->span.end &&
                           (b->flags & (DSTREAM_BATCH_UP_TO_DATE | DSTREAM_BATCH_CLOSED));
    if (s->span.bytes > 0)
        ds_run_took_data(&s->run);
    if (ds_span_spend(&s->span, &s->left))
        s->run.stop = true;
    struct ds_witness witness;
    ds_span_witness(&s->at, &witness);
    ds_client_set_witness(s->source.reader, &witness);
    if (s->origin->state && !s->due && s->keep.slot == 0)
        on_keep(s);
}

/* It is offered once, held, and offered again when all of it was taken. */
static enum dstream_code take(void *ctx, struct ds_source *source, const dstream_batch *b)
{
    struct ds_supply_source *s = ctx;
    bool again = s->taken;
    (void)source;
    s->taken = false;
    return again ? DSTREAM_OK : fail(s, begin_batch(s, b));
}

/* --- messages --------------------------------------------------------------------------------- */

static enum ds_supplied offer(struct ds_supply_source *s, const char **p, size_t *n, uint64_t *mark)
{
    const struct ds_items *it = s->batch->items;
    if (s->span.json) {
        *p = ds_items_get(it, s->unit, n);
        s->end = s->unit + 1;
    } else {
        size_t left = s->span.take - s->unit;
        *p = it->bytes.data + s->unit;
        *n = left < s->max ? left : s->max;
        s->end = s->unit + *n;
    }
    *mark = s->mark + (s->end - s->unit);
    return DS_SUPPLY_MESSAGE;
}

static enum ds_supplied next(void *ctx, const char **p, size_t *n, uint64_t *mark)
{
    struct ds_supply_source *s = ctx;
    if (s->error.code != DSTREAM_OK || (s->run.stop && !s->batch))
        return DS_SUPPLY_END;
    if (s->batch && s->unit < s->span.take)
        return offer(s, p, n, mark);
    if (s->batch) {
        end_batch(s);
        s->taken = true;
        dstream_reader_resume(s->source.reader);
    }
    return s->source.done ? DS_SUPPLY_END : DS_SUPPLY_WAIT;
}

static void drop(void *ctx)
{
    struct ds_supply_source *s = ctx;
    s->mark += s->end - s->unit;
    s->unit = s->end;
}

static void hold(void *ctx)
{
    (void)ctx; /* the batch is held already */
}

static void stop(void *ctx, const struct dstream_error *why)
{
    struct ds_supply_source *s = ctx;
    if (why && s->error.code == DSTREAM_OK)
        s->error = *why;
    s->run.stop = true;
    s->batch = NULL;
    ds_source_stop(&s->source);
}

static const struct dstream_error *error(void *ctx)
{
    const struct ds_supply_source *s = ctx;
    return s->error.code != DSTREAM_OK ? &s->error : &s->source.error;
}

static void stored(void *ctx, uint64_t mark)
{
    struct ds_supply_source *s = ctx;
    s->stored = mark > s->stored ? mark : s->stored;
}

static uint64_t end(void *ctx, bool *closes)
{
    const struct ds_supply_source *s = ctx;
    *closes = s->at.closed;
    return s->mark;
}

/* --- from beginning to end -------------------------------------------------------------------- */

enum dstream_code ds_supply_source_init(struct ds_supply_source *s, struct ds_cli *c,
                                        dstream_loop *loop, const char *operand,
                                        struct dstream_error *err)
{
    const struct ds_cli_options *o = &c->opt;
    *s = (struct ds_supply_source){.max = 1};
    ds_run_begin_on(&s->run, c, loop);
    s->left = ds_run_left(o);
    s->keep.fire = on_keep;
    s->keep.ctx = s;
    enum dstream_code rc = ds_witness_begin(&s->keeper, c->limits.max_witness);
    if (rc != DSTREAM_OK)
        return ds_error_set(err, rc, "no memory for a witness");
    return ds_source_name(&s->source, &s->run, operand, err);
}

/* The journal may be ahead of what was kept of the position: as many units lie between. */
enum dstream_code ds_supply_source_start(struct ds_supply_source *s, struct ds_origin *o,
                                         uint64_t mark, struct ds_supply *out)
{
    static const struct ds_supply_ops ops = {.next = next,
                                             .drop = drop,
                                             .hold = hold,
                                             .stop = stop,
                                             .error = error,
                                             .stored = stored,
                                             .end = end};
    s->origin = o;
    s->at = o->at;
    s->mark = mark;
    *out = (struct ds_supply){.ops = &ops, .ctx = s};
    struct ds_source_start at = {.offset = o->at.offset,
                                 .skip = o->at.skip + o->ahead,
                                 .seen = o->resumed,
                                 .content_type = o->at.content_type,
                                 .recheck = true};
    if (o->resumed)
        ds_span_witness(&o->at, &at.witness);
    ds_run_arm(&s->run, NULL, NULL);
    return ds_source_start(&s->source, &at, take, s);
}

void ds_supply_source_set_kind(struct ds_supply_source *s, size_t max, struct ds_supply *out)
{
    s->max = ds_supply_piece(max);
    ds_supply_copies(out, ds_type_is_json(s->at.content_type));
}

/* The closed end is kept only once nothing is left to be done, and the next run has nothing to do.
 */
enum dstream_code ds_supply_source_finish(struct ds_supply_source *s, bool done,
                                          struct dstream_error *err)
{
    bool acknowledged = done || s->stored >= s->at.mark;
    if (!s->origin || !s->origin->state || !s->at.from_offset[0] || !acknowledged)
        return DSTREAM_OK;
    s->at.closed = s->at.closed && done;
    return ds_origin_commit(s->origin, &s->at, err);
}

void ds_supply_source_free(struct ds_supply_source *s)
{
    ds_source_free(&s->source);
    ds_witness_end(&s->keeper);
    if (s->run.loop)
        ds_timer_stop(s->run.loop, &s->keep);
    ds_run_end(&s->run);
}
