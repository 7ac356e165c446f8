/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Exports into a database: each message, or byte, is in it once, whatever happened meanwhile. What
 * is in it is asked of SQLite itself.
 */
#include "config.h"

#include "tests/e2e/exporting.h"
#include "tests/e2e/killing.h"
#include "tests/e2e/reading.h"
#include "tests/e2e/scripted.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define DB e2e_path("db")

static const char *const types[] = {TYPE_JSON, TYPE_TEXT, TYPE_BINARY};

/* --- asking the database ---------------------------------------------------------------------- */

static sqlite3 *opened(void)
{
    sqlite3 *db;
    cr_assert_eq(sqlite3_open_v2(DB, &db, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK, "%s: %s", DB,
                 sqlite3_errmsg(db));
    sqlite3_busy_timeout(db, E2E_MS);
    return db;
}

static void execute(sqlite3 *db, const char *sql)
{
    char *why = NULL;
    if (sqlite3_exec(db, sql, NULL, NULL, &why) != SQLITE_OK)
        cr_assert_fail("%s: %s", sql, why);
}

/* All rows, columns joined by '|', rows ended by '\n'. */
static struct e2e_bytes ask(const char *sql)
{
    struct e2e_bytes all = e2e_text("");
    sqlite3 *db = opened();
    sqlite3_stmt *q;
    int rc = sqlite3_prepare_v2(db, sql, -1, &q, NULL);
    cr_assert_eq(rc, SQLITE_OK, "%s: %s", sql, sqlite3_errmsg(db));
    while ((rc = sqlite3_step(q)) == SQLITE_ROW) {
        for (int i = 0; i < sqlite3_column_count(q); i++) {
            const char *text = (const char *)sqlite3_column_text(q, i);
            e2e_add_text(&all, e2e_printf("%s%s", i ? "|" : "", text ? text : "NULL"));
        }
        e2e_add_text(&all, "\n");
    }
    cr_assert_eq(rc, SQLITE_DONE, "%s: %s", sql, sqlite3_errmsg(db));
    sqlite3_finalize(q);
    sqlite3_close(db);
    return all;
}

/* What there is of a stream, in this order; messages as lines. */
static struct e2e_bytes rows_of(const char *table, const char *url, const char *order)
{
    struct e2e_bytes all = e2e_text("");
    sqlite3 *db = opened();
    sqlite3_stmt *q;
    int rc = sqlite3_prepare_v2(
        db,
        e2e_printf("SELECT data, typeof(data) FROM %s WHERE stream = (SELECT id FROM "
                   "dstream_streams WHERE url = ?1 AND into_table = '%s') ORDER BY %s",
                   table, table, order),
        -1, &q, NULL);
    cr_assert_eq(rc, SQLITE_OK, "%s", sqlite3_errmsg(db));
    sqlite3_bind_text(q, 1, url, -1, SQLITE_STATIC);
    while ((rc = sqlite3_step(q)) == SQLITE_ROW) {
        const void *p = sqlite3_column_blob(q, 0);
        e2e_add(&all, p ? p : "", (size_t)sqlite3_column_bytes(q, 0));
        if (strcmp((const char *)sqlite3_column_text(q, 1), "text") == 0)
            e2e_add_text(&all, "\n");
    }
    cr_assert_eq(rc, SQLITE_DONE, "%s", sqlite3_errmsg(db));
    sqlite3_finalize(q);
    sqlite3_close(db);
    return all;
}

/* By their keys and in the order they came in alike. */
static void same_in(const char *table, const char *what, const struct written *w)
{
    e2e_same(what, rows_of(table, w->url, "\"offset\", \"index\""), w->want);
    e2e_same(what, rows_of(table, w->url, "rowid"), w->want);
}

static void same(const char *what, const struct written *w)
{
    same_in("messages", what, w);
}

/* All that is in it, for comparing. */
static struct e2e_bytes dump(void)
{
    struct e2e_bytes all = ask("SELECT id, into_table, url, \"offset\", skip, closed, state, "
                               "revision FROM dstream_streams ORDER BY id");
    struct e2e_bytes rows = ask("SELECT stream, \"offset\", \"index\", received, hex(data) FROM "
                                "messages ORDER BY 1, 2, 3");
    e2e_add(&all, rows.p, rows.n);
    return all;
}

static void begin(struct written w[3])
{
    for (size_t i = 0; i < 3; i++) {
        w[i] = written_begin(e2e_url(e2e_printf("s%zu", i)), types[i]);
        written_add(&w[i], 300);
    }
}

static void all_same(const char *what, const struct written w[3])
{
    for (size_t i = 0; i < 3; i++)
        same(e2e_printf("%s: %s", what, types[i]), &w[i]);
}

#define export_all(w, ...)                                                                         \
    dstream_run("export", (w)[0].url, (w)[1].url, (w)[2].url, "--sqlite", DB, __VA_ARGS__)

/* --- the whole of it -------------------------------------------------------------------------- */

E2E_BOTH(sqlite, has_each_stream_and_goes_on)
{
    struct written w[3];
    begin(w);
    struct e2e_process *p = export_all(w, "-q");
    e2e_status(p, 0);
    cr_assert_eq(p->out_data.n + p->err_data.n, 0, "it said: %s", p->err_data.p);
    all_same("begun", w);
    for (size_t i = 0; i < 3; i++) {
        written_add(&w[i], 200);
        if (i < 2)
            e2e_close(w[i].url);
    }
    const char *list = e2e_path("list");
    e2e_write_file(list, e2e_text(e2e_printf("# all\n%s\n%s\n", w[2].url, w[0].url)));
    e2e_status(dstream_run("export", "--list", list, w[1].url, "--sqlite", DB, "--require", "end"),
               0);
    all_same("gone on", w);
    e2e_status(export_all(w, "--require", "closed"), 3);
    e2e_close(w[2].url);
    e2e_status(export_all(w, "--require", "closed"), 0);
    struct e2e_bytes before = dump();
    p = export_all(w, "-v");
    e2e_status(p, 0);
    e2e_says(p, "complete");
    e2e_says(p, "3 streams: 0 failed, 3 read to their ends, 3 of these closed");
    e2e_same("complete", dump(), before);
    cr_assert_not(e2e_exists(e2e_path("db-wal")));
    p = dstream_run("state", "show", DB);
    e2e_status(p, 0);
    cr_assert(strstr(p->out_data.p, w[2].url) && strstr(p->out_data.p, "closed: yes"));
    e2e_status(dstream_run("state", "rm", DB), 2);
}

E2E_BOTH(sqlite, is_verified)
{
    static const char *const changes[] = {
        "UPDATE messages SET data = replace(data, '0', '1') WHERE rowid = 2",
        "UPDATE messages SET data = CAST(data AS BLOB) WHERE rowid = 1",
        "DELETE FROM messages WHERE rowid = 2",
        "DELETE FROM messages WHERE rowid IN (SELECT max(rowid) FROM messages GROUP BY stream)",
        "INSERT INTO messages SELECT stream, 'zz', 0, received, data FROM messages GROUP BY stream",
        "DELETE FROM messages",
    };
    struct written w[3];
    begin(w);
    e2e_status(dstream_run("state", "verify", DB), 66);
    e2e_status(export_all(w, "-q"), 0);
    struct e2e_process *p = dstream_run("state", "verify", DB);
    e2e_status(p, 0);
    cr_assert_eq(reading_said(p, "are those of"), 3, "it said: %s", p->err_data.p);
    sqlite3 *db = opened();
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        execute(db, "CREATE TABLE kept AS SELECT rowid AS id, * FROM messages");
        execute(db, changes[i]);
        p = dstream_run("state", "verify", DB);
        if (p->status != 13)
            cr_assert_fail("%s: %d: %s", changes[i], p->status, p->err_data.p);
        execute(db, "DELETE FROM messages; INSERT INTO messages(rowid, stream, \"offset\", "
                    "\"index\", received, data) SELECT * FROM kept; DROP TABLE kept");
    }
    cr_assert_eq(sqlite3_close(db), SQLITE_OK);
    written_add(&w[1], 10); /* it has grown since */
    e2e_status(dstream_run("state", "verify", DB), 0);
    e2e_status(dstream_run("state", "verify", DB, w[2].url), 0);
    e2e_status(dstream_run("state", "verify", DB, e2e_url("none")), 13);
}

/* --- while it is written ---------------------------------------------------------------------- */

struct wish {
    const char *sql, *want;
};

static bool granted(void *ctx)
{
    const struct wish *w = ctx;
    sqlite3 *db;
    sqlite3_stmt *q = NULL;
    bool is = false;
    if (!e2e_exists(DB))
        return false;
    if (sqlite3_open_v2(DB, &db, SQLITE_OPEN_READWRITE, NULL) == SQLITE_OK &&
        sqlite3_prepare_v2(db, w->sql, -1, &q, NULL) == SQLITE_OK && sqlite3_step(q) == SQLITE_ROW)
        is = strcmp((const char *)sqlite3_column_text(q, 0), w->want) == 0;
    sqlite3_finalize(q);
    sqlite3_close(db);
    return is;
}

/* Waits until others see it. */
static void until(const char *sql, const char *want)
{
    struct wish w = {sql, want};
    e2e_wait_for(granted, &w, e2e_printf("%s: %s", sql, want));
}

#define AS_MANY "SELECT count(*) FROM messages"

E2E_BOTH(sqlite, follows_while_others_read)
{
    struct written w[3];
    begin(w);
    struct e2e_process *p = dstream_start("export", w[0].url, w[1].url, w[2].url, "--sqlite", DB,
                                          "-f", "--sync", "5ms");
    until("SELECT count(DISTINCT stream) FROM messages", "3");
    sqlite3 *reader = opened();
    execute(reader, "BEGIN; SELECT count(*) FROM messages");
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < 3; i++)
            written_add(&w[i], 5000);
    }
    for (size_t i = 0; i < 3; i++)
        e2e_close(w[i].url);
    e2e_status(p, 0);
    execute(reader, "COMMIT");
    cr_assert_eq(sqlite3_close(reader), SQLITE_OK);
    all_same("followed", w);
}

/* Batches are held meanwhile, and the loop turns: the signal ends it at once. */
E2E_EMBEDDED(sqlite, waits_for_who_writes_so_long)
{
    struct written w = written_begin(e2e_url("s"), TYPE_JSON);
    written_add(&w, 10);
    e2e_status(dstream_run("export", w.url, "--sqlite", DB), 0);
    sqlite3 *other = opened();
    execute(other, "CREATE TABLE theirs(x); BEGIN IMMEDIATE");
    written_add(&w, 10);
    e2e_limits("db_locked=150");
    struct e2e_process *p = dstream_run("export", w.url, "--sqlite", DB);
    e2e_status(p, 73);
    e2e_says(p, "another program keeps the database locked");
    e2e_limits("");
    p = dstream_start("export", w.url, "--sqlite", DB, "-f", "-vv");
    e2e_until_err(p, ": 200");
    execute(other, "COMMIT");
    until(AS_MANY, "6");
    execute(other, "BEGIN IMMEDIATE");
    written_add(&w, 10);
    execute(other, "COMMIT");
    cr_assert_eq(sqlite3_close(other), SQLITE_OK);
    e2e_close(w.url);
    e2e_status(p, 0);
    same("all", &w);
}

E2E_BOTH(sqlite, a_second_exporter_is_refused)
{
    struct written w = written_begin(e2e_url("s"), TYPE_JSON);
    written_add(&w, 10);
    struct e2e_process *p = dstream_start("export", w.url, "--sqlite", DB, "-f");
    until(AS_MANY, "3");
    struct e2e_bytes before = dump();
    e2e_status(dstream_run("export", w.url, "--sqlite", DB), 73);
    e2e_status(dstream_run("export", w.url, "--sqlite", DB, "--table", "t"), 73);
    e2e_same("untouched", dump(), before);
    e2e_close(w.url);
    e2e_status(p, 0);
    same("all", &w);
}

/* --- stopping, and going on ------------------------------------------------------------------- */

E2E_BOTH(sqlite, stops_inside_a_batch_and_goes_on_with_its_keys)
{
    struct written w = written_begin(e2e_url("s"), TYPE_JSON), b = {0};
    e2e_append(w.url, TYPE_JSON, e2e_text("[10,{\"a\":\n[1,\r\n2]},12,13,14,15,16]"));
    e2e_add_text(&w.want, "10\n{\"a\":[1,2]}\n12\n13\n14\n15\n16\n");
    const char *const counts[] = {"2", "3", "1"};
    for (size_t i = 0; i < 3; i++)
        e2e_status(dstream_run("export", w.url, "--sqlite", DB, "-n", counts[i]), 0);
    e2e_same("position",
             ask("SELECT skip, \"offset\" = state ->> '$.from_offset' FROM "
                 "dstream_streams"),
             e2e_text("6|1\n"));
    written_add(&w, 10);
    e2e_status(dstream_run("export", w.url, "--sqlite", DB), 0);
    same("messages", &w);
    e2e_same("keys",
             ask("SELECT \"index\" FROM messages WHERE \"offset\" = (SELECT "
                 "min(\"offset\") FROM messages) AND \"index\" < 7 ORDER BY 1"),
             e2e_text("0\n1\n2\n3\n4\n5\n6\n"));
    b = written_begin(e2e_url("b"), TYPE_BINARY);
    written_add(&b, 1000);
    for (size_t i = 0; i < 2; i++)
        e2e_status(
            dstream_run("export", b.url, "--sqlite", DB, "--table", "pieces", "--bytes", "300"), 0);
    e2e_status(dstream_run("export", b.url, "--sqlite", DB, "--table", "pieces"), 0);
    same_in("pieces", "bytes", &b);
    e2e_same("keys", ask("SELECT \"index\", length(data) FROM pieces ORDER BY rowid"),
             e2e_text("0|300\n300|300\n600|400\n"));
}

E2E_BOTH(sqlite, a_signal_commits_what_came)
{
    struct written w = written_begin(e2e_url("s"), TYPE_JSON);
    for (size_t i = 0; i < 2; i++) {
        written_add(&w, 10);
        struct e2e_process *p =
            dstream_start("export", w.url, "--sqlite", DB, "-f", "--sync", "1d", "-vv");
        reading_until_live(p);
        if (i == 0)
            cr_assert_not(granted(&(struct wish){AS_MANY, "3"}), "it has committed already");
        if (i == 1) {
            e2e_kill(p, SIGHUP);
            until(AS_MANY, "6");
        }
        e2e_kill(p, SIGTERM);
        e2e_status(p, 128 + SIGTERM);
        same("committed", &w);
    }
}

E2E_BOTH(sqlite, now_is_an_offset_before_anything_live_is_asked)
{
    struct written w = written_begin(e2e_url("s"), TYPE_JSON);
    written_add(&w, 10);
    w.want.n = 0;
    struct e2e_process *p = dstream_start("export", w.url, "--sqlite", DB, "--from", "now", "-f",
                                          "--sync", "1d", "-vv");
    reading_until_live(p);
    e2e_kill(p, SIGKILL);
    e2e_wait(p);
    written_add(&w, 10);
    e2e_status(dstream_run("export", w.url, "--sqlite", DB, "--from", "now"), 0);
    same("since", &w);
    e2e_status(dstream_run("export", w.url, "--sqlite", DB, "--from", "beginning"), 2);
}

/* --- what is refused -------------------------------------------------------------------------- */

E2E(sqlite, its_usage)
{
    static const char *const given[][2] = {
        {"-o", "out"},           {"-d", "d"},
        {"-S", "state"},         {"-F", "ndjson"},
        {"-z", "gzip"},          {"--rotate-size", "1k"},
        {"--rotate-time", "1h"}, {"--rotate-name", "%b-%n"},
        {"--table", ""},         {"--table", "dstream_streams"},
    };
    for (size_t i = 0; i < sizeof given / sizeof *given; i++) {
        struct e2e_process *p =
            dstream_run("export", "http://127.0.0.1:1/s", "--sqlite", DB, given[i][0], given[i][1]);
        e2e_status(p, 2);
    }
    e2e_status(dstream_run("export", "http://127.0.0.1:1/s", "-o", "out", "--table", "t"), 2);
    e2e_status(
        dstream_run("export", "http://127.0.0.1:1/s", "http://127.0.0.1:1/s", "--sqlite", DB), 2);
    cr_assert_not(e2e_exists(DB));
    e2e_write_file(DB, e2e_text("one line of text, and not a database at all, however long"));
    struct e2e_process *p = dstream_run("export", "http://127.0.0.1:1/s", "--sqlite", DB);
    e2e_status(p, 73);
    e2e_says(p, "no SQLite database");
}

/* The trouble of one is its own; where it is all there is, nothing is made. */
E2E_BOTH(sqlite, one_that_fails_does_not_stop_the_others)
{
    struct written w[3];
    e2e_status(dstream_run("export", e2e_url("none"), "--sqlite", DB), 66);
    cr_assert_not(e2e_exists(DB));
    begin(w);
    struct e2e_process *p = export_all(w, e2e_url("none"));
    e2e_status(p, 66);
    cr_assert_eq(reading_said(p, "/none: "), 2, "it said: %s", p->err_data.p);
    all_same("others", w);
    /* Made anew, and longer: what there is of it stays. */
    struct written old = w[2];
    e2e_delete(w[2].url);
    w[2] = written_begin(w[2].url, types[2]);
    e2e_append(w[2].url, types[2], e2e_random(2000, 99));
    written_add(&w[0], 50);
    e2e_limits("replica_lag=50");
    e2e_status(export_all(w, "-q"), 13);
    same("goes on", &w[0]);
    same("untouched", &old);
}

/* Neither where it is longer and live. */
E2E_BOTH(sqlite, a_stream_that_was_made_anew_is_refused_with_nothing_touched)
{
    struct written w = written_begin(e2e_url("s"), TYPE_JSON);
    written_add(&w, 100);
    e2e_status(dstream_run("export", w.url, "--sqlite", DB), 0);
    struct e2e_bytes before = dump();
    e2e_delete(w.url);
    e2e_status(dstream_run("export", w.url, "--sqlite", DB), 10);
    struct written anew = written_begin(w.url, TYPE_JSON);
    e2e_append(w.url, TYPE_JSON, e2e_text("[1,2,3,4,5,6]"));
    e2e_add_text(&anew.want, "1\n2\n3\n4\n5\n6\n");
    e2e_limits("replica_lag=50");
    e2e_status(dstream_run("export", w.url, "--sqlite", DB), 13);
    e2e_status(dstream_run("export", w.url, "--sqlite", DB, "-f"), 13);
    struct e2e_process *p = dstream_run("export", w.url, "--sqlite", DB, "--reset");
    e2e_status(p, 73);
    e2e_says(p, "--overwrite");
    e2e_same("untouched", dump(), before);
    e2e_status(dstream_run("export", w.url, "--sqlite", DB, "--reset", "--append"), 13);
    e2e_same("rows", rows_of("messages", w.url, "rowid"), w.want);
    e2e_status(dstream_run("export", w.url, "--sqlite", DB, "--reset", "--overwrite"), 0);
    same("anew", &anew);
}

E2E(sqlite, a_stream_that_is_replaced_while_it_is_followed)
{
    bool live = false;
    struct scripted *s = scripted_start(exported_replaced, &live);
    struct written w = {.url = e2e_url_at(scripted_url(s), "s"), .want = e2e_text("1\n2\n3\n")};
    struct e2e_process *p =
        dstream_run("export", w.url, "--sqlite", DB, "--follow", "--live", "sse");
    e2e_status(p, 13);
    e2e_says(p, "--reset --overwrite");
    same("rows", &w);
    e2e_same("position", ask("SELECT \"offset\" FROM dstream_streams"), e2e_text("c\n"));
    scripted_stop(s);
}

/* --- full disks ------------------------------------------------------------------------------- */

E2E_BOTH(sqlite, a_file_at_its_size_limit_is_an_error_that_resumes)
{
    struct written w = written_begin(e2e_url("s"), TYPE_BINARY);
    const char *const *argv = e2e_command(
        (const char *const[]){"export", w.url, "--sqlite", DB, "--sync", "batch", NULL});
    for (unsigned i = 0; i < 3; i++) {
        written_add(&w, 50000);
        struct e2e_process *p =
            e2e_finished(e2e_spawn(&(struct e2e_run){.argv = argv, .max_file = 30000 + 60000 * i}));
        e2e_status(p, 74);
        e2e_says(p, "ulimit -f");
    }
    e2e_status(dstream_run("export", w.url, "--sqlite", DB), 0);
    same("all", &w);
}

E2E_EMBEDDED(sqlite, a_full_disk_is_an_error_that_resumes)
{
    struct written w = written_begin(e2e_url("s"), TYPE_BINARY);
    for (int i = 0; i < 30; i++)
        written_add(&w, 10000);
    e2e_close(w.url);
    struct e2e_process *p = exported_on_small_disk(
        "256k", "db", (const char *const[]){"export", w.url, "--sqlite", "db", NULL});
    e2e_says(p, "status 74, then:");
    e2e_write_file(DB, p->out_data);
    same("all", &w);
}

/* --- kill -9 ---------------------------------------------------------------------------------- */

static uint64_t below(uint64_t *state, uint64_t n)
{
    return (e2e_draw(state) >> 16) % n;
}

static void pass(uint64_t *state)
{
    uint64_t us = below(state, UINT64_C(1) << below(state, 17));
    nanosleep(&(struct timespec){.tv_nsec = (long)us * 1000}, NULL);
}

/* Now and then what is in it is compared in between, which also lets nothing be made up for later.
 */
E2E_BOTH(sqlite, killed_at_random)
{
    static const char *const when[] = {"batch", "1ms", "1d", "100", "20ms"};
    uint64_t seed = e2e_fresh_seed(), state = seed;
    fprintf(stderr, "DSTREAM_SEED=%llu\n", (unsigned long long)seed);
    struct tally tally = {.n = 0};
    struct written w[3];
    begin(w);
    for (unsigned long i = 0; i < 6 * e2e_soak(); i++) {
        struct e2e_process *p = dstream_start("export", w[0].url, w[1].url, w[2].url, "--sqlite",
                                              DB, "-f", "-v", "--sync", when[below(&state, 5)]);
        if (below(&state, 3) > 0) /* else it may be killed before it has begun */
            e2e_until_err(p, ": 200");
        for (uint64_t n = below(&state, 6); n > 0; n--) {
            written_add(&w[below(&state, 3)], 1 + below(&state, 9000));
            pass(&state);
        }
        pass(&state);
        e2e_kill(p, SIGKILL);
        if (e2e_wait(p) != 128 + SIGKILL)
            cr_assert_fail("seed %llu, kill %lu: ended with %d: %s", (unsigned long long)seed, i,
                           p->status, p->err_data.p);
        tally_add(&tally, p);
        if (below(&state, 4) > 0)
            continue;
        p = export_all(w, "-q");
        if (p->status != 0)
            cr_assert_fail("seed %llu, kill %lu: %s", (unsigned long long)seed, i, p->err_data.p);
        all_same(e2e_printf("seed %llu, kill %lu", (unsigned long long)seed, i), w);
    }
    for (size_t i = 0; i < 3; i++)
        e2e_close(w[i].url);
    e2e_status(export_all(w, "-f"), 0);
    all_same(e2e_printf("seed %llu", (unsigned long long)seed), w);
    e2e_same("integrity", ask("PRAGMA integrity_check"), e2e_text("ok\n"));
    tally_say(&tally, "random", "SQLite, 3 streams");
}
