/* SPDX-License-Identifier: Apache-2.0 */
/* The database that streams are exported into: what is in it after each failure, at each call, is
 * what the last commit has said. */
#include "config.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "home.h"
#include "share.h"
#include "store/sqlite.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

TestSuite(sqlite, .init = home_enter, .fini = home_leave);

static const struct ds_sqlite_options usual = {.path = "db", .table = DS_SQLITE_TABLE};

/* --- asking without it ------------------------------------------------------------------------ */

static sqlite3 *others(void)
{
    sqlite3 *db;
    cr_assert_eq(sqlite3_open_v2("./db", &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL),
                 SQLITE_OK);
    return db;
}

static void others_do(sqlite3 *db, const char *sql)
{
    char *why = NULL;
    if (sqlite3_exec(db, sql, NULL, NULL, &why) != SQLITE_OK)
        cr_assert_fail("%s: %s", sql, why);
}

static void do_once(const char *sql)
{
    sqlite3 *db = others();
    others_do(db, sql);
    cr_assert_eq(sqlite3_close(db), SQLITE_OK);
}

/* All rows, columns joined by '|', rows by '\n'. */
static char *ask(const char *sql)
{
    static char all[65536];
    size_t n = 0;
    sqlite3 *db = others();
    sqlite3_stmt *q;
    cr_assert_eq(sqlite3_prepare_v2(db, sql, -1, &q, NULL), SQLITE_OK, "%s: %s", sql,
                 sqlite3_errmsg(db));
    while (sqlite3_step(q) == SQLITE_ROW) {
        for (int i = 0; i < sqlite3_column_count(q); i++)
            n += (size_t)snprintf(all + n, sizeof all - n, "%s%s", i ? "|" : "",
                                  (const char *)sqlite3_column_text(q, i));
        n += (size_t)snprintf(all + n, sizeof all - n, "\n");
    }
    all[n] = '\0';
    cr_assert_eq(sqlite3_finalize(q), SQLITE_OK);
    cr_assert_eq(sqlite3_close(db), SQLITE_OK);
    return all;
}

#define ROWS   "SELECT stream, \"offset\", \"index\", data FROM messages ORDER BY 1, 2, 3"
#define PLACES "SELECT url, \"offset\", skip FROM dstream_streams ORDER BY id"

/* --- a stream --------------------------------------------------------------------------------- */

static struct ds_sqlite *opened(const struct ds_sqlite_options *o)
{
    struct ds_sqlite *d;
    struct dstream_error err = {0};
    cr_assert_eq(ds_sqlite_open(&d, o, &err), DSTREAM_OK, "%s", err.message);
    return d;
}

static struct ds_sqlite_stream stream(const char *url, const char *from)
{
    struct ds_sqlite_stream s = {.id = 0};
    struct dstream_error err = {0};
    cr_assert_eq(ds_checkpoint_begin(&s.at, url, from, 0, &err), DSTREAM_OK);
    return s;
}

static enum dstream_code get(void *ctx, size_t i, struct ds_sqlite_row *row)
{
    memcpy(row, (const struct ds_sqlite_row *)ctx + i, sizeof *row);
    return DSTREAM_OK;
}

/* One message at `offset`, which moves the stream to `next`. */
static enum dstream_code add(struct ds_sqlite *d, struct ds_sqlite_stream *s, const char *data,
                             const char *next, struct dstream_error *err)
{
    struct ds_sqlite_row row = {.offset = s->at.offset,
                                .index = s->at.skip,
                                .received = "2026-01-01T00:00:00.000Z",
                                .data = data,
                                .len = strlen(data),
                                .text = true};
    enum dstream_code rc = ds_sqlite_begin(d, err);
    if (rc == DSTREAM_OK && s->id == 0)
        rc = ds_sqlite_put(d, s, err);
    if (rc == DSTREAM_OK)
        rc = ds_sqlite_insert(d, s, 1, get, &row, err);
    if (rc == DSTREAM_OK)
        strcpy(s->at.offset, next);
    return rc;
}

static enum dstream_code commit(struct ds_sqlite *d, struct ds_sqlite_stream *s,
                                struct dstream_error *err)
{
    enum dstream_code rc = ds_sqlite_put(d, s, err);
    return rc == DSTREAM_OK ? ds_sqlite_commit(d, err) : rc;
}

/* A database with a row of http://h/s, which is committed and moves that to a. */
static struct ds_sqlite *with_row(struct ds_sqlite_stream *s, const char *data)
{
    struct dstream_error err = {0};
    struct ds_sqlite *d = opened(&usual);
    *s = stream("http://h/s", NULL);
    cr_assert_eq(add(d, s, data, "a", &err), DSTREAM_OK, "%s", err.message);
    cr_assert_eq(commit(d, s, &err), DSTREAM_OK, "%s", err.message);
    return d;
}

static struct ds_sqlite_stream found(struct ds_sqlite *d, const char *url)
{
    struct ds_sqlite_stream s;
    struct dstream_error err = {0};
    cr_assert_eq(ds_sqlite_find(d, url, &s, &err), DSTREAM_OK, "%s", err.message);
    return s;
}

/* --- what goes in comes out ------------------------------------------------------------------- */

Test(sqlite, nothing_is_made_before_the_first_transaction)
{
    struct ds_sqlite *d = opened(&usual);
    cr_assert_eq(found(d, "http://h/s").id, 0);
    ds_sqlite_free(d);
    cr_assert_eq(access("db", F_OK), -1);
    cr_assert_eq(access("db.lock", F_OK), 0);
}

Test(sqlite, rows_and_positions_come_back)
{
    static const struct ds_sqlite_row rows[] = {
        {"-1", 0, "t0", "{\"a\":1}", 7, true},
        {"-1", 1, "t0", "\"\xc3\xa9\"", 4, true},
        {"\xff\xfe", 0, "t1", "a\0b\xff", 4, false},
        {"\xff\xfe", UINT64_C(1) << 40, "t1", NULL, 0, false},
    };
    struct dstream_error err = {0};
    struct ds_sqlite *d = opened(&usual);
    struct ds_sqlite_stream s = stream("http://h/s?token=x", NULL), t = stream("http://h/t", "now");
    cr_assert_eq(ds_sqlite_begin(d, &err), DSTREAM_OK);
    cr_assert_eq(ds_sqlite_put(d, &s, &err), DSTREAM_OK);
    cr_assert_eq(ds_sqlite_put(d, &t, &err), DSTREAM_OK);
    cr_assert_neq(s.id, t.id);
    cr_assert_eq(ds_sqlite_insert(d, &s, COUNT(rows), get, (void *)(uintptr_t)rows, &err),
                 DSTREAM_OK);
    strcpy(s.at.offset, "\xff\xff'\"");
    s.at.skip = 7;
    cr_assert_eq(commit(d, &s, &err), DSTREAM_OK);
    ds_sqlite_free(d);

    d = opened(&usual);
    struct ds_sqlite_stream was = found(d, s.at.url);
    cr_assert_eq(was.id, s.id);
    cr_assert(was.has_rows);
    cr_assert_str_eq(was.at.offset, s.at.offset);
    cr_assert_eq(was.at.skip, 7);
    cr_assert_str_eq(was.at.left_out, "token&");
    cr_assert_not(found(d, "http://h/t").has_rows);
    ds_sqlite_free(d);
    cr_assert_str_eq(ask("SELECT hex(\"offset\"), \"index\", received, typeof(data), hex(data) "
                         "FROM messages ORDER BY rowid"),
                     "2D31|0|t0|text|7B2261223A317D\n"
                     "2D31|1|t0|text|22C3A922\n"
                     "FFFE|0|t1|blob|610062FF\n"
                     "FFFE|1099511627776|t1|blob|\n");
    cr_assert_str_eq(ask("PRAGMA journal_mode"), "wal\n");
}

Test(sqlite, what_is_not_committed_is_not_there)
{
    struct dstream_error err = {0};
    struct ds_sqlite_stream s;
    struct ds_sqlite *d = with_row(&s, "1");
    cr_assert_eq(add(d, &s, "2", "b", &err), DSTREAM_OK);
    cr_assert_str_eq(ask(ROWS), "1|-1|0|1\n", "others see what is committed");
    ds_sqlite_free(d);
    cr_assert_str_eq(ask(ROWS), "1|-1|0|1\n");
    cr_assert_str_eq(ask(PLACES), "http://h/s|a|0\n");
}

Test(sqlite, tables_have_streams_of_their_own)
{
    static const struct ds_sqlite_options other = {.path = "db", .table = "it's \"theirs\""};
    struct dstream_error err = {0};
    for (int i = 0; i < 2; i++) {
        struct ds_sqlite *d = opened(i ? &other : &usual);
        struct ds_sqlite_stream s = stream("http://h/s", NULL);
        cr_assert_eq(found(d, "http://h/s").id, 0);
        cr_assert_eq(add(d, &s, i ? "1" : "0", "a", &err), DSTREAM_OK, "%s", err.message);
        cr_assert_eq(commit(d, &s, &err), DSTREAM_OK);
        ds_sqlite_free(d);
    }
    cr_assert_str_eq(ask("SELECT into_table, url FROM dstream_streams ORDER BY id"),
                     "messages|http://h/s\nit's \"theirs\"|http://h/s\n");
    cr_assert_str_eq(ask("SELECT stream, data FROM \"it's \"\"theirs\"\"\""), "2|1\n");
}

Test(sqlite, names_of_tables)
{
    cr_expect(ds_sqlite_table_valid("x y"));
    cr_expect_not(ds_sqlite_table_valid(""));
    cr_expect_not(ds_sqlite_table_valid("SQLite_x"));
    cr_expect_not(ds_sqlite_table_valid("Dstream_Streams"));
}

Test(sqlite, clear_removes_the_rows_of_one_stream)
{
    struct dstream_error err = {0};
    struct ds_sqlite *d = opened(&usual);
    struct ds_sqlite_stream s = stream("http://h/s", NULL), t = stream("http://h/t", NULL);
    cr_assert_eq(add(d, &s, "1", "a", &err), DSTREAM_OK);
    cr_assert_eq(add(d, &t, "2", "a", &err), DSTREAM_OK);
    cr_assert_eq(ds_sqlite_clear(d, &s, &err), DSTREAM_OK);
    cr_assert_eq(ds_sqlite_commit(d, &err), DSTREAM_OK);
    ds_sqlite_free(d);
    cr_assert_str_eq(ask(ROWS), "2|-1|0|2\n");
}

/* --- what does not fit ------------------------------------------------------------------------ */

/* All of the batch goes, and nothing else. */
Test(sqlite, a_row_that_is_there_is_never_replaced)
{
    static const struct ds_sqlite_row rows[] = {{"-1", 1, "", "new", 3, true},
                                                {"-1", 0, "", "other", 5, true}};
    struct dstream_error err = {0};
    struct ds_sqlite *d = opened(&usual);
    struct ds_sqlite_stream s = stream("http://h/s", NULL), t = stream("http://h/t", NULL);
    cr_assert_eq(add(d, &s, "old", "a", &err), DSTREAM_OK);
    cr_assert_eq(commit(d, &s, &err), DSTREAM_OK);
    cr_assert_eq(add(d, &t, "1", "a", &err), DSTREAM_OK);
    cr_assert_eq(ds_sqlite_insert(d, &s, 2, get, (void *)(uintptr_t)rows, &err),
                 DSTREAM_ERR_STATE_MISMATCH);
    cr_assert(strstr(err.message, "offset -1 and index 0"), "%s", err.message);
    cr_assert_eq(add(d, &t, "2", "b", &err), DSTREAM_OK, "the others go on: %s", err.message);
    cr_assert_eq(commit(d, &t, &err), DSTREAM_OK);
    ds_sqlite_free(d);
    cr_assert_str_eq(ask(ROWS), "1|-1|0|old\n2|-1|0|1\n2|a|0|2\n");
}

/* Whatever the table says. */
Test(sqlite, a_row_that_is_there_is_not_replaced_by_a_rule_of_the_table)
{
    struct dstream_error err = {0};
    struct ds_sqlite_stream s;
    struct ds_sqlite *d = with_row(&s, "old");
    ds_sqlite_free(d);
    do_once("ALTER TABLE messages RENAME TO old; CREATE TABLE messages(stream, \"offset\", "
            "\"index\", received, data, PRIMARY KEY(stream, \"offset\", \"index\") ON CONFLICT "
            "REPLACE); INSERT INTO messages SELECT * FROM old");
    d = opened(&usual);
    s = found(d, "http://h/s");
    strcpy(s.at.offset, "-1");
    cr_assert_eq(add(d, &s, "new", "a", &err), DSTREAM_ERR_STATE_MISMATCH);
    cr_assert_eq(ds_sqlite_commit(d, &err), DSTREAM_OK);
    ds_sqlite_free(d);
    cr_assert_str_eq(ask(ROWS), "1|-1|0|old\n");
}

/* As by a second process that came to the file by another name. */
Test(sqlite, a_position_that_somebody_has_moved_ends_it)
{
    struct dstream_error err = {0};
    struct ds_sqlite_stream s;
    struct ds_sqlite *d = with_row(&s, "1");
    do_once("UPDATE dstream_streams SET revision = revision + 1");
    cr_assert_eq(add(d, &s, "2", "b", &err), DSTREAM_OK);
    cr_assert_eq(commit(d, &s, &err), DSTREAM_ERR_STATE_MISMATCH);
    cr_assert_eq(ds_sqlite_commit(d, &err), DSTREAM_ERR_STATE_MISMATCH);
    ds_sqlite_free(d);
    cr_assert_str_eq(ask(ROWS), "1|-1|0|1\n");
}

Test(sqlite, a_position_that_was_changed_by_hand_is_not_taken)
{
    static const char *const changes[] = {"\"offset\" = 'b'", "skip = 1", "state = ''",
                                          "state = replace(state, 'a', 'b')"};
    struct dstream_error err = {0};
    struct ds_sqlite_stream s;
    struct ds_sqlite *d = with_row(&s, "1");
    do_once("CREATE TABLE kept AS SELECT * FROM dstream_streams");
    for (size_t i = 0; i < COUNT(changes); i++) {
        char sql[128];
        snprintf(sql, sizeof sql, "UPDATE dstream_streams SET %s", changes[i]);
        do_once(sql);
        cr_expect_eq(ds_sqlite_find(d, "http://h/s", &s, &err), DSTREAM_ERR_STATE_CORRUPT, "%s",
                     changes[i]);
        cr_expect(strstr(err.message, "the row of http://h/s in"), "%s", err.message);
        cr_expect_not(strstr(err.message, "remove it"), "%s", err.message);
        cr_expect_eq(s.id, 1);
        do_once("UPDATE dstream_streams SET (\"offset\", skip, state) = "
                "(SELECT \"offset\", skip, state FROM kept)");
    }
    ds_sqlite_free(d);
}

Test(sqlite, what_is_there_and_is_not_ours_is_refused)
{
#define OURS                                                                                       \
    "CREATE TABLE dstream_streams(id INTEGER PRIMARY KEY, into_table, url, content_type, "         \
    "\"offset\", skip, closed, time, state, revision);"
    static const struct {
        const char *sql;
        enum dstream_code code;
        const char *says;
    } cases[] = {
        {"CREATE TABLE others(x)", DSTREAM_OK, ""},
        {"CREATE TABLE messages(id INTEGER PRIMARY KEY, body TEXT)", DSTREAM_ERR_EXISTS, "--table"},
        {"CREATE VIEW messages AS SELECT 1 AS stream, 2 AS \"offset\"", DSTREAM_ERR_EXISTS, ""},
        {"CREATE TABLE dstream_streams(id)", DSTREAM_ERR_EXISTS, "dstream_streams"},
        {"CREATE TABLE messages(stream, \"offset\", \"index\", received, data, PRIMARY KEY(stream, "
         "\"offset\", \"index\"))",
         DSTREAM_ERR_STATE_MISMATCH, "says what is in it"},
        {OURS "CREATE TABLE messages(stream, \"offset\", \"index\", received, data)",
         DSTREAM_ERR_EXISTS, "another shape"},
        {OURS "CREATE TABLE messages(stream, \"offset\", \"index\", received, data, own, PRIMARY "
              "KEY(stream, \"offset\", \"index\"))",
         DSTREAM_OK, ""},
        {"PRAGMA encoding='UTF-16'; CREATE TABLE others(x)", DSTREAM_ERR_EXISTS, "UTF-16"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct ds_sqlite *d;
        struct dstream_error err = {0};
        do_once(cases[i].sql);
        cr_expect_eq(ds_sqlite_open(&d, &usual, &err), cases[i].code, "%s: %s", cases[i].sql,
                     err.message);
        cr_expect(strstr(err.message, cases[i].says), "%s", err.message);
        ds_sqlite_free(d);
        cr_assert_eq(unlink("db"), 0);
    }
}

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "we");
    cr_assert(f && fputs(text, f) >= 0 && fclose(f) == 0);
}

Test(sqlite, what_is_no_database_is_refused)
{
    struct ds_sqlite *d;
    struct dstream_error err = {0};
    char text[4096];
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = '\0';
    write_file("db", text);
    cr_expect_eq(ds_sqlite_open(&d, &usual, &err), DSTREAM_ERR_EXISTS);
    cr_expect(strstr(err.message, "no SQLite database"), "%s", err.message);
    cr_expect_not(ds_sqlite_is(NULL, "db"));
    cr_assert_eq(rename("db", "there") + symlink("there", "db"), 0);
    cr_expect_eq(ds_sqlite_open(&d, &usual, &err), DSTREAM_ERR_IO);
    cr_expect(strstr(err.message, "symbolic link"), "%s", err.message);
    cr_assert_eq(unlink("db") + mkdir("db", 0700), 0);
    cr_expect_eq(ds_sqlite_open(&d, &usual, &err), DSTREAM_ERR_IO);
    cr_expect(strstr(err.message, "directory"), "%s", err.message);
    cr_assert_eq(rmdir("db"), 0);
    write_file("db", "");
    ds_sqlite_free(opened(&usual));
}

Test(sqlite, a_damaged_one_is_said_to_be_damaged)
{
    struct ds_sqlite *d;
    struct dstream_error err = {0};
    do_once("CREATE TABLE messages(x); CREATE TABLE other(y)");
    cr_assert(ds_sqlite_is(NULL, "db"));
    FILE *f = fopen("db", "r+be");
    cr_assert(f && fseek(f, 100, SEEK_SET) == 0);
    for (int i = 0; i < 3000; i++)
        fputc(0x5a, f);
    cr_assert_eq(fclose(f), 0);
    cr_expect_eq(ds_sqlite_open(&d, &usual, &err), DSTREAM_ERR_STATE_CORRUPT, "%s", err.message);
}

Test(sqlite, one_that_is_moved_away_takes_no_more_commits)
{
    struct dstream_error err = {0};
    struct ds_sqlite_stream s;
    struct ds_sqlite *d = with_row(&s, "1");
    cr_assert_eq(add(d, &s, "2", "b", &err), DSTREAM_OK);
    cr_assert_eq(unlink("db"), 0);
    cr_assert_eq(commit(d, &s, &err), DSTREAM_ERR_IO);
    cr_assert(strstr(err.message, "moved or removed"), "%s", err.message);
    ds_sqlite_free(d);
}

/* --- others ----------------------------------------------------------------------------------- */

Test(sqlite, a_second_one_is_refused)
{
    struct ds_sqlite *d = opened(&usual), *second;
    struct dstream_error err = {0};
    cr_assert_eq(ds_sqlite_open(&second, &usual, &err), DSTREAM_ERR_LOCKED);
    ds_sqlite_free(d);
    ds_sqlite_free(opened(&usual));
}

Test(sqlite, one_in_a_directory_that_is_exported_into_is_refused)
{
    struct ds_sqlite *d;
    struct dstream_error err = {0};
    int dir = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    cr_assert_eq(flock(dir, LOCK_EX), 0);
    cr_assert_eq(ds_sqlite_open(&d, &usual, &err), DSTREAM_ERR_LOCKED);
    close(dir);
    ds_sqlite_free(opened(&usual));
}

Test(sqlite, who_writes_meanwhile_is_waited_for)
{
    struct dstream_error err = {0};
    struct ds_sqlite_stream s;
    struct ds_sqlite *d = with_row(&s, "1");
    sqlite3 *other = others();
    others_do(other, "CREATE TABLE theirs(x); BEGIN IMMEDIATE; INSERT INTO theirs VALUES(1)");
    cr_assert_eq(add(d, &s, "2", "b", &err), DSTREAM_ERR_LOCKED);
    cr_assert(strstr(err.message, "another program"), "%s", err.message);
    others_do(other, "COMMIT");
    cr_assert_eq(add(d, &s, "2", "b", &err), DSTREAM_OK, "%s", err.message);
    cr_assert_eq(commit(d, &s, &err), DSTREAM_OK);
    cr_assert_eq(sqlite3_close(other), SQLITE_OK);
    ds_sqlite_free(d);
    cr_assert_str_eq(ask(ROWS), "1|-1|0|1\n1|a|0|2\n");
}

/* One that is not ours keeps its journal, where a reader keeps a commit from its end. */
Test(sqlite, who_reads_meanwhile_is_waited_for_where_there_is_no_log)
{
    struct dstream_error err = {0};
    do_once("CREATE TABLE theirs(x); INSERT INTO theirs VALUES(1)");
    struct ds_sqlite *d = opened(&usual);
    struct ds_sqlite_stream s = stream("http://h/s", NULL);
    cr_assert_eq(add(d, &s, "1", "a", &err), DSTREAM_OK);
    sqlite3 *other = others();
    others_do(other, "BEGIN; SELECT * FROM theirs");
    cr_assert_eq(commit(d, &s, &err), DSTREAM_ERR_LOCKED);
    cr_assert_eq(ds_sqlite_commit(d, &err), DSTREAM_ERR_LOCKED);
    others_do(other, "COMMIT");
    cr_assert_eq(ds_sqlite_commit(d, &err), DSTREAM_OK, "%s", err.message);
    cr_assert_eq(sqlite3_close(other), SQLITE_OK);
    ds_sqlite_free(d);
    cr_assert_str_eq(ask(ROWS), "1|-1|0|1\n");
    cr_assert_str_eq(ask("PRAGMA journal_mode"), "delete\n");
}

/* --- a disk that fails ------------------------------------------------------------------------ */

/* SQLite's own way to files, of which the n-th call that changes or syncs something fails, or is
 * where the process ends. What was synced of each file is kept beside it. */
static struct {
    long left; /* until then */
    int code;  /* what it fails with; 0: the process ends */
    sqlite3_vfs vfs, *real;
} faulty = {.left = -1};

struct faulty_file {
    sqlite3_file base;
    sqlite3_file *real;
    char kept[32]; /* "" for what is temporary */
};

static void name_kept(const char *name, char kept[32])
{
    const char *slash = name ? strrchr(name, '/') : NULL;
    snprintf(kept, 32, "%s%s", name ? "kept-" : "", slash ? slash + 1 : name ? name : "");
}

static int counted(void)
{
    if (faulty.left < 0 || faulty.left-- > 0)
        return SQLITE_OK;
    if (faulty.code == 0)
        raise(SIGKILL);
    return faulty.code;
}

#define REAL(f) (((struct faulty_file *)(void *)(f))->real)
#define PASS(name, types, args)                                                                    \
    static int pass_##name types                                                                   \
    {                                                                                              \
        return REAL(f)->pMethods->name args;                                                       \
    }
#define FAIL(name, types, args)                                                                    \
    static int pass_##name types                                                                   \
    {                                                                                              \
        int rc = counted();                                                                        \
        return rc == SQLITE_OK ? REAL(f)->pMethods->name args : rc;                                \
    }
PASS(xClose, (sqlite3_file * f), (REAL(f)))
PASS(xRead, (sqlite3_file * f, void *p, int n, sqlite3_int64 at), (REAL(f), p, n, at))
FAIL(xWrite, (sqlite3_file * f, const void *p, int n, sqlite3_int64 at), (REAL(f), p, n, at))
FAIL(xTruncate, (sqlite3_file * f, sqlite3_int64 n), (REAL(f), n))
PASS(xFileSize, (sqlite3_file * f, sqlite3_int64 *n), (REAL(f), n))
PASS(xLock, (sqlite3_file * f, int k), (REAL(f), k))
PASS(xUnlock, (sqlite3_file * f, int k), (REAL(f), k))
PASS(xCheckReservedLock, (sqlite3_file * f, int *k), (REAL(f), k))
PASS(xFileControl, (sqlite3_file * f, int op, void *p), (REAL(f), op, p))
PASS(xSectorSize, (sqlite3_file * f), (REAL(f)))
PASS(xDeviceCharacteristics, (sqlite3_file * f), (REAL(f)))
PASS(xShmMap, (sqlite3_file * f, int i, int n, int k, void volatile **p), (REAL(f), i, n, k, p))
PASS(xShmLock, (sqlite3_file * f, int i, int n, int k), (REAL(f), i, n, k))
PASS(xShmUnmap, (sqlite3_file * f, int k), (REAL(f), k))

/* Nothing here is really cut off from power, so that time is saved. */
static int pass_xSync(sqlite3_file *f, int flags)
{
    const char *kept = ((struct faulty_file *)(void *)f)->kept;
    sqlite3_int64 n = 0;
    int rc = counted();
    (void)flags;
    if (rc != SQLITE_OK || !*kept || REAL(f)->pMethods->xFileSize(REAL(f), &n) != SQLITE_OK)
        return rc;
    char *all = malloc((size_t)n + 1);
    FILE *to = fopen(kept, "we");
    cr_assert(all && to);
    cr_assert(n == 0 || REAL(f)->pMethods->xRead(REAL(f), all, (int)n, 0) == SQLITE_OK);
    cr_assert(fwrite(all, 1, (size_t)n, to) == (size_t)n && fclose(to) == 0);
    free(all);
    return rc;
}

static void pass_xShmBarrier(sqlite3_file *f)
{
    REAL(f)->pMethods->xShmBarrier(REAL(f));
}

static int open_faulty(sqlite3_vfs *v, const char *name, sqlite3_file *f, int flags, int *out)
{
    static const sqlite3_io_methods methods = {2,
                                               pass_xClose,
                                               pass_xRead,
                                               pass_xWrite,
                                               pass_xTruncate,
                                               pass_xSync,
                                               pass_xFileSize,
                                               pass_xLock,
                                               pass_xUnlock,
                                               pass_xCheckReservedLock,
                                               pass_xFileControl,
                                               pass_xSectorSize,
                                               pass_xDeviceCharacteristics,
                                               pass_xShmMap,
                                               pass_xShmLock,
                                               pass_xShmBarrier,
                                               pass_xShmUnmap,
                                               NULL,
                                               NULL};
    (void)v;
    f->pMethods = NULL;
    name_kept(name, ((struct faulty_file *)(void *)f)->kept);
    REAL(f) = (sqlite3_file *)(void *)((struct faulty_file *)(void *)f + 1);
    int rc = flags & SQLITE_OPEN_CREATE ? counted() : SQLITE_OK;
    if (rc == SQLITE_OK)
        rc = faulty.real->xOpen(faulty.real, name, REAL(f), flags, out);
    if (rc == SQLITE_OK)
        f->pMethods = &methods;
    return rc;
}

static int delete_faulty(sqlite3_vfs *v, const char *name, int sync)
{
    (void)v;
    int rc = counted();
    char kept[32];
    name_kept(name, kept);
    if (rc == SQLITE_OK && sync)
        (void)unlink(kept);
    return rc == SQLITE_OK ? faulty.real->xDelete(faulty.real, name, sync) : rc;
}

static void fail_from_now(void)
{
    faulty.real = sqlite3_vfs_find(NULL);
    faulty.vfs = *faulty.real;
    faulty.vfs.zName = "faulty";
    faulty.vfs.szOsFile = (int)sizeof(struct faulty_file) + faulty.real->szOsFile;
    faulty.vfs.xOpen = open_faulty;
    faulty.vfs.xDelete = delete_faulty;
    cr_assert_eq(sqlite3_vfs_register(&faulty.vfs, 1), SQLITE_OK);
}

enum { BATCHES = 3 };

/* Goes on with a stream of so many batches, one a commit; how many it says are committed, which
 * `tell` hears of at once. */
static int job(enum dstream_code *why, int *tell)
{
    static const char *const offsets[] = {"-1", "a", "b", "c"};
    struct dstream_error err = {0};
    struct ds_sqlite *d;
    struct ds_sqlite_stream s;
    int said = -1;
    *why = ds_sqlite_open(&d, &usual, &err);
    if (*why != DSTREAM_OK)
        return said;
    int ignored;
    tell = tell ? tell : &ignored;
    *why = ds_sqlite_find(d, "http://h/s", &s, &err);
    if (*why == DSTREAM_OK && s.id == 0)
        s = stream("http://h/s", NULL);
    int at = 0;
    while (*why == DSTREAM_OK && strcmp(s.at.offset, offsets[at]) != 0)
        at++;
    while (*why == DSTREAM_OK && at < BATCHES) {
        char data[8192];
        snprintf(data, sizeof data, "%d%05000d", at, 0);
        *why = add(d, &s, data, offsets[++at], &err);
        if (*why == DSTREAM_OK)
            *why = commit(d, &s, &err);
        if (*why == DSTREAM_OK)
            *tell = said = at;
        else
            cr_expect_neq(err.message[0], '\0');
    }
    ds_sqlite_free(d);
    return said;
}

/* Position and rows are of the same commit, which is the last one that was said, or its next. */
static void fits(long n, int said)
{
    if (access("db", F_OK) != 0 ||
        strcmp(ask("SELECT 1 FROM sqlite_schema WHERE name = 'messages'"), "") == 0) {
        cr_assert_leq(said, 0, "at %ld: it is gone", n);
        return;
    }
    char have[256];
    snprintf(have, sizeof have, "%s",
             ask("SELECT (SELECT \"offset\" FROM dstream_streams), count(*), "
                 "group_concat(substr(data, 1, 1), '') FROM (SELECT data FROM messages ORDER BY "
                 "\"offset\")"));
    static const char *const all[] = {"-1|0|(null)\n", "a|1|0\n", "b|2|01\n", "c|3|012\n"};
    int at = 0;
    while (at <= BATCHES && strcmp(have, all[at]) != 0)
        at++;
    cr_assert_leq(at, BATCHES, "at %ld: %s", n, have);
    cr_assert_geq(at, said, "at %ld: %s, and %d commits were said", n, have, said);
}

static void clear(void)
{
    (void)unlink("db");
    (void)unlink("db-wal");
    (void)unlink("db-shm");
    (void)unlink("db-journal");
    (void)unlink("kept-db");
    (void)unlink("kept-db-wal");
    (void)unlink("kept-db-journal");
}

/* All that was not synced is lost. */
static void cut_power(void)
{
    static const char *const names[] = {"db", "db-wal", "db-journal"};
    (void)unlink("db-shm");
    for (size_t i = 0; i < COUNT(names); i++) {
        char kept[32];
        name_kept(names[i], kept);
        (void)unlink(names[i]);
        if (access(kept, F_OK) == 0)
            cr_assert_eq(rename(kept, names[i]), 0);
    }
}

/* `sql` makes the database that it begins with; NULL: there is none. */
static void fail_at_each(const char *sql, int code)
{
    enum dstream_code why;
    fail_from_now();
    for (long n = 0;; n += UNIT_SHARE) {
        clear();
        if (sql)
            do_once(sql);
        faulty.left = n;
        faulty.code = code;
        int said = job(&why, NULL);
        bool reached = faulty.left < 0;
        faulty.left = -1;
        fits(n, said);
        if (said == BATCHES && !reached) {
            cr_assert_gt(n, 20);
            return;
        }
        /* A checkpoint that fails, as after the last commit, is no failure of a commit. */
        cr_assert(said == BATCHES || why == DSTREAM_ERR_IO, "at %ld: %d", n, why);
        cr_assert(job(&why, NULL) == BATCHES || said == BATCHES, "at %ld: %d", n, why);
        fits(n, BATCHES);
    }
}

/* The process, or the machine. */
static void die_at_each(const char *sql, bool machine)
{
    enum dstream_code why;
    int *said = mmap(NULL, sizeof *said, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    cr_assert_neq(said, MAP_FAILED);
    fail_from_now();
    for (long n = 0;; n += UNIT_SHARE) {
        clear();
        if (sql)
            do_once(sql);
        *said = -1;
        pid_t pid = fork();
        if (pid == 0) {
            faulty.left = n;
            faulty.code = 0;
            _exit(job(&why, said) == BATCHES ? 0 : 1);
        }
        int status;
        cr_assert_eq(waitpid(pid, &status, 0), pid);
        cr_assert(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
        if (machine)
            cut_power();
        fits(n, *said);
        cr_assert(job(&why, NULL) == BATCHES || why == DSTREAM_OK, "at %ld: %d", n, why);
        fits(n, BATCHES);
        if (!WIFSIGNALED(status))
            return;
    }
}

#define JOURNALLED "CREATE TABLE theirs(x)"

Test(sqlite, each_write_and_sync_fails_once)
{
    fail_at_each(NULL, SQLITE_IOERR_FSYNC);
}

Test(sqlite, each_write_finds_the_disk_full_once)
{
    fail_at_each(NULL, SQLITE_FULL);
}

Test(sqlite, each_write_and_sync_fails_once_with_a_journal)
{
    fail_at_each(JOURNALLED, SQLITE_IOERR_WRITE);
}

Test(sqlite, it_dies_at_each_write_and_sync)
{
    die_at_each(NULL, false);
}

Test(sqlite, it_dies_at_each_write_and_sync_with_a_journal)
{
    die_at_each(JOURNALLED, false);
}

Test(sqlite, power_fails_at_each_write_and_sync)
{
    die_at_each(NULL, true);
}

Test(sqlite, power_fails_at_each_write_and_sync_with_a_journal)
{
    die_at_each(JOURNALLED, true);
}
