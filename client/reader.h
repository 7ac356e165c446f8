/* SPDX-License-Identifier: Apache-2.0 */
/* What the command uses of a reader beyond the public header. */
#ifndef DS_CLIENT_READER_H
#define DS_CLIENT_READER_H

#include "client/loop.h"
#include "reader/reader.h"

void ds_options_set_limits(dstream_options *o, const struct ds_limits *l);
/* See struct ds_reader_config. The strings and the witness are copied. */
void ds_options_set_stop_at_tail(dstream_options *o, bool on);
enum dstream_code ds_options_set_seen(dstream_options *o, const char *content_type,
                                      const struct ds_witness *witness);
/* Looks for the witness again after each end of an SSE connection and each error. */
void ds_options_set_recheck(dstream_options *o, bool on);
/* Told of retries and the like, from within the loop's turn. */
typedef void (*ds_on_notice)(void *ctx, dstream_reader *r, const struct ds_notice *n);
void ds_options_set_notice(dstream_options *o, ds_on_notice on_notice, void *ctx);
/* Told of each request as it starts and each answer's status, for -v; url is redacted. status 0:
 * starts. */
typedef void (*ds_on_trace)(void *ctx, const char *method, const char *url, int status);
void ds_options_set_trace(dstream_options *o, ds_on_trace on_trace, void *ctx);

/* Told of the head of each answer to a GET, before the batches that come of it. `live`: it was a
 * long-poll or SSE. The head is lent during the call. */
typedef void (*ds_on_head)(void *ctx, bool live, const struct ds_head *head);
void ds_options_set_on_head(dstream_options *o, ds_on_head on_head, void *ctx);

enum ds_phase ds_client_phase(const dstream_reader *r);
/* Messages (JSON) or bytes after dstream_reader_offset() that were acknowledged already: not 0 only
 * while a start's skip is not used up. */
uint64_t ds_client_skip(const dstream_reader *r);

/* What a checkpoint would now say was delivered last, for the recheck. Copied. */
void ds_client_set_witness(dstream_reader *r, const struct ds_witness *w);

/* The session (headers, TLS) that these options describe, for unary calls. */
enum dstream_code ds_options_session(struct ds_session **out, dstream_loop *l,
                                     const dstream_options *o, struct dstream_error *err);

#endif
