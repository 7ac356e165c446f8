/* SPDX-License-Identifier: Apache-2.0 */
/* What the finished segments of an output that is rotated are called. */
#ifndef DS_STORE_SEGMENT_H
#define DS_STORE_SEGMENT_H

#include "store/checkpoint.h"

#define DS_SEGMENT_PATTERN "%b-%n%e" /* the default */

/* Whether it is a pattern: %b is the output's name up to its last dot, %e the rest (what is before
 * .gz or .zst goes with it), %n the segment's number, six digits at least, %t when its first data
 * came, %% a percent sign. It has a %n, since no two may be called the same, and no slash. */
bool ds_segment_valid(const char *pattern);
/* Whether it has all of the output's name, so that two outputs of a directory never come to the
 * same one; what is taken away would leave it free for the other. */
bool ds_segment_has_file(const char *pattern);
/* Appends the name of a segment of `file`. ERR_LIMIT for one over DS_SEGMENT_MAX bytes, ERR_NOMEM.
 */
enum dstream_code ds_segment_name(struct ds_buf *out, const char *pattern, const char *file,
                                  const struct ds_checkpoint_segment *s);

#endif
