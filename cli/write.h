/* SPDX-License-Identifier: Apache-2.0 */
/* The two ways of writing: plainly, and with a producer identity. */
#ifndef DS_CLI_WRITE_H
#define DS_CLI_WRITE_H

#include "cli/supply.h"
#include "cli/unary.h"
#include "client/journal.h"

/* After INT or TERM: how long what was read already has to go out. */
#define DS_WRITE_DRAIN 2000

struct ds_write {
    struct ds_unary *u; /* its result: of the look at the stream, where that was due */
    /* Where the messages come from: */
    const char *const *files; /* "-": standard input */
    size_t nfiles;
    const struct ds_supply *supply;           /* or NULL: the files */
    const char *producer;                     /* its id */
    char type[DS_TYPE_MAX + 1];               /* the stream's */
    struct ds_journal *journal;               /* NULL: none */
    const struct ds_producer_journal *before; /* what it holds; NULL: it is new */
};

/* Both run to the end of the input, report, and return the exit code. */
int ds_write_plain(const struct ds_write *c);
int ds_write_once(const struct ds_write *c);

/* What of the options on writing does not go together; DS_EXIT_OK, or a usage error that was
 * reported. */
int ds_write_check_options(struct ds_cli *c);
/* Sets w->producer: the id that was given, or that of the journal that is there, or one that is
 * drawn. On failure u->error says why, here and below. */
enum dstream_code ds_write_name_producer(struct ds_write *w, char id[DS_ID_MAX + 1]);
/* Opens the journal that --state names, if any, and if it is not open. */
enum dstream_code ds_write_open_journal(struct ds_write *c);
/* How large one message can be, for this content type. */
size_t ds_write_message_max(const struct ds_cli_options *o, bool json);
/* Opens the journal, and learns the stream's type; makes the stream where that was asked for, of
 * `type` where the command line names none (NULL: any). */
enum dstream_code ds_write_prepare(struct ds_write *w, const char *type);
/* Whether what is of `type` can be written to it: messages to messages, bytes to bytes. `what` it
 * is, for the message. */
enum dstream_code ds_write_check_kind(struct ds_write *w, const char *type, const char *what);

#endif
