/* SPDX-License-Identifier: Apache-2.0 */
#include "base/text.h"

#include <string.h>

typedef unsigned char byte;

/* --- UTF-8 ------------------------------------------------------------------------------------ */

/* The length of the ASCII run at `p`, eight bytes at a time. */
static size_t ascii_run(const byte *p, size_t n)
{
    size_t i = 0;
    while (n - i >= 8) {
        uint64_t v;
        memcpy(&v, p + i, 8);
        if (v & UINT64_C(0x8080808080808080))
            break;
        i += 8;
    }
    while (i < n && p[i] < 0x80)
        i++;
    return i;
}

/* Takes a byte from 0x80 up that begins a sequence: sets what must follow. */
static bool lead(struct ds_utf8 *u, byte c)
{
    if (c < 0xC2 || c > 0xF4)
        return false;
    u->need = c < 0xE0 ? 1 : c < 0xF0 ? 2 : 3;
    u->lo = c == 0xE0 ? 0xA0 : c == 0xF0 ? 0x90 : 0x80;
    u->hi = c == 0xED ? 0x9F : c == 0xF4 ? 0x8F : 0xBF;
    return true;
}

/* Takes a byte inside a sequence. */
static bool follow(struct ds_utf8 *u, byte c)
{
    if (c < u->lo || c > u->hi)
        return false;
    u->need--;
    u->lo = 0x80;
    u->hi = 0xBF;
    return true;
}

bool ds_utf8_feed(struct ds_utf8 *u, const void *data, size_t n)
{
    const byte *p = data;
    for (size_t i = 0; i < n; i++) {
        if (u->need > 0) {
            if (!follow(u, p[i]))
                return false;
            continue;
        }
        i += ascii_run(p + i, n - i);
        if (i < n && !lead(u, p[i]))
            return false;
    }
    return true;
}

bool ds_utf8_whole(const struct ds_utf8 *u)
{
    return u->need == 0;
}

bool ds_utf8_valid(const void *p, size_t n)
{
    struct ds_utf8 u = {0};
    return ds_utf8_feed(&u, p, n) && ds_utf8_whole(&u);
}

size_t ds_utf8_open_end(const char *p, size_t n)
{
    for (size_t back = 1; back <= 3 && back <= n; back++) {
        unsigned char c = (unsigned char)p[n - back];
        if ((c & 0xC0) == 0x80)
            continue;
        size_t need = c >= 0xF0 ? 4 : c >= 0xE0 ? 3 : c >= 0xC0 ? 2 : 1;
        return need > back ? back : 0;
    }
    return 0;
}

/* The length of the sequence at `p` (n > 0), and whether it is well-formed; one that is not is
 * the longest beginning of a well-formed one, at least one byte. */
static size_t sequence(const byte *p, size_t n, bool *good)
{
    struct ds_utf8 u = {0};
    size_t i = 1;
    *good = p[0] < 0x80 || lead(&u, p[0]);
    while (*good && u.need > 0) {
        *good = i < n && follow(&u, p[i]);
        i += *good;
    }
    return i;
}

/* The length of the well-formed run at `p`. */
static size_t good_run(const byte *p, size_t n)
{
    size_t i = 0;
    while (i < n) {
        i += ascii_run(p + i, n - i);
        bool good = true;
        size_t len = i < n ? sequence(p + i, n - i, &good) : 0;
        if (!good)
            break;
        i += len;
    }
    return i;
}

enum dstream_code ds_utf8_replace(struct ds_buf *out, const void *data, size_t n)
{
    const byte *p = data;
    enum dstream_code rc = DSTREAM_OK;
    while (n > 0 && rc == DSTREAM_OK) {
        size_t run = good_run(p, n);
        rc = ds_buf_add(out, p, run);
        p += run;
        n -= run;
        if (n == 0 || rc != DSTREAM_OK)
            break;
        bool good;
        size_t bad = sequence(p, n, &good);
        rc = ds_buf_add(out, "\xEF\xBF\xBD", 3);
        p += bad;
        n -= bad;
    }
    return rc;
}

/* --- escaping --------------------------------------------------------------------------------- */

static const char hex_digits[] = "0123456789abcdef";

/* The UTF-8 sequence of three bytes at `p`, as its code point; 0 where there is none. */
static unsigned three(const byte *p, size_t n)
{
    if (n < 3 || (p[0] & 0xF0) != 0xE0)
        return 0;
    return (unsigned)(p[0] & 0x0F) << 12 | (unsigned)(p[1] & 0x3F) << 6 | (p[2] & 0x3F);
}

static bool is_bidi_control(unsigned cp)
{
    return (cp >= 0x202A && cp <= 0x202E) || (cp >= 0x2066 && cp <= 0x2069);
}

/* How many bytes at `p` (n > 0) a JSON string wants escaped by their code point; 0: none. */
static size_t json_wants(const byte *p, size_t n, unsigned *cp)
{
    *cp = *p;
    if (*p < 0x20 || *p == 0x7F)
        return 1;
    if (n >= 2 && p[0] == 0xC2) {
        *cp = p[1];
        return p[1] < 0xA0 ? 2 : 0;
    }
    *cp = three(p, n);
    return *cp == 0x2028 || *cp == 0x2029 || is_bidi_control(*cp) ? 3 : 0;
}

static enum dstream_code add_json_escape(struct ds_buf *out, unsigned cp)
{
    static const char from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt";
    const char *s = cp > 0 && cp < 0x80 ? strchr(from, (int)cp) : NULL;
    if (s)
        return ds_buf_add(out, (const char[]){'\\', to[s - from]}, 2);
    return ds_buf_addf(out, "\\u%04x", cp);
}

enum dstream_code ds_json_escape(struct ds_buf *out, const void *data, size_t n)
{
    const byte *p = data;
    enum dstream_code rc = DSTREAM_OK;
    size_t run = 0; /* bytes at `p` that stay */
    while (run < n && rc == DSTREAM_OK) {
        byte c = p[run];
        unsigned cp = c;
        size_t used = 1;
        if (c != '"' && c != '\\')
            used = c >= 0x20 && c < 0x7F ? 0 : json_wants(p + run, n - run, &cp);
        if (used == 0) {
            run++;
            continue;
        }
        rc = ds_buf_add(out, p, run);
        if (rc == DSTREAM_OK)
            rc = add_json_escape(out, cp);
        p += run + used;
        n -= run + used;
        run = 0;
    }
    return rc == DSTREAM_OK ? ds_buf_add(out, p, n) : rc;
}

enum dstream_code ds_json_escape_bytes(struct ds_buf *out, const void *data, size_t n)
{
    const byte *p = data;
    enum dstream_code rc = DSTREAM_OK;
    for (size_t i = 0; i < n && rc == DSTREAM_OK; i++)
        rc = p[i] < 0x80 ? ds_json_escape(out, p + i, 1) : add_json_escape(out, p[i]);
    return rc;
}

/* Whether a well-formed sequence may reach a terminal as it is. */
static bool shows(const byte *p, size_t len)
{
    if (len == 1)
        return (*p >= 0x20 && *p != 0x7F) || *p == '\n' || *p == '\t';
    return !(len == 2 && p[0] == 0xC2 && p[1] < 0xA0); /* C1 */
}

static enum dstream_code add_escaped(struct ds_buf *out, const byte *p, size_t n)
{
    enum dstream_code rc = DSTREAM_OK;
    for (size_t i = 0; i < n && rc == DSTREAM_OK; i++)
        rc = ds_buf_add(out,
                        (const char[]){'\\', 'x', hex_digits[p[i] >> 4], hex_digits[p[i] & 15]}, 4);
    return rc;
}

enum dstream_code ds_terminal_escape(struct ds_buf *out, const void *data, size_t n)
{
    const byte *p = data;
    enum dstream_code rc = DSTREAM_OK;
    size_t run = 0; /* bytes at `p` that stay */
    while (run < n && rc == DSTREAM_OK) {
        bool good;
        size_t len = sequence(p + run, n - run, &good);
        unsigned cp = good ? three(p + run, len) : 0;
        if (good && shows(p + run, len) && !is_bidi_control(cp)) {
            run += len;
            continue;
        }
        rc = ds_buf_add(out, p, run);
        if (rc == DSTREAM_OK)
            rc = is_bidi_control(cp) ? ds_buf_addf(out, "\\u{%04x}", cp)
                                     : add_escaped(out, p + run, len);
        p += run + len;
        n -= run + len;
        run = 0;
    }
    return rc == DSTREAM_OK ? ds_buf_add(out, p, n) : rc;
}

/* --- lines ------------------------------------------------------------------------------------ */

uint64_t ds_lines_count(const char *p, size_t n)
{
    uint64_t count = 0;
    for (const char *lf; n > 0 && (lf = memchr(p, '\n', n)); count++) {
        n -= (size_t)(lf + 1 - p);
        p = lf + 1;
    }
    return count;
}

size_t ds_lines_end(const char *p, size_t n, uint64_t want)
{
    size_t at = 0;
    for (const char *lf; want > 0 && at < n && (lf = memchr(p + at, '\n', n - at)); want--)
        at = (size_t)(lf + 1 - p);
    return want > 0 ? n : at;
}

/* --- numbers ---------------------------------------------------------------------------------- */

/* Takes the digits at *s, at least one; false over `max`. */
static bool digits(const char **s, uint64_t max, uint64_t *out)
{
    uint64_t v = 0;
    const char *p = *s;
    for (; *p >= '0' && *p <= '9'; p++) {
        uint64_t d = (uint64_t)(*p - '0');
        if (d > max || v > (max - d) / 10)
            return false;
        v = v * 10 + d;
    }
    if (p == *s)
        return false;
    *s = p;
    *out = v;
    return true;
}

bool ds_parse_u64(const char *s, uint64_t max, uint64_t *out)
{
    uint64_t v;
    if (!digits(&s, max, &v) || *s)
        return false;
    *out = v;
    return true;
}

struct unit {
    const char *name;
    uint64_t factor;
};

static uint64_t unit_of(const char *s, const struct unit *units, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(s, units[i].name) == 0)
            return units[i].factor;
    }
    return 0;
}

/* A clock may be added to it without an overflow. */
#define DURATION_MAX ((uint64_t)INT64_MAX / 4)

bool ds_parse_duration(const char *s, int64_t *ms)
{
    static const struct unit units[] = {{"", 1000},       {"ms", 1},          {"s", 1000},
                                        {"m", 60 * 1000}, {"h", 3600 * 1000}, {"d", 86400 * 1000}};
    uint64_t whole, part = 0, scale = 1;
    if (!digits(&s, DURATION_MAX, &whole))
        return false;
    if (*s == '.') {
        const char *p = ++s;
        if (!digits(&s, 999999999, &part) || s - p > 9)
            return false;
        for (; p < s; p++)
            scale *= 10;
    }
    uint64_t f = unit_of(s, units, sizeof units / sizeof *units);
    if (f == 0 || whole > (DURATION_MAX - f) / f)
        return false;
    *ms = (int64_t)(whole * f + (part * f + scale - 1) / scale); /* a rest of a ms counts as one */
    return true;
}

bool ds_parse_size(const char *s, uint64_t *bytes)
{
    static const struct unit units[] = {{"", 1},          {"B", 1},         {"k", 1 << 10},
                                        {"K", 1 << 10},   {"M", 1 << 20},   {"G", 1 << 30},
                                        {"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30},
                                        {"kB", 1000},     {"MB", 1000000},  {"GB", 1000000000}};
    uint64_t v;
    if (!digits(&s, UINT64_MAX, &v))
        return false;
    uint64_t f = unit_of(s, units, sizeof units / sizeof *units);
    if (f == 0 || v > UINT64_MAX / f)
        return false;
    *bytes = v * f;
    return true;
}
