/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "cli/intake.h"

#include <string.h>

#include "base/alloc.h"

/* What a side may hold beside a message of the largest size and whole ones before it: the brackets,
 * and the piece that made it overflow with a separator behind each byte. */
#define SLACK (2 * DS_INTAKE_PIECE + 16)

static struct ds_intake_side *filling(struct ds_intake *in)
{
    return &in->sides[in->filling];
}

static enum dstream_code clear(struct ds_intake *in, struct ds_intake_side *s)
{
    ds_items_reset(&s->items, 2 * in->load_max);
    s->end[0] = s->end[1] = in->taken;
    return in->json ? ds_buf_addc(&s->items.bytes, '[') : DSTREAM_OK;
}

enum dstream_code ds_intake_init(struct ds_intake *in, bool json, size_t load_max,
                                 const struct ds_limits *limits)
{
    *in = (struct ds_intake){.json = json, .load_max = load_max};
    ds_json_cut_init(&in->cut, DS_JSON_VALUES, limits->json_depth);
    size_t max = json ? limits->max_event : 0, more = load_max + SLACK;
    for (int i = 0; i < 2; i++)
        ds_items_init(&in->sides[i].items, max > SIZE_MAX - more ? SIZE_MAX : max + more);
    in->message_max = max;
    in->piece = ds_malloc(DS_INTAKE_PIECE);
    return in->piece ? clear(in, filling(in)) : DSTREAM_ERR_NOMEM;
}

void ds_intake_free(struct ds_intake *in)
{
    ds_json_cut_free(&in->cut);
    ds_items_free(&in->sides[0].items);
    ds_items_free(&in->sides[1].items);
    ds_free(in->piece);
    in->piece = NULL;
}

/* --- taking in -------------------------------------------------------------------------------- */

/* The side has all that may go into its load: a message that no longer fits, or the beginning of
 * one behind whole ones. */
static bool is_full(const struct ds_intake *in)
{
    const struct ds_items *it = &in->sides[in->filling].items;
    return it->bytes.len >= in->load_max && (!in->json || it->count > 0);
}

static enum dstream_code fail(struct ds_intake *in, enum dstream_code code, const char *why)
{
    bool malformed = code == DSTREAM_ERR_PARSE;
    return ds_error_set(&in->error, malformed ? DSTREAM_ERR_INPUT : code, "%sat byte %llu: %s",
                        malformed ? "not JSON " : "",
                        (unsigned long long)(in->taken - in->file_from), why);
}

/* Bytes of the message under way. */
static size_t tail(const struct ds_items *it)
{
    return it->bytes.len - (it->count > 0 ? it->ends[it->count - 1] : 1);
}

static void note_end(struct ds_intake *in)
{
    struct ds_intake_side *s = filling(in);
    s->end[1] = s->end[0];
    s->end[0] = in->taken;
}

static enum dstream_code cut_some(struct ds_intake *in)
{
    struct ds_items *it = &filling(in)->items;
    size_t used, count = it->count;
    enum dstream_code rc = ds_json_cut_next(&in->cut, in->piece + in->piece_at,
                                            in->piece_len - in->piece_at, it, &used);
    in->piece_at += used;
    in->taken += used;
    if (rc != DSTREAM_OK)
        return fail(in, rc, in->cut.why);
    if (it->count > count)
        note_end(in);
    if (tail(it) <= in->message_max)
        return DSTREAM_OK;
    return ds_error_set(&in->error, DSTREAM_ERR_LIMIT,
                        "a message that ends behind byte %llu is larger than %zu bytes",
                        (unsigned long long)(in->taken - in->file_from), in->message_max);
}

static enum dstream_code copy_some(struct ds_intake *in)
{
    struct ds_intake_side *s = filling(in);
    size_t room = in->load_max - s->items.bytes.len, n = in->piece_len - in->piece_at;
    if (n > room)
        n = room;
    enum dstream_code rc = ds_buf_add(&s->items.bytes, in->piece + in->piece_at, n);
    if (rc != DSTREAM_OK)
        return fail(in, rc, "no memory");
    in->piece_at += n;
    in->taken += n;
    s->end[0] = in->taken;
    return DSTREAM_OK;
}

static enum dstream_code use_piece(struct ds_intake *in)
{
    enum dstream_code rc = in->error.code;
    while (rc == DSTREAM_OK && in->piece_at < in->piece_len && !is_full(in))
        rc = in->json ? cut_some(in) : copy_some(in);
    return rc;
}

char *ds_intake_room(struct ds_intake *in, size_t *n)
{
    *n = DS_INTAKE_PIECE;
    return in->piece_at == in->piece_len && in->error.code == DSTREAM_OK ? in->piece : NULL;
}

enum dstream_code ds_intake_add(struct ds_intake *in, size_t n)
{
    in->piece_at = 0;
    in->piece_len = n;
    return use_piece(in);
}

enum dstream_code ds_intake_end_file(struct ds_intake *in)
{
    if (!in->json || in->error.code != DSTREAM_OK) {
        in->file_from = in->taken;
        return in->error.code;
    }
    struct ds_items *it = &filling(in)->items;
    size_t count = it->count;
    enum dstream_code rc = ds_json_cut_finish(&in->cut, it);
    if (rc != DSTREAM_OK)
        return fail(in, rc, in->cut.why);
    if (it->count > count)
        note_end(in);
    ds_json_cut_reset(&in->cut);
    in->file_from = in->taken;
    return DSTREAM_OK;
}

/* --- handing out ------------------------------------------------------------------------------ */

bool ds_intake_ready(const struct ds_intake *in)
{
    const struct ds_items *it = &in->sides[in->filling].items;
    return in->json ? it->count > 0 : it->bytes.len > 0;
}

bool ds_intake_full(const struct ds_intake *in)
{
    return in->piece_at < in->piece_len && is_full(in);
}

/* Moves what goes beyond the load to the side that is filled next: the last message where it is one
 * too many, and the beginning of the one under way. */
static enum dstream_code move_rest(struct ds_intake_side *from, size_t count,
                                   struct ds_intake_side *to)
{
    const struct ds_items *it = &from->items;
    size_t at = it->ends[count - 1];
    enum dstream_code rc = DSTREAM_OK;
    if (count < it->count) {
        size_t end = it->ends[count];
        rc = ds_buf_add(&to->items.bytes, it->bytes.data + at, end - at);
        if (rc == DSTREAM_OK)
            rc = ds_items_end(&to->items);
        to->end[1] = from->end[1];
        to->end[0] = from->end[0];
        from->end[0] = from->end[1];
        at = end;
    }
    if (rc == DSTREAM_OK)
        rc = ds_buf_add(&to->items.bytes, it->bytes.data + at, it->bytes.len - at);
    return rc;
}

/* Makes an array of the first `count` messages: the LF behind each becomes a comma, the last one
 * the bracket. */
static void bracket(struct ds_items *it, size_t count)
{
    for (size_t i = 0; i < count; i++)
        it->bytes.data[it->ends[i] - 1] = i + 1 < count ? ',' : ']';
    it->bytes.len = it->ends[count - 1];
}

enum dstream_code ds_intake_take(struct ds_intake *in, struct ds_load *load)
{
    struct ds_intake_side *out = filling(in);
    struct ds_items *it = &out->items;
    size_t count = it->count;
    in->filling = 1 - in->filling;
    enum dstream_code rc = clear(in, filling(in));
    if (in->json) {
        if (count > 1 && it->ends[count - 1] > in->load_max)
            count--;
        if (rc == DSTREAM_OK)
            rc = move_rest(out, count, filling(in));
        bracket(it, count);
    }
    if (rc != DSTREAM_OK)
        fail(in, rc, "no memory");
    *load = (struct ds_load){.body = it->bytes.data,
                             .len = it->bytes.len,
                             .from = in->handed,
                             .to = out->end[0],
                             .messages = count};
    in->handed = load->to;
    return rc == DSTREAM_OK ? use_piece(in) : rc;
}
