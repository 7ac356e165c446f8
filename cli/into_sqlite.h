/* SPDX-License-Identifier: Apache-2.0 */
/* dstream export --sqlite: streams that are read on one loop into tables of a database. */
#ifndef DS_CLI_INTO_SQLITE_H
#define DS_CLI_INTO_SQLITE_H

#include "cli/cli.h"

/* Whether the options fit each other: DS_EXIT_OK, or a usage error that was reported. */
int ds_into_sqlite_check(struct ds_cli *c);
/* The streams are c->args. Returns the exit code. */
int ds_into_sqlite(struct ds_cli *c);

#endif
