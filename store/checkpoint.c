/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "store/checkpoint.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/text.h"
#include "decode/jsoncut.h"

/* --- the URL ---------------------------------------------------------------------------------- */

/* "x-amz-signature" has three words. */
static bool has_word(const char *name, const char *word)
{
    size_t n = strlen(word);
    for (const char *p = name; *p;) {
        size_t len = strcspn(p, "-_. []");
        if (len == n && memcmp(p, word, n) == 0)
            return true;
        p += len;
        p += *p != '\0';
    }
    return false;
}

/* Rather one too many left out than one too few: what is lost is only that two streams which differ
 * in nothing but such a parameter look alike here. */
static bool looks_secret(const char *name)
{
    static const char *const parts[] = {
        "token",  "secret",    "passw",      "credential", "signature", "session", "authoriz",
        "apikey", "accesskey", "privatekey", "jwt",        "sharedkey", "bearer"};
    static const char *const words[] = {"key",  "auth", "sig", "pwd", "pass",
                                        "hmac", "sas",  "otp", "pin", "code"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (strstr(name, parts[i]))
            return true;
    }
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (has_word(name, words[i]))
            return true;
    }
    return false;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* A parameter's name with %XX decoded and in lower case, so that no other spelling of a secret's
 * name gets past. */
static void decode_name(const char *p, size_t n, char *out, size_t size)
{
    size_t k = 0;
    for (size_t i = 0; i < n && k + 1 < size; i++) {
        int hi = p[i] == '%' && i + 2 < n ? hex_digit(p[i + 1]) : -1;
        int lo = hi >= 0 ? hex_digit(p[i + 2]) : -1;
        char c = lo >= 0 ? (char)(hi * 16 + lo) : p[i];
        if (lo >= 0)
            i += 2;
        out[k++] = c == '\0' ? '?' : c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
    }
    out[k] = '\0';
}

static bool append(char *out, size_t size, const char *p, size_t n)
{
    size_t len = strlen(out);
    if (n >= size - len)
        return false;
    memcpy(out + len, p, n);
    out[len + n] = '\0';
    return true;
}

static bool add_param(struct ds_checkpoint *c, const char *p, size_t n, char *joint)
{
    size_t key = 0;
    while (key < n && p[key] != '=')
        key++;
    char name[256];
    decode_name(p, key, name, sizeof name);
    /* A name too long to be looked at whole is not known to be harmless. */
    if (key >= sizeof name || looks_secret(name)) {
        if (!append(c->left_out, sizeof c->left_out, p, key < 64 ? key : 64) ||
            !append(c->left_out, sizeof c->left_out, "&", 1))
            return false;
        return true;
    }
    bool ok = append(c->url, sizeof c->url, joint, 1) && append(c->url, sizeof c->url, p, n);
    *joint = '&';
    return ok;
}

/* scheme://[user@]host, without the user. */
static bool add_origin(struct ds_checkpoint *c, const char *url, size_t end, size_t *path)
{
    const char *colon = strstr(url, "://");
    size_t host = colon && (size_t)(colon - url) + 3 <= end ? (size_t)(colon - url) + 3 : 0;
    size_t stop = host + strcspn(url + host, "/?#");
    if (stop > end)
        stop = end;
    size_t at = stop;
    while (at > host && url[at - 1] != '@')
        at--;
    *path = stop;
    return append(c->url, sizeof c->url, url, host) &&
           append(c->url, sizeof c->url, url + at, stop - at);
}

enum dstream_code ds_checkpoint_set_url(struct ds_checkpoint *c, const char *url,
                                        struct dstream_error *err)
{
    c->url[0] = '\0';
    c->left_out[0] = '\0';
    size_t end = strcspn(url, "#"), path;
    bool ok = add_origin(c, url, end, &path);
    size_t query = path + strcspn(url + path, "?#");
    ok = ok && append(c->url, sizeof c->url, url + path, query - path);
    char joint = '?';
    while (ok && query < end) {
        const char *p = url + query + 1;
        size_t n = strcspn(p, "&#");
        ok = n == 0 || add_param(c, p, n, &joint);
        query += n + 1;
    }
    if (ok)
        return DSTREAM_OK;
    return ds_error_set(err, DSTREAM_ERR_LIMIT,
                        "the URL is too long for a state file, which holds %d bytes of it",
                        DS_CHECKPOINT_URL_MAX);
}

enum dstream_code ds_checkpoint_begin(struct ds_checkpoint *c, const char *url, const char *from,
                                      uint64_t skip, struct dstream_error *err)
{
    if (!from)
        from = "-1";
    if (strlen(from) > DS_TOKEN_MAX)
        return ds_error_set(err, DSTREAM_ERR_ARGUMENT, "--from is longer than %d bytes",
                            DS_TOKEN_MAX);
    strcpy(c->from, from);
    strcpy(c->offset, from);
    c->from_skip = c->skip = skip;
    return ds_checkpoint_set_url(c, url, err);
}

void ds_checkpoint_set_type(struct ds_checkpoint *c, const char *content_type)
{
    snprintf(c->content_type, sizeof c->content_type, "%s", content_type);
}

void ds_checkpoint_now(char out[32])
{
    time_t now = time(NULL);
    struct tm tm;
    if (!gmtime_r(&now, &tm) || strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
        out[0] = '\0';
}

void ds_checkpoint_stamp(struct ds_checkpoint *c)
{
    ds_checkpoint_now(c->time);
}

/* --- writing ---------------------------------------------------------------------------------- */

#define HEAD_MARK ",\"directory\":" /* tells a directory's first line from a checkpoint */

/* The first error sticks, so that a line is written as one list and checked once. */
struct writer {
    struct ds_buf *out;
    enum dstream_code rc;
};

static void raw(struct writer *w, const char *s)
{
    if (w->rc == DSTREAM_OK)
        w->rc = ds_buf_adds(w->out, s);
}

static void bytes(struct writer *w, const char *p, size_t n)
{
    if (w->rc == DSTREAM_OK)
        w->rc = ds_json_escape_bytes(w->out, p, n);
}

static void text(struct writer *w, const char *before, const char *s)
{
    raw(w, before);
    raw(w, "\"");
    bytes(w, s, strlen(s));
    raw(w, "\"");
}

static void number(struct writer *w, const char *before, uint64_t v)
{
    raw(w, before);
    if (w->rc == DSTREAM_OK)
        w->rc = ds_buf_addf(w->out, "\"%llu\"", (unsigned long long)v);
}

static void hash(struct writer *w, const char *before, const char *hex)
{
    raw(w, before);
    raw(w, "\"" DS_HASH_NAME ":");
    raw(w, hex);
    raw(w, "\"");
}

static void names(struct writer *w, const char *before, const char *list)
{
    raw(w, before);
    raw(w, "[");
    for (const char *p = list; *p;) {
        size_t n = strcspn(p, "&");
        raw(w, p == list ? "\"" : ",\"");
        bytes(w, p, n);
        raw(w, "\"");
        p += n + (p[n] != '\0');
    }
    raw(w, "]");
}

static void plain(struct writer *w, const char *before, long long v)
{
    raw(w, before);
    if (w->rc == DSTREAM_OK)
        w->rc = ds_buf_addf(w->out, "%lld", v);
}

static enum dstream_code end_line(struct writer *w, size_t begin)
{
    struct ds_buf *out = w->out;
    if (w->rc == DSTREAM_OK)
        w->rc = ds_buf_addf(out, ",\"crc\":\"%08x\"}\n",
                            (unsigned)ds_crc32(out->data + begin, out->len - begin));
    if (w->rc != DSTREAM_OK)
        out->len = begin;
    return w->rc;
}

enum dstream_code ds_checkpoint_write_head(struct ds_buf *out, const struct ds_checkpoint_head *h)
{
    struct writer w = {.out = out, .rc = DSTREAM_OK};
    size_t begin = out->len;
    plain(&w, "{\"dstate\":", DS_CHECKPOINT_VERSION);
    number(&w, HEAD_MARK "{\"files\":", h->files);
    number(&w, ",\"manifest\":", h->manifest);
    text(&w, "},\"time\":", h->time);
    return end_line(&w, begin);
}

enum dstream_code ds_checkpoint_add_text(struct ds_buf *out, const char *before, const char *s)
{
    struct writer w = {.out = out, .rc = DSTREAM_OK};
    text(&w, before, s);
    return w.rc;
}

static void write_segment(struct writer *w, const struct ds_checkpoint_segment *s)
{
    if (s->number == 0)
        return;
    number(w, ",\"segment\":{\"number\":", s->number);
    if (s->from[0]) {
        text(w, ",\"from\":", s->from);
        number(w, ",\"from_skip\":", s->from_skip);
        number(w, ",\"since\":", (uint64_t)s->since);
    }
    if (s->sealing[0])
        text(w, ",\"sealing\":", s->sealing);
    raw(w, "}");
}

enum dstream_code ds_checkpoint_write(struct ds_buf *out, const struct ds_checkpoint *c)
{
    struct writer w = {.out = out, .rc = DSTREAM_OK};
    size_t begin = out->len;
    plain(&w, "{\"dstate\":", DS_CHECKPOINT_VERSION);
    if (c->file[0])
        text(&w, ",\"file\":", c->file);
    text(&w, ",\"url\":", c->url);
    names(&w, ",\"left_out\":", c->left_out);
    text(&w, ",\"content_type\":", c->content_type);
    text(&w, ",\"format\":", c->format);
    if (c->template[0])
        text(&w, ",\"template\":", c->template);
    if (c->in_line)
        raw(&w, ",\"in_line\":true");
    if (c->compression[0])
        text(&w, ",\"compression\":", c->compression);
    text(&w, ",\"from\":", c->from);
    number(&w, ",\"from_skip\":", c->from_skip);
    text(&w, ",\"from_offset\":", c->from_offset);
    text(&w, ",\"first\":", c->first);
    text(&w, ",\"offset\":", c->offset);
    number(&w, ",\"skip\":", c->skip);
    raw(&w, c->closed ? ",\"closed\":true" : ",\"closed\":false");
    if (c->has_output) {
        number(&w, ",\"output\":{\"length\":", c->length);
        hash(&w, ",\"tail\":", c->tail);
        if (c->before > 0)
            number(&w, ",\"before\":", c->before);
        raw(&w, "}");
    }
    write_segment(&w, &c->segment);
    if (c->manifest > 0)
        number(&w, ",\"manifest\":", c->manifest);
    if (c->witness.start[0]) {
        text(&w, ",\"witness\":{\"start\":", c->witness.start);
        number(&w, ",\"delivered\":", c->witness.delivered);
        number(&w, ",\"hashed\":", c->witness.hashed);
        hash(&w, ",\"hash\":", c->witness.hash);
        raw(&w, "}");
    }
    if (c->handed > 0)
        number(&w, ",\"handed\":", c->handed);
    if (c->has_mark)
        number(&w, ",\"mark\":", c->mark);
    text(&w, ",\"time\":", c->time);
    return end_line(&w, begin);
}

/* --- reading ---------------------------------------------------------------------------------- */

#define CRC_TAIL 19 /* ,"crc":"01234567"}\n */

/* The other way round of bytes(): code points below U+0100 are bytes, others cannot be. */
static bool get_bytes(const cJSON *v, char *out, size_t size)
{
    if (!cJSON_IsString(v))
        return false;
    size_t k = 0;
    for (const unsigned char *p = (const unsigned char *)v->valuestring; *p; p++) {
        unsigned char c = *p;
        if (c >= 0x80) {
            if (c != 0xC2 && c != 0xC3)
                return false;
            c = (unsigned char)((c & 3) << 6 | (*++p & 0x3F));
        }
        if (k + 1 >= size)
            return false;
        out[k++] = (char)c;
    }
    out[k] = '\0';
    return true;
}

static bool get_text(const cJSON *o, const char *name, char *out, size_t size)
{
    return get_bytes(cJSON_GetObjectItemCaseSensitive(o, name), out, size);
}

static bool get_number(const cJSON *o, const char *name, uint64_t *out)
{
    const cJSON *v = cJSON_GetObjectItemCaseSensitive(o, name);
    return cJSON_IsString(v) && ds_parse_u64(v->valuestring, UINT64_MAX, out);
}

static bool get_hash(const cJSON *o, const char *name, char out[DS_HASH_HEX])
{
    char s[sizeof DS_HASH_NAME + DS_HASH_HEX];
    static const size_t prefix = sizeof DS_HASH_NAME;
    if (!get_text(o, name, s, sizeof s) || strncmp(s, DS_HASH_NAME ":", prefix) != 0 ||
        strlen(s) != prefix + DS_HASH_HEX - 1)
        return false;
    memcpy(out, s + prefix, DS_HASH_HEX);
    return true;
}

static bool get_names(const cJSON *o, const char *name, char *out, size_t size)
{
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(o, name), *v;
    if (!cJSON_IsArray(list))
        return false;
    out[0] = '\0';
    cJSON_ArrayForEach(v, list)
    {
        size_t n = strlen(out);
        if (!get_bytes(v, out + n, size - n) || !append(out, size, "&", 1))
            return false;
    }
    return true;
}

/* What need not be there is as it was, 0 or empty. */
static bool has(const cJSON *o, const char *name)
{
    return cJSON_GetObjectItemCaseSensitive(o, name) != NULL;
}

static bool get_output(const cJSON *o, struct ds_checkpoint *c)
{
    const cJSON *v = cJSON_GetObjectItemCaseSensitive(o, "output");
    c->has_output = v != NULL;
    return !v ||
           (get_number(v, "length", &c->length) && get_hash(v, "tail", c->tail) &&
            (!has(v, "before") || get_number(v, "before", &c->before)) && c->before <= c->length);
}

static bool get_witness(const cJSON *o, struct ds_checkpoint_witness *w)
{
    const cJSON *v = cJSON_GetObjectItemCaseSensitive(o, "witness");
    return !v || (get_text(v, "start", w->start, sizeof w->start) && w->start[0] &&
                  get_number(v, "delivered", &w->delivered) &&
                  get_number(v, "hashed", &w->hashed) && get_hash(v, "hash", w->hash));
}

static bool get_segment(const cJSON *o, struct ds_checkpoint_segment *s)
{
    const cJSON *v = cJSON_GetObjectItemCaseSensitive(o, "segment");
    uint64_t since = 0;
    if (!v)
        return true;
    bool ok = get_number(v, "number", &s->number) && s->number > 0;
    if (ok && has(v, "from"))
        ok = get_text(v, "from", s->from, sizeof s->from) &&
             get_number(v, "from_skip", &s->from_skip) && get_number(v, "since", &since) &&
             since <= INT64_MAX;
    if (ok && has(v, "sealing"))
        ok = get_text(v, "sealing", s->sealing, sizeof s->sealing) && s->sealing[0] &&
             !strchr(s->sealing, '/');
    s->since = (int64_t)since;
    return ok;
}

static bool get_flag(const cJSON *o, const char *name, bool *out)
{
    const cJSON *v = cJSON_GetObjectItemCaseSensitive(o, name);
    *out = cJSON_IsTrue(v);
    return !v || cJSON_IsBool(v);
}

static bool get_optional(const cJSON *o, struct ds_checkpoint *c)
{
    return (!has(o, "handed") || get_number(o, "handed", &c->handed)) &&
           (!has(o, "file") ||
            (get_text(o, "file", c->file, sizeof c->file) && !strchr(c->file, '/'))) &&
           (!has(o, "template") || get_text(o, "template", c->template, sizeof c->template)) &&
           get_flag(o, "in_line", &c->in_line) &&
           (!has(o, "compression") ||
            get_text(o, "compression", c->compression, sizeof c->compression)) &&
           (!has(o, "manifest") || get_number(o, "manifest", &c->manifest)) &&
           get_segment(o, &c->segment);
}

static bool get_mark(const cJSON *o, struct ds_checkpoint *c)
{
    c->has_mark = cJSON_HasObjectItem(o, "mark");
    return !c->has_mark || get_number(o, "mark", &c->mark);
}

#define TEXT(o, c, name) get_text(o, #name, (c)->name, sizeof(c)->name)

static bool get_all(const cJSON *o, struct ds_checkpoint *c)
{
    return TEXT(o, c, url) && get_names(o, "left_out", c->left_out, sizeof c->left_out) &&
           TEXT(o, c, content_type) && TEXT(o, c, format) && TEXT(o, c, from) &&
           get_number(o, "from_skip", &c->from_skip) && TEXT(o, c, from_offset) &&
           TEXT(o, c, first) && TEXT(o, c, offset) && c->offset[0] &&
           get_number(o, "skip", &c->skip) && has(o, "closed") &&
           get_flag(o, "closed", &c->closed) && get_output(o, c) && get_witness(o, &c->witness) &&
           get_optional(o, c) && get_mark(o, c) && TEXT(o, c, time);
}

enum dstream_code ds_checkpoint_corrupt(struct dstream_error *err, const char *path,
                                        const char *why)
{
    return ds_error_set(err, DSTREAM_ERR_STATE_CORRUPT,
                        "%s: the state file %s: put back a good copy, or remove it to start over "
                        "(--overwrite or --append says what becomes of the output)",
                        path, why);
}

/* The version is looked at before the CRC: a later one may be checked in another way. */
static bool known_version(const char *line, size_t n)
{
    static const char prefix[] = "{\"dstate\":1,";
    return n >= sizeof prefix - 1 && memcmp(line, prefix, sizeof prefix - 1) == 0;
}

static bool other_version(const char *line, size_t n)
{
    static const char prefix[] = "{\"dstate\":";
    size_t i = sizeof prefix - 1;
    if (n <= i || memcmp(line, prefix, i) != 0)
        return false;
    size_t digits = i;
    while (i < n && line[i] >= '0' && line[i] <= '9')
        i++;
    return i > digits && i < n && line[i] == ',';
}

static bool crc_right(const char *line, size_t n)
{
    if (n < CRC_TAIL)
        return false;
    char want[CRC_TAIL + 1];
    snprintf(want, sizeof want, ",\"crc\":\"%08x\"}\n", (unsigned)ds_crc32(line, n - CRC_TAIL));
    return memcmp(line + n - CRC_TAIL, want, CRC_TAIL) == 0;
}

/* The line as JSON, once its version and its CRC are right. */
static enum dstream_code parse(cJSON **out, const char *line, size_t n, const char *path,
                               struct dstream_error *err)
{
    *out = NULL;
    if (n == 0)
        return ds_checkpoint_corrupt(err, path, "is empty");
    if (!known_version(line, n))
        return ds_checkpoint_corrupt(
            err, path,
            other_version(line, n)
                ? "is of a version that this release does not know, or is damaged"
                : "is not a state file, or is damaged");
    if (!crc_right(line, n))
        return ds_checkpoint_corrupt(err, path, "is damaged or cut short (its CRC is wrong)");
    if (!ds_json_valid(line, n, 8))
        return ds_checkpoint_corrupt(err, path, "is damaged (it is not JSON)");
    *out = cJSON_ParseWithLength(line, n);
    return *out ? DSTREAM_OK
                : ds_error_set(err, DSTREAM_ERR_NOMEM, "no memory to read a state file");
}

static const char lacking[] = "lacks a field or has one of another type";

enum dstream_code ds_checkpoint_read(struct ds_checkpoint *c, const char *line, size_t n,
                                     const char *path, struct dstream_error *err)
{
    cJSON *o;
    memset(c, 0, sizeof *c);
    enum dstream_code rc = parse(&o, line, n, path, err);
    if (rc != DSTREAM_OK)
        return rc;
    if (!get_all(o, c)) {
        memset(c, 0, sizeof *c);
        rc = ds_checkpoint_corrupt(err, path, lacking);
    }
    cJSON_Delete(o);
    return rc;
}

bool ds_checkpoint_is(const char *line, size_t n)
{
    static const char mark[] = "{\"dstate\":";
    return n >= sizeof mark - 1 && memcmp(line, mark, sizeof mark - 1) == 0;
}

bool ds_checkpoint_is_head(const char *line, size_t n)
{
    static const char mark[] = "{\"dstate\":1" HEAD_MARK;
    return n >= sizeof mark - 1 && memcmp(line, mark, sizeof mark - 1) == 0;
}

enum dstream_code ds_checkpoint_read_head(struct ds_checkpoint_head *h, const char *line, size_t n,
                                          const char *path, struct dstream_error *err)
{
    cJSON *o;
    *h = (struct ds_checkpoint_head){0};
    enum dstream_code rc = parse(&o, line, n, path, err);
    if (rc != DSTREAM_OK)
        return rc;
    const cJSON *v = cJSON_GetObjectItemCaseSensitive(o, "directory");
    if (!get_number(v, "files", &h->files) || !get_number(v, "manifest", &h->manifest) ||
        !TEXT(o, h, time))
        rc = ds_checkpoint_corrupt(err, path, lacking);
    cJSON_Delete(o);
    return rc;
}

/* --- does it fit ------------------------------------------------------------------------------ */

static enum dstream_code same_stream(const struct ds_checkpoint *c, const char *url,
                                     const char *path, struct dstream_error *err)
{
    struct ds_checkpoint *asked = ds_calloc(1, sizeof *asked);
    if (!asked)
        return ds_error_set(err, DSTREAM_ERR_NOMEM, "no memory to compare a state file");
    enum dstream_code rc = ds_checkpoint_set_url(asked, url, err);
    if (rc == DSTREAM_OK && strcmp(asked->url, c->url) != 0)
        rc = ds_error_set(err, DSTREAM_ERR_STATE_MISMATCH,
                          "%s: the state is of another stream, %.200s: name that one, or another "
                          "state file",
                          path, c->url);
    ds_free(asked);
    return rc;
}

enum dstream_code ds_checkpoint_fits(const struct ds_checkpoint *c,
                                     const struct ds_checkpoint_ask *ask, const char *path,
                                     struct dstream_error *err)
{
    enum dstream_code rc = same_stream(c, ask->url, path, err);
    if (rc != DSTREAM_OK)
        return rc;
    if (ask->format && strcmp(ask->format, c->format) != 0)
        return ds_error_set(err, DSTREAM_ERR_ARGUMENT,
                            "%s: the state is of format %s, not %s: give that format, or --reset",
                            path, c->format, ask->format);
    if (ask->template && strcmp(ask->template, c->template) != 0)
        return ds_error_set(err, DSTREAM_ERR_ARGUMENT,
                            "%s: the state is of the template '%s', not '%s': give that one, or "
                            "--reset",
                            path, c->template, ask->template);
    if (ask->compression && strcmp(ask->compression, c->compression) != 0)
        return ds_error_set(err, DSTREAM_ERR_ARGUMENT,
                            "%s: the state is of compression %s, not %s: give that one, or --reset",
                            path, *c->compression ? c->compression : "none",
                            *ask->compression ? ask->compression : "none");
    if (ask->from && (strcmp(ask->from, c->from) != 0 || ask->from_skip != c->from_skip))
        return ds_error_set(err, DSTREAM_ERR_ARGUMENT,
                            "%s: the state was begun with --from %.200s: give that or none, or "
                            "--reset",
                            path, strcmp(c->from, "-1") == 0 ? "beginning" : c->from);
    return DSTREAM_OK;
}
