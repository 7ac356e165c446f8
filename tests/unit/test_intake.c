/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include <criterion/criterion.h>

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "cli/intake.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))
#define LOADS    64

/* What came of an input: the loads' bodies, each followed by '\n'. */
struct outcome {
    char *text;
    size_t len, cap;
    size_t loads, largest;
    uint64_t messages;
    uint64_t to[LOADS]; /* where each ended in the input */
    enum dstream_code code;
    char message[512];
    bool ended;
};

static void add(struct outcome *o, const char *p, size_t n)
{
    if (o->len + n + 2 > o->cap) {
        o->cap = (o->len + n + 2) * 2;
        o->text = realloc(o->text, o->cap);
        cr_assert_not_null(o->text);
    }
    memcpy(o->text + o->len, p, n);
    o->len += n;
    o->text[o->len++] = '\n';
    o->text[o->len] = '\0';
}

static void take(struct ds_intake *in, struct outcome *o)
{
    struct ds_load l;
    uint64_t from = o->loads > 0 ? o->to[(o->loads - 1) % LOADS] : 0;
    (void)ds_intake_take(in, &l);
    cr_assert_eq(l.from, from);
    cr_assert_geq(l.to, l.from);
    cr_assert_gt(l.len, 0);
    add(o, l.body, l.len);
    o->to[o->loads++ % LOADS] = l.to;
    o->messages += l.messages;
    if (l.len > o->largest)
        o->largest = l.len;
}

/* Feeds the text in pieces; a load is taken where it must be, and after each piece if `eager`. */
static struct outcome feed(bool json, const char *p, size_t n, size_t piece, size_t load_max,
                           bool eager)
{
    struct outcome o = {0};
    struct ds_intake in;
    struct ds_limits limits = ds_limits_default();
    limits.max_event = 5000;
    cr_assert_eq(ds_intake_init(&in, json, (size_t)1 << 20, &limits), DSTREAM_OK);
    in.load_max = load_max;
    enum dstream_code rc = DSTREAM_OK;
    for (size_t i = 0; i < n && rc == DSTREAM_OK;) {
        size_t room;
        char *to = ds_intake_room(&in, &room);
        if (!to) {
            cr_assert(ds_intake_full(&in) && ds_intake_ready(&in));
            take(&in, &o);
            rc = in.error.code;
            continue;
        }
        size_t part = n - i < piece ? n - i : piece;
        part = part < room ? part : room;
        memcpy(to, p + i, part);
        rc = ds_intake_add(&in, part);
        i += part;
        if (eager && ds_intake_ready(&in) && rc == DSTREAM_OK)
            take(&in, &o);
        rc = in.error.code;
    }
    while (ds_intake_full(&in))
        take(&in, &o);
    if (in.error.code == DSTREAM_OK)
        (void)ds_intake_end_file(&in);
    while (ds_intake_ready(&in))
        take(&in, &o);
    o.code = in.error.code;
    strcpy(o.message, in.error.message);
    ds_intake_free(&in);
    return o;
}

static struct outcome feed_text(const char *text, size_t piece, size_t load_max, bool eager)
{
    return feed(true, text, strlen(text), piece, load_max, eager);
}

/* --- JSON ------------------------------------------------------------------------------------- */

Test(intake, json_becomes_arrays_of_whole_messages)
{
    static const struct {
        const char *input, *loads;
        size_t load_max;
    } row[] = {
        {"", NULL, 100},
        {" \n\t\r ", NULL, 100},
        {"1", "[1]\n", 100},
        {"1\n", "[1]\n", 100},
        {"1 2 3", "[1,2,3]\n", 100},
        {"{\"a\": 1}\n{\"b\":[2]}\n", "[{\"a\": 1},{\"b\":[2]}]\n", 100},
        {"[1,2]", "[[1,2]]\n", 100}, /* an array is one message */
        {"[]\n[]", "[[],[]]\n", 100},
        {"\"a\"\"b\"{}[]", "[\"a\",\"b\",{},[]]\n", 100},
        {"9007199254740993 1e400 1.0 \"\\u2028\"", "[9007199254740993,1e400,1.0,\"\\u2028\"]\n",
         100},
        {"{\"a\":\n 1}", "[{\"a\":\n 1}]\n", 100}, /* as it was written */
        {"1 2 3", "[1]\n[2]\n[3]\n", 4},
        {"1 2 3", "[1,2]\n[3]\n", 5},
        {"1 2 3", "[1,2]\n[3]\n", 6},
        {"1 2 3", "[1,2,3]\n", 7},
        {"\"large one\" 2", "[\"large one\"]\n[2]\n", 4},
        {"1 \"large one\"", "[1]\n[\"large one\"]\n", 4},
    };
    for (size_t i = 0; i < COUNT(row); i++) {
        for (size_t piece = 1; piece <= 40; piece++) {
            struct outcome o = feed_text(row[i].input, piece, row[i].load_max, false);
            cr_expect_eq(o.code, DSTREAM_OK, "row %zu: %s", i, o.message);
            cr_expect(row[i].loads ? o.text && strcmp(o.text, row[i].loads) == 0 : !o.text,
                      "row %zu in pieces of %zu: %s", i, piece, o.text ? o.text : "");
            free(o.text);
        }
    }
}

Test(intake, json_can_be_taken_at_any_time)
{
    static const char text[] = "{\"a\":[1,\"x\\\"y\"]} 12 true\n\"z\"null[[],[3]] -1.5e3";
    static const char *const want[] = {
        "{\"a\":[1,\"x\\\"y\"]}", "12", "true", "\"z\"", "null", "[[],[3]]", "-1.5e3"};
    for (size_t piece = 1; piece <= sizeof text; piece++) {
        for (size_t max = 1; max < 60; max += 3) {
            struct outcome o = feed_text(text, piece, max, true);
            /* All messages, in order, whatever arrays they came in. */
            const char *at = o.text;
            for (size_t i = 0; i < COUNT(want); i++) {
                at = strstr(at, want[i]);
                cr_assert_not_null(at, "%s in %s", want[i], o.text);
                at += strlen(want[i]);
            }
            cr_expect_eq(o.messages, COUNT(want));
            cr_expect_eq(o.to[o.loads - 1], sizeof text - 1);
            free(o.text);
        }
    }
}

Test(intake, positions_are_those_of_the_input)
{
    /* Loads end right behind their last message, a number's end being where it is seen. */
    struct outcome o = feed_text("{}  {}\n {}  ", 3, 1, false);
    cr_assert_eq(o.loads, 3);
    cr_expect_eq(o.to[0], 2);
    cr_expect_eq(o.to[1], 6);
    cr_expect_eq(o.to[2], 10);
    free(o.text);
}

Test(intake, what_is_not_json_ends_it_and_what_was_before_goes_out)
{
    static const struct {
        const char *input, *loads, *message;
    } row[] = {
        {"1 2 x 3", "[1,2]\n", "not JSON at byte 4: "},
        {"{} {]", "[{}]\n", "not JSON at byte 4: "},
        {"nul", NULL, "not JSON at byte 3: "},
        {"1 \"a", "[1]\n", "not JSON at byte 4: "},
        {"\"\xff\"", NULL, "not JSON at byte 1: "},
        {"1 2,3", "[1,2]\n", "not JSON at byte 3: "},
        {"[1", NULL, "not JSON at byte 2: "},
    };
    for (size_t i = 0; i < COUNT(row); i++) {
        for (size_t piece = 1; piece < 9; piece++) {
            struct outcome o = feed_text(row[i].input, piece, 100, false);
            cr_expect_eq(o.code, DSTREAM_ERR_INPUT, "row %zu", i);
            cr_expect_eq(strncmp(o.message, row[i].message, strlen(row[i].message)), 0,
                         "row %zu: %s", i, o.message);
            cr_expect(row[i].loads ? o.text && strcmp(o.text, row[i].loads) == 0 : !o.text,
                      "row %zu in pieces of %zu: %s", i, piece, o.text ? o.text : "");
            free(o.text);
        }
    }
}

Test(intake, a_file_ends_a_value)
{
    struct ds_intake in;
    struct ds_limits limits = ds_limits_default();
    struct ds_load l;
    size_t n;
    cr_assert_eq(ds_intake_init(&in, true, (size_t)1 << 20, &limits), DSTREAM_OK);
    for (int i = 0; i < 2; i++) {
        memcpy(ds_intake_room(&in, &n), "12", 2);
        cr_assert_eq(ds_intake_add(&in, 2), DSTREAM_OK);
        cr_assert_eq(ds_intake_end_file(&in), DSTREAM_OK);
    }
    cr_assert_eq(ds_intake_take(&in, &l), DSTREAM_OK);
    cr_expect_eq(l.len, 7);
    cr_expect_arr_eq(l.body, "[12,12]", 7);
    cr_expect_eq(l.to, 4);
    /* Positions in messages are those of the file. */
    memcpy(ds_intake_room(&in, &n), "1 ?", 3);
    cr_expect_eq(ds_intake_add(&in, 3), DSTREAM_ERR_INPUT);
    cr_expect_eq(strncmp(in.error.message, "not JSON at byte 2: ", 20), 0, "%s", in.error.message);
    ds_intake_free(&in);
}

Test(intake, a_message_over_the_limit_is_refused)
{
    static char text[9000];
    memset(text, 'x', sizeof text);
    memcpy(text, "1 \"", 3);
    text[5001] = '"'; /* the message is of 5000 bytes, as many as there may be */
    struct outcome o = feed(true, text, 5002, 700, 1000, false);
    cr_expect_eq(o.code, DSTREAM_OK, "%s", o.message);
    cr_expect_eq(o.loads, 2);
    free(o.text);
    text[5001] = 'x';
    o = feed(true, text, sizeof text, 700, 1000, false);
    cr_expect_eq(o.code, DSTREAM_ERR_LIMIT);
    cr_expect_eq(o.loads, 1);
    cr_expect_str_eq(o.text, "[1]\n");
    free(o.text);
    memset(text, '[', 600);
    o = feed(true, text, 600, 700, 1000, false);
    cr_expect_eq(o.code, DSTREAM_ERR_LIMIT);
    cr_expect(strstr(o.message, "nested"), "%s", o.message);
    free(o.text);
}

/* --- bytes ------------------------------------------------------------------------------------ */

Test(intake, bytes_stay_as_they_are)
{
    char text[256 * 3];
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (char)(i % 256 == '\n' ? 'n' : i);
    for (size_t piece = 1; piece < 200; piece += 7) {
        for (size_t max = 1; max < 300; max += 11) {
            struct outcome o = feed(false, text, sizeof text, piece, max, piece % 2 == 0);
            size_t n = 0;
            for (size_t i = 0; i < o.len; i++) {
                if (o.text[i] != '\n')
                    cr_assert_eq(o.text[i], text[n++]);
            }
            cr_expect_eq(n, sizeof text);
            cr_expect_leq(o.largest, max);
            cr_expect_eq(o.messages, 0);
            cr_expect_eq(o.to[(o.loads - 1) % LOADS], sizeof text);
            if (piece % 2)
                cr_expect_eq(o.loads, (sizeof text + max - 1) / max);
            free(o.text);
        }
    }
}

Test(intake, nothing_is_nothing)
{
    struct outcome o = feed(false, "", 0, 1, 10, true);
    cr_expect_eq(o.loads, 0);
    cr_expect_eq(o.code, DSTREAM_OK);
}

/* --- memory ----------------------------------------------------------------------------------- */

Test(intake, memory_that_runs_out_loses_nothing_that_it_has_said)
{
    static const char text[] = "1 2 3 4 5 6 7 8 9 10";
    for (long n = 0; n < 40; n++) {
        struct ds_intake in;
        struct ds_limits limits = ds_limits_default();
        ds_alloc_fail_after(n);
        if (ds_intake_init(&in, true, (size_t)1 << 20, &limits) == DSTREAM_OK) {
            size_t room;
            char *to = ds_intake_room(&in, &room);
            in.load_max = 8;
            memcpy(to, text, sizeof text - 1);
            (void)ds_intake_add(&in, sizeof text - 1);
            uint64_t at = 0;
            while (ds_intake_ready(&in)) {
                struct ds_load l;
                (void)ds_intake_take(&in, &l);
                cr_expect_eq(l.from, at);
                cr_expect_eq(l.body[0], '[');
                cr_expect_eq(l.body[l.len - 1], ']');
                at = l.to;
            }
        }
        ds_alloc_fail_after(-1);
        ds_intake_free(&in);
    }
}
