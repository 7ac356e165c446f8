/* SPDX-License-Identifier: Apache-2.0 */
/* A recording that is played, as what a producer is fed with. Marks are units (messages of JSON,
 * else bytes) from where it began to play. */
#ifndef DS_CLI_SUPPLY_PLAYER_H
#define DS_CLI_SUPPLY_PLAYER_H

#include "cli/player.h"
#include "cli/supply.h"

struct ds_supply_player {
    struct ds_player *player; /* opened, and not stepped yet; lent */
    dstream_loop *loop;
    size_t max; /* bytes of a message, where it has no borders of its own */
    struct ds_timer due;
    struct ds_timer limit; /* --max-time */
    bool has_batch;
    size_t unit;   /* the next one of it, */
    size_t end;    /* and the one behind the message on offer */
    uint64_t mark; /* behind what was dropped */
    bool stopped;
    struct dstream_error error;
};

/* `mark`: what an earlier run has taken. `max_time` in ms, -1: none. */
void ds_supply_player_init(struct ds_supply_player *s, struct ds_player *p, dstream_loop *loop,
                           uint64_t mark, size_t max, int64_t max_time, struct ds_supply *out);
void ds_supply_player_free(struct ds_supply_player *s);

#endif
