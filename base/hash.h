/* SPDX-License-Identifier: Apache-2.0 */
/* XXH3-128 for witnesses and file ends, CRC-32 for the lines of state files. */
#ifndef DS_BASE_HASH_H
#define DS_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

#define DS_HASH_NAME "xxh3-128"
#define DS_HASH_HEX  33 /* 32 digits and a NUL */

struct ds_hash; /* opaque: the state is large and wants alignment */

/* NULL without memory. */
struct ds_hash *ds_hash_new(void);
void ds_hash_free(struct ds_hash *h);
void ds_hash_reset(struct ds_hash *h);
/* `to` becomes as `from` is. */
void ds_hash_copy(struct ds_hash *to, const struct ds_hash *from);
void ds_hash_add(struct ds_hash *h, const void *p, size_t n);
/* Adds messages of JSON as they are printed a line each: message i ends in data just before
 * ends[i], with an LF behind it; line breaks between its tokens are left out. */
void ds_hash_messages(struct ds_hash *h, const char *data, const size_t *ends, size_t count);
/* The hash of what was added so far, as lower-case hexadecimal digits in canonical byte order. */
void ds_hash_hex(const struct ds_hash *h, char out[DS_HASH_HEX]);
/* All at once. */
void ds_hash_of(const void *p, size_t n, char out[DS_HASH_HEX]);

uint32_t ds_crc32(const void *p, size_t n);
/* Of what `crc` is of, followed by `p`. */
uint32_t ds_crc32_more(uint32_t crc, const void *p, size_t n);

#endif
