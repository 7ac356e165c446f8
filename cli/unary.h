/* SPDX-License-Identifier: Apache-2.0 */
/* What create, write, close, delete and stat have in common: one stream, and calls on it. */
#ifndef DS_CLI_UNARY_H
#define DS_CLI_UNARY_H

#include "cli/cli.h"
#include "client/call.h"

struct ds_unary {
    struct ds_cli *cli;
    struct ds_buf url;
    char name[512]; /* the URL as it may be shown */
    dstream_loop *loop;
    dstream_options *options;
    struct ds_session *session;
    struct ds_caller caller;
    struct ds_call_result result; /* of the last call */
    struct dstream_error error;   /* of the last call, or why there can be none */
};

/* Makes ready for calls on the stream that the first operand names. INT and TERM are flags from now
 * on. On failure u->error says why; ds_unary_end() is due all the same. */
enum dstream_code ds_unary_begin(struct ds_unary *u, struct ds_cli *c);
/* The same for the stream that is copied or replayed to. */
enum dstream_code ds_unary_begin_to(struct ds_unary *u, struct ds_cli *c, const char *operand);
/* One call, waited for; where the configuration has no URL it is that of `u`. INT and TERM end it.
 * Its result and error are in `u`. */
enum dstream_code ds_unary_call(struct ds_unary *u, struct ds_call_config c);
/* After a call that closes: that the stream is closed, which not every server that accepts the
 * request does. Asks, where the answer did not say so. ERR_PROTOCOL where it is not. */
enum dstream_code ds_unary_check_closed(struct ds_unary *u);
/* What --ttl was given as the wire has it, in whole seconds; "" for NULL. False where it is
 * something else, which DS_UNARY_TTL says. */
bool ds_unary_ttl(const char *given, struct ds_buf *out);
#define DS_UNARY_TTL "--ttl: wanted are whole seconds, from 1 up"
/* Lets go of everything. Dies of INT or TERM where one came, else returns `status`. */
int ds_unary_end(struct ds_unary *u, int status);

/* The body of a request out of a file ("-": standard input), as a stream of this type takes it:
 * JSON values become one array. Empty where there is no data. ERR_NOT_FOUND, ERR_IO, ERR_INPUT,
 * ERR_LIMIT, ERR_CANCELLED (INT, TERM), ERR_NOMEM. */
enum dstream_code ds_unary_data(struct ds_unary *u, const char *path, const char *type,
                                struct ds_buf *out);

#endif
