/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static long fail_after = -1;

void ds_alloc_fail_after(long n)
{
    fail_after = n;
}

static bool refused(void)
{
    return fail_after >= 0 && fail_after-- == 0;
}

void *ds_malloc(size_t n)
{
    return refused() ? NULL : malloc(n > 0 ? n : 1);
}

void *ds_calloc(size_t count, size_t size)
{
    return refused() ? NULL : calloc(count > 0 ? count : 1, size > 0 ? size : 1);
}

void *ds_realloc(void *p, size_t n)
{
    return refused() ? NULL : realloc(p, n > 0 ? n : 1);
}

void *ds_grown(void *p, size_t *cap, size_t n, size_t size)
{
    if (n < *cap)
        return p;
    if (*cap > SIZE_MAX / 2 / size)
        return NULL;
    size_t more = *cap > 0 ? *cap * 2 : 16;
    void *grown = ds_realloc(p, more * size);
    if (grown)
        *cap = more;
    return grown;
}

void ds_free(void *p)
{
    free(p);
}

char *ds_strdup(const char *s)
{
    return s ? ds_strndup(s, strlen(s)) : NULL;
}

char *ds_strndup(const char *s, size_t n)
{
    char *copy = ds_malloc(n + 1);
    if (copy) {
        memcpy(copy, s, n);
        copy[n] = '\0';
    }
    return copy;
}
