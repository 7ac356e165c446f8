/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of the development server's store begin with. */
#ifndef DS_UNIT_STORING_H
#define DS_UNIT_STORING_H

#include <criterion/criterion.h>

#include "devserver/api.h"
#include "devserver/store.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))
#define NOW      INT64_C(1800000000000)

/* What a store calls: how often it was, and with which stream. */
extern unsigned changes;
extern struct ds_stream *changed_last;
void changed(void *ctx, struct ds_stream *s);
/* A store of at most so many bytes; changes is 0 again. */
struct ds_store *new_store(size_t max);
struct ds_stream *make(struct ds_store *st, const char *path, const char *type);
/* The value of a header in a reply; NULL where it has none. */
const char *field(const struct ds_reply *r, const char *name);

#endif
