/* SPDX-License-Identifier: Apache-2.0 */
/* A directory of exports, over crashes and failures at each call; see test_export_file.c. */
#include "config.h"

#include <criterion/criterion.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "share.h"
#include "simfs.h"
#include "store/exports.h"
#include "store/segment.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

/* --- streams that are known -------------------------------------------------------------------
 */

enum { STREAMS = 2, BATCHES = 3 };
static const char *const names[STREAMS] = {"s", "t"};
static const char *const streams[STREAMS][BATCHES] = {{"one;", "and two;", "3."},
                                                      {"EINS;", "", "DREI."}};

struct job {
    struct ds_export_options o;
    int stop_after;         /* batches of each stream in this run; -1: all */
    int committed[STREAMS]; /* batches that a commit has said are in the file */
    bool failed[STREAMS];   /* the stream has */
    const char *whole;      /* why everything has; NULL: it has not */
};

struct one {
    struct ds_export *x;
    struct ds_checkpoint c;
    int at;    /* the batch that comes next */
    int taken; /* in this run */
};

static bool done(const struct job *j, const struct one *s, int k)
{
    return !s->x || j->failed[k] || s->at == BATCHES || s->taken == j->stop_after;
}

static bool all_done(const struct job *j, const struct one *s)
{
    for (int k = 0; k < STREAMS; k++) {
        if (!done(j, &s[k], k))
            return false;
    }
    return true;
}

/* A commit is under way in steps, between which streams are written to. */
static bool step(struct ds_exports *all, struct one *s, struct job *j, int said[STREAMS])
{
    bool more = ds_exports_step(all);
    for (int k = 0; k < STREAMS; k++) {
        bool bad = s[k].x && ds_export_error(s[k].x)->code != DSTREAM_OK;
        j->failed[k] = j->failed[k] || bad;
        if (!more && !bad && s[k].x && ds_exports_error(all)->code == DSTREAM_OK && said[k] >= 0)
            j->committed[k] = said[k];
    }
    if (!more && ds_exports_error(all)->code != DSTREAM_OK)
        j->whole = ds_exports_error(all)->message;
    return more;
}

/* Whole commits until nothing is left to be committed. */
static void commit(struct ds_exports *all, struct one *s, struct job *j)
{
    for (int tries = 0; tries < 3 && ds_exports_due(all) && !j->whole; tries++) {
        int said[STREAMS];
        for (int k = 0; k < STREAMS; k++)
            said[k] = s[k].x && ds_export_ready(s[k].x) && !j->failed[k] ? s[k].at : -1;
        while (step(all, s, j, said))
            continue;
    }
}

/* Of what is rotated: a segment ends with each text that ends so. */
static bool ends_segment(const char *batch)
{
    size_t n = strlen(batch);
    return n > 0 && batch[n - 1] == ';';
}

static void take(struct one *s, int k, struct job *j)
{
    struct dstream_error err = {0};
    const char *batch = streams[k][s->at];
    if (ds_export_write(s->x, batch, strlen(batch), &err) != DSTREAM_OK) {
        cr_expect_neq(err.message[0], '\0');
        j->failed[k] = true;
        return;
    }
    s->at++;
    s->taken++;
    snprintf(s->c.offset, sizeof s->c.offset, "%d", s->at);
    s->c.closed = s->at == BATCHES;
    ds_export_touch(s->x);
    if (j->o.rotate && (ends_segment(batch) || s->c.closed) &&
        ds_export_seal(s->x, &s->c, &err) != DSTREAM_OK)
        j->failed[k] = true;
}

static void open_one(struct ds_exports *all, struct one *s, int k, struct job *j)
{
    struct dstream_error err = {0};
    memset(s, 0, sizeof *s);
    if (ds_exports_add(all, names[k], &s->x, &err) != DSTREAM_OK) {
        cr_expect_neq(err.message[0], '\0');
        j->failed[k] = true;
        return;
    }
    const struct ds_checkpoint *was = ds_export_state(s->x);
    strcpy(s->c.offset, "0");
    if (was)
        s->c = *was;
    s->at = atoi(s->c.offset);
    if (ds_export_complete(s->x))
        return;
    bool unsealed = ds_export_unsealed(s->x);
    if (ds_export_confirm(s->x, &s->c, &err) != DSTREAM_OK ||
        (unsealed && ds_export_seal(s->x, &s->c, &err) != DSTREAM_OK))
        j->failed[k] = true;
    else if (ds_export_ready(s->x))
        ds_export_touch(s->x);
}

/* One run of the command. Writing goes on between the steps of a commit. */
static enum dstream_code run(struct job *j, struct dstream_error *err)
{
    static struct one s[STREAMS];
    struct ds_exports *all;
    enum dstream_code rc = ds_exports_open(&all, &j->o, err);
    if (rc != DSTREAM_OK)
        return rc;
    for (int k = 0; k < STREAMS; k++)
        open_one(all, &s[k], k, j);
    commit(all, s, j);
    /* What is being sealed waits for the steps of that. */
    for (int rounds = 0; rounds < 100 && !j->whole && !all_done(j, s); rounds++) {
        for (int k = 0; k < STREAMS && !j->whole; k++) {
            int nothing[STREAMS] = {-1, -1};
            if (!done(j, &s[k], k) && ds_export_ready(s[k].x))
                take(&s[k], k, j);
            step(all, s, j, nothing);
        }
    }
    commit(all, s, j);
    for (int k = 0; k < STREAMS && !j->whole && !ds_exports_due(all); k++) {
        if (!j->failed[k])
            j->committed[k] = s[k].at;
    }
    ds_exports_free(all);
    bool failed = j->whole != NULL;
    for (int k = 0; k < STREAMS; k++)
        failed |= j->failed[k];
    return failed ? ds_error_set(err, DSTREAM_ERR_IO, "failed") : DSTREAM_OK;
}

/* --- crashes and failures ---------------------------------------------------------------------
 */

static const char *const dirs[] = {"a", "b"};

struct scene {
    const char *name, *state;
    bool overwrite, append, reset;
    int before;           /* batches that an earlier run has taken; -1: there was none */
    const char *existing; /* what the first file held before; NULL: not there */
    const char *junk;     /* put behind the first file after the earlier run */
    const char *kept;
    const char *rotate;
    enum ds_pack_kind pack;
};

static const struct scene scenes[] = {
    {.name = "new", .before = -1},
    {.name = "new, state elsewhere", .state = "b/st", .before = -1},
    {.name = "append", .append = true, .before = -1, .existing = "old\n", .kept = "old\n"},
    {.name = "overwrite", .overwrite = true, .before = -1, .existing = "old, and longer than it"},
    {.name = "resume", .before = 1, .junk = "half of a"},
    {.name = "reset and overwrite", .overwrite = true, .reset = true, .before = 2, .junk = "ha"},
    {.name = "gzip", .before = -1, .pack = DS_PACK_GZIP},
    {.name = "zstd, resumed", .before = 1, .junk = "half of a", .pack = DS_PACK_ZSTD},
    {.name = "rotated", .before = -1, .rotate = DS_SEGMENT_PATTERN},
    {.name = "rotated gzip", .before = 1, .rotate = DS_SEGMENT_PATTERN, .pack = DS_PACK_GZIP},
};

static struct job job_of(const struct scene *s, struct sim_fs *fs)
{
    return (struct job){.o = {.ops = &fs->ops,
                              .path = "a",
                              .state = s->state,
                              .overwrite = s->overwrite,
                              .append = s->append,
                              .reset = s->reset,
                              .rotate = s->rotate,
                              .pack = s->pack},
                        .stop_after = -1};
}

static struct sim_fs *stage(const struct scene *s)
{
    struct sim_fs *fs = sim_new(dirs);
    if (s->existing)
        sim_put(fs, 0, names[0], s->existing, strlen(s->existing), true);
    if (s->before >= 0) {
        struct job j = job_of(s, fs);
        struct dstream_error err = {0};
        j.stop_after = s->before;
        j.o.reset = false;
        cr_assert_eq(run(&j, &err), DSTREAM_OK, "%s: %s", s->name, err.message);
        sim_exit(fs);
    }
    if (s->junk) {
        int dir = fs->ops.open(fs, DS_DIR_CWD, "a", DS_OPEN_DIR);
        int fd = fs->ops.open(fs, dir, names[0], DS_OPEN_UPDATE);
        struct ds_file_info info;
        cr_assert_eq(fs->ops.info(fs, fd, &info), 0);
        cr_assert_eq(ds_file_write(&fs->ops, fd, s->junk, strlen(s->junk), info.size), 0);
        sim_exit(fs);
    }
    return fs;
}

static void want(const struct scene *s, int k, int batches, char out[SIM_SIZE])
{
    strcpy(out, k == 0 && s->kept ? s->kept : "");
    for (int i = 0; i < batches; i++)
        strcat(out, streams[k][i]);
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
static void add_file(struct sim_bytes *all, const struct sim_bytes *b, enum ds_pack_kind pack)
{
    struct ds_unpack *u = b && pack != DS_PACK_NONE ? ds_unpack_new(pack) : NULL;
    if (b && !u)
        put_bytes(all, b->data, b->len);
    for (size_t i = 0; u && i < b->len && ds_unpack_add(u, b->data + i, 1, put_bytes, all) == 0;
         i++)
        continue;
    ds_unpack_free(u);
}

/* What there is of a stream, in segments or in its file. */
static struct sim_bytes gather(const struct sim_fs *fs, const struct scene *s, int k)
{
    struct sim_bytes all = {.len = 0};
    char name[32];
    for (int i = 1; s->rotate && i < 8; i++) {
        snprintf(name, sizeof name, "%s-%06d", names[k], i);
        add_file(&all, sim_get(fs, 0, name), s->pack);
    }
    snprintf(name, sizeof name, "%s%s", names[k], s->rotate ? ".partial" : "");
    add_file(&all, sim_get(fs, 0, name), s->pack);
    return all;
}

static size_t times(const struct sim_bytes *b, const char *text)
{
    size_t found = 0, n = strlen(text);
    for (size_t i = 0; b && i + n <= b->len; i++)
        found += memcmp(b->data + i, text, n) == 0;
    return found;
}

/* How many segments a stream has. */
static size_t segments_of(int k)
{
    size_t n = 1; /* the last one, which nothing but the stream's end has ended */
    for (int i = 0; i < BATCHES; i++)
        n += ends_segment(streams[k][i]);
    return n;
}

/* And each segment once. */
static void expect_segments(const struct sim_fs *fs, const struct scene *s, const char *when,
                            long n, unsigned long choice)
{
    const struct sim_bytes *manifest = sim_get(fs, 0, DS_EXPORTS_MANIFEST);
    for (int k = 0; s->rotate && k < STREAMS; k++) {
        size_t lines = 0;
        for (int i = 1; i < 8; i++) {
            char line[64];
            snprintf(line, sizeof line, "{\"segment\":\"%s-%06d\"", names[k], i);
            lines += times(manifest, line);
        }
        if (lines != segments_of(k))
            cr_assert_fail("%s, %s %ld, choice %lu: the manifest is \"%.*s\"", s->name, when, n,
                           choice, (int)manifest->len, (const char *)manifest->data);
    }
}

/* Each file is its stream, and the manifest has each once. */
static void expect_all(const struct sim_fs *fs, const struct scene *s, const char *when, long n,
                       unsigned long choice)
{
    for (int k = 0; k < STREAMS; k++) {
        char text[SIM_SIZE], line[64];
        want(s, k, BATCHES, text);
        struct sim_bytes got = gather(fs, s, k);
        if (got.len != strlen(text) || memcmp(got.data, text, got.len) != 0)
            cr_assert_fail("%s, %s %ld, choice %lu: %s is \"%.*s\"", s->name, when, n, choice,
                           names[k], (int)got.len, (const char *)got.data);
        snprintf(line, sizeof line, "{\"file\":\"%s\",\"stream\":", names[k]);
        const struct sim_bytes *manifest = sim_get(fs, 0, DS_EXPORTS_MANIFEST);
        size_t lines = times(manifest, line);
        if (lines == 0 || (lines > 1 && !s->reset))
            cr_assert_fail("%s, %s %ld, choice %lu: the manifest is \"%.*s\"", s->name, when, n,
                           choice, manifest ? (int)manifest->len : 0,
                           manifest ? (const char *)manifest->data : "");
    }
    expect_segments(fs, s, when, n, choice);
}

static void expect_resume(struct sim_fs *fs, const struct scene *s, const char *when, long n,
                          unsigned long choice)
{
    struct job j = job_of(s, fs);
    struct dstream_error err = {0};
    if (run(&j, &err) != DSTREAM_OK)
        cr_assert_fail("%s, %s %ld, choice %lu: %s %s", s->name, when, n, choice, err.message,
                       j.whole ? j.whole : "");
    expect_all(fs, s, when, n, choice);
}

static void expect_kept(const struct sim_fs *fs, const struct scene *s, const struct job *j, long n,
                        unsigned long choice)
{
    for (int k = 0; k < STREAMS; k++) {
        char text[SIM_SIZE];
        want(s, k, j->committed[k], text);
        struct sim_bytes got = gather(fs, s, k);
        if (j->committed[k] > 0 &&
            (got.len < strlen(text) || memcmp(got.data, text, strlen(text)) != 0))
            cr_assert_fail("%s, %ld, choice %lu: lost what was committed", s->name, n, choice);
    }
}

static unsigned long ways(const struct scene *s)
{
    unsigned long few = s->pack != DS_PACK_NONE ? 10 : s->rotate ? 15 : 40;
    return sim_by(2) == 1 ? 200 : few;
}

/* All that may survive, or so many of the ways evenly over them. */
static void crash_in_many_ways(const struct sim_fs *fs, const struct scene *s, const struct job *j,
                               const char *when, long n)
{
    unsigned long choices = sim_choices(fs), by = 1 + choices / ways(s);
    for (unsigned long choice = 0; choice < choices; choice += choice < 2 ? 1 : by) {
        struct sim_fs *after = sim_copy(fs);
        sim_crash(after, choice);
        expect_kept(after, s, j, n, choice);
        expect_resume(after, s, when, n, choice);
        sim_free(after);
    }
}

static long calls_of(const struct scene *s)
{
    struct sim_fs *fs = stage(s);
    struct job j = job_of(s, fs);
    struct dstream_error err = {0};
    cr_assert_eq(run(&j, &err), DSTREAM_OK, "%s: %s", s->name, err.message);
    expect_all(fs, s, "without trouble", 0, 0);
    for (int k = 0; k < STREAMS; k++)
        cr_assert_eq(j.committed[k], BATCHES);
    long calls = fs->calls;
    sim_free(fs);
    return calls;
}

Test(exports, go_on_rightly_after_a_crash_at_any_call)
{
    for (size_t i = 0; i < COUNT(scenes); i++) {
        long calls = calls_of(&scenes[i]);
        for (long n = 0; n <= calls; n += UNIT_SHARE) {
            struct sim_fs *fs = stage(&scenes[i]);
            struct job j = job_of(&scenes[i], fs);
            struct dstream_error err = {0};
            fs->fail_at = n;
            fs->dies = true;
            run(&j, &err);
            crash_in_many_ways(fs, &scenes[i], &j, "power lost at call", n);
            sim_exit(fs);
            expect_resume(fs, &scenes[i], "killed at call", n, 0);
            sim_free(fs);
        }
    }
}

/* A process is killed while names are not durable yet; the next one, which sees them, is cut off at
 * its calls by a power failure, which brings old names back. */
static void kill_and_lose_power(const struct scene *s)
{
    long calls = calls_of(s), by = (long)sim_by(11) * UNIT_SHARE, by_second = (long)sim_by(9);
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

Test(exports, go_on_rightly_after_a_kill_and_then_a_power_failure)
{
    for (size_t i = 0; i < COUNT(scenes); i++) {
        if (!scenes[i].reset)
            kill_and_lose_power(&scenes[i]);
    }
}

/* A stream whose file fails does not keep the other from its end; whatever fails, what was
 * committed stays, and the next run goes on rightly. */
Test(exports, go_on_rightly_after_a_failure_of_any_call)
{
    for (size_t i = 0; i < COUNT(scenes); i++) {
        const struct scene *s = &scenes[i];
        long calls = calls_of(s);
        for (long n = 0; n < calls; n += UNIT_SHARE) {
            struct sim_fs *fs = stage(s);
            struct job j = job_of(s, fs);
            struct dstream_error err = {0};
            fs->fail_at = n;
            fs->fail_with = n % 2 ? EIO : ENOSPC;
            enum dstream_code rc = run(&j, &err);
            if (rc == DSTREAM_OK)
                expect_all(fs, s, "with a failure that does not matter at call", n, 0);
            cr_expect(strcmp(fs->last, "close") == 0 || strcmp(fs->last, "truncate") == 0 ||
                          rc != DSTREAM_OK,
                      "%s: a failed %s went unnoticed", s->name, fs->last);
            cr_expect(!j.failed[0] || !j.failed[1], "%s: call %ld failed both", s->name, n);
            for (int k = 0; k < STREAMS && rc != DSTREAM_OK && !j.whole; k++)
                cr_expect(err.code == DSTREAM_ERR_IO &&
                              (j.failed[k] || !j.failed[!k] || j.committed[k] == BATCHES),
                          "%s: call %ld: %s came to batch %d only", s->name, n, names[k],
                          j.committed[k]);
            crash_in_many_ways(fs, s, &j, "power lost after a failure of call", n);
            sim_exit(fs);
            expect_resume(fs, s, "failed at call", n, 0);
            sim_free(fs);
        }
    }
}

/* --- what is said ----------------------------------------------------------------------------- */

/* Both files are written to, and the commit that the first one asks for fails at its `n`-th call.
 * Whether that was the second file's own failure, of which the second one then says what it was. */
static bool fails_in_anothers_commit(long n)
{
    struct sim_fs *fs = sim_new(dirs);
    struct ds_export_options o = {.ops = &fs->ops, .path = "a"};
    struct dstream_error err = {0}, own = {0};
    struct ds_exports *all;
    struct ds_export *x[STREAMS];
    static struct ds_checkpoint c[STREAMS];
    cr_assert_eq(ds_exports_open(&all, &o, &err), DSTREAM_OK, "%s", err.message);
    for (int k = 0; k < STREAMS; k++) {
        c[k] = (struct ds_checkpoint){.offset = "0"};
        cr_assert_eq(ds_exports_add(all, names[k], &x[k], &err), DSTREAM_OK);
        cr_assert_eq(ds_export_confirm(x[k], &c[k], &err), DSTREAM_OK);
    }
    cr_assert_eq(ds_exports_commit(all, &err), DSTREAM_OK, "%s", err.message);
    for (int k = 0; k < STREAMS; k++)
        cr_assert_eq(ds_export_write(x[k], "abc", 3, &err), DSTREAM_OK, "%s", err.message);
    ds_export_touch(x[1]);
    fs->fail_at = fs->calls + n;
    fs->fail_with = EIO;
    (void)ds_export_commit(x[0], &c[0], &err);
    bool failed = strcmp(fs->last, "sync_data") == 0 && ds_export_error(x[1])->code != DSTREAM_OK;
    if (failed) {
        cr_expect_eq(ds_export_commit(x[1], &c[1], &own), DSTREAM_ERR_IO);
        cr_expect(strstr(own.message, "t: cannot sync it: the disk reported an error"), "%s",
                  own.message);
    }
    ds_exports_free(all);
    sim_free(fs);
    return failed;
}

Test(exports, say_what_failed_in_anothers_commit)
{
    int met = 0;
    for (long n = 0; n < 30; n++)
        met += fails_in_anothers_commit(n);
    cr_expect_eq(met, 1, "%d", met);
}
