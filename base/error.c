/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/url.h"

struct entry {
    enum dstream_code code;
    const char *name, *text;
    bool retryable;
};

#define ENTRY(code, text, retryable)                                                               \
    {                                                                                              \
        DSTREAM_##code, "DSTREAM_" #code, text, retryable                                          \
    }
static const struct entry table[] = {
    ENTRY(OK, "success", false),
    ENTRY(ERR_ARGUMENT, "an argument is out of its range", false),
    ENTRY(ERR_STATE, "the call does not fit the state of the handle", false),
    ENTRY(ERR_NOMEM, "no memory", false),
    ENTRY(ERR_CANCELLED, "cancelled", false),
    ENTRY(ERR_INTERNAL, "an internal error of dstream", false),
    ENTRY(ERR_RESOLVE, "the host name does not resolve", true),
    ENTRY(ERR_CONNECT, "cannot connect", true),
    ENTRY(ERR_TLS, "TLS is not acceptable", false),
    ENTRY(ERR_NETWORK, "the connection broke", true),
    ENTRY(ERR_TIMEOUT, "timed out", true),
    ENTRY(ERR_REDIRECT, "a redirect that is not followed", false),
    ENTRY(ERR_BAD_REQUEST, "the server refused the request", false),
    ENTRY(ERR_AUTH, "the server asks for other credentials", false),
    ENTRY(ERR_NOT_FOUND, "there is no such stream", false),
    ENTRY(ERR_GONE, "gone: deleted, or no longer kept", false),
    ENTRY(ERR_DELETED, "the stream was deleted", false),
    ENTRY(ERR_CONFLICT, "conflicts with the stream's configuration", false),
    ENTRY(ERR_CLOSED, "the stream is closed", false),
    ENTRY(ERR_BUSY, "the server is busy", true),
    ENTRY(ERR_SERVER, "the server failed", true),
    ENTRY(ERR_OUTCOME_UNKNOWN, "the write may be stored or not", false),
    ENTRY(ERR_FENCED, "another writer has taken over", false),
    ENTRY(ERR_SEQUENCE, "the sequence has not gone up", false),
    ENTRY(ERR_TOO_LARGE, "too large for the server", false),
    ENTRY(ERR_PROTOCOL, "the server broke the protocol", false),
    ENTRY(ERR_PARSE, "malformed data from the server", false),
    ENTRY(ERR_STREAM_RESET, "the stream was made anew", false),
    ENTRY(ERR_INPUT, "the input is not valid", false),
    ENTRY(ERR_STATE_LOST, "the server has forgotten this producer", false),
    ENTRY(ERR_NO_PRODUCERS, "the server does not support producers", false),
    ENTRY(ERR_IO, "a file operation failed", false),
    ENTRY(ERR_LOCKED, "locked by another process", true),
    ENTRY(ERR_EXISTS, "exists already", false),
    ENTRY(ERR_STATE_CORRUPT, "the state file is damaged", false),
    ENTRY(ERR_STATE_MISMATCH, "state, file and stream do not fit", false),
    ENTRY(ERR_LIMIT, "over a limit", false),
};
#undef ENTRY

static const struct entry *find(enum dstream_code code)
{
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        if (table[i].code == code)
            return &table[i];
    }
    return NULL;
}

const char *dstream_code_name(enum dstream_code code)
{
    const struct entry *e = find(code);
    return e ? e->name : "DSTREAM_ERR_?";
}

const char *dstream_code_text(enum dstream_code code)
{
    const struct entry *e = find(code);
    return e ? e->text : "unknown error";
}

bool dstream_is_retryable(enum dstream_code code)
{
    const struct entry *e = find(code);
    return e && e->retryable;
}

/* Cuts back to the last whole UTF-8 sequence, after vsnprintf() cut in the middle of one. */
static void cut_whole(char *s, size_t len)
{
    size_t i = len;
    while (i > 0 && ((unsigned char)s[i - 1] & 0xC0) == 0x80)
        i--;
    if (i > 0 && (unsigned char)s[i - 1] >= 0xC0)
        s[i - 1] = '\0';
}

enum dstream_code ds_error_set(struct dstream_error *e, enum dstream_code code, const char *fmt,
                               ...)
{
    e->code = code;
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(e->message, sizeof e->message, fmt, ap);
    va_end(ap);
    if (n >= (int)sizeof e->message)
        cut_whole(e->message, strlen(e->message));
    for (char *p = e->message; *p; p++) {
        if ((unsigned char)*p < 0x20 || *p == 0x7F)
            *p = '?';
    }
    return code;
}

void ds_error_set_url(struct dstream_error *e, const char *url)
{
    ds_url_redact(url, e->url, sizeof e->url);
}

void ds_error_set_offset(struct dstream_error *e, const char *offset)
{
    snprintf(e->offset, sizeof e->offset, "%s", offset ? offset : "");
}

void ds_error_clear(struct dstream_error *e)
{
    memset(e, 0, sizeof *e);
}

enum dstream_code dstream_error_code(const dstream_error *e)
{
    return e->code;
}

int dstream_error_status(const dstream_error *e)
{
    return e->status;
}

const char *dstream_error_url(const dstream_error *e)
{
    return e->url;
}

const char *dstream_error_offset(const dstream_error *e)
{
    return e->offset;
}

const char *dstream_error_message(const dstream_error *e)
{
    return e->message;
}
