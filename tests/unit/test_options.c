/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include <criterion/criterion.h>

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/headers.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))
#define WORDS    16

/* One parse, of words that can be written to as argv's can. */
struct parse {
    struct ds_cli_options o;
    char text[512];
    char *argv[WORDS + 1];
    int argc;
    const char *args[WORDS + 1];
    size_t nargs;
    struct ds_buf why;
};

/* The words are cut at blanks; '_' stands for a blank in one. */
static enum dstream_code parse(struct parse *p, const char *line)
{
    memset(p, 0, sizeof *p);
    ds_cli_options_init(&p->o);
    ds_buf_init(&p->why, 4096);
    snprintf(p->text, sizeof p->text, "dstream %s", line);
    for (char *word = strtok(p->text, " "); word && p->argc < WORDS; word = strtok(NULL, " ")) {
        for (char *c = word; *c; c++)
            *c = *c == '_' ? ' ' : *c;
        p->argv[p->argc++] = word;
    }
    return ds_cli_options_parse(&p->o, p->argc, p->argv, p->args, &p->nargs, &p->why);
}

static void done(struct parse *p)
{
    ds_cli_options_free(&p->o);
    ds_buf_free(&p->why);
}

Test(options, come_before_between_and_behind_operands)
{
    static const char *const lines[] = {"-q read --from now a -n 5 b", "read a b --from=now -qn5",
                                        "--from now read a -n5 b -q", "-qn 5 read a --from now b",
                                        "read --from now -q -n 5 -- a b"};
    for (size_t i = 0; i < COUNT(lines); i++) {
        struct parse p;
        cr_assert_eq(parse(&p, lines[i]), DSTREAM_OK, "%s: %s", lines[i], ds_buf_str(&p.why));
        cr_expect_eq(p.o.command, DS_CMD_READ, "%s", lines[i]);
        cr_expect_str_eq(p.o.from, "now", "%s", lines[i]);
        cr_expect(p.o.quiet && p.o.has_count && p.o.count == 5, "%s", lines[i]);
        cr_assert_eq(p.nargs, 2, "%s", lines[i]);
        cr_expect_str_eq(p.args[0], "a");
        cr_expect_str_eq(p.args[1], "b");
        done(&p);
    }
}

Test(options, end_at_two_dashes_and_one_dash_is_an_operand)
{
    struct parse p;
    cr_assert_eq(parse(&p, "write - -- --from -q --"), DSTREAM_OK);
    cr_assert_eq(p.nargs, 4);
    cr_expect_str_eq(p.args[0], "-");
    cr_expect_str_eq(p.args[1], "--from");
    cr_expect_str_eq(p.args[3], "--");
    cr_expect_not(p.o.quiet);
    done(&p);
    cr_assert_eq(parse(&p, "-- read -f"), DSTREAM_OK);
    cr_expect_eq(p.o.command, DS_CMD_READ, "the command may stand behind the dashes");
    cr_expect_str_eq(p.args[0], "-f");
    done(&p);
}

Test(options, an_optional_argument_is_joined_by_an_equals_sign_only)
{
    struct parse p;
    cr_assert_eq(parse(&p, "write --create text/plain"), DSTREAM_OK);
    cr_expect(p.o.create && !p.o.create_type);
    cr_expect_eq(p.nargs, 1);
    done(&p);
    cr_assert_eq(parse(&p, "write --create=text/plain u"), DSTREAM_OK);
    cr_expect_str_eq(p.o.create_type, "text/plain");
    done(&p);
}

Test(options, positions_are_words_or_an_offset_with_a_number)
{
    static const struct {
        const char *given, *offset; /* NULL: refused */
        uint64_t skip;
    } cases[] = {
        {"-1", "-1", 0},
        {"beginning", "-1", 0},
        {"beginning,3", "-1", 3},
        {"now", "now", 0},
        {"now,0", "now", 0},
        {"now,1", NULL, 0},
        {"0_5", "0 5", 0},
        {"abc,18446744073709551615", "abc", UINT64_MAX},
        {"abc,18446744073709551616", NULL, 0},
        {"abc,", NULL, 0},
        {"abc,-1", NULL, 0},
        {"abc,1,2", NULL, 0},
        {",1", NULL, 0},
        {"nowhere,1", "nowhere", 1},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char line[128];
        struct parse p;
        snprintf(line, sizeof line, "read u --from %s", cases[i].given);
        enum dstream_code rc = parse(&p, line);
        cr_expect_eq(rc == DSTREAM_OK, cases[i].offset != NULL, "%s", line);
        if (rc == DSTREAM_OK && cases[i].offset) {
            cr_expect_str_eq(p.o.from, cases[i].offset, "%s", line);
            cr_expect_eq(p.o.from_skip, cases[i].skip, "%s", line);
        }
        done(&p);
    }
}

Test(options, wrong_ones_are_refused_with_what_is_wrong)
{
    static const struct {
        const char *line, *says;
    } cases[] = {
        {"read u --nope", "no option --nope"},
        {"read u --nope=secret", "no option --nope"},
        {"--nope", "no option --nope"},
        {"read u -q9", "no option -9"},
        {"read u --fro now", "no option --fro"},
        {"nope u", "no command nope"},
        {"read u --page-size 5", "--page-size is an option of serve"},
        {"serve --from now",
         "--from is an option of read, tail, export, record, replay, copy, fork and state"},
        {"tail u -o x", "--output is an option of read, export, record and state"},
        {"read u --from", "--from needs an argument, POSITION"},
        {"read u -n", "--count needs an argument, N"},
        {"read u --follow=yes", "--follow takes no argument"},
        {"read u -n 0", "--count 0: wanted is a number"},
        {"read u -n -1", "--count -1: wanted is"},
        {"read u --bytes 1x", "--bytes 1x: wanted is a size"},
        {"read u --idle soon", "--idle soon: wanted is a duration"},
        {"read u --header-timeout 0", "--header-timeout 0: wanted is a duration above 0"},
        {"read u --stall-timeout 0s", "wanted is a duration above 0"},
        {"read u --connect-timeout 0", "wanted is a duration above 0"},
        {"read u --retry-max-delay 0", "wanted is a duration above 0"},
        {"read u --retry -1", "--retry -1: wanted is a number from 0 up"},
        {"read u --until later", "--until later: wanted is end or closed"},
        {"replay f --until -1", "--until -1: wanted is end, or OFFSET[,SKIP]"},
        {"replay f --until now", "--until now: wanted is end, or OFFSET[,SKIP]"},
        {"read u --require more", "wanted is end or closed"},
        {"read u --live poll", "wanted is auto, sse or long-poll"},
        {"read u -F words", "wanted is auto, raw, ndjson, lines, envelope or sse"},
        {"read u -F template", "wanted is auto, raw, ndjson, lines, envelope or sse"},
        {"read u -F %o:%q", "not with %q"},
        {"read u -F %s\\x", "not with \\x"},
        {"read u -F %s%", "not with %"},
        {"read u -F %s\\", "not with \\"},
        {"export u --sync sometimes", "wanted is a duration as 5s, a size as 1MiB, or batch"},
        {"export u --verify-resume=lax", "wanted is strict"},
        {"write u --create=", "wanted is a content type"},
        {"read u -o", "--output needs an argument"},
        {"read u --cacert=", "wanted is something that is not empty"},
        {"read u --last 5", "--last is an option of tail"},
        {"tail u --last 0", "--last 0: wanted is a number from 1 up"},
        {"read u --lost 5", "no option --lost"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct parse p;
        cr_expect_eq(parse(&p, cases[i].line), DSTREAM_ERR_ARGUMENT, "%s", cases[i].line);
        cr_expect(strstr(ds_buf_str(&p.why), cases[i].says), "%s: %s", cases[i].line,
                  ds_buf_str(&p.why));
        cr_expect_not(strstr(ds_buf_str(&p.why), "secret"));
        done(&p);
    }
}

Test(options, a_replay_ends_at_any_position_that_is_printed)
{
    static const struct {
        const char *line, *until;
        uint64_t skip;
    } cases[] = {
        {"replay f --until 3-4", "3-4", 0},
        {"replay f --until 3-4,5", "3-4", 5},
        {"replay f --until -1,2", "-1", 2},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct parse p;
        cr_assert_eq(parse(&p, cases[i].line), DSTREAM_OK, "%s", cases[i].line);
        cr_expect_str_eq(p.o.until, cases[i].until);
        cr_expect_eq(p.o.until_skip, cases[i].skip);
        done(&p);
    }
}

Test(options, how_often_to_sync_is_what_was_said_last)
{
    static const struct {
        const char *line;
        int64_t ms;
        uint64_t bytes;
        bool batch;
    } cases[] = {
        {"export u", 1000, 0, false},
        {"export u --sync 5s", 5000, 0, false},
        {"export u --sync 5s --sync 1MiB", -1, 1024 * 1024, false},
        {"export u --sync batch", -1, 0, true},
        {"export u --sync batch --sync 2", 2000, 0, false},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct parse p;
        cr_assert_eq(parse(&p, cases[i].line), DSTREAM_OK);
        cr_expect_eq(p.o.sync_ms, cases[i].ms, "%s", cases[i].line);
        cr_expect_eq(p.o.sync_bytes, cases[i].bytes, "%s", cases[i].line);
        cr_expect_eq(p.o.sync_batch, cases[i].batch, "%s", cases[i].line);
        done(&p);
    }
}

Test(options, each_works_by_each_of_its_commands_and_by_no_other)
{
    for (size_t i = 0; i < ds_option_count; i++) {
        const struct ds_option *opt = &ds_option_table[i];
        for (size_t c = 0; c < DS_COMMANDS; c++) {
            char line[128];
            struct parse p;
            snprintf(line, sizeof line, "%s --%s", ds_command_table[c].name, opt->name);
            (void)parse(&p, line);
            bool foreign = strstr(ds_buf_str(&p.why), "is an option of") != NULL;
            bool needs = opt->arg && !opt->optional;
            cr_expect_eq(foreign, !needs && !(opt->commands & ds_command_table[c].command), "%s",
                         line);
            cr_expect_eq(p.o.command, ds_command_table[c].command);
            done(&p);
        }
    }
}

Test(options, the_table_is_sound)
{
    for (size_t i = 0; i < ds_option_count; i++) {
        const struct ds_option *opt = &ds_option_table[i];
        cr_expect(opt->set && opt->help && opt->commands && opt->group < DS_GROUPS, "%s",
                  opt->name);
        cr_expect(isupper((unsigned char)opt->help[0]) || islower((unsigned char)opt->help[0]));
        cr_expect_eq(opt->help[strlen(opt->help) - 1], '.', "%s", opt->name);
        cr_expect(!opt->optional || opt->arg, "%s", opt->name);
        for (size_t k = 0; k < i; k++) {
            cr_expect_str_neq(opt->name, ds_option_table[k].name);
            cr_expect(!opt->letter || opt->letter != ds_option_table[k].letter, "%s", opt->name);
        }
    }
}

Test(options, a_secret_header_is_kept_but_blanked_on_the_command_line)
{
    struct parse p;
    cr_assert_eq(parse(&p, "read u -HAuthorization:_Bearer_abc --header=cookie:x -H X-Name:_y"),
                 DSTREAM_OK, "%s", ds_buf_str(&p.why));
    cr_assert_eq(p.o.headers.n, 3);
    cr_expect_str_eq(p.o.headers.at[0], "Authorization: Bearer abc");
    cr_expect_str_eq(p.o.headers.at[1], "cookie:x");
    cr_expect_str_eq(p.o.headers.at[2], "X-Name: y");
    cr_expect(p.o.secret_in_argv);
    cr_expect_str_eq(p.argv[3], "-HAuthorization:***********");
    cr_expect_str_eq(p.argv[4], "--header=cookie:*");
    cr_expect_str_eq(p.argv[6], "X-Name: y");
    cr_expect(ds_headers_have(&p.o, "AUTHORIZATION"));
    cr_expect_not(ds_headers_have(&p.o, "x-nam"));
    done(&p);
    cr_assert_eq(parse(&p, "read u -H X:y"), DSTREAM_OK);
    cr_expect_not(p.o.secret_in_argv);
    done(&p);
}

/* Wherever a URL may stand: it is kept, and the word on the command line is blanked. */
Test(options, a_password_in_a_url_is_kept_but_blanked_on_the_command_line)
{
    struct parse p;
    cr_assert_eq(parse(&p, "copy http://me:pw@h/s https://you:p@w@h/t --url http://a:b@h"),
                 DSTREAM_OK, "%s", ds_buf_str(&p.why));
    cr_expect(p.o.secret_in_argv);
    cr_expect_str_eq(p.args[0], "http://me:pw@h/s");
    cr_expect_str_eq(p.args[1], "https://you:p@w@h/t");
    cr_expect_str_eq(p.o.base_url, "http://a:b@h");
    cr_expect_str_eq(p.argv[2], "http://*****@h/s");
    cr_expect_str_eq(p.argv[3], "https://*******@h/t");
    cr_expect_str_eq(p.argv[5], "http://***@h");
    done(&p);
    cr_assert_eq(parse(&p, "fork --from=http://me:pw@h/s u"), DSTREAM_OK);
    cr_expect(p.o.secret_in_argv);
    cr_expect_str_eq(p.o.fork_from, "http://me:pw@h/s");
    cr_expect_str_eq(p.argv[2], "--from=http://*****@h/s");
    done(&p);
    cr_assert_eq(parse(&p, "replay f --to http://me:pw@h/s"), DSTREAM_OK);
    cr_expect(p.o.secret_in_argv);
    cr_expect_str_eq(p.o.to, "http://me:pw@h/s");
    cr_expect_str_eq(p.argv[4], "http://*****@h/s");
    done(&p);
    cr_assert_eq(parse(&p, "read http://me:p/w@h/s"), DSTREAM_OK,
                 "it is no URL, and still blanked");
    cr_expect_str_eq(p.argv[2], "http://******@h/s");
    done(&p);
    cr_assert_eq(parse(&p, "copy http://h:80/a:b@c http://me@h/s?q=x:y@z --url a:b@c"), DSTREAM_OK);
    cr_expect_not(p.o.secret_in_argv);
    cr_expect_str_eq(p.argv[2], "http://h:80/a:b@c");
    done(&p);
}

Test(options, a_malformed_header_is_refused_without_showing_it)
{
    static const char *const lines[] = {"read u -H hunter2", "read u -H :hunter2",
                                        "read u -H A_B:hunter2", "read u -H Content-Length:hunter2",
                                        "read u -H @/nonexistent/hunter2"};
    for (size_t i = 0; i < COUNT(lines); i++) {
        struct parse p;
        cr_expect_eq(parse(&p, lines[i]), DSTREAM_ERR_ARGUMENT, "%s", lines[i]);
        cr_expect(strstr(ds_buf_str(&p.why), "--header"), "%s", ds_buf_str(&p.why));
        cr_expect_not(strstr(ds_buf_str(&p.why), "hunter2"), "%s", ds_buf_str(&p.why));
        done(&p);
    }
}

Test(options, a_file_of_headers_holds_one_a_line)
{
    static const struct {
        const char *text;
        size_t len, headers; /* 0 headers: refused */
    } files[] = {
        {"A: 1\nAuthorization: x\n", 22, 2},
        {"A: 1\r\n\r\nB: 2", 12, 2},
        {"A: 1\nhunter2\n", 13, 0},
        {"A: 1\0B: 2\n", 10, 0},
    };
    for (size_t i = 0; i < COUNT(files); i++) {
        char path[] = "/tmp/ds-headers-XXXXXX", line[64];
        int fd = mkstemp(path);
        cr_assert_eq(write(fd, files[i].text, files[i].len), (ssize_t)files[i].len);
        close(fd);
        snprintf(line, sizeof line, "read u -H @%s", path);
        struct parse p;
        enum dstream_code rc = parse(&p, line);
        unlink(path);
        cr_expect_eq(rc == DSTREAM_OK, files[i].headers > 0, "%zu", i);
        cr_expect(rc != DSTREAM_OK || p.o.headers.n == files[i].headers, "%zu", i);
        cr_expect_not(p.o.secret_in_argv, "it is in a file");
        done(&p);
    }
}

Test(options, the_help_of_a_command_lists_each_of_its_options_within_80_columns)
{
    for (size_t c = 0; c < DS_COMMANDS; c++) {
        const struct ds_command_info *info = &ds_command_table[c];
        struct ds_buf b;
        ds_buf_init(&b, 65536);
        cr_assert(ds_help_add(&b, info->name));
        const char *text = ds_buf_str(&b);
        for (size_t i = 0; i < ds_option_count; i++) {
            char wanted[64];
            snprintf(wanted, sizeof wanted, "--%s", ds_option_table[i].name);
            const char *at = strstr(text, wanted);
            while (at && (at[-1] != ' ' || !strchr(" [\n", at[strlen(wanted)]) ||
                          (at[-2] != ' ' && at[-2] != ',')))
                at = strstr(at + 1, wanted);
            bool due = (ds_option_table[i].commands & info->command) != 0;
            cr_expect_eq(at != NULL, due, "%s %s", info->name, wanted);
        }
        for (const char *line = text; *line; line += strcspn(line, "\n") + 1)
            cr_expect_leq(strcspn(line, "\n"), 84, "%s: %s", info->name, line);
        ds_buf_free(&b);
    }
}

static char *read_file(const char *path)
{
    FILE *f = fopen(path, "r");
    cr_assert(f, "%s", path);
    char *text = calloc(1, 256 * 1024);
    cr_assert(text && fread(text, 1, 256 * 1024 - 1, f) > 0);
    fclose(f);
    return text;
}

/* After a change to the table: dstream help manual-options prints the lists anew. */
Test(options, the_manual_lists_just_what_the_table_has)
{
    char *manual = read_file(TOP_SRCDIR "/doc/dstream.1");
    struct ds_buf b;
    ds_buf_init(&b, 65536);
    ds_help_manual(&b);
    ds_buf_adds(&b, ".\\\" End of the lists.\n");
    const char *begin = strstr(manual, ".SS General\n");
    cr_assert(begin);
    cr_expect(strncmp(begin, ds_buf_str(&b), b.len) == 0, "doc/dstream.1 is out of date");
    for (size_t c = 0; c < DS_COMMANDS; c++)
        cr_expect(strstr(manual, ds_command_table[c].name), "%s", ds_command_table[c].name);
    ds_buf_free(&b);
    free(manual);
}
