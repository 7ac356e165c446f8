/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What serve brings along: streams that are loaded, and recordings that are played on the server.
 *
 * A recording begins to play when its stream is first read. What came first in it is there before.
 */
#ifndef DS_CLI_STAGE_H
#define DS_CLI_STAGE_H

#include "cli/cli.h"
#include "devserver/server.h"

struct ds_play;

struct ds_stage {
    struct ds_cli *cli;
    struct ds_play *plays;
    size_t n;
};

/* Sets `so` up for it. It must stay where it is. */
void ds_stage_init(struct ds_stage *s, struct ds_cli *c, struct ds_server_options *so);
/* Loads what --load and --replay name. Returns DS_EXIT_OK, or reports what is wrong. */
int ds_stage_load(struct ds_stage *s, struct ds_server *server);
void ds_stage_free(struct ds_stage *s);

#endif
