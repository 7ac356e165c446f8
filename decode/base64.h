/* SPDX-License-Identifier: Apache-2.0 */
/* Strict base64 (RFC 4648, section 4) over libb64, which itself skips unknown bytes and takes int
 * lengths. */
#ifndef DS_DECODE_BASE64_H
#define DS_DECODE_BASE64_H

#include "base/buf.h"

/* Decodes `n` bytes in place; *out_len is the decoded length, never more than n. CR and LF are
 * dropped first; what remains must be of the standard alphabet, a multiple of four long, padded
 * only at its end and with zero trailing bits. On ERR_PARSE the contents are undefined, *error_at
 * is the index of the first bad byte (n where the length is wrong), and *why one of a few static
 * texts. */
enum dstream_code ds_base64_decode(char *p, size_t n, size_t *out_len, size_t *error_at,
                                   const char **why);
/* Appends the encoding of `p`, padded and without line breaks. */
enum dstream_code ds_base64_encode(struct ds_buf *out, const void *p, size_t n);

#endif
