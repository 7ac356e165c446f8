/* SPDX-License-Identifier: Apache-2.0 */
/* Text that comes from outside: UTF-8 and its safe showing; numbers, durations and sizes from
 * words. */
#ifndef DS_BASE_TEXT_H
#define DS_BASE_TEXT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

/* Incremental UTF-8 validation (RFC 3629: no surrogates, nothing overlong, nothing over U+10FFFF).
 * Zeroed to start with. */
struct ds_utf8 {
    uint8_t need, lo, hi; /* continuation bytes still due, and the bounds of the next one */
};
/* False at the first byte that cannot be. A sequence may go on in the next call: at the end,
 * ds_utf8_whole() says that none is open. */
bool ds_utf8_feed(struct ds_utf8 *u, const void *p, size_t n);
bool ds_utf8_whole(const struct ds_utf8 *u);
bool ds_utf8_valid(const void *p, size_t n);
/* How many bytes at the end begin a sequence that may go on. */
size_t ds_utf8_open_end(const char *p, size_t n);
/* Appends `p` with each maximal ill-formed part replaced by U+FFFD (WHATWG decoding). */
enum dstream_code ds_utf8_replace(struct ds_buf *out, const void *p, size_t n);

/* Appends `p` as the inside of a JSON string: quotes, backslashes, U+2028/9 and all that
 * ds_terminal_escape() would not show (C0, DEL, C1, bidirectional overrides) escaped. `p` must be
 * UTF-8. */
enum dstream_code ds_json_escape(struct ds_buf *out, const void *p, size_t n);
/* The same for bytes of any kind: each stands as the code point of its number. */
enum dstream_code ds_json_escape_bytes(struct ds_buf *out, const void *p, size_t n);
/* Appends `p` for a terminal: C0 (but LF and TAB), DEL, C1 controls and bytes that are not UTF-8 as
 * \xNN; bidirectional overrides as \u{NNNN}. */
enum dstream_code ds_terminal_escape(struct ds_buf *out, const void *p, size_t n);

/* How many LFs there are; and the place behind the `want`-th of them, or `n` where there are fewer.
 */
uint64_t ds_lines_count(const char *p, size_t n);
size_t ds_lines_end(const char *p, size_t n, uint64_t want);

/* Decimal digits only, whole string, no sign, at most `max`. */
bool ds_parse_u64(const char *s, uint64_t max, uint64_t *out);
/* A duration, as "500ms", "5s", "1.5s", "2m", "1h", "1d"; a bare number is seconds. Milliseconds
 * out. */
bool ds_parse_duration(const char *s, int64_t *ms);
/* A size, as "1024", "64k", "1KiB", "1MiB", "2GiB" (k, M, G and KiB, MiB, GiB are powers of 1024;
 * kB, MB, GB of 1000). */
bool ds_parse_size(const char *s, uint64_t *bytes);

#endif
