/* SPDX-License-Identifier: Apache-2.0 */
/* What a batch is printed as: raw bytes, a message a line, lines, envelopes, or what a
 * template says. */
#ifndef DS_CLI_FORMAT_H
#define DS_CLI_FORMAT_H

#include "base/error.h"
#include "cli/format_sse.h"
#include "cli/options.h"
#include "cli/span.h"

struct ds_format {
    enum ds_format_kind kind;
    const char *template; /* lent; of a template only, as is */
    const char *url;      /* for what it shows: complete, without secrets. Lent */
    bool text;            /* of sse: the stream is of that */
    struct ds_sse_text sse;
};

/* "raw", "ndjson", "lines", "envelope", "sse", "template"; "" for auto. Static. */
const char *ds_format_name(enum ds_format_kind format);
/* It is nothing but what is in the stream: raw, ndjson, lines. */
bool ds_format_is_data(enum ds_format_kind format);
/* The other way round; false for a name that is none. */
bool ds_format_of(const char *name, enum ds_format_kind *out);
/* The same for what the state at `path` names. ERR_STATE_MISMATCH. */
enum dstream_code ds_format_of_state(const char *name, const char *path, enum ds_format_kind *out,
                                     struct dstream_error *err);

/* Makes auto concrete, now that the stream is known to be of JSON or not. ERR_ARGUMENT for raw on a
 * JSON stream, and for ndjson on another one. */
enum dstream_code ds_format_resolve(enum ds_format_kind *format, bool json,
                                    struct dstream_error *err);

/* ERR_ARGUMENT where --count has nothing to count. */
enum dstream_code ds_format_check_count(const struct ds_left *left, bool json,
                                        struct dstream_error *err);

/* ERR_ARGUMENT where a terminal would be shown binary data. */
enum dstream_code ds_format_check_terminal(enum ds_format_kind format, const char *type,
                                           struct dstream_error *err);
/* Whether the bytes of a stream of this type come as they are, by SSE or not: ERR_ARGUMENT. */
enum dstream_code ds_format_exact(bool sse, const char *content_type, struct dstream_error *err);

/* Before a batch is put: what of it can be, as of ds_sse_cut(); and after all of that was put, with
 * the batch as it was before. */
enum dstream_code ds_format_cut(struct ds_format *f, dstream_batch *b, bool *none,
                                struct dstream_error *err);
void ds_format_taken(struct ds_format *f, const dstream_batch *b);

/* Puts the units (messages of JSON, else bytes) from `from` to before `to` of the batch's items.
 *   raw       the bytes
 *   ndjson    each message and an LF; of the message, line breaks between tokens are left out
 *   lines     of JSON as ndjson, else as raw: whoever counts them, or puts those of several streams
 *             into one output, cuts them (span.h). At the end of a closed stream a last line gets
 *             the LF that it lacks, which is not put here
 *   envelope  a line a message, or one for all the bytes:
 *             {"offset":START,"index":UNITS AFTER IT,"next":OFFSET|null,"received":TIME,
 *              "json":MESSAGE | "text":"..." | "base64":"..."}; base64 where the bytes are not
 *              UTF-8
 *   sse       events (format_sse.h); where nothing is left to put of a batch, still the one that
 *             says where it ends
 *   template  the same as often as an envelope, as the user has it (template.h)
 * They were received at `received`, ms since 1970. Memory is bounded whatever the size. ERR_NOMEM,
 * or what `put` returned. */
enum dstream_code ds_format_put(struct ds_format *f, const dstream_batch *b, size_t from, size_t to,
                                int64_t received, ds_put put, void *ctx);

#endif
