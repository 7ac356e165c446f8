/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The JSON of control events. It is validated by our own rules first; then the members are found,
 * and only the strings that are ours to know are read by cJSON, which by itself is too lenient
 * (it takes malformed numbers and cuts a string at an escaped NUL) and too strict (it refuses lone
 * surrogates and long numbers, which are lawful where nobody reads them).
 */
#include "sse/events.h"

#include <cjson/cJSON.h>
#include <string.h>

#include "base/url.h"
#include "decode/jsoncut.h"
#include "decode/walk.h"

#define DEPTH 64 /* nesting of what is in fields that we do not know */

struct member {
    const char *name;
    struct ds_slice value; /* p is NULL where it is absent or null */
    bool seen;
};

enum { NEXT, CURSOR, UP_TO_DATE, CLOSED, MEMBERS };

/* --- strings ---------------------------------------------------------------------------------- */

static bool has_nul_escape(struct ds_slice s)
{
    for (size_t i = 0; i + 5 < s.n; i++) {
        if (s.p[i] != '\\')
            continue;
        if (memcmp(s.p + i, "\\u0000", 6) == 0)
            return true;
        i++;
    }
    return false;
}

/* The text of a JSON string, for cJSON_Delete() and cJSON_GetStringValue(); NULL where it is none
 * that a C string can hold (an escaped NUL or a lone surrogate), or without memory. */
static cJSON *read_string(struct ds_slice s)
{
    return *s.p == '"' && !has_nul_escape(s) ? cJSON_ParseWithLength(s.p, s.n) : NULL;
}

static bool key_is(struct ds_slice key, const char *name)
{
    size_t n = strlen(name);
    if (!memchr(key.p, '\\', key.n))
        return key.n == n + 2 && memcmp(key.p + 1, name, n) == 0;
    cJSON *text = read_string(key);
    bool same = text && strcmp(cJSON_GetStringValue(text), name) == 0;
    cJSON_Delete(text);
    return same;
}

/* --- members ---------------------------------------------------------------------------------- */

static enum dstream_code broken(struct dstream_error *err, const char *name, const char *what)
{
    return ds_error_set(err, DSTREAM_ERR_PROTOCOL, "%s %s", name, what);
}

static enum dstream_code note(struct member *members, struct ds_slice key, struct ds_slice value,
                              struct dstream_error *err)
{
    for (size_t i = 0; i < MEMBERS; i++) {
        struct member *m = &members[i];
        if (!key_is(key, m->name))
            continue;
        if (m->seen)
            return broken(err, m->name, "is there twice");
        m->seen = true;
        if (*value.p != 'n')
            m->value = value;
        break;
    }
    return DSTREAM_OK;
}

static enum dstream_code find_members(const char *p, struct member *members,
                                      struct dstream_error *err)
{
    enum dstream_code rc = DSTREAM_OK;
    struct ds_slice key, value;
    while (rc == DSTREAM_OK && ds_json_member(&p, &key, &value))
        rc = note(members, key, value, err);
    return rc;
}

/* Copies a token, "" where it is absent or empty. */
static enum dstream_code get_token(const struct member *m, char out[DS_TOKEN_MAX + 1],
                                   struct dstream_error *err)
{
    out[0] = '\0';
    if (!m->value.p)
        return DSTREAM_OK;
    if (*m->value.p != '"')
        return broken(err, m->name, "is not a string");
    cJSON *text = read_string(m->value);
    if (!text)
        return broken(err, m->name, "is not plain text");
    const char *s = cJSON_GetStringValue(text);
    size_t n = strlen(s);
    enum dstream_code rc = n > 0 ? ds_token_check(s, n) : DSTREAM_OK;
    if (rc == DSTREAM_OK)
        memcpy(out, s, n + 1);
    else if (rc == DSTREAM_ERR_LIMIT)
        ds_error_set(err, rc, "%s is over %d bytes long", m->name, DS_TOKEN_MAX);
    else
        broken(err, m->name, "has a space or control character in it");
    cJSON_Delete(text);
    return rc;
}

static enum dstream_code get_flag(const struct member *m, bool *out, struct dstream_error *err)
{
    char c = m->value.p ? *m->value.p : 'f';
    *out = c == 't';
    return c == 't' || c == 'f' ? DSTREAM_OK : broken(err, m->name, "is neither true nor false");
}

static enum dstream_code get_members(const struct member *members, struct ds_control *out,
                                     struct dstream_error *err)
{
    enum dstream_code rc = get_token(&members[NEXT], out->next, err);
    if (rc == DSTREAM_OK && !members[NEXT].value.p)
        rc = broken(err, members[NEXT].name, "is missing");
    if (rc == DSTREAM_OK && !out->next[0])
        rc = broken(err, members[NEXT].name, "is empty");
    if (rc == DSTREAM_OK && ds_token_is_sentinel(out->next))
        rc = ds_error_set(err, DSTREAM_ERR_PROTOCOL, "%s is \"%s\", which is no position",
                          members[NEXT].name, out->next);
    if (rc == DSTREAM_OK)
        rc = get_token(&members[CURSOR], out->cursor, err);
    if (rc == DSTREAM_OK)
        rc = get_flag(&members[UP_TO_DATE], &out->up_to_date, err);
    if (rc == DSTREAM_OK)
        rc = get_flag(&members[CLOSED], &out->closed, err);
    out->up_to_date |= out->closed;
    return rc;
}

enum dstream_code ds_control_parse(const char *json, size_t n, struct ds_control *out,
                                   struct dstream_error *err)
{
    struct member members[MEMBERS] = {[NEXT] = {.name = "streamNextOffset"},
                                      [CURSOR] = {.name = "streamCursor"},
                                      [UP_TO_DATE] = {.name = "upToDate"},
                                      [CLOSED] = {.name = "streamClosed"}};
    *out = (struct ds_control){0};
    if (!ds_json_valid(json, n, DEPTH))
        return ds_error_set(err, DSTREAM_ERR_PARSE, "not valid JSON");
    const char *p = ds_json_skip_space(json);
    if (*p != '{')
        return ds_error_set(err, DSTREAM_ERR_PARSE, "not a JSON object");
    enum dstream_code rc = find_members(p, members, err);
    return rc == DSTREAM_OK ? get_members(members, out, err) : rc;
}
