/* SPDX-License-Identifier: Apache-2.0 */
#include "base/hash.h"

#include <stdio.h>
#include <xxhash.h>
#include <zlib.h>

static XXH3_state_t *state(struct ds_hash *h)
{
    return (XXH3_state_t *)h;
}

struct ds_hash *ds_hash_new(void)
{
    XXH3_state_t *s = XXH3_createState();
    if (s)
        XXH3_128bits_reset(s);
    return (struct ds_hash *)s;
}

void ds_hash_free(struct ds_hash *h)
{
    XXH3_freeState(state(h));
}

void ds_hash_reset(struct ds_hash *h)
{
    XXH3_128bits_reset(state(h));
}

void ds_hash_copy(struct ds_hash *to, const struct ds_hash *from)
{
    XXH3_copyState(state(to), (const XXH3_state_t *)from);
}

void ds_hash_add(struct ds_hash *h, const void *p, size_t n)
{
    if (n > 0)
        XXH3_128bits_update(state(h), p, n);
}

void ds_hash_messages(struct ds_hash *h, const char *data, const size_t *ends, size_t count)
{
    size_t from = 0;
    for (size_t i = 0; i < count; i++) {
        size_t end = ends[i] - 1;
        while (from < end) {
            size_t run = from;
            while (run < end && data[run] != '\n' && data[run] != '\r')
                run++;
            ds_hash_add(h, data + from, run - from);
            from = run + 1;
        }
        ds_hash_add(h, "\n", 1);
        from = ends[i];
    }
}

static void hex(XXH128_hash_t v, char out[DS_HASH_HEX])
{
    XXH128_canonical_t c;
    XXH128_canonicalFromHash(&c, v);
    for (size_t i = 0; i < sizeof c.digest; i++)
        snprintf(out + 2 * i, 3, "%02x", c.digest[i]);
}

void ds_hash_hex(const struct ds_hash *h, char out[DS_HASH_HEX])
{
    hex(XXH3_128bits_digest((const XXH3_state_t *)h), out);
}

void ds_hash_of(const void *p, size_t n, char out[DS_HASH_HEX])
{
    hex(XXH3_128bits(p, n), out);
}

uint32_t ds_crc32(const void *p, size_t n)
{
    return (uint32_t)crc32_z(0, p, n);
}

uint32_t ds_crc32_more(uint32_t crc, const void *p, size_t n)
{
    return n > 0 ? (uint32_t)crc32_z(crc, p, n) : crc;
}
