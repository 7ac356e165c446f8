/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes are exact: what was written comes out, in every mode that promises it, whether it was there
 * before or came once the reader was live. */
#include "config.h"

#include "tests/e2e/harness.h"
#include "tests/e2e/reading.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>

#define MIB ((size_t)1 << 20)

/* --- bytes ------------------------------------------------------------------------------------ */

/* `before` was there, `after` comes once it is live. */
static void is_exact(const char *mode, const char *type, struct e2e_bytes before,
                     struct e2e_bytes after)
{
    char *url = e2e_url(mode);
    struct e2e_bytes want = {0};
    e2e_create(url, type);
    e2e_append(url, type, before);
    e2e_add(&want, before.p, before.n);
    struct e2e_process *p = dstream_start("read", "--follow", "--live", mode, "-vv", url);
    reading_until_live(p);
    e2e_append(url, type, after);
    e2e_close(url);
    e2e_add(&want, after.p, after.n);
    e2e_status(p, 0);
    e2e_same(mode, p->out_data, want);
    p = dstream_run("read", url);
    e2e_status(p, 0);
    e2e_same("catch-up", p->out_data, want);
}

static void binary(const char *mode)
{
    is_exact(mode, TYPE_BINARY, e2e_random(5 * MIB, 1), e2e_random(5 * MIB, 2));
}

E2E_BOTH(exact, binary_by_sse)
{
    binary("sse");
}

E2E_BOTH(exact, binary_by_long_poll)
{
    binary("long-poll");
}

E2E_BOTH(exact, binary_as_it_is_followed_by_itself)
{
    binary("auto");
}

/* Everything that an event stream would change or end at. */
static struct e2e_bytes hard_text(void)
{
    static const char text[] =
        "\xEF\xBB\xBFplain\nCR LF\r\nCR\rCR CR\r\rLF CR\n\r   spaces before\n"
        " one\n\n\n: comment\ndata: no\nevent: control\n\nid: 1\n\0NUL\0\0\n"
        "\xff\xfe\x80 not UTF-8 \xc3\n \xe2\x82\xac \xf0\x9f\x98\x80 "
        "cut \xe2\x82\nlast line without an end \r";
    struct e2e_bytes b = {0};
    e2e_add(&b, text, sizeof text - 1);
    return b;
}

static void hard_text_by(const char *mode)
{
    is_exact(mode, TYPE_TEXT, hard_text(), hard_text());
    struct e2e_process *p = dstream_run("read", e2e_url(mode));
    cr_assert_eq(p->err_data.n, 0, "it said: %s", p->err_data.p);
}

E2E_BOTH(exact, text_by_long_poll)
{
    hard_text_by("long-poll");
}

E2E_BOTH(exact, text_as_it_is_followed_by_itself)
{
    hard_text_by("auto");
}

/* Each byte of a text stream where an answer is cut: characters are not put together wrongly. */
E2E(exact, text_in_pages_of_any_size)
{
    struct e2e_bytes text = hard_text();
    for (int size = 1; size < 12; size += 2) {
        char *bytes = e2e_printf("%d", size);
        struct e2e_process *server;
        const char *base = e2e_serve(&server, (const char *const[]){"--page-size", bytes, NULL});
        char *url = e2e_url_at(base, "s");
        e2e_create(url, TYPE_TEXT);
        e2e_append(url, TYPE_TEXT, text);
        struct e2e_process *p = dstream_run("read", url);
        e2e_status(p, 0);
        e2e_same(bytes, p->out_data, text);
        e2e_kill(server, SIGTERM);
    }
}

/* SSE is asked for on a text stream: it is said to be lossy, once; what has nothing to lose comes
 * whole. */
E2E_BOTH(exact, text_by_sse_is_said_to_be_lossy)
{
    char *url = e2e_url("s");
    struct e2e_bytes want = e2e_text("there before\r\n");
    e2e_create(url, TYPE_TEXT);
    e2e_append(url, TYPE_TEXT, want);
    struct e2e_process *p = dstream_start("read", "-f", "--live", "sse", "-vv", url);
    reading_until_live(p);
    const char *plain[] = {"one\n", "two lines\n\nand \xe2\x82\xac", "data: three\n"};
    for (size_t i = 0; i < 3; i++) {
        e2e_append(url, TYPE_TEXT, e2e_text(plain[i]));
        e2e_add_text(&want, plain[i]);
        e2e_until_out(p, want.n);
    }
    e2e_append(url, TYPE_TEXT, e2e_text("a\r\nb"));
    e2e_close(url);
    e2e_add_text(&want, "a\nb");
    e2e_status(p, 0);
    e2e_same("text", p->out_data, want);
    cr_assert_eq(reading_said(p, "SSE changes the bytes"), 1, "it said: %s", p->err_data.p);
}

/* --- JSON ------------------------------------------------------------------------------------- */

/* One message of 10 MB between small ones. Its text is the same when it is printed anew. */
static struct e2e_bytes large(void)
{
    struct e2e_bytes b = {0}, r = e2e_random(10 * 1000 * 1000, 3);
    e2e_add_text(&b, "{\"large\":\"");
    for (size_t i = 0; i < r.n; i++)
        r.p[i] = (char)('0' + (r.p[i] & 63));
    for (size_t i = 0; i < r.n; i++) {
        if (r.p[i] == '\\')
            r.p[i] = '!';
    }
    e2e_add(&b, r.p, r.n);
    e2e_add_text(&b, "\"}");
    return b;
}

static void large_message_by(const char *mode)
{
    char *url = e2e_url("s");
    struct e2e_bytes want = {0}, message = large();
    e2e_create(url, TYPE_JSON);
    e2e_append(url, TYPE_JSON, e2e_text("1"));
    e2e_append(url, TYPE_JSON, message);
    struct e2e_process *p = dstream_start("read", "-f", "--live", mode, "-vv", url);
    reading_until_live(p);
    e2e_append(url, TYPE_JSON, e2e_text("2"));
    e2e_append(url, TYPE_JSON, message);
    e2e_append(url, TYPE_JSON, e2e_text("3"));
    e2e_close(url);
    for (int i = 1; i < 3; i++) {
        e2e_add_text(&want, e2e_printf("%d\n", i));
        e2e_add(&want, message.p, message.n);
        e2e_add_text(&want, "\n");
    }
    e2e_add_text(&want, "3\n");
    e2e_status(p, 0);
    e2e_same(mode, p->out_data, want);
}

E2E_BOTH(exact, a_large_message_by_sse)
{
    large_message_by("sse");
}

E2E_BOTH(exact, a_large_message_by_long_poll)
{
    large_message_by("long-poll");
}

/* What printing anew would change. */
static const char *const hard[] = {
    "9007199254740993",
    "1e400",
    "-0.0",
    "1.0",
    "1E+2",
    "12345678901234567890.12345678901234567890",
    "{\"a\":1,\"a\":2,\"b\":{\"z\":1,\"a\":2}}",
    "\"\\u2028\"",
    "\"\xe2\x80\xa8\xe2\x80\xa9\xc2\x85\"",
    "\"\\u0041\\/\\ud83d\\ude00\\ud800\\u0000\"",
    "{ \"spaces\" :\t[ 1 , 2 ] }",
    "[]",
    "[[[]]]",
    "{}",
    "\"\"",
    "null",
    "\"event: control\\n\\ndata: x\"",
    "\"[,]{:}\\\"\\\\\"",
};

static const size_t nhard = sizeof hard / sizeof *hard;

/* All in one array, and each alone: an array needs another pair of brackets. */
static void append_hard(const char *url, struct e2e_bytes *want)
{
    struct e2e_bytes all = e2e_text("[");
    for (size_t i = 0; i < nhard; i++) {
        e2e_add_text(&all, i > 0 ? ",\n" : "");
        e2e_add_text(&all, hard[i]);
    }
    e2e_add_text(&all, "]");
    e2e_append(url, TYPE_JSON, all);
    for (size_t i = 0; i < nhard; i++)
        e2e_append(url, TYPE_JSON, e2e_text(e2e_printf("[%s]", hard[i])));
    for (size_t i = 0; i < 2 * nhard; i++)
        e2e_add_text(want, e2e_printf("%s\n", hard[i % nhard]));
}

static void hard_json_by(const char *mode)
{
    char *url = e2e_url(mode);
    struct e2e_bytes want = {0};
    e2e_create(url, TYPE_JSON);
    append_hard(url, &want);
    struct e2e_process *p = dstream_start("read", "-f", "--live", mode, "-vv", url);
    reading_until_live(p);
    append_hard(url, &want);
    e2e_close(url);
    e2e_status(p, 0);
    e2e_same(mode, p->out_data, want);
    p = dstream_run("read", url);
    e2e_status(p, 0);
    e2e_same("catch-up", p->out_data, want);
}

/* Only a server that keeps what was written can show it. */
E2E_EMBEDDED(exact, json_by_sse)
{
    hard_json_by("sse");
}

E2E_EMBEDDED(exact, json_by_long_poll)
{
    hard_json_by("long-poll");
}

E2E(exact, json_in_pages)
{
    for (int size = 1; size < 200; size += 66) {
        char *bytes = e2e_printf("%d", size);
        const char *base = e2e_serve(NULL, (const char *const[]){"--page-size", bytes, NULL});
        char *url = e2e_url_at(base, "s");
        struct e2e_bytes want = {0};
        e2e_create(url, TYPE_JSON);
        append_hard(url, &want);
        struct e2e_process *p = dstream_run("read", url);
        e2e_status(p, 0);
        e2e_same(bytes, p->out_data, want);
    }
}

/* A server that prints JSON anew: what comes is what the body of a plain GET has. */
E2E_BOTH(exact, json_is_what_the_body_has)
{
    char *url = e2e_url("s");
    struct e2e_bytes ignored = {0}, want = e2e_text("[");
    e2e_create(url, TYPE_JSON);
    append_hard(url, &ignored);
    struct e2e_process *p = dstream_start("read", "-f", "-vv", url);
    reading_until_live(p);
    append_hard(url, &ignored);
    struct e2e_bytes body = e2e_get(url, "-1");
    e2e_close(url);
    e2e_status(p, 0);
    for (size_t i = 0; i < p->out_data.n; i++) {
        bool end = p->out_data.p[i] == '\n';
        if (!end || i + 1 < p->out_data.n)
            e2e_add(&want, end ? "," : &p->out_data.p[i], 1);
    }
    e2e_add_text(&want, "]");
    if (e2e_kind() == E2E_REFERENCE)
        e2e_same("the messages in brackets", want, body);
    else
        cr_assert_eq(body.p[0], '[');
    struct e2e_process *again = dstream_run("read", url);
    e2e_status(again, 0);
    e2e_same("catch-up and live", again->out_data, p->out_data);
}
