/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dstream export --exec and --ack-fd: a stream handed out in portions, one at a time, with a state
 * that moves behind each once it is done.
 *
 * Before a portion is handed out, the state on the disk says where it begins. So whatever is handed
 * out again after a crash begins where it began before, by which who has it already can tell it: a
 * place and so many units behind it, which stay the same while the ends of answers do not.
 */
#ifndef DS_CLI_HANDING_H
#define DS_CLI_HANDING_H

#include "cli/cli.h"

/* Whether that is what the options ask for. */
bool ds_hands_out(const struct ds_cli_options *o);
int ds_cmd_hand_out(struct ds_cli *c);

#endif
