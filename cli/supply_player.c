/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/supply_player.h"

/* The turn of the loop that it ends is all there is to it. */
static void wake(void *ctx)
{
    (void)ctx;
}

static void on_limit(void *ctx)
{
    struct ds_supply_player *s = ctx;
    s->stopped = true;
}

/* The message at `unit`. */
static enum ds_supplied offer(struct ds_supply_player *s, const char **p, size_t *n, uint64_t *mark)
{
    const struct ds_player *player = s->player;
    const struct ds_items *it = &player->in.entry.items;
    if (player->span.json) {
        *p = ds_items_get(it, s->unit, n);
        s->end = s->unit + 1;
    } else {
        size_t left = player->span.take - s->unit;
        *p = it->bytes.data + s->unit;
        *n = left < s->max ? left : s->max;
        s->end = s->unit + *n;
    }
    *mark = s->mark + (s->end - s->unit);
    return DS_SUPPLY_MESSAGE;
}

/* The next entry that has a message. */
static enum ds_supplied find_batch(struct ds_supply_player *s)
{
    while (!s->has_batch && !s->stopped) {
        switch (ds_player_step(s->player, ds_loop_update(s->loop), &s->error)) {
        case DS_PLAYER_BATCH:
            s->unit = s->player->span.first;
            s->has_batch = s->unit < s->player->span.take;
            if (!s->has_batch)
                ds_player_taken(s->player);
            break;
        case DS_PLAYER_WAIT:
            (void)ds_timer_set(s->loop, &s->due, s->player->due);
            return DS_SUPPLY_WAIT;
        case DS_PLAYER_END:
        case DS_PLAYER_FAIL:
            s->stopped = true;
        }
    }
    return s->has_batch ? DS_SUPPLY_MESSAGE : DS_SUPPLY_END;
}

static enum ds_supplied next(void *ctx, const char **p, size_t *n, uint64_t *mark)
{
    struct ds_supply_player *s = ctx;
    enum ds_supplied what = find_batch(s);
    return what == DS_SUPPLY_MESSAGE && !s->stopped ? offer(s, p, n, mark)
           : what == DS_SUPPLY_WAIT                 ? what
                                                    : DS_SUPPLY_END;
}

static void drop(void *ctx)
{
    struct ds_supply_player *s = ctx;
    s->mark += s->end - s->unit;
    s->unit = s->end;
    if (s->unit < s->player->span.take)
        return;
    s->has_batch = false;
    ds_player_taken(s->player);
}

static void hold(void *ctx)
{
    struct ds_supply_player *s = ctx;
    ds_timer_stop(s->loop, &s->due);
}

static void stop(void *ctx, const struct dstream_error *why)
{
    struct ds_supply_player *s = ctx;
    if (why && s->error.code == DSTREAM_OK)
        s->error = *why;
    s->stopped = true;
    hold(s);
}

static const struct dstream_error *error(void *ctx)
{
    const struct ds_supply_player *s = ctx;
    return &s->error;
}

static uint64_t end(void *ctx, bool *closes)
{
    const struct ds_supply_player *s = ctx;
    *closes = s->player->at.closed;
    return s->mark;
}

void ds_supply_player_init(struct ds_supply_player *s, struct ds_player *p, dstream_loop *loop,
                           uint64_t mark, size_t max, int64_t max_time, struct ds_supply *out)
{
    static const struct ds_supply_ops ops = {
        .next = next, .drop = drop, .hold = hold, .stop = stop, .error = error, .end = end};
    *s = (struct ds_supply_player){
        .player = p, .loop = loop, .max = ds_supply_piece(max), .mark = mark};
    p->passed = mark;
    s->due.fire = wake;
    s->limit.fire = on_limit;
    s->limit.ctx = s;
    if (max_time >= 0)
        (void)ds_timer_set(loop, &s->limit, ds_loop_update(loop) + max_time);
    *out = (struct ds_supply){.ops = &ops, .ctx = s};
    ds_supply_copies(out, p->in.about.json);
}

void ds_supply_player_free(struct ds_supply_player *s)
{
    if (!s->loop)
        return;
    ds_timer_stop(s->loop, &s->due);
    ds_timer_stop(s->loop, &s->limit);
}
