/* SPDX-License-Identifier: Apache-2.0 */
/* The input of write as what a producer is fed with. One piece is read a turn of the loop. */
#ifndef DS_CLI_SUPPLY_INPUT_H
#define DS_CLI_SUPPLY_INPUT_H

#include "cli/supply.h"
#include "cli/input.h"
#include "cli/messages.h"

struct ds_supply_input {
    struct ds_input input;
    struct ds_messages messages;
    uint64_t skipped; /* of the input, as `messages` knows */
};

/* `mark`: what an earlier run has taken in, and `witness` what its journal kept with that. `max`:
 * bytes of one message. ERR_NOMEM. */
enum dstream_code ds_supply_input_init(struct ds_supply_input *f, dstream_loop *loop,
                                       const char *const *files, size_t nfiles,
                                       enum ds_messages_how how, uint64_t mark, const char *witness,
                                       size_t max, unsigned json_depth, struct ds_supply *out);
void ds_supply_input_free(struct ds_supply_input *f);

#endif
