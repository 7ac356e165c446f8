/* SPDX-License-Identifier: Apache-2.0 */
/* The server's own words on a failure: the body of an error answer as one short line. */
#ifndef DS_BASE_REASON_H
#define DS_BASE_REASON_H

#include <stdbool.h>
#include <stddef.h>

#define DS_REASON_MAX 160 /* bytes of the line */

/* Zeroed to begin with. */
struct ds_reason {
    char kept[DS_REASON_MAX * 2]; /* the beginning of the body */
    size_t len;
    bool cut; /* there was more */
    char line[DS_REASON_MAX + 1];
};

/* Takes a piece of the body; memory stays bounded whatever comes. */
void ds_reason_add(struct ds_reason *r, const char *p, size_t n);
/* The line: white space runs are one space, control characters, bidirectional overrides and what is
 * not UTF-8 are left out, "..." stands for what did not fit. "" where nothing is left, and for
 * HTML, which says nothing in one line. `content_type` may be NULL. Valid until `r` changes. */
const char *ds_reason_line(struct ds_reason *r, const char *content_type);

#endif
