/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include <inttypes.h>
#include <string.h>

#include "tests/conformance/adapter/adapter.h"

/* --- answers ---------------------------------------------------------------------------------- */

struct text *reply_member(struct command *c, const char *name)
{
    text_addf(&c->out, "%c\"%s\":", c->out.n > 0 ? ',' : '{', name);
    return &c->out;
}

void reply_bytes(struct command *c, const char *name, const char *p, size_t n)
{
    json_add_string(reply_member(c, name), p, n);
}

/* What a server said may be no text: then only its ASCII is told. */
void reply_text(struct command *c, const char *name, const char *value)
{
    struct text plain = {.n = 0};
    text_adds(&plain, value);
    bool good = is_utf8(plain.p, plain.n);
    for (size_t i = 0; !good && i < plain.n; i++)
        plain.p[i] = (plain.p[i] & 0x80) ? '?' : plain.p[i];
    reply_bytes(c, name, plain.p, plain.n);
    text_free(&plain);
}

void reply_int(struct command *c, const char *name, int64_t value)
{
    text_addf(reply_member(c, name), "%" PRId64, value);
}

void reply_bool(struct command *c, const char *name, bool value)
{
    text_adds(reply_member(c, name), value ? "true" : "false");
}

void reply(struct command *c)
{
    c->out.n = 0;
    reply_text(c, "type", c->type);
    reply_bool(c, "success", true);
}

void reply_end(struct command *c)
{
    text_adds(&c->out, "}\n");
}

/* --- failures --------------------------------------------------------------------------------- */

static void begin_failure(struct command *c, const char *code, int status)
{
    c->out.n = 0;
    reply_text(c, "type", "error");
    reply_bool(c, "success", false);
    reply_text(c, "commandType", c->type);
    reply_text(c, "errorCode", code);
    if (status > 0)
        reply_int(c, "status", status);
}

void fail(struct command *c, const char *code, int status, const char *fmt, ...)
{
    struct text message = {.n = 0};
    va_list ap;
    begin_failure(c, code, status);
    if (c->url.n > 0)
        text_addf(&message, "%s: ", c->url.p);
    va_start(ap, fmt);
    text_addv(&message, fmt, ap);
    va_end(ap);
    reply_text(c, "message", message.p);
    text_free(&message);
}

/* A 400 or 410 to a read is about its offset. */
static const char *name_offset(const struct command *c)
{
    return strcmp(c->type, "read") == 0 ? "INVALID_OFFSET" : "UNEXPECTED_STATUS";
}

static const char *name_code(enum dstream_code code)
{
    switch (code) {
    case DSTREAM_ERR_ARGUMENT:
    case DSTREAM_ERR_INPUT:
        return INVALID_ARGUMENT;
    case DSTREAM_ERR_RESOLVE:
    case DSTREAM_ERR_CONNECT:
    case DSTREAM_ERR_TLS:
    case DSTREAM_ERR_NETWORK:
        return "NETWORK_ERROR";
    case DSTREAM_ERR_TIMEOUT:
        return "TIMEOUT";
    case DSTREAM_ERR_PARSE:
    case DSTREAM_ERR_PROTOCOL: /* whole, but not what it has to be */
        return "PARSE_ERROR";
    default:
        return "INTERNAL_ERROR";
    }
}

/* What an answer's status is called; NULL where the answer was not what failed. */
static const char *name_status(const struct command *c, enum dstream_code code, int status)
{
    if (code == DSTREAM_ERR_CLOSED)
        return "STREAM_CLOSED";
    if (status < 300 || code == DSTREAM_ERR_PARSE)
        return NULL;
    if (status == 400 || status == 410)
        return name_offset(c);
    if (status == 404)
        return "NOT_FOUND";
    if (status != 409)
        return "UNEXPECTED_STATUS";
    return code == DSTREAM_ERR_SEQUENCE || code == DSTREAM_ERR_STATE_LOST ? "SEQUENCE_CONFLICT"
                                                                          : "CONFLICT";
}

void fail_with(struct command *c, const dstream_error *e, const char *more)
{
    enum dstream_code code = dstream_error_code(e);
    int status = dstream_error_status(e);
    const char *name = name_status(c, code, status);
    if (code == DSTREAM_ERR_CLOSED)
        status = 409;
    if (code == DSTREAM_ERR_INPUT) { /* what is no JSON is not sent. A server would say this */
        name = "UNEXPECTED_STATUS";
        status = 400;
    }
    if (name)
        fail(c, name, status, "%s (%s, %d)", dstream_error_message(e), dstream_code_name(code),
             status);
    else
        fail(c, name_code(code), 0, "%s (%s)", dstream_error_message(e), dstream_code_name(code));
    if (more)
        text_adds(reply_member(c, "details"), more);
}

void fail_code(struct command *c, enum dstream_code code, const char *what)
{
    fail(c, name_code(code), 0, "%s: %s", what, dstream_code_text(code));
}
