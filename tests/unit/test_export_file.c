/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include <criterion/criterion.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "faulty.h"
#include "home.h"
#include "share.h"
#include "simfs.h"
#include "store/export.h"

/* --- an exporter of a stream that is known -----------------------------------------------------
 */

/* The stream: batches of a few bytes each. Offsets are their indices. */
static const char *const stream[] = {"first;", "", "2nd batch;", "the third batch of it;", "end."};
enum { BATCHES = 5 };

struct job {
    struct ds_export_options o;
    int stop_after; /* batches written in this run; -1: to the end */
    int at_commit;  /* the batch that the last commit of this run said is next; 0: none */
};

static enum dstream_code take_batches(struct ds_export *x, struct ds_checkpoint *c, struct job *j,
                                      struct dstream_error *err)
{
    enum dstream_code rc = DSTREAM_OK;
    int n = 0;
    for (int i = atoi(c->offset); i < BATCHES && n != j->stop_after && rc == DSTREAM_OK; i++, n++) {
        rc = ds_export_write(x, stream[i], strlen(stream[i]), err);
        if (rc != DSTREAM_OK)
            break;
        snprintf(c->offset, sizeof c->offset, "%d", i + 1);
        c->closed = i + 1 == BATCHES;
        if (i % 2 == 0 || c->closed) {
            rc = ds_export_commit(x, c, err);
            if (rc == DSTREAM_OK)
                j->at_commit = i + 1;
        }
    }
    return rc;
}

/* One run of the command: as it is used, with a last try to commit what is good after a failure. */
static enum dstream_code run(struct job *j, struct dstream_error *err)
{
    struct ds_export *x;
    static struct ds_checkpoint c;
    enum dstream_code rc = ds_export_open(&x, &j->o, err);
    if (rc != DSTREAM_OK)
        return rc;
    memset(&c, 0, sizeof c);
    const struct ds_checkpoint *was = ds_export_state(x);
    if (was)
        c = *was;
    else
        strcpy(c.offset, "0");
    if (ds_export_complete(x)) {
        ds_export_free(x);
        return DSTREAM_OK;
    }
    rc = ds_export_confirm(x, &c, err);
    if (rc == DSTREAM_OK) {
        rc = take_batches(x, &c, j, err);
        struct dstream_error second = {0};
        enum dstream_code last = ds_export_commit(x, &c, rc == DSTREAM_OK ? err : &second);
        if (last == DSTREAM_OK)
            j->at_commit = atoi(c.offset);
        else if (rc == DSTREAM_OK)
            rc = last;
    }
    ds_export_free(x);
    return rc;
}

/* --- crashes and failures at every step --------------------------------------------------------
 */

static const char *const dirs[] = {"a", "b"};

struct scene {
    const char *name, *state;
    bool overwrite, append, reset;
    int before;           /* batches that an earlier run has taken; -1: there was none */
    const char *existing; /* what the file held before the first run; NULL: not there */
    bool unsynced;        /* and whoever wrote it has not synced it */
    const char *junk;     /* put behind it after the earlier run */
    const char *kept;     /* what the finished file has before the stream */
    enum ds_pack_kind pack;
};

static const struct scene scenes[] = {
    {.name = "new", .before = -1},
    {.name = "new, state elsewhere", .state = "b/the.state", .before = -1},
    {.name = "overwrite",
     .overwrite = true,
     .before = -1,
     .existing = "old contents that are longer than the stream is as a whole"},
    {.name = "append", .append = true, .before = -1, .existing = "old\n", .kept = "old\n"},
    {.name = "append to an empty file",
     .state = "b/s",
     .append = true,
     .before = -1,
     .existing = ""},
    {.name = "append to what was not synced",
     .append = true,
     .before = -1,
     .existing = "old\n",
     .unsynced = true,
     .kept = "old\n"},
    {.name = "resume", .before = 3},
    {.name = "resume a longer file", .before = 3, .junk = "half of a bat"},
    {.name = "resume a longer file, state elsewhere",
     .state = "b/s",
     .before = 3,
     .junk = "half of a bat"},
    {.name = "resume with the options of a service",
     .overwrite = true,
     .before = 1,
     .junk = "half"},
    {.name = "reset and overwrite", .overwrite = true, .reset = true, .before = 3, .junk = "half"},
    {.name = "resume an append",
     .append = true,
     .before = 3,
     .existing = "old\n",
     .junk = "half",
     .kept = "old\n"},
    {.name = "gzip", .before = -1, .pack = DS_PACK_GZIP},
    {.name = "gzip, resumed", .before = 3, .junk = "half of a member", .pack = DS_PACK_GZIP},
    {.name = "zstd", .before = -1, .pack = DS_PACK_ZSTD},
};

static struct job job_of(const struct scene *s, struct sim_fs *fs)
{
    return (struct job){.o = {.ops = &fs->ops,
                              .path = "a/out",
                              .state = s->state,
                              .overwrite = s->overwrite,
                              .append = s->append,
                              .reset = s->reset,
                              .pack = s->pack},
                        .stop_after = -1};
}

static struct sim_fs *stage(const struct scene *s)
{
    struct sim_fs *fs = sim_new(dirs);
    if (s->existing)
        sim_put(fs, 0, "out", s->existing, strlen(s->existing), !s->unsynced);
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
        int fd = fs->ops.open(fs, dir, "out", DS_OPEN_UPDATE);
        struct ds_file_info info;
        cr_assert_eq(fs->ops.info(fs, fd, &info), 0);
        cr_assert_eq(ds_file_write(&fs->ops, fd, s->junk, strlen(s->junk), info.size), 0);
        sim_exit(fs);
    }
    return fs;
}

/* What the file must have before the stream. What others wrote and did not sync may be lost, as
 * long as no state speaks of it. */
static struct sim_bytes what_is_kept(const struct sim_fs *fs, const struct scene *s)
{
    struct sim_bytes b = {.len = s->kept ? strlen(s->kept) : 0};
    if (s->kept)
        memcpy(b.data, s->kept, b.len);
    const struct sim_bytes *now = sim_get(fs, 0, "out");
    if (s->unsynced && !sim_get(fs, 0, "out.dstate"))
        b = now ? *now : (struct sim_bytes){0};
    return b;
}

static int put_bytes(void *ctx, const void *p, size_t n)
{
    struct sim_bytes *b = ctx;
    cr_assert_leq(b->len + n, SIM_SIZE);
    memcpy(b->data + b->len, p, n);
    b->len += n;
    return 0;
}

/* What is in the file, as whoever unpacks it sees it; up to where it is no longer right. */
static const struct sim_bytes *get_output(const struct sim_fs *fs, const struct scene *s)
{
    static struct sim_bytes out;
    const struct sim_bytes *b = sim_get(fs, 0, "out");
    if (!b || s->pack == DS_PACK_NONE)
        return b;
    struct ds_unpack *u = ds_unpack_new(s->pack);
    out.len = 0;
    for (size_t i = 0; i < b->len && ds_unpack_add(u, b->data + i, 1, put_bytes, &out) == 0; i++)
        continue;
    ds_unpack_free(u);
    return &out;
}

static void expect_output(const struct sim_fs *fs, const struct scene *s,
                          const struct sim_bytes *kept, const char *when, long n,
                          unsigned long choice)
{
    struct sim_bytes want = *kept;
    for (int i = 0; i < BATCHES; i++) {
        memcpy(want.data + want.len, stream[i], strlen(stream[i]));
        want.len += strlen(stream[i]);
    }
    const struct sim_bytes *got = get_output(fs, s);
    if (!got || got->len != want.len || memcmp(got->data, want.data, got->len) != 0)
        cr_assert_fail("%s, %s %ld, choice %lu: the file is \"%.*s\"", s->name, when, n, choice,
                       got ? (int)got->len : 0, got ? (const char *)got->data : "");
}

/* Runs it again to the end, as often as it takes, the way a service does that is restarted. */
static void expect_resume(struct sim_fs *fs, const struct scene *s, const char *when, long n,
                          unsigned long choice)
{
    struct sim_bytes kept = what_is_kept(fs, s);
    struct job j = job_of(s, fs);
    struct dstream_error err = {0};
    enum dstream_code rc = run(&j, &err);
    if (rc != DSTREAM_OK)
        cr_assert_fail("%s, %s %ld, choice %lu: %s", s->name, when, n, choice, err.message);
    expect_output(fs, s, &kept, when, n, choice);
}

/* What a run said was committed must be in what survives. */
static void expect_kept(const struct sim_fs *fs, const struct scene *s, const struct job *j, long n,
                        unsigned long choice)
{
    char want[SIM_SIZE];
    strcpy(want, s->kept ? s->kept : "");
    for (int i = 0; i < j->at_commit; i++)
        strcat(want, stream[i]);
    const struct sim_bytes *got = get_output(fs, s);
    if (j->at_commit > 0 &&
        (!got || got->len < strlen(want) || memcmp(got->data, want, strlen(want)) != 0))
        cr_assert_fail("%s, %ld, choice %lu: lost what was committed", s->name, n, choice);
}

static void crash_in_every_way(const struct sim_fs *fs, const struct scene *s, const struct job *j,
                               const char *when, long n)
{
    unsigned long choices = sim_choices(fs);
    cr_assert_lt(choices, 100000, "%s, %s %ld: %lu", s->name, when, n, choices);
    for (unsigned long choice = 0; choice < choices; choice++) {
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
    struct sim_bytes kept = what_is_kept(fs, s);
    cr_assert_eq(run(&j, &err), DSTREAM_OK, "%s: %s", s->name, err.message);
    expect_output(fs, s, &kept, "without trouble", 0, 0);
    long calls = fs->calls;
    sim_free(fs);
    return calls;
}

static void kill_at_each_call(const struct scene *s)
{
    long calls = calls_of(s);
    for (long n = 0; n <= calls; n += UNIT_SHARE) {
        struct sim_fs *fs = stage(s);
        struct job j = job_of(s, fs);
        struct dstream_error err = {0};
        fs->fail_at = n;
        fs->dies = true;
        run(&j, &err);
        crash_in_every_way(fs, s, &j, "power lost at call", n);
        sim_exit(fs);
        expect_resume(fs, s, "killed at call", n, 0);
        sim_free(fs);
    }
}

/* A process is killed while names are not durable yet; the next one, which sees them, is cut off at
 * each of its calls by a power failure, which brings the old names back. */
static void kill_and_lose_power(const struct scene *s)
{
    long calls = calls_of(s);
    for (long n = 0; n <= calls; n += UNIT_SHARE) {
        struct sim_fs *fs = stage(s);
        struct job j = job_of(s, fs);
        struct dstream_error err = {0};
        fs->fail_at = n;
        fs->dies = true;
        run(&j, &err);
        sim_exit(fs);
        for (long m = 0; sim_names_unsynced(fs) && m <= calls; m++) {
            struct sim_fs *second = sim_copy(fs);
            struct job again = job_of(s, second);
            again.o.reset = false;
            second->fail_at = m;
            second->dies = true;
            run(&again, &err);
            crash_in_every_way(second, s, &again, "power lost in the second run at call", m);
            sim_free(second);
        }
        sim_free(fs);
    }
}

/* After a failure of any call the run ends with an error, or did all the same what it should, and
 * both a new process and a new boot go on rightly. */
static void fail_each_call(const struct scene *s, int with)
{
    long calls = calls_of(s);
    for (long n = 0; n < calls; n += UNIT_SHARE) {
        struct sim_fs *fs = stage(s);
        struct job j = job_of(s, fs);
        struct dstream_error err = {0};
        fs->fail_at = n;
        fs->fail_with = with;
        struct sim_bytes kept = what_is_kept(fs, s);
        enum dstream_code rc = run(&j, &err);
        if (rc == DSTREAM_OK)
            expect_output(fs, s, &kept, "with a failure that does not matter at call", n, 0);
        else
            cr_expect_neq(err.message[0], '\0');
        cr_expect(strcmp(fs->last, "close") == 0 || strcmp(fs->last, "truncate") == 0 ||
                      rc != DSTREAM_OK,
                  "%s: a failed %s went unnoticed", s->name, fs->last);
        crash_in_every_way(fs, s, &j, "power lost after a failure of call", n);
        sim_exit(fs);
        expect_resume(fs, s, "failed at call", n, 0);
        sim_free(fs);
    }
}

#define COUNT(a) (sizeof(a) / sizeof *(a))

Test(export_file, goes_on_rightly_after_a_crash_at_any_call)
{
    for (size_t i = 0; i < COUNT(scenes); i++)
        kill_at_each_call(&scenes[i]);
}

Test(export_file, goes_on_rightly_after_a_kill_and_then_a_power_failure)
{
    for (size_t i = 0; i < COUNT(scenes); i++)
        kill_and_lose_power(&scenes[i]);
}

Test(export_file, goes_on_rightly_after_a_failure_of_any_call)
{
    for (size_t i = 0; i < COUNT(scenes); i++)
        fail_each_call(&scenes[i], i % 2 ? EIO : ENOSPC);
}

/* --- on a real file system ---------------------------------------------------------------------
 */

TestSuite(files, .init = home_enter, .fini = home_leave);

static void put(const char *path, const char *text)
{
    FILE *f = fopen(path, "wb");
    cr_assert_not_null(f);
    fputs(text, f);
    cr_assert_eq(fclose(f), 0);
}

/* The file's contents, "(none)" where there is none. In one of a few static buffers. */
static const char *get(const char *path)
{
    static char text[4][4096];
    static int turn;
    char *t = text[turn++ % 4];
    FILE *f = fopen(path, "rb");
    if (!f)
        return "(none)";
    size_t n = fread(t, 1, sizeof text[0] - 1, f);
    t[n] = '\0';
    fclose(f);
    return t;
}

/* Everything in a directory, as one hash, lock files left out. */
static void snapshot(const char *dir, char out[DS_HASH_HEX])
{
    struct dirent **list;
    struct ds_hash *h = ds_hash_new();
    int n = scandir(dir, &list, NULL, alphasort);
    for (int i = 0; i < n; i++) {
        char path[512];
        snprintf(path, sizeof path, "%s/%s", dir, list[i]->d_name);
        struct stat st;
        cr_assert_eq(lstat(path, &st), 0);
        if (S_ISREG(st.st_mode) && !strstr(path, ".lock")) {
            ds_hash_add(h, path, strlen(path) + 1);
            const char *text = get(path);
            ds_hash_add(h, text, strlen(text) + 1);
        }
        free(list[i]);
    }
    free(list);
    ds_hash_hex(h, out);
    ds_hash_free(h);
}

static const char WHOLE[] = "first;2nd batch;the third batch of it;end.";

static struct job job_at(const char *path)
{
    return (struct job){.o = {.path = path}, .stop_after = -1};
}

static enum dstream_code run_at(const char *path, int stop_after, struct dstream_error *err)
{
    struct job j = job_at(path);
    j.stop_after = stop_after;
    return run(&j, err);
}

/* Opens and makes it ready, and leaves it open. */
static struct ds_export *held(const char *path, const char *state)
{
    struct ds_export_options o = {.path = path, .state = state};
    struct ds_checkpoint c = {.offset = "0"};
    struct dstream_error err = {0};
    struct ds_export *x;
    cr_assert_eq(ds_export_open(&x, &o, &err), DSTREAM_OK, "%s", err.message);
    cr_assert_eq(ds_export_confirm(x, &c, &err), DSTREAM_OK, "%s", err.message);
    return x;
}

static void expect_refused(const struct ds_export_options *o, enum dstream_code code,
                           const char *says)
{
    char before[DS_HASH_HEX], after[DS_HASH_HEX];
    struct ds_export *x = NULL;
    struct dstream_error err = {0};
    snapshot(".", before);
    cr_expect_eq(ds_export_open(&x, o, &err), code, "%s: %s", o->path, err.message);
    cr_expect_null(x);
    cr_expect(strstr(err.message, says), "%s", err.message);
    snapshot(".", after);
    cr_expect_str_eq(before, after, "something was touched");
    ds_export_free(x);
}

static void refused(const char *path, enum dstream_code code, const char *says)
{
    struct ds_export_options o = {.path = path};
    expect_refused(&o, code, says);
}

Test(files, a_finished_export_is_complete)
{
    struct dstream_error err = {0};
    cr_assert_eq(run_at("out", 2, &err), DSTREAM_OK);
    cr_expect_str_eq(get("out"), "first;");
    cr_assert_eq(run_at("out", -1, &err), DSTREAM_OK);
    cr_expect_str_eq(get("out"), WHOLE);
    struct ds_export_options o = {.path = "out"};
    struct ds_export *x;
    cr_assert_eq(ds_export_open(&x, &o, &err), DSTREAM_OK);
    cr_expect(ds_export_complete(x));
    ds_export_free(x);
    FILE *f = fopen("out", "ab");
    fputs("more", f);
    fclose(f);
    cr_assert_eq(ds_export_open(&x, &o, &err), DSTREAM_OK);
    cr_expect_not(ds_export_complete(x), "a longer file is still to be cut");
    ds_export_free(x);
}

Test(files, nothing_is_changed_before_the_stream_is_confirmed)
{
    struct dstream_error err = {0};
    cr_assert_eq(run_at("out", 3, &err), DSTREAM_OK);
    FILE *f = fopen("out", "ab");
    fputs("half of a batch", f);
    fclose(f);
    char before[DS_HASH_HEX], after[DS_HASH_HEX];
    snapshot(".", before);
    struct ds_export_options o = {.path = "out"};
    struct ds_export *x;
    cr_assert_eq(ds_export_open(&x, &o, &err), DSTREAM_OK);
    cr_expect_eq(ds_export_write(x, "x", 1, &err), DSTREAM_ERR_STATE);
    cr_expect_eq(ds_export_commit(x, ds_export_state(x), &err), DSTREAM_ERR_STATE);
    ds_export_free(x);
    snapshot(".", after);
    cr_expect_str_eq(before, after);
    o = (struct ds_export_options){.path = "new"};
    cr_assert_eq(ds_export_open(&x, &o, &err), DSTREAM_OK);
    ds_export_free(x);
    snapshot(".", after);
    cr_expect_str_eq(before, after);
}

Test(files, a_file_that_does_not_fit_its_state_is_refused)
{
    struct dstream_error err = {0};
    cr_assert_eq(run_at("out", 3, &err), DSTREAM_OK);
    put("out", "first;2nd batc");
    refused("out", DSTREAM_ERR_STATE_MISMATCH, "14 bytes where");
    put("out", "first;2nd BATCH; and more");
    refused("out", DSTREAM_ERR_STATE_MISMATCH, "contents are not");
    cr_assert_eq(unlink("out"), 0);
    refused("out", DSTREAM_ERR_STATE_MISMATCH, "it is gone");
    put("out", "first;2nd batch;the third");
    cr_expect_eq(run_at("out", -1, &err), DSTREAM_OK, "%s", err.message);
    cr_expect_str_eq(get("out"), WHOLE);
    /* A state that is damaged is never the same as none. */
    put("out.dstate", "");
    refused("out", DSTREAM_ERR_STATE_CORRUPT, "is empty");
    struct ds_export_options o = {.path = "out", .overwrite = true, .reset = true};
    expect_refused(&o, DSTREAM_ERR_STATE_CORRUPT, "is empty");
    /* A changed byte further back than what is hashed goes unseen, one within it does not. */
    FILE *f = fopen("big", "wb");
    for (int i = 0; i < 100000; i++)
        fputc('a' + i % 7, f);
    fclose(f);
    o = (struct ds_export_options){.path = "big", .append = true};
    struct ds_export *x;
    struct ds_checkpoint c = {.offset = "0"};
    cr_assert_eq(ds_export_open(&x, &o, &err), DSTREAM_OK);
    cr_assert_eq(ds_export_confirm(x, &c, &err), DSTREAM_OK);
    ds_export_free(x);
    f = fopen("big", "r+b");
    cr_assert_eq(fseek(f, 100000 - DS_CHECKPOINT_TAIL, SEEK_SET), 0);
    fputc('Z', f);
    fclose(f);
    refused("big", DSTREAM_ERR_STATE_MISMATCH, "contents are not");
}

Test(files, a_file_without_a_state_is_kept_unless_told_otherwise)
{
    put("out", "mine\n");
    refused("out", DSTREAM_ERR_EXISTS, "has no state file");
    struct ds_export_options both = {.path = "out", .overwrite = true, .append = true};
    expect_refused(&both, DSTREAM_ERR_ARGUMENT, "exclude");
    struct dstream_error err = {0};
    struct job j = job_at("out");
    j.o.append = true;
    cr_assert_eq(run(&j, &err), DSTREAM_OK);
    char want[128];
    snprintf(want, sizeof want, "mine\n%s", WHOLE);
    cr_expect_str_eq(get("out"), want);
    struct ds_export_options reset = {.path = "out", .reset = true};
    expect_refused(&reset, DSTREAM_ERR_EXISTS, "forgotten");
    j.o.append = false;
    j.o.reset = j.o.overwrite = true;
    cr_assert_eq(run(&j, &err), DSTREAM_OK);
    cr_expect_str_eq(get("out"), WHOLE);
}

Test(files, reset_forgets_the_position_and_not_the_file)
{
    struct dstream_error err = {0};
    cr_assert_eq(run_at("out", 3, &err), DSTREAM_OK);
    FILE *f = fopen("out", "ab");
    fputs("half of a batch", f);
    fclose(f);
    struct job j = job_at("out");
    j.o.reset = j.o.append = true;
    cr_assert_eq(run(&j, &err), DSTREAM_OK);
    char want[128];
    snprintf(want, sizeof want, "first;2nd batch;%s", WHOLE);
    cr_expect_str_eq(get("out"), want);
    put("out", "other");
    struct ds_export_options o = {.path = "out", .append = true, .reset = true};
    expect_refused(&o, DSTREAM_ERR_STATE_MISMATCH, "5 bytes where");
    cr_assert_eq(unlink("out"), 0);
    j.o.append = false;
    cr_assert_eq(run(&j, &err), DSTREAM_OK, "a file that is gone is begun anew");
    cr_expect_str_eq(get("out"), WHOLE);
}

Test(files, a_second_exporter_is_refused_and_touches_nothing)
{
    struct ds_export *x = held("out", "st");
    refused("out", DSTREAM_ERR_LOCKED, "out");
    struct ds_export_options o = {.path = "other", .state = "st"};
    expect_refused(&o, DSTREAM_ERR_LOCKED, "st");
    cr_expect_neq(access("other.lock", F_OK), 0, "not even a lock");
    o = (struct ds_export_options){.path = "out", .state = "st2", .overwrite = true};
    expect_refused(&o, DSTREAM_ERR_LOCKED, "out");
    /* By another name: the file itself is locked as well. */
    cr_assert_eq(rename("out", "renamed"), 0);
    o = (struct ds_export_options){.path = "renamed", .append = true};
    expect_refused(&o, DSTREAM_ERR_LOCKED, "renamed");
    ds_export_free(x);
    x = held("third", NULL);
    ds_export_free(x);
    x = held("third", NULL);
    ds_export_free(x);
}

Test(files, another_process_is_refused_until_the_first_has_ended)
{
    int up[2], down[2];
    cr_assert_eq(pipe(up) | pipe(down), 0);
    pid_t child = fork();
    if (child == 0) {
        held("out", NULL);
        char c = 'x';
        _exit(write(up[1], &c, 1) != 1 || read(down[0], &c, 1) != 1);
    }
    char c;
    cr_assert_eq(read(up[0], &c, 1), 1);
    refused("out", DSTREAM_ERR_LOCKED, "another process");
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    struct dstream_error err = {0};
    cr_expect_eq(run_at("out", -1, &err), DSTREAM_OK, "%s", err.message);
    close(up[0]), close(up[1]), close(down[0]), close(down[1]);
}

Test(files, who_has_the_whole_directory_keeps_others_out)
{
    int fd = open(".", O_RDONLY | O_DIRECTORY);
    cr_assert_eq(flock(fd, LOCK_EX | LOCK_NB), 0);
    refused("out", DSTREAM_ERR_LOCKED, "directory");
    cr_assert_eq(flock(fd, LOCK_UN), 0);
    struct ds_export *x = held("out", NULL), *y = held("out2", NULL);
    cr_expect_eq(flock(fd, LOCK_EX | LOCK_NB), -1);
    ds_export_free(x);
    ds_export_free(y);
    cr_expect_eq(flock(fd, LOCK_EX | LOCK_NB), 0);
    close(fd);
}

Test(files, descriptors_do_not_leak_into_programs_that_are_started)
{
    struct ds_export *x = held("out", NULL);
    int open_fds = 0;
    for (int fd = 3; fd < 64; fd++) {
        int flags = fcntl(fd, F_GETFD);
        struct stat st, here;
        if (flags < 0 || fstat(fd, &st) < 0 || stat(home, &here) < 0 || st.st_dev != here.st_dev ||
            S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode))
            continue;
        char link[64], target[512];
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        ssize_t n = readlink(link, target, sizeof target - 1);
        if (n <= 0 || strncmp(target, home, strlen(home)) != 0)
            continue;
        open_fds++;
        cr_expect(flags & FD_CLOEXEC);
    }
    cr_expect_geq(open_fds, 5, "two directories, two locks and the output");
    ds_export_free(x);
}

Test(files, a_directory_that_is_moved_takes_its_exporter_along)
{
    cr_assert_eq(mkdir("d", 0700), 0);
    struct ds_export *x = held("d/out", NULL);
    cr_assert_eq(rename("d", "moved"), 0);
    cr_assert_eq(mkdir("d", 0700), 0);
    struct ds_checkpoint c = {.offset = "1"};
    struct dstream_error err = {0};
    cr_expect_eq(ds_export_write(x, "abc", 3, &err), DSTREAM_OK);
    cr_expect_eq(ds_export_commit(x, &c, &err), DSTREAM_OK);
    cr_expect_str_eq(get("moved/out"), "abc");
    cr_expect_str_eq(get("d/out"), "(none)");
    cr_expect_str_eq(get("d/out.dstate"), "(none)");
    refused("moved/out", DSTREAM_ERR_LOCKED, "moved/out");
    struct ds_export *y = held("d/out", NULL);
    ds_export_free(y);
    ds_export_free(x);
    cr_expect_eq(run_at("moved/out", -1, &err), DSTREAM_OK);
}

Test(files, names_that_cannot_be_exported_to)
{
    cr_assert_eq(mkdir("dir", 0700), 0);
    cr_assert_eq(mkfifo("fifo", 0600), 0);
    put("file", "x");
    cr_assert_eq(symlink("file", "link"), 0);
    cr_assert_eq(symlink("nowhere", "dangling"), 0);
    cr_assert_eq(mkdir("isdir.dstate", 0700), 0);
    refused("dir", DSTREAM_ERR_IO, "is a directory");
    refused("dir/", DSTREAM_ERR_ARGUMENT, "names no file");
    refused(".", DSTREAM_ERR_ARGUMENT, "names no file");
    refused("", DSTREAM_ERR_ARGUMENT, "names no file");
    refused("fifo", DSTREAM_ERR_IO, "not a regular file");
    refused("file/out", DSTREAM_ERR_IO, "Not a directory");
    refused("missing/out", DSTREAM_ERR_IO, "No such file or directory");
    refused("link", DSTREAM_ERR_IO, "symbolic link");
    refused("dangling", DSTREAM_ERR_IO, "symbolic link");
    refused("isdir", DSTREAM_ERR_IO, "is a directory");
    struct ds_export_options o = {.path = "x", .state = "x"};
    expect_refused(&o, DSTREAM_ERR_ARGUMENT, "cannot have the name");
    o.state = "x.lock";
    expect_refused(&o, DSTREAM_ERR_ARGUMENT, "cannot have the name");
    o = (struct ds_export_options){.path = "s.lock", .state = "./s"};
    expect_refused(&o, DSTREAM_ERR_ARGUMENT, "cannot have the name");
    o = (struct ds_export_options){.path = "s.tmp", .state = "dir/../s"};
    expect_refused(&o, DSTREAM_ERR_ARGUMENT, "cannot have the name");
}

Test(files, directories_may_be_symbolic_links)
{
    cr_assert_eq(mkdir("real", 0700) | mkdir("states", 0700), 0);
    cr_assert_eq(symlink("real", "d") | symlink("states", "s"), 0);
    struct job j = job_at("d/out");
    j.o.state = "s/st";
    j.stop_after = 2;
    struct dstream_error err = {0};
    cr_assert_eq(run(&j, &err), DSTREAM_OK, "%s", err.message);
    j = job_at("real/out");
    j.o.state = "states/st";
    cr_assert_eq(run(&j, &err), DSTREAM_OK, "%s", err.message);
    cr_expect_str_eq(get("real/out"), WHOLE);
}

Test(files, a_file_that_may_not_be_written_says_so)
{
    struct ds_faulty f;
    put("out", "x");
    ds_faulty_init(&f, DS_FAULT_FAIL, 5); /* two directories, three times a lock, then the state */
    f.only = "open";
    f.error = EACCES;
    struct ds_export_options o = {.path = "out", .append = true, .ops = &f.ops};
    expect_refused(&o, DSTREAM_ERR_IO, "Permission denied");
    f.calls = 0;
    f.at = 6; /* and the output */
    f.error = EROFS;
    expect_refused(&o, DSTREAM_ERR_IO, "out: cannot open it for writing: the file system is read-");
}

Test(files, a_full_disk_leaves_a_state_that_resumes)
{
    static char block[4096];
    memset(block, 'x', sizeof block);
    struct rlimit old, small;
    cr_assert_eq(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = old;
    small.rlim_cur = 10 * sizeof block + 100;
    signal(SIGXFSZ, SIG_IGN);
    struct ds_export *x = held("out", NULL);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
    struct ds_checkpoint c = {.offset = "0"};
    struct dstream_error err = {0};
    int good = 0;
    while (ds_export_write(x, block, sizeof block, &err) == DSTREAM_OK)
        snprintf(c.offset, sizeof c.offset, "%d", ++good);
    cr_expect_eq(good, 10);
    cr_expect_eq(err.code, DSTREAM_ERR_IO);
    cr_expect(strstr(err.message, "larger than the limit"), "%s", err.message);
    struct dstream_error second = {0};
    cr_expect_eq(ds_export_write(x, "y", 1, &second), DSTREAM_ERR_IO, "a failed write is final");
    cr_expect_eq(ds_export_commit(x, &c, &second), DSTREAM_OK, "%s", second.message);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &old), 0);
    ds_export_free(x);
    struct ds_export_options o = {.path = "out"};
    cr_assert_eq(ds_export_open(&x, &o, &err), DSTREAM_OK);
    cr_expect_str_eq(ds_export_state(x)->offset, "10");
    cr_expect_eq(ds_export_state(x)->length, 10 * sizeof block);
    ds_export_free(x);
}

Test(files, a_failed_sync_ends_committing_for_good)
{
    static const char *const kinds[] = {"sync_data", "sync"};
    for (size_t k = 0; k < 2; k++) {
        struct ds_faulty f;
        ds_faulty_init(&f, DS_FAULT_FAIL, -1);
        f.only = kinds[k];
        f.error = EIO;
        char name[16];
        snprintf(name, sizeof name, "out%zu", k);
        struct ds_export_options o = {.path = name, .ops = &f.ops};
        struct ds_checkpoint c = {.offset = "0"};
        struct dstream_error err = {0};
        struct ds_export *x;
        cr_assert_eq(ds_export_open(&x, &o, &err), DSTREAM_OK);
        cr_assert_eq(ds_export_confirm(x, &c, &err), DSTREAM_OK);
        cr_assert_eq(ds_export_write(x, "abc", 3, &err), DSTREAM_OK);
        f.at = f.calls;
        cr_expect_eq(ds_export_commit(x, &c, &err), DSTREAM_ERR_IO);
        cr_expect(strstr(err.message, "cannot sync it"), "%s", err.message);
        cr_expect_eq(ds_export_commit(x, &c, &err), DSTREAM_ERR_IO);
        cr_expect(strstr(err.message, "earlier sync failed"), "%s", err.message);
        ds_export_free(x);
    }
}

/* The same as in memory, with real kills of a real process. */
static bool killed_at(enum ds_fault fault, long n, int before)
{
    struct ds_faulty f;
    ds_faulty_init(&f, fault, n);
    pid_t child = fork();
    if (child == 0) {
        struct job j = job_at("out");
        struct dstream_error err = {0};
        j.o.ops = &f.ops;
        j.o.overwrite = before < 0;
        _exit(run(&j, &err) == DSTREAM_OK ? 0 : 1);
    }
    int status;
    cr_assert_eq(waitpid(child, &status, 0), child);
    if (WIFEXITED(status))
        cr_assert_eq(WEXITSTATUS(status), 0);
    return WIFSIGNALED(status);
}

Test(files, a_killed_export_goes_on_where_it_was)
{
    static const int befores[] = {-1, 0, 3};
    for (size_t b = 0; b < COUNT(befores); b++) {
        for (int fault = DS_FAULT_KILL_BEFORE; fault <= DS_FAULT_KILL_AFTER; fault++) {
            bool more = true;
            for (long n = 0; more; n += UNIT_SHARE) {
                struct dstream_error err = {0};
                if (befores[b] < 0)
                    put("out", "to be overwritten, and longer than what there is of the stream");
                else if (befores[b] > 0)
                    cr_assert_eq(run_at("out", befores[b], &err), DSTREAM_OK);
                more = killed_at((enum ds_fault)fault, n, befores[b]);
                struct job j = job_at("out");
                j.o.overwrite = true;
                cr_assert_eq(run(&j, &err), DSTREAM_OK, "%s", err.message);
                cr_expect_str_eq(get("out"), WHOLE, "%d, %d, %ld", befores[b], fault, n);
                unlink("out");
                unlink("out.dstate");
            }
        }
    }
}

/* --- a state without a file --------------------------------------------------------------------
 */

Test(files, a_state_by_itself_is_kept_and_locked)
{
    struct ds_state *s, *t;
    struct dstream_error err = {0};
    cr_assert_eq(ds_state_open(&s, NULL, "st", &err), DSTREAM_OK, "%s", err.message);
    cr_expect_not(s->exists);
    cr_expect_eq(ds_state_open(&t, NULL, "st", &err), DSTREAM_ERR_LOCKED);
    cr_expect_null(t);
    struct ds_checkpoint c = {.offset = "7", .skip = 3};
    cr_expect_eq(ds_state_commit(s, &c, &err), DSTREAM_OK);
    strcpy(c.offset, "8");
    cr_expect_eq(ds_state_commit(s, &c, &err), DSTREAM_OK);
    ds_state_free(s);
    cr_assert_eq(ds_state_open(&s, NULL, "st", &err), DSTREAM_OK);
    cr_expect(s->exists);
    cr_expect_str_eq(s->last.offset, "8");
    cr_expect_eq(s->last.skip, 3);
    cr_expect_eq(strlen(s->last.time), strlen("2026-07-01T00:00:00Z"));
    ds_state_free(s);
    cr_expect_str_eq(get("st.tmp"), "(none)");
    struct ds_export_options o = {.path = "out", .state = "st"};
    expect_refused(&o, DSTREAM_ERR_STATE_MISMATCH, "no output file");
    ds_export_free(held("out", NULL));
    cr_expect_eq(ds_state_open(&s, NULL, "out.dstate", &err), DSTREAM_ERR_STATE_MISMATCH);
}

Test(files, a_state_whose_sync_failed_is_not_committed_again)
{
    struct ds_faulty f;
    ds_faulty_init(&f, DS_FAULT_FAIL, -1);
    f.only = "sync";
    f.error = EIO;
    struct ds_state *s;
    struct dstream_error err = {0};
    for (long later = 0; later < 2; later++) { /* the new file's, and the directory's */
        f.at = -1;
        cr_assert_eq(ds_state_open(&s, &f.ops, "st", &err), DSTREAM_OK);
        struct ds_checkpoint c = {.offset = "7"};
        cr_expect_eq(ds_state_commit(s, &c, &err), DSTREAM_OK);
        f.at = f.calls + later;
        cr_expect_eq(ds_state_commit(s, &c, &err), DSTREAM_ERR_IO);
        cr_expect_eq(ds_state_commit(s, &c, &err), DSTREAM_ERR_IO);
        cr_expect(strstr(err.message, "earlier sync failed"), "%s", err.message);
        ds_state_free(s);
    }
}

Test(files, a_state_can_be_looked_at_while_it_is_in_use)
{
    struct ds_export *x = held("out", NULL);
    struct ds_checkpoint c;
    struct dstream_error err = {0};
    bool missing;
    cr_expect_eq(ds_state_show(NULL, "out.dstate", &c, &missing, &err), DSTREAM_OK);
    cr_expect_str_eq(c.offset, "0");
    cr_expect_eq(ds_state_show(NULL, "nothing", &c, &missing, &err), DSTREAM_ERR_IO);
    cr_expect(missing);
    cr_expect_eq(ds_state_show(NULL, "out", &c, &missing, &err), DSTREAM_ERR_STATE_CORRUPT);
    cr_expect_not(missing);
    ds_export_free(x);
}
