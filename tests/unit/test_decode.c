/* SPDX-License-Identifier: Apache-2.0 */
/* dstream decode: each rule as a row; its input comes whole, byte by byte, and cut at each place.
 */
#include "config.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cli/cli.h"

struct input {
    int fd;
    const char *p;
    size_t n, piece, at;
};

/* Each piece is read by itself. The first ends at `at`, the others have `piece` bytes; 0: the rest.
 */
static void *feed(void *ctx)
{
    struct input *in = ctx;
    size_t done = 0, n = in->at;
    while (done < in->n) {
        if (n == 0 || n > in->n - done)
            n = in->piece > 0 && in->piece < in->n - done ? in->piece : in->n - done;
        if (send(in->fd, in->p + done, n, MSG_NOSIGNAL) != (ssize_t)n)
            break;
        done += n;
        n = 0;
    }
    close(in->fd);
    return NULL;
}

struct result {
    int status;
    char out[16384], err[2048];
};

static void run(struct result *r, const struct ds_cli_options *opt, struct input in)
{
    int ends[2], kept = dup(STDOUT_FILENO);
    FILE *out = tmpfile();
    struct ds_cli c = {.opt = *opt, .limits = ds_limits_default()};
    pthread_t t;
    memset(r, 0, sizeof *r);
    c.err = fmemopen(r->err, sizeof r->err, "w");
    cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends), 0);
    fflush(stdout);
    dup2(fileno(out), STDOUT_FILENO);
    dup2(ends[0], STDIN_FILENO);
    close(ends[0]);
    in.fd = ends[1];
    pthread_create(&t, NULL, feed, &in);
    r->status = ds_cmd_decode(&c);
    fflush(stdout);
    dup2(kept, STDOUT_FILENO);
    close(kept);
    close(STDIN_FILENO);
    pthread_join(t, NULL);
    fclose(c.err);
    rewind(out);
    r->out[fread(r->out, 1, sizeof r->out - 1, out)] = '\0';
    fclose(out);
}

static struct ds_cli_options options(const char *words)
{
    struct ds_cli_options o;
    ds_cli_options_init(&o);
    o.command = DS_CMD_DECODE;
    o.batches = strstr(words, "batches") != NULL;
    o.encoding = strstr(words, "base64") ? "base64" : NULL;
    o.type = strstr(words, "json") ? "application/json; charset=utf-8" : NULL;
    return o;
}

static void check(const struct result *r, const char *what, const char *want, int status,
                  const char *said)
{
    cr_assert_str_eq(r->out, want, "%s: '%s' came, and not '%s'", what, r->out, want);
    cr_assert_eq(r->status, status, "%s: %d: %s", what, r->status, r->err);
    if (said)
        cr_assert_not_null(strstr(r->err, said), "%s: it said '%s'", what, r->err);
    else
        cr_assert_str_empty(r->err, "%s: it said '%s'", what, r->err);
}

static void decodes(const char *words, const char *p, size_t n, const char *want, int status,
                    const char *said)
{
    struct ds_cli_options o = options(words);
    static struct result r;
    alarm(60);
    for (size_t piece = 0; piece < 2; piece++) {
        run(&r, &o, (struct input){.p = p, .n = n, .piece = piece});
        check(&r, piece ? "byte by byte" : "whole", want, status, said);
    }
    for (size_t at = 1; at < n; at++) {
        char what[32];
        snprintf(what, sizeof what, "cut at %zu", at);
        run(&r, &o, (struct input){.p = p, .n = n, .at = at});
        check(&r, what, want, status, said);
    }
}

#define ROW(suite, name, words, input, want, status, said)                                         \
    Test(suite, name)                                                                              \
    {                                                                                              \
        decodes(words, input, sizeof input - 1, want, status, said);                               \
    }
#define EVENTS(name, input, want) ROW(decode_events, name, "", input, want, 0, NULL)

/* --- events: the rules of WHATWG -------------------------------------------------------------- */

#define E(event, data, id) "{\"event\":\"" event "\",\"data\":\"" data "\",\"id\":" id "}\n"

EVENTS(nothing, "", "")
EVENTS(a_message, "data: a\n\n", E("message", "a", "null"))
EVENTS(a_name, "event: data\ndata: a\n\n", E("data", "a", "null"))
EVENTS(a_name_behind_its_data, "data: a\nevent: x\n\n", E("x", "a", "null"))
EVENTS(a_name_is_of_one_event, "event: x\ndata: a\n\ndata: b\n\n",
       E("x", "a", "null") E("message", "b", "null"))
EVENTS(the_last_name_counts, "event: x\nevent: y\ndata: a\n\n", E("y", "a", "null"))
EVENTS(an_empty_name_is_none, "event: x\nevent\ndata: a\n\n", E("message", "a", "null"))
EVENTS(without_data_there_is_no_event, "event: x\n\nid: 1\n\n: c\n\n\n\ndata: a\n\n",
       E("message", "a", "\"1\""))
EVENTS(lines_are_joined_by_lf, "data: a\ndata: b\n\n", E("message", "a\\nb", "null"))
EVENTS(an_empty_line_of_data_is_one, "data: a\ndata\ndata:\n\n", E("message", "a\\n\\n", "null"))
EVENTS(an_empty_line_of_data_is_an_event, "data\n\ndata:\n\n",
       E("message", "", "null") E("message", "", "null"))
EVENTS(one_space_goes, "data:a\ndata: b\ndata:  c\ndata:\td\n\n",
       E("message", "a\\nb\\n c\\n\\td", "null"))
EVENTS(the_first_colon_counts, "data:a:b: c\n\n", E("message", "a:b: c", "null"))
EVENTS(lf, "data: a\n\ndata: b\n\n", E("message", "a", "null") E("message", "b", "null"))
EVENTS(cr_lf, "data: a\r\n\r\ndata: b\r\n\r\n", E("message", "a", "null") E("message", "b", "null"))
EVENTS(cr, "data: a\r\rdata: b\r\r", E("message", "a", "null") E("message", "b", "null"))
EVENTS(mixed, "data: a\r\ndata: b\rdata: c\n\r\ndata: d\n\r",
       E("message", "a\\nb\\nc", "null") E("message", "d", "null"))
EVENTS(lf_and_cr_are_two_ends, "data: a\n\rdata: b\n\n",
       E("message", "a", "null") E("message", "b", "null"))
EVENTS(other_line_separators_are_none, "data: a\xE2\x80\xA8 b\xC2\x85 c\x0B d\x0C\n\n",
       E("message", "a\\u2028 b\\u0085 c\\u000b d\\f", "null"))
EVENTS(comments, ":\n: data: a\n:data: b\ndata: c\n: d\n\n", E("message", "c", "null"))
EVENTS(other_fields, "dat: a\ndatax: b\nDATA: c\n data: d\nretry: 5\nretry: x\ndata: e\n\n",
       E("message", "e", "null"))
EVENTS(a_byte_order_mark,
       "\xEF\xBB\xBF"
       "data: a\n\n",
       E("message", "a", "null"))
EVENTS(a_second_byte_order_mark_is_a_name,
       "\xEF\xBB\xBF\xEF\xBB\xBF"
       "data: a\n\xEF\xBB\xBF"
       "data: b\ndata: c\n\n",
       E("message", "c", "null"))
EVENTS(half_a_byte_order_mark_is_a_name,
       "\xEF\xBB"
       "data: a\ndata: b\n\n",
       E("message", "b", "null"))
EVENTS(an_id_stays, "id: 1\ndata: a\n\ndata: b\n\nid: 2\n\ndata: c\n\n",
       E("message", "a", "\"1\"") E("message", "b", "\"1\"") E("message", "c", "\"2\""))
EVENTS(an_id_may_be_empty, "id: 1\ndata: a\n\nid\ndata: b\n\n",
       E("message", "a", "\"1\"") E("message", "b", "\"\""))
EVENTS(an_id_with_nul_is_none, "id: 1\nid: x\0y\ndata: a\n\n", E("message", "a", "\"1\""))
EVENTS(an_id_of_an_event_that_is_cut_does_not_count, "data: a\n\nid: 1\n",
       E("message", "a", "null"))
EVENTS(an_event_that_is_cut_is_none, "data: a\n\ndata: b\n", E("message", "a", "null"))
EVENTS(nul_is_data, "data: a\0b\n\n", E("message", "a\\u0000b", "null"))
EVENTS(what_json_escapes, "data: \"\\/\b\x7F\n\n", E("message", "\\\"\\\\/\\b\\u007f", "null"))
EVENTS(what_is_not_utf8,
       "data: \xC3\xA4 \xC3\n\ndata: \xE2\x82\n\nevent: \xFF\ndata: \xED\xA0\x80\n\n",
       E("message", "\xC3\xA4 \xEF\xBF\xBD", "null") E("message", "\xEF\xBF\xBD", "null")
           E("\xEF\xBF\xBD", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD", "null"))
EVENTS(streams_events,
       "event: data\ndata: [1]\n\nevent: control\ndata: {\"streamNextOffset\":\"a\"}\n\n",
       E("data", "[1]", "null") E("control", "{\\\"streamNextOffset\\\":\\\"a\\\"}", "null"))

/* --- batches ---------------------------------------------------------------------------------- */

#define B(data, offset, cursor, utd, closed)                                                       \
    "{\"data\":\"" data "\",\"offset\":\"" offset "\",\"cursor\":" cursor ",\"upToDate\":" utd     \
    ",\"closed\":" closed "}\n"
#define DATA(payload)   "event: data\ndata: " payload "\n\n"
#define CONTROL(fields) "event: control\ndata: {" fields "}\n\n"
#define NEXT(o)         "\"streamNextOffset\":\"" o "\""
#define BATCHES(name, words, input, want)                                                          \
    ROW(decode_batches, name, "batches " words, input, want, 0, NULL)
#define MALFORMED(name, words, input, want, said)                                                  \
    ROW(decode_malformed, name, "batches " words, input, want, 76, said)

BATCHES(nothing, "", "", "")
BATCHES(text, "", DATA("a") CONTROL(NEXT("o")), B("YQ==", "o", "null", "false", "false"))
BATCHES(text_over_lines_and_events, "", DATA("a\ndata: b") DATA("c") CONTROL(NEXT("o")),
        B("YQpiYw==", "o", "null", "false", "false"))
BATCHES(text_that_is_not_utf8_stays, "", DATA("\xFF") CONTROL(NEXT("o")),
        B("/w==", "o", "null", "false", "false"))
BATCHES(what_a_control_event_says, "",
        CONTROL(NEXT("o") ",\"streamCursor\":\"7\",\"upToDate\":true")
            CONTROL(NEXT("p") ",\"streamCursor\":null,\"upToDate\":null,\"more\":[1]")
                CONTROL(NEXT("q") ",\"streamClosed\":true"),
        B("", "o", "\"7\"", "true", "false") B("", "p", "null", "false", "false")
            B("", "q", "null", "true", "true"))
BATCHES(a_comment_may_be_cut, "", DATA("a") CONTROL(NEXT("o")) ": c\nid: 1\nretry: 5\n:",
        B("YQ==", "o", "null", "false", "false"))
BATCHES(an_event_behind_the_end_may_be_cut, "",
        CONTROL(NEXT("o") ",\"streamClosed\":true") DATA("b") "event: cont",
        B("", "o", "null", "true", "true"))
BATCHES(nothing_is_read_behind_the_end, "",
        DATA("a") CONTROL(NEXT("o") ",\"streamClosed\":true") DATA("b") CONTROL("no"),
        B("YQ==", "o", "null", "true", "true"))
BATCHES(
    other_events_and_comments, "",
    ": c\n\nevent: what\ndata: x\n\ndata: y\n\n" DATA("a") "id: 1\nretry: 9\n\n" CONTROL(NEXT("o")),
    B("YQ==", "o", "null", "false", "false"))
BATCHES(a_name_behind_the_data, "",
        "data: x\nevent: what\n\ndata: a\nevent: data\n\n" CONTROL(NEXT("o")),
        B("YQ==", "o", "null", "false", "false"))
BATCHES(base64, "base64", DATA("AP8=") CONTROL(NEXT("o")), B("AP8=", "o", "null", "false", "false"))
BATCHES(base64_with_padding_in_between, "base64", DATA("YQ==") DATA("Yg==") CONTROL(NEXT("o")),
        B("YWI=", "o", "null", "false", "false"))
BATCHES(base64_over_lines, "base64", DATA("YW\ndata: I=") CONTROL(NEXT("o")),
        B("YWI=", "o", "null", "false", "false"))
BATCHES(messages, "json", DATA("[1, {\"a\": [2]}]") DATA("[\"x\"]") CONTROL(NEXT("o")),
        B("MQp7ImEiOiBbMl19CiJ4Igo=", "o", "null", "false", "false"))
BATCHES(messages_lose_their_line_breaks, "json", DATA("[{\"a\":\ndata: 1}]") CONTROL(NEXT("o")),
        B("eyJhIjoxfQo=", "o", "null", "false", "false"))
BATCHES(messages_keep_their_own_bytes, "json",
        DATA("[1.0,\"\\u0061\",\"\\ud800\"]") CONTROL(NEXT("o")),
        B("MS4wCiJcdTAwNjEiCiJcdWQ4MDAiCg==", "o", "null", "false", "false"))
BATCHES(an_empty_array_is_no_data, "json", DATA("[]") CONTROL(NEXT("o")),
        B("", "o", "null", "false", "false"))

MALFORMED(a_control_event_without_an_offset, "", DATA("a") CONTROL(NEXT("o")) CONTROL(""),
          B("YQ==", "o", "null", "false", "false"), "streamNextOffset is missing")
MALFORMED(an_offset_that_is_none, "", CONTROL(NEXT("-1")), "", "the control event at byte 0")
MALFORMED(an_empty_offset, "", CONTROL(NEXT("")), "", "the control event at byte 0")
MALFORMED(an_offset_with_a_space, "", CONTROL(NEXT("a b")), "", "the control event at byte 0")
MALFORMED(an_offset_with_nul, "", CONTROL(NEXT("a\\u0000")), "", "the control event at byte 0")
MALFORMED(an_offset_that_is_no_string, "", CONTROL("\"streamNextOffset\":1"), "",
          "the control event at byte 0")
MALFORMED(an_offset_twice, "", CONTROL(NEXT("a") "," NEXT("a")), "", "the control event at byte 0")
MALFORMED(a_flag_that_is_none, "", CONTROL(NEXT("a") ",\"upToDate\":\"true\""), "",
          "the control event at byte 0")
MALFORMED(a_control_event_that_is_no_object, "", "event: control\ndata: [1]\n\n", "",
          "the control event at byte 0")
MALFORMED(a_control_event_that_is_not_json, "", CONTROL(NEXT("a") ",\"x\":01"), "",
          "the control event at byte 0")
MALFORMED(a_control_event_without_data, "", "event: control\ndata\n\n", "",
          "the control event at byte 0")
MALFORMED(base64_of_another_alphabet, "base64", DATA("YQ==") CONTROL(NEXT("o")) DATA("Y-=="),
          B("YQ==", "o", "null", "false", "false"), "is not valid base64")
MALFORMED(base64_that_is_short, "base64", DATA("YWI"), "", "is not valid base64")
MALFORMED(base64_with_bits_left_over, "base64", DATA("YR=="), "", "is not valid base64")
MALFORMED(base64_with_padding_inside, "base64", DATA("YQ==YQ=="), "", "is not valid base64")
MALFORMED(no_array, "json", DATA("[1]") CONTROL(NEXT("o")) DATA("1"),
          B("MQo=", "o", "null", "false", "false"), "is not valid JSON: an array was expected")
MALFORMED(two_arrays, "json", DATA("[1][2]"), "", "is not valid JSON")
MALFORMED(half_an_array, "json", DATA("[1"), "", "is not valid JSON")
MALFORMED(no_value, "json", DATA("[1,]"), "", "is not valid JSON")
MALFORMED(an_empty_payload, "json", "event: data\ndata\n\n", "", "is not valid JSON")
MALFORMED(data_without_a_control_event, "", DATA("a") CONTROL(NEXT("o")) DATA("b") DATA("cd"),
          B("YQ==", "o", "null", "false", "false"), "the last 3 bytes of data")
MALFORMED(a_control_event_without_its_end, "",
          DATA("a") CONTROL(NEXT("o")) DATA("b") "event: control\ndata: {" NEXT("p") "}\n",
          B("YQ==", "o", "null", "false", "false"), "cut off in the event at byte 89")
MALFORMED(data_without_its_end, "", CONTROL(NEXT("o")) "data: b\nevent: data\n",
          B("", "o", "null", "false", "false"), "cut off in the event")
MALFORMED(the_name_of_a_field_that_is_cut, "", "eve", "", "cut off in the event at byte 0")
MALFORMED(an_empty_name_that_is_cut, "", "event: ", "", "cut off in the event at byte 0")
MALFORMED(a_name_that_is_cut, "", "event: data\n", "", "cut off in the event at byte 0")
/* Also where no control event has covered it. */
MALFORMED(a_bad_payload_behind_good_ones, "json", DATA("[1]") DATA("x") CONTROL(NEXT("o")), "",
          "at byte 23 of the event stream")

/* --- use -------------------------------------------------------------------------------------- */

static void refused(struct ds_cli_options o, const char *said)
{
    static struct result r;
    run(&r, &o, (struct input){.p = "", .n = 0});
    cr_assert_eq(r.status, DS_EXIT_USAGE);
    cr_assert_str_empty(r.out);
    cr_assert_not_null(strstr(r.err, said), "it said '%s'", r.err);
}

Test(decode_use, options_that_do_not_go_together)
{
    struct ds_cli_options o = options("base64");
    refused(o, "need --batches");
    refused(options("json"), "need --batches");
    refused(options("batches base64 json"), "never base64");
    o.batches = true;
    o.encoding = "gzip";
    refused(o, "can only be base64");
}
