/* SPDX-License-Identifier: Apache-2.0 */
/* What the library takes of an object's fields, and which it refuses. Nothing is sent. */
#include "config.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "tests/conformance/adapter/adapter.h"

/* False where the field is no number of the kind: it is refused by its name. */
static bool integer(const struct json *target, const char *name, int64_t absent, int64_t *out)
{
    const struct json *v = json_get(target, name);
    *out = absent;
    return !v || json_int(v, out);
}

static int to_int(int64_t n)
{
    return n > INT_MAX ? INT_MAX : n < 0 ? -1 : (int)n;
}

/* The field that is refused; NULL: none. Which of several that the library takes at once is found
 * by giving it one more of them each time. */
static const char *refused_retry(dstream_options *o, const struct json *target)
{
    const struct json *growth = json_get(target, "multiplier");
    int64_t retries, first, most;
    if (!integer(target, "maxRetries", 5, &retries) ||
        dstream_options_set_retries(o, to_int(retries)) != DSTREAM_OK)
        return "maxRetries";
    if (!integer(target, "initialDelayMs", 100, &first) ||
        dstream_options_set_backoff(o, first, INT64_MAX, 2) != DSTREAM_OK)
        return "initialDelayMs";
    if (!integer(target, "maxDelayMs", 30000, &most) ||
        dstream_options_set_backoff(o, first, most, 2) != DSTREAM_OK)
        return "maxDelayMs";
    if (growth && (growth->kind != JSON_NUMBER ||
                   dstream_options_set_backoff(o, first, most, json_double(growth)) != DSTREAM_OK))
        return "multiplier";
    return NULL;
}

/* A negative size is one that no batch has. */
static size_t to_size(int64_t n)
{
    return n < 0 ? SIZE_MAX : (size_t)n;
}

static const char *refused_producer(dstream_options *o, const struct json *target)
{
    const struct json *id = json_get(target, "producerId");
    int64_t epoch, bytes, items;
    dstream_producer *p;
    if (!integer(target, "epoch", 0, &epoch) ||
        dstream_options_set_epoch(o, (uint64_t)epoch, 0) != DSTREAM_OK)
        return "epoch";
    if (!integer(target, "maxBatchBytes", 1 << 20, &bytes) ||
        dstream_options_set_batch(o, to_size(bytes), SIZE_MAX) != DSTREAM_OK)
        return "maxBatchBytes";
    if (!integer(target, "maxBatchItems", INT64_MAX, &items) || items < 0 ||
        dstream_options_set_batch(o, to_size(bytes), to_size(items)) != DSTREAM_OK)
        return "maxBatchItems";
    if (id && (id->kind != JSON_STRING || strlen(id->p) != id->n))
        return "producerId";
    if (dstream_producer_open(&p, NULL, "http://127.0.0.1/stream", TYPE_DEFAULT,
                              id ? id->p : "producer", o) != DSTREAM_OK)
        return "producerId";
    dstream_producer_free(p);
    return NULL;
}

void run_validate(struct command *c)
{
    const struct json *target = json_get(c->in, "target");
    const struct json *name = json_get(target, "target");
    const char *what = name && name->kind == JSON_STRING ? name->p : "";
    dstream_options *o = dstream_options_new();
    const char *refused = NULL;
    if (!o)
        abort();
    if (strcmp(what, "retry-options") == 0)
        refused = refused_retry(o, target);
    else if (strcmp(what, "idempotent-producer") == 0)
        refused = refused_producer(o, target);
    else
        fail(c, "NOT_SUPPORTED", 0, "there is nothing to validate called '%s'", what);
    dstream_options_free(o);
    if (refused)
        fail(c, INVALID_ARGUMENT, 0, "%s is out of its range", refused);
    else if (c->out.n == 0)
        reply(c);
}
