/* SPDX-License-Identifier: Apache-2.0 */
/* Commands that are one call on a stream. */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/conformance/adapter/adapter.h"

static dstream_call *new_call(enum dstream_call_kind kind)
{
    dstream_call *call = dstream_call_new(kind);
    if (!call)
        abort();
    return call;
}

/* Makes the call. False: it has failed, and that is answered. */
static bool make(struct command *c, dstream_call *call)
{
    dstream_stream *s = stream_of(c);
    if (!s)
        return false;
    if (dstream_call_run(call, s, time_left(c)) == DSTREAM_OK)
        return true;
    fail_with(c, dstream_call_cause(call), NULL);
    return false;
}

/* Where something could not be set. */
static bool is_set(struct command *c, enum dstream_code rc, const char *name)
{
    if (rc != DSTREAM_OK)
        fail_code(c, rc, name);
    return rc == DSTREAM_OK;
}

static void reply_offset(struct command *c, const dstream_call *call)
{
    reply_text(c, "offset", dstream_call_offset(call));
}

/* --- create ----------------------------------------------------------------------------------- */

/* What the library does not send. A server would say 400. */
static bool expiry_is_sound(struct command *c)
{
    bool good = get_int(c, "ttlSeconds", 1) >= 0 && !(has(c, "ttlSeconds") && has(c, "expiresAt"));
    if (!good)
        fail(c, "UNEXPECTED_STATUS", 400,
             "no ttlSeconds that a stream can have, or expiresAt beside it");
    return good;
}

static bool set_expiry(struct command *c, dstream_call *call)
{
    uint64_t ttl = (uint64_t)get_int(c, "ttlSeconds", 1);
    const char *at = get_text(c, "expiresAt", NULL);
    return expiry_is_sound(c) &&
           (!has(c, "ttlSeconds") || is_set(c, dstream_call_set_ttl(call, ttl), "ttlSeconds")) &&
           (!at || is_set(c, dstream_call_set_expires(call, at), "expiresAt"));
}

static bool set_up_create(struct command *c, dstream_call *call)
{
    const struct json *data = json_get(c->in, "data");
    if (!is_set(c, dstream_call_set_type(call, get_text(c, "contentType", TYPE_DEFAULT)),
                "contentType"))
        return false;
    if (!set_expiry(c, call))
        return false;
    if (data && data->n > 0 && !is_set(c, dstream_call_set_content(call, data->p, data->n), "data"))
        return false;
    return is_set(c, dstream_call_set_closed(call, get_bool(c, "closed")), "closed");
}

/* The library calls it a failure that what a stream was to begin with was not written, since it was
 * there already: here that is the 200 that the server gave. */
static bool was_there(const dstream_call *call)
{
    const dstream_error *e = dstream_call_error(call);
    return dstream_error_code(e) != DSTREAM_OK && dstream_error_status(e) == 200;
}

void run_create(struct command *c)
{
    dstream_call *call = new_call(DSTREAM_CALL_CREATE);
    if (set_up_create(c, call) && (make(c, call) || was_there(call))) {
        set_path_type(c->a, get_text(c, "path", ""), get_text(c, "contentType", TYPE_DEFAULT));
        reply(c);
        reply_int(c, "status", dstream_call_created(call) ? 201 : 200);
        reply_offset(c, call);
    }
    dstream_call_free(call);
}

/* --- connect, head, delete -------------------------------------------------------------------- */

/* True where it is answered by a success, to be continued. */
static bool look(struct command *c, dstream_call *call)
{
    if (!make(c, call))
        return false;
    if (dstream_call_content_type(call)[0])
        set_path_type(c->a, get_text(c, "path", ""), dstream_call_content_type(call));
    reply(c);
    reply_int(c, "status", 200);
    reply_offset(c, call);
    return true;
}

void run_connect(struct command *c)
{
    dstream_call *call = new_call(DSTREAM_CALL_HEAD);
    (void)look(c, call);
    dstream_call_free(call);
}

void run_head(struct command *c)
{
    dstream_call *call = new_call(DSTREAM_CALL_HEAD);
    if (look(c, call)) {
        reply_text(c, "contentType", dstream_call_content_type(call));
        reply_bool(c, "streamClosed", dstream_call_closed(call));
        if (dstream_call_ttl(call) >= 0)
            reply_int(c, "ttlSeconds", dstream_call_ttl(call));
        if (dstream_call_expires(call)[0])
            reply_text(c, "expiresAt", dstream_call_expires(call));
    }
    dstream_call_free(call);
}

void run_delete(struct command *c)
{
    dstream_call *call = new_call(DSTREAM_CALL_DELETE);
    if (make(c, call)) {
        forget_path(c->a, get_text(c, "path", ""));
        reply(c);
        reply_int(c, "status", 200);
    }
    dstream_call_free(call);
}

/* --- append, close ---------------------------------------------------------------------------- */

/* The data as bytes. False: it is answered. */
static bool decode(struct command *c, struct text *bytes)
{
    const struct json *data = json_get(c->in, "data");
    if (!get_bool(c, "binary")) {
        text_add(bytes, data->p, data->n);
    } else if (!text_add_decoded(bytes, data->p, data->n)) {
        fail(c, INVALID_ARGUMENT, 0, "data is not base64");
        return false;
    }
    if (bytes->n > 0)
        return true;
    /* The library does not send it. A server would say this. */
    fail(c, "UNEXPECTED_STATUS", 400, "there is nothing to append");
    return false;
}

static bool set_up_append(struct command *c, dstream_call *call, const struct text *bytes)
{
    char seq[32];
    snprintf(seq, sizeof seq, "%" PRId64, get_int(c, "seq", 0));
    return is_set(c, dstream_call_set_type(call, type_of(c)), "contentType") &&
           is_set(c, dstream_call_set_body(call, bytes->p, bytes->n), "data") &&
           (!has(c, "seq") || is_set(c, dstream_call_set_sequence(call, seq), "seq"));
}

void run_append(struct command *c)
{
    dstream_call *call = new_call(DSTREAM_CALL_APPEND);
    struct text bytes = {.n = 0};
    c->dynamic = true;
    if (decode(c, &bytes) && set_up_append(c, call, &bytes) && make(c, call)) {
        reply(c);
        reply_int(c, "status", 200);
        reply_offset(c, call);
        reply_dynamic(c);
    }
    text_free(&bytes);
    dstream_call_free(call);
}

void run_close(struct command *c)
{
    dstream_call *call = new_call(DSTREAM_CALL_CLOSE);
    const struct json *data = json_get(c->in, "data");
    bool body = data && data->n > 0;
    if ((!body || (is_set(c, dstream_call_set_type(call, type_of(c)), "contentType") &&
                   is_set(c, dstream_call_set_body(call, data->p, data->n), "data"))) &&
        make(c, call)) {
        reply(c);
        reply_int(c, "status", 200);
        reply_text(c, "finalOffset", dstream_call_offset(call));
    }
    dstream_call_free(call);
}
