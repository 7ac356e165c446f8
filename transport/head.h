/* SPDX-License-Identifier: Apache-2.0 */
/* The head of an answer, put together from the lines that libcurl hands out. */
#ifndef DS_TRANSPORT_HEAD_H
#define DS_TRANSPORT_HEAD_H

#include "base/http.h"

struct ds_head_lines {
    struct ds_head head;
    enum { DS_HEAD_STATUS, DS_HEAD_FIELDS, DS_HEAD_DONE } at;
    size_t bytes, max; /* of all heads of the answer, 1xx and trailers included */
};

enum ds_head_line {
    DS_HEAD_MORE,
    DS_HEAD_READY, /* this was the last line of the final head */
    DS_HEAD_OVER,  /* more than `max` bytes */
    DS_HEAD_NO_MEMORY
};

void ds_head_lines_init(struct ds_head_lines *l, size_t max);
void ds_head_lines_free(struct ds_head_lines *l);
/* One line with its line end. Heads of 1xx and trailers are counted and forgotten. */
enum ds_head_line ds_head_line(struct ds_head_lines *l, const char *p, size_t n);

/* Milliseconds of a Retry-After: seconds or an HTTP date, which is compared with `date` (the
 * answer's own Date, so that the two clocks need not agree) or, where that is NULL or none, with
 * this machine's time. At most a year; -1: NULL or malformed. */
int64_t ds_retry_after(const char *value, const char *date);
/* The absolute URL that `location` means seen from `base`, NULL where it means none or without
 * memory. Free with ds_free(). */
char *ds_redirect_target(const char *base, const char *location);

#endif
