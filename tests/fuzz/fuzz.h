/* SPDX-License-Identifier: Apache-2.0 */
/* What the fuzz targets share. Built with clang alone: make tests/fuzz/fuzz_sse; a run is
 * tests/fuzz/fuzz_sse -max_total_time=60. */
#ifndef DS_FUZZ_H
#define DS_FUZZ_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static inline void must(int condition)
{
    if (!condition)
        abort();
}

/* The length of the next piece, 1..n, from a small generator that the input seeds. */
static inline size_t piece_of(uint32_t *seed, size_t n)
{
    *seed = *seed * 1664525u + 1013904223u;
    size_t max = (*seed >> 28 & 3) == 0 ? 64 : 4;
    size_t piece = (*seed >> 8) % max + 1;
    return piece < n ? piece : n;
}

/* A copy of exactly that size, so that a read outside is seen. */
static inline char *exact_copy(const char *p, size_t n)
{
    char *copy = malloc(n > 0 ? n : 1);
    must(copy != NULL);
    if (n > 0)
        memcpy(copy, p, n);
    return copy;
}

static inline void must_be_equal(const struct ds_buf *a, const struct ds_buf *b)
{
    must(a->len == b->len && (a->len == 0 || memcmp(a->data, b->data, a->len) == 0));
}

#endif
