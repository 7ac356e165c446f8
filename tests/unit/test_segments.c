/* SPDX-License-Identifier: Apache-2.0 */
/* An output that is rotated, over crashes and failures at each call; see test_export_file.c. */
#include "config.h"

#include <criterion/criterion.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "share.h"
#include "simfs.h"
#include "store/export.h"
#include "store/exports.h"
#include "store/segment.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

/* --- names ------------------------------------------------------------------------------------
 */

Test(segments, of_several_files_have_the_names_of_these)
{
    cr_expect(ds_segment_has_file(DS_SEGMENT_PATTERN));
    cr_expect(ds_segment_has_file("%%%e%b%n"));
    cr_expect_not(ds_segment_has_file("%b-%n"));
    cr_expect_not(ds_segment_has_file("%n%e"));
    cr_expect_not(ds_segment_has_file("%%b-%%e-%n"));
}

Test(segments, have_names_by_a_pattern)
{
    static const struct {
        const char *pattern, *file, *want; /* NULL: no pattern */
    } cases[] = {
        {"%b-%n%e", "out.ndjson", "out-000007.ndjson"},
        {"%b-%n%e", "out", "out-000007"},
        {"%b-%n%e", "out.ndjson.gz", "out-000007.ndjson.gz"},
        {"%b-%n%e", "out.zst", "out-000007.zst"},
        {"%b-%n%e", "v1.2.gz", "v1-000007.2.gz"},
        {"%b-%n%e", ".gz", ".gz-000007"},
        {"%t.%n", "x", "20260102T030405Z.000007"},
        {"%n%%", "x", "000007%"},
        {"%b", "x", NULL},
        {"", "x", NULL},
        {"%n/x", "x", NULL},
        {".%n", "x", NULL},
        {"%n%", "x", NULL},
        {"%n%d", "x", NULL},
    };
    struct ds_checkpoint_segment s = {.number = 7, .since = 1767323045000};
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct ds_buf b;
        ds_buf_init(&b, 1000);
        cr_expect_eq(ds_segment_valid(cases[i].pattern), cases[i].want != NULL, "%s",
                     cases[i].pattern);
        if (cases[i].want) {
            cr_expect_eq(ds_segment_name(&b, cases[i].pattern, cases[i].file, &s), DSTREAM_OK);
            cr_expect_str_eq(ds_buf_str(&b), cases[i].want);
        }
        ds_buf_free(&b);
    }
    char name[DS_SEGMENT_MAX];
    struct ds_buf b;
    ds_buf_init(&b, 1000);
    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    cr_expect_eq(ds_segment_name(&b, "%b-%n", name, &s), DSTREAM_ERR_LIMIT);
    ds_buf_free(&b);
}

/* --- an exporter of a stream that is known ----------------------------------------------------
 */

/* Sealed behind each batch whose end is marked; offsets are indices. */
static const char *const stream[] = {"one;", "two!", "", "three;", "four!", "five."};
enum { BATCHES = 6 };

static bool ends_segment(int batch)
{
    size_t n = strlen(stream[batch]);
    return n > 0 && stream[batch][n - 1] == '!';
}

struct job {
    struct ds_export_options o;
    int stop_after; /* batches in this run; -1: all */
    int committed;  /* batches that a commit has spoken of */
};

static enum dstream_code take(struct ds_export *x, struct ds_checkpoint *c, int i, struct job *j,
                              struct dstream_error *err)
{
    enum dstream_code rc = ds_export_write(x, stream[i], strlen(stream[i]), err);
    if (rc != DSTREAM_OK)
        return rc;
    snprintf(c->offset, sizeof c->offset, "%d", i + 1);
    c->closed = i + 1 == BATCHES;
    if (ends_segment(i) || c->closed)
        rc = ds_export_seal(x, c, err);
    else if (i % 2 == 0)
        rc = ds_export_commit(x, c, err);
    else
        return rc;
    if (rc == DSTREAM_OK)
        j->committed = i + 1;
    return rc;
}

static enum dstream_code run_open(struct ds_export *x, struct job *j, struct dstream_error *err)
{
    static struct ds_checkpoint c;
    memset(&c, 0, sizeof c);
    strcpy(c.offset, "0");
    if (ds_export_state(x))
        c = *ds_export_state(x);
    if (ds_export_complete(x))
        return DSTREAM_OK;
    bool unsealed = ds_export_unsealed(x);
    enum dstream_code rc = ds_export_confirm(x, &c, err);
    if (rc == DSTREAM_OK && unsealed)
        return ds_export_seal(x, &c, err);
    int n = 0;
    for (int i = atoi(c.offset); i < BATCHES && n != j->stop_after && rc == DSTREAM_OK; i++, n++)
        rc = take(x, &c, i, j, err);
    struct dstream_error second = {0};
    if (ds_export_ready(x) && ds_export_changed(x) &&
        ds_export_commit(x, &c, rc ? &second : err) == DSTREAM_OK)
        j->committed = atoi(c.offset);
    return rc ? rc : err->code;
}

static enum dstream_code run(struct job *j, struct dstream_error *err)
{
    struct ds_export *x;
    enum dstream_code rc = ds_export_open(&x, &j->o, err);
    if (rc == DSTREAM_OK)
        rc = run_open(x, j, err);
    ds_export_free(x);
    return rc;
}

/* --- what it comes to -------------------------------------------------------------------------
 */

static const char *const dirs[] = {"a", "b"};

struct scene {
    const char *name, *state;
    bool reset, overwrite, append;
    int before; /* batches of an earlier run; -1: there was none */
    const char *junk;
    bool junk_lines; /* more is behind the manifest than the rest of it will have */
    bool consumer;   /* takes segments away as soon as they have their names */
    enum ds_pack_kind pack;
};

static const struct scene scenes[] = {
    {.name = "new", .before = -1},
    {.name = "state elsewhere", .state = "b/st", .before = -1},
    {.name = "resume", .before = 1, .junk = "half of a"},
    {.name = "resume behind a segment", .before = 2, .junk_lines = true},
    {.name = "a consumer", .before = -1, .consumer = true},
    {.name = "gzip", .before = 1, .junk = "half of a member", .pack = DS_PACK_GZIP},
    {.name = "zstd, with a consumer", .before = -1, .consumer = true, .pack = DS_PACK_ZSTD},
};

static struct job job_of(const struct scene *s, struct sim_fs *fs)
{
    return (struct job){.o = {.ops = &fs->ops,
                              .path = "a/out",
                              .state = s->state,
                              .overwrite = s->overwrite,
                              .append = s->append,
                              .reset = s->reset,
                              .pack = s->pack,
                              .rotate = DS_SEGMENT_PATTERN},
                        .stop_after = -1};
}

static void put_behind(struct sim_fs *fs, const char *name, const char *text)
{
    int dir = fs->ops.open(fs, DS_DIR_CWD, "a", DS_OPEN_DIR);
    int fd = fs->ops.open(fs, dir, name, DS_OPEN_UPDATE);
    struct ds_file_info info;
    cr_assert_geq(fd, 0);
    cr_assert_eq(fs->ops.info(fs, fd, &info), 0);
    cr_assert_eq(ds_file_write(&fs->ops, fd, text, strlen(text), info.size), 0);
    sim_exit(fs);
}

static struct sim_fs *stage(const struct scene *s)
{
    struct sim_fs *fs = sim_new(dirs);
    if (s->before >= 0) {
        struct job j = job_of(s, fs);
        struct dstream_error err = {0};
        j.stop_after = s->before;
        cr_assert_eq(run(&j, &err), DSTREAM_OK, "%s: %s", s->name, err.message);
        sim_exit(fs);
    }
    if (s->junk)
        put_behind(fs, "out.partial", s->junk);
    if (s->junk_lines) {
        char junk[900];
        memset(junk, 'x', sizeof junk - 1);
        junk[sizeof junk - 1] = '\0';
        put_behind(fs, "out.manifest.ndjson", junk);
    }
    return fs;
}

/* What a consumer has taken: by number. */
struct taken {
    struct sim_bytes at[8];
    bool is[8];
};

static char *name_of(int number)
{
    static char name[32];
    snprintf(name, sizeof name, "out-%06d", number);
    return name;
}

static void consume(struct sim_fs *fs, struct taken *t)
{
    int dir = fs->ops.open(fs, DS_DIR_CWD, "a", DS_OPEN_DIR);
    for (int i = 1; i < 8; i++) {
        const struct sim_bytes *b = sim_get(fs, 0, name_of(i));
        if (!b)
            continue;
        cr_assert_not(t->is[i], "segment %d was there twice", i);
        t->is[i] = true;
        t->at[i] = *b;
        cr_assert_eq(fs->ops.unlink(fs, dir, name_of(i)), 0);
    }
    sim_exit(fs);
}

static int put_bytes(void *ctx, const void *p, size_t n)
{
    struct sim_bytes *b = ctx;
    cr_assert_leq(b->len + n, SIM_SIZE);
    memcpy(b->data + b->len, p, n);
    b->len += n;
    return 0;
}

/* As whoever unpacks it sees it; up to where it is no longer right. */
static void add_unpacked(struct sim_bytes *all, const struct sim_bytes *b, enum ds_pack_kind pack)
{
    if (pack == DS_PACK_NONE) {
        put_bytes(all, b->data, b->len);
        return;
    }
    struct ds_unpack *u = ds_unpack_new(pack);
    for (size_t i = 0; i < b->len && ds_unpack_add(u, b->data + i, 1, put_bytes, all) == 0; i++)
        continue;
    ds_unpack_free(u);
}

/* Segments and what is under way, joined. */
static void gather(const struct sim_fs *fs, const struct scene *s, const struct taken *t,
                   struct sim_bytes *all)
{
    all->len = 0;
    for (int i = 1; i <= 8; i++) {
        const struct sim_bytes *b = sim_get(fs, 0, i < 8 ? name_of(i) : "out.partial");
        if (!b && i < 8 && t && t->is[i])
            b = &t->at[i];
        if (b)
            add_unpacked(all, b, s->pack);
    }
}

static size_t times(const struct sim_bytes *b, const char *text)
{
    size_t found = 0, n = strlen(text);
    for (size_t i = 0; b && i + n <= b->len; i++)
        found += memcmp(b->data + i, text, n) == 0;
    return found;
}

/* The stream is in the segments, each of which the manifest has once, with its bounds. */
static void expect_all(const struct sim_fs *fs, const struct scene *s, const struct taken *t,
                       const char *when, long n, unsigned long choice)
{
    static const char *const lines[] = {"\"from\":\"0,0\",\"to\":\"2,0\",\"length\":",
                                        "\"from\":\"2,0\",\"to\":\"5,0\",\"length\":",
                                        "\"from\":\"5,0\",\"to\":\"6,0\",\"length\":"};
    static const char *const lengths[] = {"\"length\":8,", "\"length\":11,",
                                          "\"length\":5,\"last\":true"};
    struct sim_bytes all;
    static const char whole[] = "one;two!three;four!five.";
    gather(fs, s, t, &all);
    const struct sim_bytes *manifest = sim_get(fs, 0, "out.manifest.ndjson");
    bool right = all.len == strlen(whole) && memcmp(all.data, whole, all.len) == 0 &&
                 !sim_get(fs, 0, "out.partial");
    for (size_t i = 0; i < COUNT(lines); i++)
        right = right && times(manifest, lines[i]) == 1 &&
                (s->pack != DS_PACK_NONE || times(manifest, lengths[i]) == 1);
    right = right && times(manifest, "\"last\":true") == 1;
    right = right && times(manifest, "\n") == COUNT(lines) && times(manifest, "xx") == 0;
    if (!right)
        cr_assert_fail("%s, %s %ld, choice %lu: segments \"%.*s\", manifest %.*s", s->name, when, n,
                       choice, (int)all.len, (char *)all.data, manifest ? (int)manifest->len : 0,
                       manifest ? (const char *)manifest->data : "");
}

static void expect_resume(struct sim_fs *fs, const struct scene *s, struct taken *t,
                          const char *when, long n, unsigned long choice)
{
    struct job j = job_of(s, fs);
    struct dstream_error err = {0};
    if (s->consumer)
        consume(fs, t);
    if (run(&j, &err) != DSTREAM_OK)
        cr_assert_fail("%s, %s %ld, choice %lu: %s", s->name, when, n, choice, err.message);
    expect_all(fs, s, t, when, n, choice);
}

static unsigned long ways(const struct scene *s)
{
    unsigned long few = s->pack != DS_PACK_NONE ? 10 : 40;
    return sim_by(2) == 1 ? 200 : few;
}

static void crash_in_many_ways(const struct sim_fs *fs, const struct scene *s, const struct job *j,
                               const char *when, long n)
{
    unsigned long choices = sim_choices(fs), by = 1 + choices / ways(s);
    static const char whole[] = "one;two!three;four!five.";
    size_t least = 0;
    for (int i = 0; i < j->committed; i++)
        least += strlen(stream[i]);
    for (unsigned long choice = 0; choice < choices; choice += choice < 2 ? 1 : by) {
        struct sim_fs *after = sim_copy(fs);
        struct taken taken = {0};
        struct sim_bytes all;
        sim_crash(after, choice);
        gather(after, s, NULL, &all);
        if (all.len < least || memcmp(all.data, whole, least) != 0)
            cr_assert_fail("%s, %s %ld, choice %lu: lost what was committed", s->name, when, n,
                           choice);
        expect_resume(after, s, &taken, when, n, choice);
        sim_free(after);
    }
}

static long calls_of(const struct scene *s)
{
    struct sim_fs *fs = stage(s);
    struct job j = job_of(s, fs);
    struct dstream_error err = {0};
    cr_assert_eq(run(&j, &err), DSTREAM_OK, "%s: %s", s->name, err.message);
    expect_all(fs, s, NULL, "without trouble", 0, 0);
    long calls = fs->calls;
    sim_free(fs);
    return calls;
}

Test(segments, go_on_rightly_after_a_crash_at_any_call)
{
    for (size_t i = 0; i < COUNT(scenes); i++) {
        long calls = calls_of(&scenes[i]);
        for (long n = 0; n <= calls; n += UNIT_SHARE) {
            struct sim_fs *fs = stage(&scenes[i]);
            struct job j = job_of(&scenes[i], fs);
            struct dstream_error err = {0};
            struct taken taken = {0};
            fs->fail_at = n;
            fs->dies = true;
            run(&j, &err);
            crash_in_many_ways(fs, &scenes[i], &j, "power lost at call", n);
            sim_exit(fs);
            expect_resume(fs, &scenes[i], &taken, "killed at call", n, 0);
            sim_free(fs);
        }
    }
}

/* A process is killed while names are not durable yet; the next one, which sees them, is cut off at
 * its calls by a power failure, which brings old names back. */
static void kill_and_lose_power(const struct scene *s)
{
    long calls = calls_of(s), by = (long)sim_by(7) * UNIT_SHARE, by_second = (long)sim_by(9);
    for (long n = 0; n <= calls; n += by) {
        struct sim_fs *fs = stage(s);
        struct job j = job_of(s, fs);
        struct dstream_error err = {0};
        fs->fail_at = n;
        fs->dies = true;
        run(&j, &err);
        sim_exit(fs);
        for (long m = n % by_second; sim_names_unsynced(fs) && m <= calls; m += by_second) {
            struct sim_fs *second = sim_copy(fs);
            struct job again = job_of(s, second);
            second->fail_at = m;
            second->dies = true;
            run(&again, &err);
            crash_in_many_ways(second, s, &again, "power lost in the second run at call", m);
            sim_free(second);
        }
        sim_free(fs);
    }
}

Test(segments, go_on_rightly_after_a_kill_and_then_a_power_failure)
{
    for (size_t i = 0; i < COUNT(scenes); i++) {
        if (!scenes[i].consumer)
            kill_and_lose_power(&scenes[i]);
    }
}

/* Killed at one call, and the next run at another: recovery is repeated as well. */
Test(segments, go_on_rightly_after_two_kills)
{
    const struct scene *s = &scenes[4];
    long calls = calls_of(s);
    for (long n = 0; n <= calls; n += UNIT_SHARE) {
        for (long m = 0; m <= calls; m += (long)sim_by(3)) {
            struct sim_fs *fs = stage(s);
            struct dstream_error err = {0};
            struct taken taken = {0};
            for (int k = 0; k < 2; k++) {
                struct job j = job_of(s, fs);
                consume(fs, &taken);
                fs->fail_at = k == 0 ? n : m;
                fs->dies = true;
                run(&j, &err);
                sim_exit(fs);
            }
            expect_resume(fs, s, &taken, "killed at call", n, (unsigned long)m);
            sim_free(fs);
        }
    }
}

Test(segments, go_on_rightly_after_a_failure_of_any_call)
{
    for (size_t i = 0; i < COUNT(scenes); i++) {
        const struct scene *s = &scenes[i];
        long calls = calls_of(s);
        for (long n = 0; n < calls; n += UNIT_SHARE) {
            struct sim_fs *fs = stage(s);
            struct job j = job_of(s, fs);
            struct dstream_error err = {0};
            struct taken taken = {0};
            fs->fail_at = n;
            fs->fail_with = n % 2 ? EIO : ENOSPC;
            enum dstream_code rc = run(&j, &err);
            if (rc == DSTREAM_OK)
                expect_all(fs, s, NULL, "with a failure that does not matter at call", n, 0);
            cr_expect(strcmp(fs->last, "close") == 0 || strcmp(fs->last, "truncate") == 0 ||
                          rc != DSTREAM_OK,
                      "%s: a failed %s went unnoticed", s->name, fs->last);
            crash_in_many_ways(fs, s, &j, "power lost after a failure of call", n);
            sim_exit(fs);
            expect_resume(fs, s, &taken, "failed at call", n, 0);
            sim_free(fs);
        }
    }
}

/* --- what is in the way -----------------------------------------------------------------------
 */

static enum dstream_code run_with(struct sim_fs *fs, struct scene s, struct dstream_error *err)
{
    struct job j = job_of(&s, fs);
    memset(err, 0, sizeof *err);
    enum dstream_code rc = run(&j, err);
    sim_exit(fs);
    return rc;
}

Test(segments, never_take_a_name_that_is_in_use)
{
    struct sim_fs *fs = sim_new(dirs);
    struct dstream_error err;
    sim_put(fs, 0, "out-000002", "mine", 4, true);
    cr_assert_eq(run_with(fs, scenes[0], &err), DSTREAM_OK, "%s", err.message);
    cr_expect_eq(sim_get(fs, 0, "out-000002")->len, 4);
    cr_expect_not_null(sim_get(fs, 0, "out-000001"));
    cr_expect_not_null(sim_get(fs, 0, "out-000003"));
    cr_expect_not_null(sim_get(fs, 0, "out-000004"));
    sim_free(fs);
}

Test(segments, that_others_have_made_are_not_begun_in)
{
    struct sim_fs *fs = sim_new(dirs);
    struct dstream_error err;
    struct scene s = {.name = "there", .before = -1};
    sim_put(fs, 0, "out.partial", "mine", 4, true);
    cr_expect_eq(run_with(fs, s, &err), DSTREAM_ERR_EXISTS);
    s.append = true;
    cr_expect_eq(run_with(fs, s, &err), DSTREAM_ERR_EXISTS);
    cr_expect(strstr(err.message, "give --overwrite"), "%s", err.message);
    cr_expect_eq(sim_get(fs, 0, "out.partial")->len, 4);
    s.append = false;
    s.overwrite = true;
    cr_expect_eq(run_with(fs, s, &err), DSTREAM_OK, "%s", err.message);
    expect_all(fs, &s, NULL, "overwritten", 0, 0);
    sim_free(fs);
}

/* Numbers go on, and what the state spoke of becomes a segment by itself, or goes. */
Test(segments, after_a_reset)
{
    for (int append = 0; append < 2; append++) {
        struct sim_fs *fs = sim_new(dirs);
        struct dstream_error err;
        struct scene s = {.name = "reset", .before = 4};
        struct job j = job_of(&s, fs);
        j.stop_after = 4;
        memset(&err, 0, sizeof err);
        cr_assert_eq(run(&j, &err), DSTREAM_OK); /* one segment, and "three;" */
        sim_exit(fs);
        s.reset = true;
        cr_expect_eq(run_with(fs, s, &err), DSTREAM_ERR_EXISTS);
        s.append = append;
        s.overwrite = !append;
        put_behind(fs, "out.partial", "half of a");
        cr_expect_eq(run_with(fs, s, &err), DSTREAM_OK, "%s", err.message);
        struct sim_bytes all;
        gather(fs, &s, NULL, &all);
        const char *want =
            append ? "one;two!three;one;two!three;four!five." : "one;two!one;two!three;four!five.";
        cr_expect(all.len == strlen(want) && memcmp(all.data, want, all.len) == 0, "%.*s",
                  (int)all.len, (char *)all.data);
        cr_expect_eq(times(sim_get(fs, 0, "out.manifest.ndjson"), "\n"), append ? 5 : 4);
        sim_free(fs);
    }
}

Test(segments, a_state_without_them_is_not_gone_on_with)
{
    struct sim_fs *fs = sim_new(dirs);
    struct dstream_error err = {0};
    struct scene s = {.name = "other", .before = -1};
    struct job j = job_of(&s, fs);
    j.stop_after = 1;
    cr_assert_eq(run(&j, &err), DSTREAM_OK);
    sim_exit(fs);
    j.o.rotate = NULL;
    cr_expect_eq(run(&j, &err), DSTREAM_ERR_ARGUMENT);
    cr_expect(strstr(err.message, "give --rotate-size"), "%s", err.message);
    sim_free(fs);
}
