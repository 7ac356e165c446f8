/* SPDX-License-Identifier: Apache-2.0 */
#include "base/reason.h"

#include <string.h>

#include "base/http.h"
#include "base/text.h"

void ds_reason_add(struct ds_reason *r, const char *p, size_t n)
{
    size_t room = sizeof r->kept - r->len;
    if (n > room) {
        r->cut = true;
        n = room;
    }
    if (n > 0)
        memcpy(r->kept + r->len, p, n);
    r->len += n;
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool is_html(const struct ds_reason *r, const char *content_type)
{
    char media[32];
    size_t i = 0;
    ds_media_type(content_type ? content_type : "", media, sizeof media);
    while (i < r->len && is_space(r->kept[i]))
        i++;
    return (i < r->len && r->kept[i] == '<') || strcmp(media, "text/html") == 0 ||
           strcmp(media, "application/xhtml+xml") == 0;
}

/* The length of the character at `p` (n > 0); 0 where it is none that may be shown. */
static size_t shown(const char *p, size_t n)
{
    unsigned char c = (unsigned char)p[0];
    size_t len = c < 0x80 ? 1 : c < 0xE0 ? 2 : c < 0xF0 ? 3 : 4;
    if (len > n || !ds_utf8_valid(p, len) || c < 0x20 || c == 0x7F)
        return 0;
    if (len == 2 && c == 0xC2 && (unsigned char)p[1] < 0xA0)
        return 0; /* C1 */
    unsigned char d = (unsigned char)p[1], e = (unsigned char)p[2];
    bool breaks = len == 3 && c == 0xE2 && d == 0x80 && e >= 0xA8 && e <= 0xAE;
    bool isolates = len == 3 && c == 0xE2 && d == 0x81 && e >= 0xA6 && e <= 0xA9;
    return breaks || isolates ? 0 : len;
}

const char *ds_reason_line(struct ds_reason *r, const char *content_type)
{
    static const char more[] = "...";
    size_t to = 0, i = 0;
    bool gap = false, cut = r->cut;
    r->line[0] = '\0';
    if (is_html(r, content_type))
        return r->line;
    while (i < r->len) {
        size_t len = shown(r->kept + i, r->len - i);
        bool space = is_space(r->kept[i]);
        if (space || len == 0) {
            gap |= space && to > 0;
            i++;
            continue;
        }
        if (to + gap + len > DS_REASON_MAX - (sizeof more - 1)) {
            cut = true;
            break;
        }
        if (gap)
            r->line[to++] = ' ';
        gap = false;
        memcpy(r->line + to, r->kept + i, len);
        to += len;
        i += len;
    }
    if (cut && to > 0) {
        memcpy(r->line + to, more, sizeof more - 1);
        to += sizeof more - 1;
    }
    r->line[to] = '\0';
    return r->line;
}
