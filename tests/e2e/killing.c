/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "tests/e2e/killing.h"

#include "decode/base64.h"
#include "tests/e2e/reading.h"

#include <cjson/cJSON.h>
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

/* --- where they were killed ------------------------------------------------------------------- */

void tally_add(struct tally *t, const struct e2e_process *p)
{
    const char *line = strstr(p->err_data.p, "killed ");
    const char *what =
        line ? e2e_printf("%.*s", (int)strcspn(line, "\n"), line) : "killed at any moment";
    size_t i = 0;
    while (i < t->n && strcmp(t->of[i].what, what) != 0)
        i++;
    cr_assert_lt(i, sizeof t->of / sizeof *t->of);
    snprintf(t->of[i].what, sizeof t->of[i].what, "%s", what);
    t->of[i].n++;
    t->n += i == t->n;
}

void tally_say(const struct tally *t, const char *how, const char *form)
{
    const char *server = e2e_kind() == E2E_REFERENCE ? "reference" : "embedded";
    for (size_t i = 0; i < t->n; i++)
        fprintf(stderr, "kills; %s; %s; %s; %s; %u\n", how, form, server, t->of[i].what,
                t->of[i].n);
}

/* --- what is in a file ------------------------------------------------------------------------ */

static void add_base64(struct e2e_bytes *all, char *text)
{
    size_t n, bad;
    const char *why;
    cr_assert_eq(ds_base64_decode(text, strlen(text), &n, &bad, &why), DSTREAM_OK, "%s", why);
    e2e_add(all, text, n);
}

/* The bytes of a message stand as they are: numbers and escapes are kept. */
static void add_message(struct e2e_bytes *all, const char *line, size_t n)
{
    static const char mark[] = "\"json\":";
    const char *at = strstr(line, mark);
    cr_assert(at && at < line + n, "no message in %s", line);
    at += sizeof mark - 1;
    e2e_add(all, at, (size_t)(line + n - at) - 1); /* without the envelope's brace */
    e2e_add_text(all, "\n");
}

static void add_envelope(struct e2e_bytes *all, const char *line, size_t n, bool json)
{
    if (json) {
        add_message(all, line, n);
        return;
    }
    cJSON *o = cJSON_ParseWithLength(line, n);
    cr_assert_not_null(o, "no envelope: %s", line);
    const cJSON *text = cJSON_GetObjectItemCaseSensitive(o, "text");
    const cJSON *base64 = cJSON_GetObjectItemCaseSensitive(o, "base64");
    cr_assert(cJSON_IsString(text) || cJSON_IsString(base64), "nothing in %s", line);
    if (text)
        e2e_add_text(all, text->valuestring);
    else
        add_base64(all, base64->valuestring);
    cJSON_Delete(o);
}

static struct e2e_bytes of_envelopes(struct e2e_bytes file, const char *type)
{
    struct e2e_bytes all = e2e_text("");
    for (const char *p = file.p; *p;) {
        size_t n = strcspn(p, "\n");
        cr_assert_eq(p[n], '\n', "a line is not whole: %s", p);
        add_envelope(&all, p, n, strcmp(type, TYPE_JSON) == 0);
        p += n + 1;
    }
    return all;
}

struct e2e_bytes payloads(const char *format, const char *type, struct e2e_bytes file)
{
    if (!format)
        return file;
    cr_assert_str_eq(format, "envelope", "no such format: %s", format);
    return of_envelopes(file, type);
}
