/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "cli/template.h"

#include <string.h>

static const char letters[] = "oinsStu%", escapes[] = "ntr0\\", stand_for[] = "\n\t\r\0\\";

const char *ds_template_wrong(const char *text)
{
    for (const char *p = text + strcspn(text, "%\\"); *p; p += 2 + strcspn(p + 2, "%\\")) {
        if (!p[1] || !strchr(*p == '%' ? letters : escapes, p[1]))
            return p;
    }
    return NULL;
}

static size_t length_of(const struct ds_template_unit *u)
{
    size_t n = u->n;
    for (size_t i = 0; u->message && i < u->n; i++)
        n -= u->p[i] == '\n' || u->p[i] == '\r';
    return n;
}

static void put_payload(struct ds_json_out *o, const struct ds_template_unit *u)
{
    if (u->message)
        ds_json_out_message(o, u->p, u->n);
    else
        ds_json_out_raw(o, u->p, u->n);
}

static void put_letter(struct ds_json_out *o, char letter, const struct ds_template_unit *u)
{
    switch (letter) {
    case 'o':
        ds_json_out_add(o, u->offset);
        break;
    case 'i':
        ds_json_out_u64(o, u->index);
        break;
    case 'n':
        ds_json_out_add(o, u->next);
        break;
    case 's':
        put_payload(o, u);
        break;
    case 'S':
        ds_json_out_u64(o, length_of(u));
        break;
    case 't':
        ds_json_out_add(o, u->received);
        break;
    case 'u':
        ds_json_out_add(o, u->url);
        break;
    default:
        ds_json_out_add(o, "%");
        break;
    }
}

void ds_template_put(struct ds_json_out *o, const char *text, const struct ds_template_unit *u)
{
    while (*text && o->rc == DSTREAM_OK) {
        size_t plain = strcspn(text, "%\\");
        ds_json_out_raw(o, text, plain);
        text += plain;
        if (!*text)
            return;
        if (*text == '%')
            put_letter(o, text[1], u);
        else
            ds_json_out_raw(o, stand_for + (strchr(escapes, text[1]) - escapes), 1);
        text += 2;
    }
}
