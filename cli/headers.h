/* SPDX-License-Identifier: Apache-2.0 */
/* Request headers as the user gives them, and what of them must not be seen. */
#ifndef DS_CLI_HEADERS_H
#define DS_CLI_HEADERS_H

#include "cli/options.h"

/* Takes the value of -H: "Name: value", or @FILE with one a line. A secret is blanked out of
 * `value`, which is argv's, so that the process list does not show it. NULL, or what is wanted
 * instead; a static text. */
const char *ds_headers_take(struct ds_cli_options *o, char *value);
/* The same for those that the stream that is copied or replayed to gets. */
const char *ds_headers_take_to(struct ds_cli_options *o, char *value);
/* Takes an Authorization header's value for it, the first line of a file. The same. */
const char *ds_headers_auth_to(struct ds_cli_options *o, const char *path);
/* Adds a copy of "Name: value". The same. */
const char *ds_headers_add(struct ds_cli_options *o, const char *header);
/* Whether there is one of this name (any case). */
bool ds_headers_have(const struct ds_cli_options *o, const char *name);

#endif
