/* SPDX-License-Identifier: Apache-2.0 */
/* The two ways of dstream write: plainly, and with a producer identity. */
#ifndef DS_CLI_WRITE_H
#define DS_CLI_WRITE_H

#include "cli/unary.h"
#include "client/journal.h"

/* After INT or TERM: how long what was read already has to go out. */
#define DS_WRITE_DRAIN 2000

struct ds_write {
    struct ds_unary *u;       /* its result: of the look at the stream, where that was due */
    const char *const *files; /* "-": standard input */
    size_t nfiles;
    char type[DS_TYPE_MAX + 1];               /* the stream's */
    struct ds_journal *journal;               /* NULL: none */
    const struct ds_producer_journal *before; /* what it holds; NULL: it is new */
};

/* Both run to the end of the input, report, and return the exit code. */
int ds_write_plain(const struct ds_write *c);
int ds_write_once(const struct ds_write *c);

/* Opens the journal that --state names. On failure u->error says why. */
enum dstream_code ds_write_open_journal(struct ds_write *c);

#endif
