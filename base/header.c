/* SPDX-License-Identifier: Apache-2.0 */
#include "base/header.h"

#include <string.h>
#include <strings.h>

/* What requests of ours set, and what frames a message or chooses its coding. */
static const char *const reserved[] = {
    "accept",
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "if-match",
    "if-none-match",
    "if-modified-since",
    "if-range",
    "keep-alive",
    "proxy-connection",
    "range",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
};
static const char *const reserved_prefix[] = {"stream-", "producer-"};

static bool is_reserved(const char *name, size_t len)
{
    for (size_t i = 0; i < sizeof reserved / sizeof *reserved; i++) {
        if (strlen(reserved[i]) == len && strncasecmp(reserved[i], name, len) == 0)
            return true;
    }
    for (size_t i = 0; i < sizeof reserved_prefix / sizeof *reserved_prefix; i++) {
        size_t n = strlen(reserved_prefix[i]);
        if (len >= n && strncasecmp(reserved_prefix[i], name, n) == 0)
            return true;
    }
    return false;
}

bool ds_header_value_ok(const char *value)
{
    for (; *value; value++) {
        unsigned char c = (unsigned char)*value;
        if ((c < 0x20 && c != '\t') || c == 0x7F)
            return false;
    }
    return true;
}

enum dstream_code ds_header_check(const char *line, const char **why)
{
    /* RFC 9110, section 5.6.2 */
    static const char token[] = "!#$%&'*+-.^_`|~0123456789"
                                "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    size_t name = strspn(line, token);
    if (name == 0 || line[name] != ':')
        *why = "a header is written 'Name: value'";
    else if (!ds_header_value_ok(line + name))
        *why = "a header's value must not contain line breaks or other control characters";
    else if (strlen(line) > DS_HEADER_MAX)
        *why = "the header is longer than 64 KiB";
    else if (is_reserved(line, name))
        *why = "this header is set by dstream itself";
    else
        return DSTREAM_OK;
    return DSTREAM_ERR_ARGUMENT;
}
