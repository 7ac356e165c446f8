/* SPDX-License-Identifier: Apache-2.0 */
/* What a batch is printed as: raw bytes, a message a line, or envelopes. */
#ifndef DS_CLI_FORMAT_H
#define DS_CLI_FORMAT_H

#include "base/error.h"
#include "cli/jsonout.h"
#include "cli/options.h"
#include "reader/reader.h"

/* "raw", "ndjson", "envelope"; "" for auto. Static. */
const char *ds_format_name(enum ds_format_kind format);
/* The other way round; false for a name that is none. */
bool ds_format_of(const char *name, enum ds_format_kind *out);

/* Makes auto concrete, now that the stream is known to be of JSON or not. ERR_ARGUMENT for raw on a
 * JSON stream, and for ndjson on another one. */
enum dstream_code ds_format_resolve(enum ds_format_kind *format, bool json,
                                    struct dstream_error *err);

/* Puts the units (messages of JSON, else bytes) from `from` to before `to` of the batch's items.
 *   raw       the bytes
 *   ndjson    each message and an LF; of the message, line breaks between tokens are left out
 *   envelope  a line a message, or one for all the bytes:
 *             {"offset":START,"index":UNITS AFTER IT,"next":OFFSET|null,"received":TIME,
 *              "json":MESSAGE | "text":"..." | "base64":"..."}; base64 where the bytes are not
 *              UTF-8
 * They were received at `received`, ms since 1970. Memory is bounded whatever the size. ERR_NOMEM,
 * or what `put` returned. */
enum dstream_code ds_format_put(enum ds_format_kind format, const dstream_batch *b, size_t from,
                                size_t to, int64_t received, ds_put put, void *ctx);

#endif
