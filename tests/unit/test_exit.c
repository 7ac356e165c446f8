/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

/* The exit codes are a promise to scripts: numbers, not names. */
Test(exit_codes, are_those_of_the_manual)
{
    static const struct {
        enum dstream_code code;
        int exit;
    } cases[] = {
        {DSTREAM_OK, 0},
        {DSTREAM_ERR_ARGUMENT, 2},
        {DSTREAM_ERR_STATE, 1},
        {DSTREAM_ERR_NOMEM, 1},
        {DSTREAM_ERR_CANCELLED, 1},
        {DSTREAM_ERR_INTERNAL, 1},
        {DSTREAM_ERR_RESOLVE, 69},
        {DSTREAM_ERR_CONNECT, 69},
        {DSTREAM_ERR_TLS, 69},
        {DSTREAM_ERR_NETWORK, 69},
        {DSTREAM_ERR_TIMEOUT, 75},
        {DSTREAM_ERR_REDIRECT, 69},
        {DSTREAM_ERR_BAD_REQUEST, 14},
        {DSTREAM_ERR_AUTH, 77},
        {DSTREAM_ERR_NOT_FOUND, 66},
        {DSTREAM_ERR_GONE, 10},
        {DSTREAM_ERR_DELETED, 10},
        {DSTREAM_ERR_CONFLICT, 11},
        {DSTREAM_ERR_CLOSED, 11},
        {DSTREAM_ERR_BUSY, 75},
        {DSTREAM_ERR_SERVER, 69},
        {DSTREAM_ERR_OUTCOME_UNKNOWN, 16},
        {DSTREAM_ERR_FENCED, 12},
        {DSTREAM_ERR_SEQUENCE, 11},
        {DSTREAM_ERR_TOO_LARGE, 14},
        {DSTREAM_ERR_PROTOCOL, 76},
        {DSTREAM_ERR_PARSE, 76},
        {DSTREAM_ERR_STREAM_RESET, 13},
        {DSTREAM_ERR_INPUT, 65},
        {DSTREAM_ERR_STATE_LOST, 13},
        {DSTREAM_ERR_NO_PRODUCERS, 76},
        {DSTREAM_ERR_IO, 74},
        {DSTREAM_ERR_LOCKED, 73},
        {DSTREAM_ERR_EXISTS, 73},
        {DSTREAM_ERR_STATE_CORRUPT, 13},
        {DSTREAM_ERR_STATE_MISMATCH, 13},
        {DSTREAM_ERR_LIMIT, 15},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct dstream_error e = {.code = cases[i].code};
        cr_expect_eq((int)ds_exit_of(&e), cases[i].exit, "%s", dstream_code_name(cases[i].code));
    }
}

/* What `fail` prints for an error, and returns. */
static int printed_by(enum ds_command command, const struct dstream_error *e, char *out,
                      size_t size)
{
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);
    struct ds_cli c = {.err = f, .opt = {.command = command}};
    int rc = ds_cli_fail(&c, e);
    fclose(f);
    snprintf(out, size, "%s", text);
    free(text);
    return rc;
}

static int printed(const struct dstream_error *e, char *out, size_t size)
{
    return printed_by(DS_CMD_NONE, e, out, size);
}

Test(messages, say_where_what_and_what_to_do)
{
    char text[2048];
    struct dstream_error e = {.code = DSTREAM_ERR_NOT_FOUND, .url = "http://h/s", .offset = "7_9"};
    strcpy(e.message, "there is no such stream (404)");
    cr_expect_eq(printed(&e, text, sizeof text), 66);
    cr_expect_str_eq(text, "dstream: http://h/s: there is no such stream (404) (at offset 7_9): "
                           "check the URL, or create the stream\n");
    struct dstream_error gone = {.code = DSTREAM_ERR_GONE, .url = "http://h/s", .message = "gone"};
    printed_by(DS_CMD_READ, &gone, text, sizeof text);
    cr_expect(strstr(text, "--from beginning"), "%s", text);
    printed_by(DS_CMD_WRITE, &gone, text, sizeof text);
    cr_expect_str_eq(text, "dstream: http://h/s: gone\n");
    struct dstream_error file = {.code = DSTREAM_ERR_NOT_FOUND, .message = "cannot open x"};
    printed(&file, text, sizeof text);
    cr_expect_str_eq(text, "dstream: cannot open x\n");
    struct dstream_error bare = {.code = DSTREAM_ERR_NOMEM};
    printed(&bare, text, sizeof text);
    cr_expect_str_eq(text, "dstream: no memory\n");
}

Test(messages, show_no_control_characters)
{
    char text[2048];
    struct dstream_error e = {.code = DSTREAM_ERR_SERVER, .url = "http://h/\x1b[2J"};
    strcpy(e.message, "it said \x1b]0;title\x07\r\xc2\x9b");
    printed(&e, text, sizeof text);
    for (const char *p = text; *p; p++)
        cr_expect((*p >= ' ' && *p < 0x7F) || (*p == '\n' && !p[1]), "%s", text);
    cr_expect(strstr(text, "\\x1b[2J") || strstr(text, "\\x1B[2J"), "%s", text);
}

Test(messages, are_fewer_when_quiet_but_errors_stay)
{
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);
    struct ds_cli c = {.err = f, .opt = {.quiet = true}};
    ds_cli_warn(&c, "%s", "one");
    ds_cli_say(&c, "%s", "two");
    cr_expect_eq(ds_cli_usage(&c, "%s", "three"), DS_EXIT_USAGE);
    fclose(f);
    cr_expect_str_eq(text, "dstream: three: see dstream --help\n");
    free(text);
}
