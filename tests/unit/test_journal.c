/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A producer with its journal in a file, on a file system that loses what was not synced: killed,
 * or the power gone, at each operation, and begun again from what is left. The server is the
 * smallest that keeps the protocol's word on producers.
 */
#include "config.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/journal.h"
#include "tests/unit/share.h"
#include "tests/unit/simfs.h"

#define PATH     "/d/j"
#define MESSAGES 5

static const char *const dirs[SIM_DIRS] = {"/d", "/e"};

/* --- the server ------------------------------------------------------------------------------- */

struct server {
    uint64_t epoch, last; /* `last`: the next sequence number that is due */
    char stream[256];
};

static int serve(struct server *s, uint64_t epoch, uint64_t seq, const char *body, size_t n)
{
    if (epoch < s->epoch)
        return 403;
    if (epoch > s->epoch) {
        if (seq != 0)
            return 400;
        s->epoch = epoch;
        s->last = 0;
    }
    if (seq < s->last)
        return 204;
    if (seq > s->last)
        return 409;
    s->last++;
    strncat(s->stream, body, n);
    return 200;
}

/* --- one run ---------------------------------------------------------------------------------- */

struct run {
    struct sim_fs *fs;
    struct server *server;
    struct ds_journal *j;
    struct ds_producer *p;
    uint64_t clock; /* unix ms */
    int64_t now;
    uint64_t mark;            /* messages given to the producer, in all runs */
    uint64_t number, durable; /* of the last record written, and made durable */
    bool failed;              /* the file system did */
    int lose;                 /* answers until one is lost; -1: none */
    char acked[256];          /* ids, told as stored */
};

static void answer(struct run *r, uint64_t id, int status, uint64_t epoch, uint64_t seq)
{
    struct ds_head h = {.status = status, .retry_after_ms = -1};
    struct ds_result whole = {.end = DS_END_COMPLETE, .connected = true};
    char text[64];
    ds_buf_init(&h.fields, 4096);
    ds_head_add(&h, "stream-next-offset", 18, "o1", 2);
    int n = snprintf(text, sizeof text, "%llu", (unsigned long long)epoch);
    ds_head_add(&h, "producer-epoch", 14, text, (size_t)n);
    n = snprintf(text, sizeof text, "%llu", (unsigned long long)seq);
    ds_head_add(&h, "producer-seq", 12, text, (size_t)n);
    ds_producer_connected(r->p, id, r->now);
    ds_producer_head(r->p, id, &h, r->now);
    ds_producer_end(r->p, id, &whole);
    ds_head_free(&h);
}

static uint64_t number_after(const struct ds_request *req, const char *name)
{
    for (size_t i = 0; i < req->nheaders; i++) {
        if (strncmp(req->headers[i], name, strlen(name)) == 0)
            return strtoull(req->headers[i] + strlen(name), NULL, 10);
    }
    cr_assert_fail("no %s", name);
    return 0;
}

static void request(struct run *r, uint64_t id, const struct ds_request *req)
{
    static const struct ds_result cut = {.end = DS_END_CUT, .connected = true, .detail = "cut"};
    uint64_t epoch = number_after(req, "Producer-Epoch: ");
    uint64_t seq = number_after(req, "Producer-Seq: ");
    int status = serve(r->server, epoch, seq, req->body, req->body_len);
    if (r->lose >= 0 && r->lose-- == 0)
        ds_producer_end(r->p, id, &cut);
    else
        answer(r, id, status, epoch, seq);
}

/* All that was written so far is made durable. False where there is nothing. */
static bool make_durable(struct run *r)
{
    struct dstream_error err = {0};
    if (r->number == r->durable)
        return false;
    r->durable = r->number;
    if (ds_journal_sync(r->j, &err) != DSTREAM_OK)
        r->failed = true;
    else
        ds_producer_durable(r->p, r->number);
    return true;
}

static void write_record(struct run *r, struct ds_record *rec)
{
    struct dstream_error err = {0};
    uint64_t number = rec->number;
    if (ds_journal_write(r->j, rec, r->clock, &err) != DSTREAM_OK)
        r->failed = true;
    else
        r->number = number;
}

/* One step; false once there is nothing to do. */
static bool step(struct run *r)
{
    struct ds_producer_step s = ds_producer_step(r->p, r->now, 7);
    switch (s.kind) {
    case DS_PRODUCER_STEP_JOURNAL:
        write_record(r, s.u.record);
        if (!r->failed && r->number - r->durable >= 6)
            make_durable(r); /* the file system keeps only so many changes */
        return !r->failed;
    case DS_PRODUCER_STEP_REQUEST:
        request(r, s.id, &s.u.request);
        return true;
    case DS_PRODUCER_STEP_ABORT:
        ds_producer_aborted(r->p, s.id, true);
        return true;
    case DS_PRODUCER_STEP_RESULT:
        for (uint64_t i = 0; i < s.u.result->count && s.u.result->fate == DS_FATE_ACKED; i++)
            r->acked[strlen(r->acked)] = (char)('a' + s.u.result->first + i);
        cr_assert_neq(s.u.result->fate, DS_FATE_NOT_WRITTEN, "%s", s.u.result->error->message);
        ds_producer_told(r->p);
        return true;
    case DS_PRODUCER_STEP_WAIT:
        if (make_durable(r))
            return !r->failed;
        if (r->failed || s.u.until == DS_NEVER)
            return false;
        r->now = s.u.until > r->now ? s.u.until : r->now + 1;
        return true;
    case DS_PRODUCER_STEP_NOTICE:
        return true;
    default:
        return false;
    }
}

static void witness_of(void *ctx, uint64_t mark, char out[DS_JOURNAL_WITNESS])
{
    (void)ctx;
    snprintf(out, DS_JOURNAL_WITNESS, "up to %llu", (unsigned long long)mark);
}

/* It stands with its mark, over crashes and files that are begun anew. */
static void check_witness(const struct run *r)
{
    char want[DS_JOURNAL_WITNESS] = "";
    if (r->mark > 0)
        witness_of(NULL, r->mark, want);
    cr_assert_str_eq(ds_journal_witness(r->j), want);
}

/* Opens the journal and the producer; false where the file system does not let it. */
static bool begin(struct run *r)
{
    static const struct ds_journal_about about = {"http://h/s", "p", "text/plain"};
    struct dstream_error err = {0};
    r->number = r->durable = 0;
    if (ds_journal_open(&r->j, &r->fs->ops, PATH, &about, &err) != DSTREAM_OK) {
        cr_assert(r->failed || err.code == DSTREAM_ERR_IO, "%s", err.message);
        return false;
    }
    ds_journal_set_waste(r->j, 300);
    struct ds_producer_config c = ds_producer_config_default();
    c.url = "http://h/s";
    c.content_type = "text/plain";
    c.id = "p";
    c.unix_ms = r->clock += 1000;
    c.random = 5;
    c.journal = true;
    c.linger = 1;
    c.window = 2;
    c.max_batch_items = 2;
    c.from = ds_journal_content(r->j);
    c.first_id = ds_journal_next_id(r->j);
    r->mark = c.from ? c.from->mark : 0;
    check_witness(r);
    ds_journal_set_witness(r->j, witness_of, NULL);
    cr_assert_eq(ds_producer_new(&r->p, &c, r->now, &err), DSTREAM_OK, "%s", err.message);
    return true;
}

static void end(struct run *r)
{
    ds_producer_free(r->p);
    ds_journal_free(r->j);
    r->p = NULL;
    r->j = NULL;
}

/* Gives what was not taken in, one by one, and flushes. */
static void feed(struct run *r)
{
    struct dstream_error err = {0};
    while (r->mark < MESSAGES && !r->failed) {
        char m = (char)('a' + r->mark);
        uint64_t id;
        cr_assert_eq(ds_producer_append(r->p, &m, 1, r->mark + 1, r->now, &id, &err),
                     DS_APPEND_TAKEN, "%s", err.message);
        cr_assert_eq(id, r->mark, "the id of a message is its place");
        r->mark++;
        for (int i = 0; i < 3 && step(r); i++)
            continue;
    }
    ds_producer_flush(r->p, r->now);
    for (int i = 0; i < 500 && !r->failed && step(r); i++)
        continue;
}

static void play(struct run *r)
{
    if (begin(r))
        feed(r);
    end(r);
}

static void check(const struct server *s, const struct run *r, const char *what, long at,
                  unsigned long choice)
{
    cr_assert_str_eq(s->stream, "abcde", "%s at call %ld, choice %lu: %s", what, at, choice,
                     s->stream);
    cr_assert(strstr("abcde", r->acked) || r->acked[0] == '\0' ||
                  strspn(r->acked, "abcde") == strlen(r->acked),
              "told: %s", r->acked);
}

Test(journal, goes_on_where_it_was)
{
    struct server server = {.epoch = 0};
    struct sim_fs *fs = sim_new(dirs);
    struct run r = {.fs = fs, .server = &server, .clock = 1700000000000, .now = 1, .lose = -1};
    struct ds_journal_summary sum;
    play(&r);
    check(&server, &r, "whole", 0, 0);
    cr_assert_str_eq(r.acked, "abcde");
    play(&r);
    cr_assert_str_eq(r.acked, "abcde", "nothing is told twice");
    struct dstream_error err = {0};
    static const struct ds_journal_about other = {"http://h/t", "p", "text/plain"};
    static const struct ds_journal_about name = {"http://h/s", "q", "text/plain"};
    cr_assert_eq(ds_journal_open(&r.j, &fs->ops, PATH, &other, &err), DSTREAM_ERR_STATE_MISMATCH);
    cr_assert_eq(ds_journal_open(&r.j, &fs->ops, PATH, &name, &err), DSTREAM_ERR_STATE_MISMATCH);
    (void)sum;
    sim_free(fs);
}

/* The process dies, or the power goes, at each operation in turn; an answer is lost at each place.
 */
static void die_at_each_call(int lose, bool power)
{
    for (long at = 0;; at += UNIT_SHARE) {
        struct server server = {.epoch = 0};
        struct sim_fs *fs = sim_new(dirs);
        struct run r = {
            .fs = fs, .server = &server, .clock = 1700000000000, .now = 1, .lose = lose};
        fs->fail_at = at;
        fs->fail_with = 5;
        fs->dies = true;
        play(&r);
        bool reached = fs->calls > at;
        fs->fail_at = -1;
        fs->dies = false;
        sim_exit(fs);
        unsigned long n = power ? sim_choices(fs) : 1;
        /* Of many ways to lose the power, some spread over all. */
        for (unsigned long choice = 0; choice < n; choice += n / 3 + 1) {
            struct server after = server;
            struct run q = r;
            q.fs = sim_copy(fs);
            q.server = &after;
            q.failed = false;
            q.lose = -1;
            if (power)
                sim_crash(q.fs, choice);
            play(&q);
            check(&after, &q, power ? "power" : "killed", at, choice);
            sim_free(q.fs);
        }
        sim_free(fs);
        if (!reached)
            return;
    }
}

Test(journal, survives_a_kill_at_each_step)
{
    for (int lose = -1; lose < 3; lose += 2)
        die_at_each_call(lose, false);
}

Test(journal, survives_power_failing_at_each_step)
{
    die_at_each_call(-1, true);
}

/* --- very many batches ------------------------------------------------------------------------ */

static int rewrites;

static int count_rename(void *ctx, int dir, const char *from, const char *to)
{
    rewrites++;
    return ds_fileops_system.rename(ctx, dir, from, to);
}

struct crowd {
    struct ds_producer *p;
    struct ds_journal *j;
    uint64_t epoch, fates[DS_FATE_KEPT + 1];
    uint64_t takes; /* messages in a request, at most */
};

static void split_or_store(struct crowd *c, uint64_t id, const struct ds_request *req)
{
    struct run r = {.p = c->p, .now = 1};
    bool fits = req->body_len <= c->takes;
    answer(&r, id, fits ? 200 : 413, number_after(req, "Producer-Epoch: "),
           number_after(req, "Producer-Seq: "));
}

/* False once nothing is to be done. */
static bool step_crowd(struct crowd *c)
{
    struct dstream_error err = {0};
    struct ds_producer_step s = ds_producer_step(c->p, 1, 7);
    switch (s.kind) {
    case DS_PRODUCER_STEP_JOURNAL: {
        uint64_t number = s.u.record->number;
        cr_assert_eq(ds_journal_write(c->j, s.u.record, 1, &err), DSTREAM_OK, "%s", err.message);
        ds_producer_durable(c->p, number);
        return true;
    }
    case DS_PRODUCER_STEP_REQUEST:
        split_or_store(c, s.id, &s.u.request);
        return true;
    case DS_PRODUCER_STEP_RESULT:
        c->fates[s.u.result->fate] += s.u.result->count;
        ds_producer_told(c->p);
        return true;
    default:
        return s.kind != DS_PRODUCER_STEP_WAIT && s.kind != DS_PRODUCER_STEP_DONE;
    }
}

/* As many messages in one batch, which is split until the server takes it, or until one alone is
 * refused. */
static void play_crowd(struct crowd *c, uint64_t messages, uint64_t waste)
{
    char path[] = "/tmp/journal-XXXXXX", name[64], lock[64];
    cr_assert_not_null(mkdtemp(path));
    snprintf(name, sizeof name, "%s/j", path);
    snprintf(lock, sizeof lock, "%s/j.lock", path);
    static const struct ds_journal_about about = {"http://h/s", "p", "text/plain"};
    struct ds_fileops ops = ds_fileops_system;
    struct dstream_error err = {0};
    uint64_t id;
    ops.rename = count_rename;
    cr_assert_eq(ds_journal_open(&c->j, &ops, name, &about, &err), DSTREAM_OK);
    ds_journal_set_waste(c->j, waste);
    struct ds_producer_config config = ds_producer_config_default();
    config.url = "http://h/s";
    config.content_type = "text/plain";
    config.id = "p";
    config.unix_ms = 1700000000000;
    config.journal = true;
    config.linger = 1000;
    cr_assert_eq(ds_producer_new(&c->p, &config, 1, &err), DSTREAM_OK, "%s", err.message);
    for (uint64_t i = 0; i < messages; i++)
        cr_assert_eq(ds_producer_append(c->p, "x", 1, i + 1, 1, &id, &err), DS_APPEND_TAKEN);
    ds_producer_flush(c->p, 1);
    while (step_crowd(c))
        continue;
    ds_producer_free(c->p);
    ds_journal_free(c->j);
    unlink(name);
    unlink(lock);
    cr_assert_eq(rmdir(path), 0);
}

Test(journal, holds_the_fates_of_very_many_batches)
{
    struct crowd c = {.takes = 0};
    play_crowd(&c, 20000, (uint64_t)4 << 20);
    cr_assert_eq(c.fates[DS_FATE_NOT_WRITTEN], 20000);
}

Test(journal, is_not_written_anew_for_each_of_many_small_batches)
{
    struct crowd c = {.takes = 1};
    rewrites = 0;
    play_crowd(&c, 2000, 4096);
    cr_assert_eq(c.fates[DS_FATE_ACKED], 2000);
    cr_assert_lt(rewrites, 40);
}
