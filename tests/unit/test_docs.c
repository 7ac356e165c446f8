/* SPDX-License-Identifier: Apache-2.0 */
/* What the pages say that the program knows: options, commands, exit codes, limits, the example. */
#include "config.h"

#include <criterion/criterion.h>

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "cli/cli.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))
#define PAGE_MAX ((size_t)1024 * 1024)

static char *page(const char *name)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", TOP_SRCDIR, name);
    FILE *f = fopen(path, "r");
    cr_assert(f, "%s", path);
    char *text = malloc(PAGE_MAX);
    cr_assert(text);
    size_t n = fread(text, 1, PAGE_MAX, f);
    cr_assert(n > 0 && n < PAGE_MAX, "%s", path);
    text[n] = '\0';
    fclose(f);
    return text;
}

/* The part of `text` between the line that begins with `from` and the one that begins with `to`,
 * which both must be there. It ends in the middle of the text. */
static char *between(char *text, const char *from, const char *to)
{
    char *begin = strstr(text, from);
    cr_assert(begin, "no '%s'", from);
    begin = strchr(begin, '\n') + 1;
    char *end = strstr(begin, to);
    cr_assert(end && end[-1] == '\n', "no '%s' behind '%s'", to, from);
    *end = '\0';
    return begin;
}

/* --- the manual ------------------------------------------------------------------------------- */

Test(docs, manual_lists_the_options_of_the_table)
{
    char *manual = page("doc/dstream.1");
    struct ds_buf want;
    ds_buf_init(&want, PAGE_MAX);
    ds_help_manual(&want);
    const char *got = between(manual, ".\\\" The lists below", ".\\\" End of the lists");
    cr_expect(strlen(got) == want.len && memcmp(got, want.data, want.len) == 0,
              "the lists of options in doc/dstream.1 are not those of cli/options.c: make manual");
    ds_buf_free(&want);
    free(manual);
}

Test(docs, manual_has_each_command)
{
    char *manual = page("doc/dstream.1");
    char *commands = strdup(manual);
    char *synopsis = between(manual, ".SH SYNOPSIS", ".SH DESCRIPTION");
    char *explained = between(commands, ".SH COMMANDS", ".SH OPTIONS");
    size_t described = 0;
    for (const char *p = explained; (p = strstr(p, ".TP\n")); p++)
        described++;
    cr_expect_eq(described, DS_COMMANDS, "%zu commands are explained", described);
    for (size_t i = 0; i < DS_COMMANDS; i++) {
        const char *name = ds_command_table[i].name;
        char line[64];
        snprintf(line, sizeof line, "\\fBdstream %s", name);
        cr_expect(strstr(synopsis, line), "no synopsis of %s", name);
        static const char *const begins[] = {".TP\n.B %s\n", ".TP\n.BI %s \"", ".TP\n.BR %s \"",
                                             ".TP\n.BI \"%s "};
        bool found = false;
        for (size_t k = 0; k < COUNT(begins); k++) {
            snprintf(line, sizeof line, begins[k], name);
            found |= strstr(explained, line) != NULL;
        }
        cr_expect(found, "%s is not explained", name);
    }
    free(commands);
    free(manual);
}

/* --- exit codes ------------------------------------------------------------------------------- */

#define CODES 128

/* Those that the command can end with. */
static void real_codes(bool out[CODES])
{
    out[DS_EXIT_USAGE] = out[DS_EXIT_REQUIRE] = true;
    for (unsigned code = 0; code < 1000; code++) {
        struct dstream_error e = {.code = (enum dstream_code)code};
        out[ds_exit_of(&e)] = true;
    }
}

/* The numbers that lines of `text` begin with, after blanks. */
static void listed_codes(const char *text, bool out[CODES])
{
    for (const char *p = text; *p; p = strchr(p, '\n') + 1) {
        char *end;
        unsigned long n = strtoul(p, &end, 10);
        if (end > p && n < CODES)
            out[n] = true;
        if (!strchr(p, '\n'))
            break;
    }
}

static void expect_codes(const char *where, const char *text)
{
    bool want[CODES] = {false}, got[CODES] = {false};
    real_codes(want);
    listed_codes(text, got);
    for (int i = 0; i < CODES; i++)
        cr_expect_eq(got[i], want[i], "%s: exit code %d is %s", where, i,
                     got[i] ? "never used" : "not explained");
}

Test(docs, exit_codes_are_all_explained)
{
    char *manual = page("doc/dstream.1");
    struct ds_buf help;
    ds_buf_init(&help, PAGE_MAX);
    ds_help_add(&help, "exit-codes");
    expect_codes("dstream help exit-codes", ds_buf_str(&help));
    expect_codes("doc/dstream.1", between(manual, ".SH EXIT STATUS", ".PP\nAfter INT"));
    ds_buf_free(&help);
    free(manual);
}

/* --- limits ----------------------------------------------------------------------------------- */

enum kind { TIME, NUMBER, SIZE };
#define ROW(kind, field)                                                                           \
    {                                                                                              \
        kind, #field, offsetof(struct ds_limits, field)                                            \
    }
static const struct {
    enum kind kind;
    const char *name;
    size_t at;
} limits[] = {
    ROW(TIME, connect),          ROW(TIME, header),       ROW(TIME, header_sse),
    ROW(TIME, header_long_poll), ROW(TIME, silence),      ROW(TIME, silence_sse),
    ROW(TIME, first_byte_sse),   ROW(TIME, backoff_base), ROW(TIME, backoff_max),
    ROW(TIME, retry_after_max),  ROW(TIME, retry_time),   ROW(TIME, healthy_sse),
    ROW(TIME, short_base),       ROW(TIME, short_max),    ROW(TIME, idle_within),
    ROW(TIME, hold_shared),      ROW(TIME, replica_lag),  ROW(TIME, probe_base),
    ROW(TIME, probe_max),        ROW(SIZE, max_part),     ROW(TIME, idle_max),
    ROW(NUMBER, backoff_growth), ROW(NUMBER, retries),    ROW(NUMBER, short_count),
    ROW(NUMBER, idle_count),     ROW(NUMBER, moves_free), ROW(NUMBER, protocol_tries),
    ROW(NUMBER, redirects),      ROW(NUMBER, json_depth), ROW(SIZE, max_event),
    ROW(SIZE, max_body),         ROW(SIZE, max_head),     ROW(SIZE, max_witness),
    ROW(TIME, db_locked),        ROW(TIME, exec_grace),
};

static void in_words(char *out, size_t size, enum kind kind, const void *field)
{
    if (kind == TIME) {
        int64_t ms = *(const int64_t *)field;
        bool whole = ms % 1000 == 0;
        snprintf(out, size, "%lld %s", (long long)(whole ? ms / 1000 : ms), whole ? "s" : "ms");
    } else if (kind == NUMBER) {
        snprintf(out, size, "%u", *(const unsigned *)field);
    } else {
        size_t n = *(const size_t *)field;
        bool mib = n % (1024 * 1024) == 0;
        snprintf(out, size, "%zu %s", mib ? n / 1024 / 1024 : n / 1024, mib ? "MiB" : "KiB");
    }
}

/* Each limit has a row in the table of doc/design.md, "| `name` | value | what it is |", and there
 * are no others. */
Test(docs, design_has_each_limit)
{
    struct ds_limits l = ds_limits_default();
    char *design = page("doc/design.md"), *source = page("base/limits.c");
    char *table = between(design, "## What each limit is", "## ");
    size_t rows = 0, fields = 0;
    for (const char *p = table; (p = strstr(p, "\n| `")); p++)
        rows++;
    for (const char *p = source; (p = strstr(p, "\n        .")); p++)
        fields++;
    cr_expect_eq(COUNT(limits), fields, "this test knows %zu of %zu limits", COUNT(limits), fields);
    cr_expect_eq(rows, fields, "doc/design.md has %zu rows for %zu limits", rows, fields);
    for (size_t i = 0; i < COUNT(limits); i++) {
        char value[64], row[128];
        in_words(value, sizeof value, limits[i].kind, (const char *)&l + limits[i].at);
        snprintf(row, sizeof row, "\n| `%s` | %s | ", limits[i].name, value);
        cr_expect(strstr(table, row), "doc/design.md does not have:%s", row);
    }
    free(design);
    free(source);
}

/* The manual has those that a user can meet. */
Test(docs, manual_has_the_sizes)
{
    struct ds_limits l = ds_limits_default();
    char *manual = page("doc/dstream.1");
    char *section = between(manual, ".SH LIMITS", ".SH ");
    char want[5][64];
    in_words(want[0], sizeof *want, SIZE, &l.max_body);
    in_words(want[1], sizeof *want, SIZE, &l.max_head);
    snprintf(want[2], sizeof *want, "%d bytes", DS_TOKEN_MAX);
    in_words(want[3], sizeof *want, NUMBER, &l.json_depth);
    in_words(want[4], sizeof *want, NUMBER, &l.redirects);
    cr_expect_eq(l.max_event, l.max_body); /* one line for both */
    for (size_t i = 0; i < COUNT(want); i++) {
        char line[512];
        snprintf(line, sizeof line, "\n.B %s\n", want[i]);
        cr_expect(strstr(section, line), "doc/dstream.1 does not have %s", want[i]);
    }
    free(manual);
}

/* --- the example ------------------------------------------------------------------------------ */

Test(docs, readme_shows_the_example)
{
    char *readme = page("README.md"), *example = page("examples/follow.c");
    const char *code = strstr(example, "#include");
    cr_assert(code);
    cr_expect(strstr(readme, code), "README.md does not show what is in examples/follow.c");
    free(readme);
    free(example);
}
