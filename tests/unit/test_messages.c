/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <string.h>

#include "cli/messages.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

/* What came of an input: each message with the place of its end, as "one@4|". */
struct outcome {
    char text[4096];
    enum dstream_code code;
    char message[512];
};

static void take_all(struct ds_messages *m, struct outcome *o)
{
    const char *p;
    size_t n, used = strlen(o->text);
    uint64_t end, again;
    while (ds_messages_next(m, &p, &n, &end)) {
        /* The same one, until it is dropped. */
        cr_assert(ds_messages_next(m, &p, &n, &again) && again == end);
        cr_assert_leq(n, m->max);
        memcpy(o->text + used, p, n);
        used += n;
        used += (size_t)sprintf(o->text + used, "@%llu|", (unsigned long long)end);
        ds_messages_drop(m);
    }
}

/* Feeds the files in pieces of `piece` bytes; '\f' ends a file. */
static struct outcome feed(enum ds_messages_how how, size_t max, const char *text, size_t piece)
{
    struct outcome o = {.code = DSTREAM_OK};
    struct ds_messages m;
    size_t len = strlen(text);
    cr_assert_eq(ds_messages_init(&m, how, max, 8), DSTREAM_OK);
    for (size_t i = 0; i <= len && m.error.code == DSTREAM_OK;) {
        size_t n = strcspn(text + i, "\f");
        if (n == 0) {
            ds_messages_end_file(&m);
            take_all(&m, &o);
            i++;
            continue;
        }
        n = n < piece ? n : piece;
        memcpy(ds_messages_room(&m), text + i, n);
        ds_messages_add(&m, n);
        take_all(&m, &o);
        i += n;
    }
    o.code = m.error.code;
    strcpy(o.message, m.error.message);
    ds_messages_free(&m);
    return o;
}

static void comes(enum ds_messages_how how, size_t max, const char *text, const char *want,
                  enum dstream_code code, const char *says)
{
    for (size_t piece = 1; piece <= strlen(text) + 1; piece++) {
        struct outcome o = feed(how, max, text, piece);
        cr_assert_str_eq(o.text, want, "%s in pieces of %zu: %s", text, piece, o.text);
        cr_assert_eq(o.code, code, "%s in pieces of %zu: %s", text, piece, o.message);
        cr_assert(strstr(o.message, says), "%s in pieces of %zu: %s", text, piece, o.message);
    }
}

Test(messages, json_values)
{
    static const struct {
        const char *text, *want;
    } row[] = {
        {"", ""},
        {" \n", ""},
        {"1", "1@1|"},
        {"12 3", "12@2|3@4|"},
        {"{\"a\": 1}\n[2]\n", "{\"a\": 1}@8|[2]@12|"},
        {"\"a\"\"b\"{}", "\"a\"@3|\"b\"@6|{}@8|"},
        {"1\f2", "1@1|2@2|"},      /* the end of a file ends a number */
        {" 1 \f\f 2", "1@2|2@5|"}, /* and one that is empty is none */
    };
    for (size_t i = 0; i < COUNT(row); i++)
        comes(DS_MESSAGES_JSON, 100, row[i].text, row[i].want, DSTREAM_OK, "");
}

Test(messages, what_was_whole_before_an_error_comes)
{
    static const struct {
        const char *text, *want, *says;
        enum dstream_code code;
    } row[] = {
        {"1 2 {\"a\":}", "1@1|2@3|", "not JSON at byte 9", DSTREAM_ERR_INPUT},
        {"1 2\f3 x", "1@1|2@3|3@4|", "not JSON at byte 2", DSTREAM_ERR_INPUT},
        {"1 [2", "1@1|", "not JSON at byte 4", DSTREAM_ERR_INPUT},
        {"1 [[[[[[[[[2]]]]]]]]]", "1@1|", "at byte 10", DSTREAM_ERR_LIMIT},
    };
    for (size_t i = 0; i < COUNT(row); i++)
        comes(DS_MESSAGES_JSON, 100, row[i].text, row[i].want, row[i].code, row[i].says);
}

Test(messages, lines)
{
    static const struct {
        const char *text, *want;
    } row[] = {
        {"", ""},
        {"one\n", "one\n@4|"},
        {"one\n\ntwo", "one\n@4|\n@5|two@8|"},
        {"one\ftwo\n", "one@3|two\n@7|"}, /* a line does not go over files */
    };
    for (size_t i = 0; i < COUNT(row); i++)
        comes(DS_MESSAGES_LINES, 100, row[i].text, row[i].want, DSTREAM_OK, "");
}

Test(messages, one_that_is_too_large)
{
    comes(DS_MESSAGES_LINES, 4, "abc\nabcd\nx", "abc\n@4|", DSTREAM_ERR_LIMIT,
          "is larger than 4 bytes");
    comes(DS_MESSAGES_LINES, 4, "abc\nabcd", "abc\n@4|abcd@8|", DSTREAM_OK, "");
    comes(DS_MESSAGES_JSON, 4, "1234 12345 1", "1234@4|", DSTREAM_ERR_LIMIT,
          "is larger than 4 bytes");
    comes(DS_MESSAGES_JSON, 4, "\"12\" [\"1\"] 1", "\"12\"@4|", DSTREAM_ERR_LIMIT,
          "is larger than 4 bytes");
}

/* Bytes come as they are read, and no message is over its limit. */
Test(messages, bytes)
{
    cr_assert_str_eq(feed(DS_MESSAGES_BYTES, 3, "abcdefgh", 8).text, "abc@3|def@6|gh@8|");
    cr_assert_str_eq(feed(DS_MESSAGES_BYTES, 100, "abcdefgh", 5).text, "abcde@5|fgh@8|");
    cr_assert_str_eq(feed(DS_MESSAGES_BYTES, 100, "ab\f\fcd", 5).text, "ab@2|cd@4|");
}
