/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include <criterion/criterion.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/exporter.h"
#include "faulty.h"
#include "home.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

/* --- a stream, and a reader of it --------------------------------------------------------------
 */

/* Batches by their start; the empty one is news only. The messages are between bars. */
struct source_batch {
    const char *start, *next, *data;
};
static const struct source_batch source[] = {
    {"-1", "b", "{\"a\":\n1}|2|"},          {"b", "c", "\"three\"|"}, {"c", "c", ""},
    {"c", "d", "4|[5,\r\n5]|6|\"seven\"|"}, {"d", "e", "8|"},
};
static const char AS_NDJSON[] = "{\"a\":1}\n2\n\"three\"\n4\n[5,5]\n6\n\"seven\"\n8\n";
static const char AS_RAW[] = "{\"a\":\n1}|2|\"three\"|4|[5,\r\n5]|6|\"seven\"|8|";

struct feed {
    bool json, closed;
    struct ds_items items;
    struct dstream_batch batch;
};

static void load(struct feed *f, const struct source_batch *s, uint64_t skip, bool last)
{
    f->items.bytes.len = f->items.count = 0;
    for (const char *p = s->data; *p; p++) {
        bool end = f->json && *p == '|';
        ds_buf_addc(&f->items.bytes, end ? '\n' : *p);
        if (end)
            ds_items_end(&f->items);
    }
    f->batch = (struct dstream_batch){.items = &f->items, .skip = skip};
    f->batch.first = f->json ? (size_t)skip : 0;
    f->batch.first_byte = !f->json ? (size_t)skip : skip == 0 ? 0 : f->items.ends[skip - 1];
    f->batch.start = s->start;
    f->batch.next = s->next;
    f->batch.flags = (f->json ? DSTREAM_BATCH_JSON : 0U) | (last ? DSTREAM_BATCH_UP_TO_DATE : 0U) |
                     (last && f->closed ? DSTREAM_BATCH_CLOSED : 0U);
}

/* One run of an export over the source, from where it says; *closed is set when it says that the
 * end was reached. */
static enum dstream_code run(const struct ds_exporter_config *c, struct feed *f, bool *closed,
                             struct dstream_error *err)
{
    struct ds_exporter *x;
    enum dstream_code rc = ds_exporter_open(&x, c, err);
    if (rc != DSTREAM_OK)
        return rc;
    uint64_t skip;
    const char *offset = ds_exporter_offset(x, &skip);
    size_t i = 0;
    while (i < COUNT(source) && strcmp(source[i].start, offset) != 0)
        i++;
    bool stop = ds_exporter_complete(x);
    for (; i < COUNT(source) && !stop && rc == DSTREAM_OK; i++) {
        if (skip > 0 && !source[i].data[0])
            continue;
        load(f, &source[i], skip, i + 1 == COUNT(source));
        rc = ds_exporter_take(x, f->json ? "application/json" : "text/plain", &f->batch, 0, &stop,
                              err);
        skip = 0;
    }
    *closed = ds_exporter_totals(x).closed;
    struct dstream_error second = {0};
    enum dstream_code last = ds_exporter_finish(x, rc == DSTREAM_OK, rc ? &second : err);
    ds_exporter_free(x);
    return rc == DSTREAM_OK ? last : rc;
}

TestSuite(exporter, .init = home_enter, .fini = home_leave);

static void feed_init(struct feed *f, bool json)
{
    *f = (struct feed){.json = json, .closed = true};
    ds_items_init(&f->items, 10000);
}

static struct ds_exporter_config config(void)
{
    return (struct ds_exporter_config){
        .file = {.path = "out"}, .url = "http://host/s", .sync_ms = 1000, .max_witness = 1000};
}

static void expect_file(const char *want)
{
    static char text[1000];
    FILE *f = fopen("out", "rb");
    cr_assert_not_null(f);
    text[fread(text, 1, sizeof text - 1, f)] = '\0';
    fclose(f);
    cr_expect_str_eq(text, want);
}

static void append_to_file(const char *text)
{
    FILE *f = fopen("out", "ab");
    cr_assert(f && fputs(text, f) >= 0 && fclose(f) == 0);
}

static void state(struct ds_checkpoint *c)
{
    struct dstream_error err = {0};
    bool missing;
    cr_assert_eq(ds_state_show(NULL, "out.dstate", c, &missing, &err), DSTREAM_OK, "%s",
                 err.message);
}

/* --- tests -------------------------------------------------------------------------------------
 */

Test(exporter, writes_what_the_type_calls_for)
{
    for (int json = 0; json < 2; json++) {
        struct feed f;
        feed_init(&f, json);
        struct ds_exporter_config c = config();
        struct dstream_error err = {0};
        bool closed;
        c.file.overwrite = c.file.reset = true;
        cr_expect_eq(run(&c, &f, &closed, &err), DSTREAM_OK, "%s", err.message);
        cr_expect(closed);
        expect_file(json ? AS_NDJSON : AS_RAW);
        static struct ds_checkpoint s;
        state(&s);
        cr_expect_str_eq(s.format, json ? "ndjson" : "raw");
        cr_expect_str_eq(s.content_type, json ? "application/json" : "text/plain");
        cr_expect_str_eq(s.from, "-1");
        cr_expect_str_eq(s.first, "-1");
        cr_expect_str_eq(s.offset, "e");
        cr_expect_str_eq(s.witness.start, "d");
        cr_expect_eq(s.witness.delivered, json ? 1 : 2);
        cr_expect(s.closed);
        ds_items_free(&f.items);
    }
}

Test(exporter, refuses_formats_and_counts_that_the_type_does_not_have)
{
    static const struct {
        bool json, count, sse;
        enum ds_format_kind format;
        const char *says;
    } cases[] = {{true, false, false, DS_FORMAT_RAW, "use --format ndjson"},
                 {false, false, false, DS_FORMAT_NDJSON, "use --format raw"},
                 {false, true, false, DS_FORMAT_AUTO, "use --bytes"},
                 {false, false, true, DS_FORMAT_AUTO, "use --live long-poll"}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct feed f;
        feed_init(&f, cases[i].json);
        struct ds_exporter_config c = config();
        struct dstream_error err = {0};
        bool closed;
        c.format = cases[i].format;
        c.left.has_count = cases[i].count;
        c.left.count = 5;
        c.sse = cases[i].sse;
        cr_expect_eq(run(&c, &f, &closed, &err), DSTREAM_ERR_ARGUMENT);
        cr_expect(strstr(err.message, cases[i].says), "%s", err.message);
        cr_expect_neq(access("out", F_OK), 0);
        cr_expect_neq(access("out.dstate", F_OK), 0);
        ds_items_free(&f.items);
    }
}

Test(exporter, stops_at_any_limit_and_goes_on_there)
{
    for (int json = 0; json < 2; json++) {
        for (uint64_t n = 1; n < 45; n++) {
            struct feed f;
            feed_init(&f, json);
            struct ds_exporter_config c = config();
            struct dstream_error err = {0};
            bool closed = false;
            c.file.overwrite = c.file.reset = true;
            c.left.has_count = json;
            c.left.has_bytes = !json;
            c.left.count = c.left.bytes = n;
            for (int runs = 0; !closed; runs++) {
                cr_assert_lt(runs, 60);
                cr_assert_eq(run(&c, &f, &closed, &err), DSTREAM_OK, "%s", err.message);
                c.file.reset = false;
            }
            expect_file(json ? AS_NDJSON : AS_RAW);
            static struct ds_checkpoint s;
            state(&s);
            char hash[DS_HASH_HEX];
            ds_hash_of(json ? "8\n" : "8|", 2, hash);
            cr_expect_str_eq(s.witness.hash, hash);
            ds_items_free(&f.items);
        }
    }
}

Test(exporter, never_cuts_a_message_to_fit_a_number_of_bytes)
{
    struct feed f;
    feed_init(&f, true);
    struct ds_exporter_config c = config();
    struct dstream_error err = {0};
    bool closed;
    c.left.has_bytes = true;
    c.left.bytes = 9 + 2 + 7; /* two messages, and part of the third */
    cr_expect_eq(run(&c, &f, &closed, &err), DSTREAM_OK);
    expect_file("{\"a\":1}\n2\n");
    ds_items_free(&f.items);
}

Test(exporter, goes_on_rightly_after_a_failure_in_the_middle_of_a_batch)
{
    for (int json = 0; json < 2; json++) {
        bool failed = true;
        for (long n = 0; failed; n++) {
            struct feed f;
            struct ds_faulty faulty;
            feed_init(&f, json);
            ds_faulty_init(&faulty, DS_FAULT_FAIL, n);
            faulty.only = "write";
            faulty.error = ENOSPC;
            struct ds_exporter_config c = config();
            struct dstream_error err = {0};
            bool closed;
            c.file.ops = &faulty.ops;
            c.sync_batch = n % 2;
            unlink("out");
            unlink("out.dstate");
            failed = run(&c, &f, &closed, &err) != DSTREAM_OK;
            if (failed)
                cr_expect(strstr(err.message, "the disk is full"), "%s", err.message);
            c.file.ops = NULL;
            cr_expect_eq(run(&c, &f, &closed, &err), DSTREAM_OK, "%s", err.message);
            expect_file(json ? AS_NDJSON : AS_RAW);
            ds_items_free(&f.items);
        }
    }
}

/* A batch of messages larger than what is gathered is written in pieces; the disk is full in one.
 */
Test(exporter, nothing_of_a_batch_that_was_not_written_whole_is_kept)
{
    static char message[50000];
    memset(message, '7', sizeof message - 1);
    for (long n = 0; n < 8; n++) {
        struct feed f;
        struct ds_faulty faulty;
        feed_init(&f, true);
        ds_faulty_init(&faulty, DS_FAULT_FAIL, -1);
        faulty.only = "write";
        faulty.error = ENOSPC;
        struct ds_exporter_config c = config();
        c.file.ops = &faulty.ops;
        c.file.overwrite = c.file.reset = true;
        struct dstream_error err = {0};
        struct ds_exporter *x;
        bool stop;
        cr_assert_eq(ds_exporter_open(&x, &c, &err), DSTREAM_OK);
        load(&f, &source[0], 0, false);
        cr_assert_eq(ds_exporter_take(x, "application/json", &f.batch, 0, &stop, &err), DSTREAM_OK);
        load(&f, &source[1], 0, false);
        ds_buf_free(&f.items.bytes);
        ds_buf_init(&f.items.bytes, 1000000);
        f.items.count = 0;
        for (int i = 0; i < 4; i++) {
            cr_assert_eq(ds_buf_adds(&f.items.bytes, message), DSTREAM_OK);
            cr_assert_eq(ds_buf_addc(&f.items.bytes, '\n'), DSTREAM_OK);
            cr_assert_eq(ds_items_end(&f.items), DSTREAM_OK);
        }
        faulty.at = faulty.calls + n;
        cr_expect_eq(ds_exporter_take(x, "application/json", &f.batch, 0, &stop, &err),
                     DSTREAM_ERR_IO);
        cr_expect_eq(ds_exporter_finish(x, false, &err), DSTREAM_OK);
        ds_exporter_free(x);
        expect_file("{\"a\":1}\n2\n");
        static struct ds_checkpoint s;
        state(&s);
        cr_expect_str_eq(s.offset, "b");
        ds_items_free(&f.items);
    }
}

Test(exporter, the_first_state_has_the_offset_that_now_came_to)
{
    struct feed f;
    feed_init(&f, true);
    struct ds_exporter_config c = config();
    struct dstream_error err = {0};
    struct ds_exporter *x;
    c.from = "now";
    cr_assert_eq(ds_exporter_open(&x, &c, &err), DSTREAM_OK);
    uint64_t skip;
    cr_expect_str_eq(ds_exporter_offset(x, &skip), "now");
    struct ds_witness w;
    cr_expect_null(ds_exporter_seen(x, &w));
    load(&f, &source[2], 0, false);
    bool stop;
    cr_expect_eq(ds_exporter_take(x, "application/json", &f.batch, 7, &stop, &err), DSTREAM_OK);
    cr_expect_not(stop);
    ds_exporter_free(x); /* killed: nothing was committed but the first state */
    static struct ds_checkpoint s;
    state(&s);
    cr_expect_str_eq(s.from, "now");
    cr_expect_str_eq(s.from_offset, "c");
    cr_expect_str_eq(s.offset, "c");
    cr_expect_eq(s.length, 0);
    cr_assert_eq(ds_exporter_open(&x, &c, &err), DSTREAM_OK, "%s", err.message);
    cr_expect_str_eq(ds_exporter_offset(x, &skip), "c");
    cr_expect_str_eq(ds_exporter_seen(x, &w), "application/json");
    cr_expect_eq(w.units, 0);
    ds_exporter_free(x);
    ds_items_free(&f.items);
}

Test(exporter, hands_out_what_must_be_found_again)
{
    struct feed f;
    feed_init(&f, true);
    struct ds_exporter_config c = config();
    struct dstream_error err = {0};
    bool closed;
    c.left.has_count = true;
    c.left.count = 5;
    cr_assert_eq(run(&c, &f, &closed, &err), DSTREAM_OK);
    struct ds_exporter *x;
    cr_assert_eq(ds_exporter_open(&x, &c, &err), DSTREAM_OK);
    uint64_t skip;
    struct ds_witness w;
    char hash[DS_HASH_HEX];
    ds_hash_of("4\n[5,5]\n", 8, hash);
    cr_expect_str_eq(ds_exporter_offset(x, &skip), "c");
    cr_expect_eq(skip, 2);
    cr_expect_str_eq(ds_exporter_seen(x, &w), "application/json");
    cr_expect_str_eq(w.start, "c");
    cr_expect_eq(w.units, 2);
    cr_expect_str_eq(w.hash, hash);
    ds_exporter_free(x);
    ds_items_free(&f.items);
}

Test(exporter, commits_when_it_is_due)
{
    struct feed f;
    feed_init(&f, true);
    struct ds_exporter_config c = config();
    struct dstream_error err = {0};
    struct ds_exporter *x;
    static struct ds_checkpoint s;
    bool stop;
    cr_assert_eq(ds_exporter_open(&x, &c, &err), DSTREAM_OK);
    cr_expect_eq(ds_exporter_due(x), DS_NEVER);
    load(&f, &source[0], 0, false);
    cr_expect_eq(ds_exporter_take(x, "application/json", &f.batch, 5000, &stop, &err), DSTREAM_OK);
    load(&f, &source[1], 0, false);
    cr_expect_eq(ds_exporter_take(x, "application/json", &f.batch, 5500, &stop, &err), DSTREAM_OK);
    cr_expect_eq(ds_exporter_due(x), 6000, "since the first that is not committed");
    cr_expect_eq(ds_exporter_tick(x, 5999, &err), DSTREAM_OK);
    state(&s);
    cr_expect_str_eq(s.offset, "-1");
    cr_expect_eq(ds_exporter_tick(x, 6000, &err), DSTREAM_OK);
    state(&s);
    cr_expect_str_eq(s.offset, "c");
    cr_expect_eq(ds_exporter_due(x), DS_NEVER);
    load(&f, &source[2], 0, false);
    cr_expect_eq(ds_exporter_take(x, "application/json", &f.batch, 7000, &stop, &err), DSTREAM_OK);
    cr_expect_eq(ds_exporter_due(x), DS_NEVER, "nothing new");
    ds_exporter_free(x);

    c.sync_ms = -1;
    c.sync_bytes = 5;
    c.file.overwrite = c.file.reset = true;
    cr_assert_eq(ds_exporter_open(&x, &c, &err), DSTREAM_OK);
    load(&f, &source[4], 0, false);
    cr_expect_eq(ds_exporter_take(x, "application/json", &f.batch, 0, &stop, &err), DSTREAM_OK);
    cr_expect_eq(ds_exporter_due(x), DS_NEVER);
    state(&s);
    cr_expect_eq(s.length, 0);
    cr_expect_eq(ds_exporter_take(x, "application/json", &f.batch, 0, &stop, &err), DSTREAM_OK);
    cr_expect_eq(ds_exporter_take(x, "application/json", &f.batch, 0, &stop, &err), DSTREAM_OK);
    state(&s);
    cr_expect_eq(s.length, 6);
    ds_exporter_free(x);

    c.sync_bytes = 0;
    c.sync_batch = true;
    cr_assert_eq(ds_exporter_open(&x, &c, &err), DSTREAM_OK);
    cr_expect_eq(ds_exporter_take(x, "application/json", &f.batch, 0, &stop, &err), DSTREAM_OK);
    state(&s);
    cr_expect_eq(s.length, 2);
    ds_exporter_free(x);
    ds_items_free(&f.items);
}

Test(exporter, an_end_without_a_batch_still_makes_the_file)
{
    struct ds_exporter_config c = config();
    struct dstream_error err = {0};
    struct ds_exporter *x;
    cr_assert_eq(ds_exporter_open(&x, &c, &err), DSTREAM_OK);
    cr_expect_eq(ds_exporter_finish(x, false, &err), DSTREAM_OK);
    cr_expect_neq(access("out", F_OK), 0, "an error or a signal makes none");
    cr_expect_eq(ds_exporter_finish(x, true, &err), DSTREAM_OK);
    expect_file("");
    ds_exporter_free(x);
}

/* The state is closed, but for bytes behind its end the run is not over yet. */
Test(exporter, a_closed_stream_that_is_open_again_was_made_anew)
{
    struct feed f;
    feed_init(&f, true);
    struct ds_exporter_config c = config();
    struct dstream_error err = {0};
    bool closed;
    cr_assert_eq(run(&c, &f, &closed, &err), DSTREAM_OK);
    for (int data = 0; data < 2; data++) {
        struct ds_exporter *x;
        bool stop;
        append_to_file("behind");
        cr_assert_eq(ds_exporter_open(&x, &c, &err), DSTREAM_OK);
        cr_expect_not(ds_exporter_complete(x));
        load(&f, &(struct source_batch){"e", data ? "f" : "e", data ? "9|" : ""}, 0, data);
        cr_expect_eq(ds_exporter_take(x, "application/json", &f.batch, 0, &stop, &err),
                     DSTREAM_ERR_STREAM_RESET);
        cr_expect(strstr(err.message, "closed at offset e"), "%s", err.message);
        cr_expect_eq(ds_exporter_finish(x, false, &err), DSTREAM_OK);
        ds_exporter_free(x);
    }
    struct ds_exporter *x;
    bool stop;
    cr_assert_eq(ds_exporter_open(&x, &c, &err), DSTREAM_OK);
    load(&f, &(struct source_batch){"e", "e", ""}, 0, true);
    cr_expect_eq(ds_exporter_take(x, "application/json", &f.batch, 0, &stop, &err), DSTREAM_OK);
    cr_expect_eq(ds_exporter_finish(x, true, &err), DSTREAM_OK);
    ds_exporter_free(x);
    expect_file(AS_NDJSON);
    ds_items_free(&f.items);
}

/* The LF that the last line lacks comes once, whatever the cuts. */
Test(exporter, lines_stop_at_any_limit_and_go_on_there)
{
    for (uint64_t n = 1; n < 45; n++) {
        for (int by_count = 0; by_count < 2; by_count++) {
            struct feed f;
            feed_init(&f, false);
            struct ds_exporter_config c = config();
            struct dstream_error err = {0};
            bool closed = false;
            c.format = DS_FORMAT_LINES;
            c.file.overwrite = c.file.reset = true;
            c.left.has_count = by_count;
            c.left.has_bytes = !by_count;
            c.left.count = c.left.bytes = n;
            for (int runs = 0; !closed; runs++) {
                cr_assert_lt(runs, 60);
                cr_assert_eq(run(&c, &f, &closed, &err), DSTREAM_OK, "%s", err.message);
                c.file.reset = false;
            }
            char want[sizeof AS_RAW + 1];
            snprintf(want, sizeof want, "%s\n", AS_RAW);
            expect_file(want);
            static struct ds_checkpoint s;
            state(&s);
            cr_expect_not(s.in_line);
            ds_items_free(&f.items);
        }
    }
}

Test(exporter, a_state_of_another_template_is_refused)
{
    struct feed f;
    feed_init(&f, true);
    struct ds_exporter_config c = config();
    struct dstream_error err = {0};
    bool closed;
    c.format = DS_FORMAT_TEMPLATE;
    c.template = "%o %i %u %s\\n";
    c.left = (struct ds_left){.has_count = true, .count = 3};
    cr_assert_eq(run(&c, &f, &closed, &err), DSTREAM_OK, "%s", err.message);
    c.template = "%o %i %s\\n";
    cr_expect_eq(run(&c, &f, &closed, &err), DSTREAM_ERR_ARGUMENT);
    cr_expect(strstr(err.message, "the state is of the template '%o %i %u %s\\n'"), "%s",
              err.message);
    c.format = DS_FORMAT_NDJSON;
    c.template = NULL;
    cr_expect_eq(run(&c, &f, &closed, &err), DSTREAM_ERR_ARGUMENT);
    c.format = DS_FORMAT_AUTO; /* as it was */
    c.left.has_count = false;
    cr_expect_eq(run(&c, &f, &closed, &err), DSTREAM_OK);
    expect_file("-1 0 http://host/s {\"a\":1}\n-1 1 http://host/s 2\nb 0 http://host/s \"three\"\n"
                "c 0 http://host/s 4\nc 1 http://host/s [5,5]\nc 2 http://host/s 6\n"
                "c 3 http://host/s \"seven\"\nd 0 http://host/s 8\n");
    ds_items_free(&f.items);
}

Test(exporter, a_state_of_something_else_is_refused)
{
    struct feed f;
    feed_init(&f, true);
    struct ds_exporter_config c = config();
    struct dstream_error err = {0};
    bool closed;
    cr_assert_eq(run(&c, &f, &closed, &err), DSTREAM_OK);
    c.url = "http://host/other";
    cr_expect_eq(run(&c, &f, &closed, &err), DSTREAM_ERR_STATE_MISMATCH);
    c = config();
    c.format = DS_FORMAT_ENVELOPE;
    cr_expect_eq(run(&c, &f, &closed, &err), DSTREAM_ERR_ARGUMENT);
    c = config();
    c.from = "now";
    cr_expect_eq(run(&c, &f, &closed, &err), DSTREAM_ERR_ARGUMENT);
    c.from = "-1";
    c.format = DS_FORMAT_NDJSON;
    cr_expect_eq(run(&c, &f, &closed, &err), DSTREAM_OK);
    ds_items_free(&f.items);
}
