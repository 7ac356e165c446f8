/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store/log.h"
#include "tests/unit/simfs.h"

#define PATH "/d/j"
#define MAX  64

static const char *const dirs[SIM_DIRS] = {"/d", "/e"};

/* What was read, a record a line. */
struct read {
    char text[1024];
    unsigned records;
};

static enum dstream_code take(void *ctx, const struct ds_log_record *r, struct dstream_error *err)
{
    struct read *got = ctx;
    (void)err;
    strncat(got->text, r->data, r->len);
    strcat(got->text, "\n");
    got->records++;
    return DSTREAM_OK;
}

static enum dstream_code open_log(struct sim_fs *fs, struct ds_log **l, struct read *got)
{
    struct dstream_error err = {0};
    *got = (struct read){.records = 0};
    enum dstream_code rc = ds_log_open(l, &fs->ops, PATH, MAX, take, got, &err);
    cr_expect(rc == DSTREAM_OK || (err.code == rc && err.message[0]));
    return rc;
}

static enum dstream_code add(struct ds_log *l, const char *text)
{
    struct dstream_error err = {0};
    size_t half = strlen(text) / 2;
    const struct ds_log_part parts[] = {{text, half}, {text + half, strlen(text) - half}};
    return ds_log_add(l, parts, 2, NULL, &err);
}

static enum dstream_code make_durable(struct ds_log *l)
{
    struct dstream_error err = {0};
    return ds_log_sync(l, &err);
}

/* Leaves a log with these records, each of which was made durable before the next. */
static void make(struct sim_fs *fs, const char *const *records, size_t n)
{
    struct ds_log *l;
    struct read got;
    struct dstream_error err = {0};
    cr_assert_eq(open_log(fs, &l, &got), DSTREAM_OK);
    cr_assert_not(ds_log_exists(l));
    cr_assert_eq(ds_log_rewrite(l, &err), DSTREAM_OK);
    cr_assert_eq(ds_log_replace(l, &err), DSTREAM_OK);
    for (size_t i = 0; i < n; i++) {
        cr_assert_eq(add(l, records[i]), DSTREAM_OK);
        cr_assert_eq(make_durable(l), DSTREAM_OK);
    }
    ds_log_free(l);
}

static const char *const three[] = {"one", "two", "three"};

Test(log, keeps_what_was_added)
{
    struct sim_fs *fs = sim_new(dirs);
    struct ds_log *l;
    struct read got;
    make(fs, three, 3);
    cr_assert_eq(open_log(fs, &l, &got), DSTREAM_OK);
    cr_assert_str_eq(got.text, "one\ntwo\nthree\n");
    cr_assert_eq(add(l, "four"), DSTREAM_OK);
    cr_assert_eq(make_durable(l), DSTREAM_OK);
    ds_log_free(l);
    cr_assert_eq(open_log(fs, &l, &got), DSTREAM_OK);
    cr_assert_str_eq(got.text, "one\ntwo\nthree\nfour\n");
    ds_log_free(l);
    sim_free(fs);
}

/* On the real file system. */
Test(log, is_for_one_at_a_time)
{
    const char *tmp = getenv("TMPDIR");
    char dir[256], path[300], name[320];
    struct ds_log *l, *second;
    struct read got = {.records = 0};
    struct dstream_error err = {0};
    bool missing;
    snprintf(dir, sizeof dir, "%s/dstream-log-XXXXXX", tmp ? tmp : "/tmp");
    cr_assert_not_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/j", dir);
    cr_assert_eq(ds_log_open(&l, NULL, path, MAX, take, &got, &err), DSTREAM_OK);
    cr_assert_eq(ds_log_open(&second, NULL, path, MAX, take, &got, &err), DSTREAM_ERR_LOCKED);
    cr_assert_null(second);
    cr_assert_not(ds_log_is(NULL, path));
    cr_assert_eq(ds_log_show(NULL, path, MAX, take, &got, &missing, &err), DSTREAM_ERR_IO);
    cr_assert(missing);
    cr_assert_eq(ds_log_rewrite(l, &err), DSTREAM_OK);
    cr_assert_eq(ds_log_replace(l, &err), DSTREAM_OK);
    uint64_t at;
    char back[4] = "";
    const struct ds_log_part part = {"abc", 3};
    cr_assert_eq(ds_log_add(l, &part, 1, &at, &err), DSTREAM_OK);
    cr_assert_eq(ds_log_read(l, at, back, 3, &err), DSTREAM_OK);
    cr_assert_str_eq(back, "abc");
    cr_assert(ds_log_is(NULL, path));
    cr_assert_eq(ds_log_show(NULL, path, MAX, take, &got, &missing, &err), DSTREAM_OK);
    cr_assert_str_eq(got.text, "abc\n");
    ds_log_free(l);
    unlink(path);
    snprintf(name, sizeof name, "%s.lock", path);
    unlink(name);
    cr_assert_eq(rmdir(dir), 0, "something was left in %s", dir);
}

Test(log, what_a_crash_cut_is_left_out)
{
    struct sim_fs *fs = sim_new(dirs);
    make(fs, three, 3);
    struct sim_bytes whole = *sim_get(fs, 0, "j");
    for (size_t n = 0; n <= whole.len; n++) {
        struct sim_fs *cut = sim_new(dirs);
        struct ds_log *l;
        struct read got;
        sim_put(cut, 0, "j", whole.data, n, true);
        enum dstream_code rc = open_log(cut, &l, &got);
        if (n < strlen(DS_LOG_NAME)) {
            cr_assert_eq(rc, DSTREAM_ERR_STATE_CORRUPT, "%zu", n);
            sim_free(cut);
            continue;
        }
        cr_assert_eq(rc, DSTREAM_OK, "cut at %zu", n);
        unsigned had = got.records;
        cr_assert_eq(strncmp(got.text, "one\ntwo\nthree\n", strlen(got.text)), 0);
        cr_assert_eq(add(l, "new"), DSTREAM_OK);
        ds_log_free(l);
        cr_assert_eq(open_log(cut, &l, &got), DSTREAM_OK);
        cr_assert_eq(got.records, had + 1, "what was cut has come back");
        cr_assert(strstr(got.text, "new\n"));
        ds_log_free(l);
        sim_free(cut);
    }
    sim_free(fs);
}

Test(log, a_file_that_is_none_is_called_so)
{
    static const struct {
        const char *text, *says, *not ;
    } files[] = {
        {"{\"dstate\":1,\"url\":\"u\"", "not a journal but a checkpoint", "damaged"},
        {"{\"dstate\":1,\"files\":1}\n", "not a journal but a checkpoint", "damaged"},
        {"some notes, of whatever kind\n", "it is not a journal: ", "damaged"},
        {"", "it is not a journal: ", "damaged"},
        {"dstream-journal 2\nwhatever", "none of this release", "not a journal"},
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        struct sim_fs *fs = sim_new(dirs);
        struct ds_log *l;
        struct read got = {.records = 0};
        struct dstream_error err = {0};
        sim_put(fs, 0, "j", files[i].text, strlen(files[i].text), true);
        cr_expect_eq(ds_log_open(&l, &fs->ops, PATH, MAX, take, &got, &err),
                     DSTREAM_ERR_STATE_CORRUPT, "%zu", i);
        cr_expect(strstr(err.message, files[i].says), "%zu: %s", i, err.message);
        cr_expect_not(strstr(err.message, files[i].not ), "%zu: %s", i, err.message);
        sim_free(fs);
    }
}

/* Each byte of it in turn. Only the last record, which nothing says was durable, may be taken for
 * one that a crash cut. */
Test(log, damage_is_told_from_a_crash)
{
    struct sim_fs *fs = sim_new(dirs);
    make(fs, three, 3);
    struct sim_bytes whole = *sim_get(fs, 0, "j");
    size_t last = whole.len - 32 - strlen("three");
    for (size_t i = 0; i < whole.len; i++) {
        struct sim_fs *bad = sim_new(dirs);
        struct sim_bytes b = whole;
        struct ds_log *l;
        struct read got;
        b.data[i] ^= 0x10;
        sim_put(bad, 0, "j", b.data, b.len, true);
        enum dstream_code rc = open_log(bad, &l, &got);
        cr_assert_eq(rc, i < last ? DSTREAM_ERR_STATE_CORRUPT : DSTREAM_OK, "byte %zu", i);
        if (rc == DSTREAM_OK)
            cr_assert_eq(got.records, 2);
        ds_log_free(l);
        sim_free(bad);
    }
    sim_free(fs);
}

/* --- crashes ---------------------------------------------------------------------------------- */

/* What a run of the script below had made durable, and what it had written, when it ended. */
struct run {
    char durable[256], written[256];
};

static void script(struct sim_fs *fs, struct run *r)
{
    struct ds_log *l;
    struct read got;
    struct dstream_error err = {0};
    bool ok = open_log(fs, &l, &got) == DSTREAM_OK;
    ok = ok && ds_log_rewrite(l, &err) == DSTREAM_OK && add(l, "a") == DSTREAM_OK &&
         ds_log_replace(l, &err) == DSTREAM_OK;
    if (ok) {
        strcpy(r->durable, "a\n");
        strcpy(r->written, "a\n");
        ok = add(l, "b") == DSTREAM_OK;
    }
    if (ok) {
        strcpy(r->written, "a\nb\n");
        ok = add(l, "c") == DSTREAM_OK;
    }
    if (ok) {
        strcpy(r->written, "a\nb\nc\n");
        ok = make_durable(l) == DSTREAM_OK;
    }
    if (ok) {
        strcpy(r->durable, r->written);
        ok = add(l, "d") == DSTREAM_OK;
    }
    if (ok) {
        strcpy(r->written, "a\nb\nc\nd\n");
        ok = ds_log_rewrite(l, &err) == DSTREAM_OK && add(l, "C") == DSTREAM_OK &&
             ds_log_replace(l, &err) == DSTREAM_OK;
    }
    if (ok)
        strcpy(r->durable, "C\n");
    ds_log_free(l);
}

static bool begins_with(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

static void check_after(struct sim_fs *fs, const struct run *r, long at, unsigned long choice)
{
    struct ds_log *l;
    struct read got;
    enum dstream_code rc = open_log(fs, &l, &got);
    cr_assert_eq(rc, DSTREAM_OK, "call %ld, choice %lu", at, choice);
    bool renewed = strcmp(got.text, "C\n") == 0;
    bool old = begins_with(got.text, r->durable) &&
               (begins_with("a\nb\nc\nd\n", got.text) || !got.text[0]);
    cr_assert(renewed || old, "call %ld, choice %lu: durable %s, got %s", at, choice, r->durable,
              got.text);
    ds_log_free(l);
}

Test(log, survives_power_failing_at_each_step)
{
    for (long at = 0;; at++) {
        struct sim_fs *fs = sim_new(dirs);
        struct run r = {.durable = ""};
        fs->fail_at = at;
        fs->fail_with = 5;
        fs->dies = true;
        script(fs, &r);
        bool reached = fs->calls > at;
        fs->fail_at = -1;
        fs->dies = false;
        unsigned long n = sim_choices(fs);
        for (unsigned long choice = 0; choice < n; choice++) {
            struct sim_fs *after = sim_copy(fs);
            sim_exit(after);
            sim_crash(after, choice);
            check_after(after, &r, at, choice);
            sim_free(after);
        }
        sim_free(fs);
        if (!reached)
            return;
    }
}

/* An error of any call: nothing durable is lost, and the log takes nothing more. */
Test(log, survives_an_error_at_each_step)
{
    for (long at = 0;; at++) {
        struct sim_fs *fs = sim_new(dirs);
        struct run r = {.durable = ""};
        fs->fail_at = at;
        fs->fail_with = 28;
        script(fs, &r);
        bool reached = fs->calls > at;
        fs->fail_at = -1;
        sim_exit(fs);
        check_after(fs, &r, at, 0);
        cr_assert_null(sim_get(fs, 0, "j.tmp"), "call %ld leaves its temporary file", at);
        sim_free(fs);
        if (!reached)
            return;
    }
}
