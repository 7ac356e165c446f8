/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Credentials that can be renewed while the command runs: the first line of a file or of what a
 * command prints is the value of the Authorization header. It is looked for again where a server
 * refuses it (401, 403), and after HUP.
 */
#ifndef DS_CLI_CREDENTIALS_H
#define DS_CLI_CREDENTIALS_H

#include "cli/cli.h"

/* Has requests of `o` carry them, where --auth-file or --auth-command is given; they are read now
 * if they were not before. `o` and its handles must be gone before ds_credentials_free(). ERR_IO,
 * ERR_ARGUMENT (no value of a header), ERR_NOMEM. */
enum dstream_code ds_credentials_add(struct ds_cli *c, dstream_options *o,
                                     struct dstream_error *err);
/* The next request looks for them again. */
void ds_credentials_again(struct ds_cli *c);
/* Overwrites and frees them. */
void ds_credentials_free(struct ds_cli *c);

#endif
