/* SPDX-License-Identifier: Apache-2.0 */
/* Allocation, in one place so that a test can make the n-th call fail. */
#ifndef DS_BASE_ALLOC_H
#define DS_BASE_ALLOC_H

#include <stddef.h>

void *ds_malloc(size_t n);
void *ds_calloc(size_t count, size_t size);
void *ds_realloc(void *p, size_t n);
void ds_free(void *p);
/* Room for one more than `n` elements of `size` bytes: `p` or where it went to. `*cap`, the
 * elements that there is room for, doubles. NULL without memory: `p` and `*cap` are as before. */
void *ds_grown(void *p, size_t *cap, size_t n, size_t size);
/* Copies, NULL without memory; ds_strdup(NULL) is NULL. Free with ds_free(). */
char *ds_strdup(const char *s);
char *ds_strndup(const char *s, size_t n);

/* For tests: the call after `n` more successful ones fails, once; -1 (the default) never. */
void ds_alloc_fail_after(long n);

#endif
