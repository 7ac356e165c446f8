/* SPDX-License-Identifier: Apache-2.0 */
/* From names on the command line to requests: URLs, credentials, limits. */
#ifndef DS_CLI_NETWORK_H
#define DS_CLI_NETWORK_H

#include "cli/cli.h"
#include "client/reader.h"

/* Appends the URL of a stream as it was named: as it is where it has a scheme, else joined to the
 * base URL. ERR_ARGUMENT where there is none. */
enum dstream_code ds_cli_url(struct ds_cli *c, const char *name, struct ds_buf *out,
                             struct dstream_error *err);
/* Sets what requests for `url` have in common: headers, where it is of the origin that they are
 * for; certificates; limits; and the trace of -v. */
enum dstream_code ds_cli_network(struct ds_cli *c, dstream_options *o, const char *url,
                                 struct dstream_error *err);
/* The same for the stream that is copied or replayed to, whose credentials are its own. */
enum dstream_code ds_cli_network_to(struct ds_cli *c, dstream_options *o,
                                    struct dstream_error *err);

#endif
