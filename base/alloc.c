/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"

#include <stdbool.h>
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
