/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The database is synced at each commit, whatever its journal mode: one that is made here gets a
 * write-ahead log, with which others can read while it is written; any other keeps its own.
 *
 * SQLite's locks are those of the process on the file, which closing any descriptor of it would
 * take away: once it is open here, nothing but SQLite touches it.
 */
#include "config.h"

#include "store/sqlite.h"

#include <errno.h>
#include <sqlite3.h>
#include <string.h>

#include "base/alloc.h"
#include "store/place.h"

#define OPEN_WAIT_MS 10000 /* for others, before anything is read of streams */
#define WAIT_MS      10    /* then; whoever calls tries again */

enum statement { INSERT, ADD, MOVE, MARK, KEEP, UNDO, STATEMENTS };

struct ds_sqlite {
    struct ds_place at;
    char *table;
    sqlite3 *db; /* NULL: there is none yet */
    bool has_streams, has_table;
    sqlite3_stmt *statements[STATEMENTS];
    struct dstream_error error; /* it failed for good */
};

/* --- errors ----------------------------------------------------------------------------------- */

/* What a system call said, where there was one. SQLite does not keep that of a commit. */
static int system_errno(sqlite3 *db)
{
    static const int telling[] = {ENOSPC, EDQUOT, EFBIG, EROFS, EIO};
    int now = errno, kept = db ? sqlite3_system_errno(db) : 0;
    for (size_t i = 0; kept == 0 && i < sizeof telling / sizeof *telling; i++)
        kept = now == telling[i] ? now : 0;
    return kept;
}

static const char *reason_of(sqlite3 *db, int rc)
{
    int system = system_errno(db);
    if ((rc & 0xff) == SQLITE_FULL)
        return system == EDQUOT || system == EFBIG ? ds_errno_text(system) : ds_errno_text(ENOSPC);
    if (((rc & 0xff) == SQLITE_IOERR || (rc & 0xff) == SQLITE_CANTOPEN) && system != 0)
        return ds_errno_text(system);
    if ((rc & 0xff) == SQLITE_READONLY)
        return rc == SQLITE_READONLY_DBMOVED ? "it was moved or removed" : "it is read-only";
    return db ? sqlite3_errmsg(db) : sqlite3_errstr(rc);
}

static enum dstream_code explain(const struct ds_sqlite *d, const char *what, int rc,
                                 struct dstream_error *err)
{
    const char *path = d->at.path;
    switch (rc & 0xff) {
    case SQLITE_NOMEM:
        return ds_error_set(err, DSTREAM_ERR_NOMEM, "%s: no memory to %s", path, what);
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return ds_error_set(err, DSTREAM_ERR_LOCKED,
                            "%s: another program keeps the database locked: let it end its "
                            "transaction",
                            path);
    case SQLITE_NOTADB:
        return ds_error_set(err, DSTREAM_ERR_EXISTS,
                            "%s: it exists, and is no SQLite database: name another file", path);
    case SQLITE_CORRUPT:
        return ds_error_set(err, DSTREAM_ERR_STATE_CORRUPT,
                            "%s: the database is damaged: put back a good copy, or name another "
                            "file",
                            path);
    case SQLITE_TOOBIG:
        return ds_error_set(err, DSTREAM_ERR_LIMIT, "%s: a message is too large for SQLite", path);
    default:
        return ds_error_set(err, DSTREAM_ERR_IO, "%s: cannot %s: %s", path, what,
                            reason_of(d->db, rc));
    }
}

/* From now on everything fails with it. */
static enum dstream_code finally(struct ds_sqlite *d, const struct dstream_error *err)
{
    d->error = *err;
    return err->code;
}

static enum dstream_code failed(struct ds_sqlite *d, const char *what, int rc,
                                struct dstream_error *err)
{
    enum dstream_code code = explain(d, what, rc, err);
    return code == DSTREAM_ERR_LOCKED ? code : finally(d, err);
}

static enum dstream_code broken(const struct ds_sqlite *d, struct dstream_error *err)
{
    errno = 0;
    if (d->error.code != DSTREAM_OK)
        *err = d->error;
    return d->error.code;
}

static enum dstream_code no_memory(struct dstream_error *err)
{
    return ds_error_set(err, DSTREAM_ERR_NOMEM, "no memory for a database");
}

/* --- statements ------------------------------------------------------------------------------- */

/* One that gives no rows. */
static int execute(struct ds_sqlite *d, const char *sql)
{
    return sqlite3_exec(d->db, sql, NULL, NULL, NULL);
}

/* `format` has a %w where the name of the table is to stand. */
static int prepare(struct ds_sqlite *d, const char *format, sqlite3_stmt **out)
{
    char *sql = sqlite3_mprintf(format, d->table);
    int rc = sql ? sqlite3_prepare_v3(d->db, sql, -1, SQLITE_PREPARE_PERSISTENT, out, NULL)
                 : SQLITE_NOMEM;
    sqlite3_free(sql);
    return rc;
}

/* Ready to be bound. */
static int statement(struct ds_sqlite *d, enum statement which, sqlite3_stmt **out)
{
    static const char *const sql[STATEMENTS] = {
        [INSERT] =
            "INSERT OR ABORT INTO main.\"%w\"(stream, \"offset\", \"index\", received, data) "
            "VALUES(?1, ?2, ?3, ?4, ?5)",
        [ADD] = "INSERT INTO main." DS_SQLITE_STREAMS
                "(into_table, url, content_type, \"offset\", skip, closed, time, state, revision) "
                "VALUES('%q', ?2, ?3, ?4, ?5, ?6, ?7, ?8, 1)",
        [MOVE] = "UPDATE main." DS_SQLITE_STREAMS
                 " SET url = ?2, content_type = ?3, \"offset\" = ?4, skip = ?5, closed = ?6, "
                 "time = ?7, state = ?8, revision = revision + 1 WHERE id = ?1 AND revision = ?9",
        [MARK] = "SAVEPOINT batch",
        [KEEP] = "RELEASE batch",
        [UNDO] = "ROLLBACK TO batch"};
    int rc = SQLITE_OK;
    if (!d->statements[which])
        rc = prepare(d, sql[which], &d->statements[which]);
    *out = d->statements[which];
    return rc;
}

/* Runs it to its end; a reset lets go of what is bound to it. */
static int run(sqlite3_stmt *s)
{
    int rc = sqlite3_step(s);
    int end = sqlite3_reset(s);
    sqlite3_clear_bindings(s);
    return rc == SQLITE_DONE || rc == SQLITE_ROW ? SQLITE_OK : end;
}

static int run_simple(struct ds_sqlite *d, enum statement which)
{
    sqlite3_stmt *s;
    int rc = statement(d, which, &s);
    return rc == SQLITE_OK ? run(s) : rc;
}

static int bind_text(sqlite3_stmt *s, int at, const char *text)
{
    return sqlite3_bind_text(s, at, text, -1, SQLITE_STATIC);
}

/* The first column of the only row; `out` is ds_strdup()'d, NULL where there is none. */
static int ask_text(struct ds_sqlite *d, const char *sql, const char *arg, char **out)
{
    sqlite3_stmt *s = NULL;
    *out = NULL;
    int rc = sqlite3_prepare_v2(d->db, sql, -1, &s, NULL);
    if (rc == SQLITE_OK && arg)
        rc = bind_text(s, 1, arg);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(s);
    if (rc == SQLITE_ROW && sqlite3_column_type(s, 0) != SQLITE_NULL) {
        const char *text = (const char *)sqlite3_column_text(s, 0);
        *out = text ? ds_strdup(text) : NULL;
        rc = *out ? SQLITE_ROW : SQLITE_NOMEM;
    }
    sqlite3_finalize(s);
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

/* --- opening ---------------------------------------------------------------------------------- */

bool ds_sqlite_table_valid(const char *name)
{
    return *name && sqlite3_strnicmp(name, "sqlite_", 7) != 0 &&
           sqlite3_stricmp(name, DS_SQLITE_STREAMS) != 0;
}

static enum dstream_code connect(struct ds_sqlite *d, int flags, struct dstream_error *err)
{
    /* Neither ":memory:" nor "file:..." has a meaning of its own. */
    char *path = sqlite3_mprintf("%s%s", d->at.path[0] == '/' ? "" : "./", d->at.path);
    if (!path)
        return no_memory(err);
    int rc = sqlite3_open_v2(path, &d->db, flags | SQLITE_OPEN_NOMUTEX, NULL);
    sqlite3_free(path);
    if (rc != SQLITE_OK)
        return failed(d, "open it", rc, err);
    sqlite3_extended_result_codes(d->db, 1);
    sqlite3_busy_timeout(d->db, flags & SQLITE_OPEN_CREATE ? WAIT_MS : OPEN_WAIT_MS);
    rc = execute(d, "PRAGMA synchronous=EXTRA");
    return rc == SQLITE_OK ? DSTREAM_OK : failed(d, "open it", rc, err);
}

/* Whether there is a table of this name, whose columns have to begin as `want` says. */
static enum dstream_code look(struct ds_sqlite *d, const char *table, const char *want, bool *there,
                              struct dstream_error *err)
{
    char *have;
    int rc = ask_text(d,
                      "SELECT group_concat(name || ' ' || pk, ',') FROM (SELECT name, pk FROM "
                      "pragma_table_info(?1, 'main') ORDER BY cid)",
                      table, &have);
    if (rc != SQLITE_OK)
        return failed(d, "read it", rc, err);
    size_t n = strlen(want);
    bool fits = !have || (strncmp(have, want, n) == 0 && (have[n] == '\0' || have[n] == ','));
    *there = have != NULL;
    ds_free(have);
    if (fits)
        return DSTREAM_OK;
    return ds_error_set(err, DSTREAM_ERR_EXISTS,
                        "%s: there is a table %.100s of another shape in it: give another --table, "
                        "or name another file",
                        d->at.path, table);
}

static enum dstream_code check_encoding(struct ds_sqlite *d, struct dstream_error *err)
{
    char *have;
    int rc = ask_text(d, "PRAGMA encoding", NULL, &have);
    if (rc != SQLITE_OK)
        return failed(d, "read it", rc, err);
    bool fits = have && strcmp(have, "UTF-8") == 0;
    ds_free(have);
    return fits ? DSTREAM_OK
                : ds_error_set(err, DSTREAM_ERR_EXISTS,
                               "%s: the database is of UTF-16, which changes the order of offsets: "
                               "name one of UTF-8",
                               d->at.path);
}

static enum dstream_code look_for_streams(struct ds_sqlite *d, struct dstream_error *err)
{
    return look(d, DS_SQLITE_STREAMS,
                "id 1,into_table 0,url 0,content_type 0,offset 0,skip 0,closed 0,time 0,state 0,"
                "revision 0",
                &d->has_streams, err);
}

static enum dstream_code check_shape(struct ds_sqlite *d, struct dstream_error *err)
{
    enum dstream_code rc = look_for_streams(d, err);
    if (rc == DSTREAM_OK)
        rc = look(d, d->table, "stream 1,offset 2,index 3,received 0,data 0", &d->has_table, err);
    if (rc == DSTREAM_OK && d->has_table && !d->has_streams)
        rc = ds_error_set(err, DSTREAM_ERR_STATE_MISMATCH,
                          "%s: there is a table %.100s, but none of " DS_SQLITE_STREAMS
                          ", which says what is in it: give another --table, or name another file",
                          d->at.path, d->table);
    return rc;
}

static enum dstream_code open_old(struct ds_sqlite *d, struct dstream_error *err)
{
    enum dstream_code rc = connect(d, SQLITE_OPEN_READWRITE, err);
    if (rc == DSTREAM_OK)
        rc = check_encoding(d, err);
    if (rc == DSTREAM_OK && sqlite3_db_readonly(d->db, "main") != 0)
        rc = explain(d, "write to it", SQLITE_READONLY, err);
    if (rc == DSTREAM_OK)
        rc = check_shape(d, err);
    if (rc == DSTREAM_OK)
        sqlite3_busy_timeout(d->db, WAIT_MS);
    return rc;
}

/* Before SQLite has it open: see above. */
static enum dstream_code is_there(const struct ds_sqlite *d, bool *there, struct dstream_error *err)
{
    const struct ds_fileops *ops = d->at.ops;
    struct ds_file_info info;
    int fd = ops->open(ops->ctx, d->at.dir, d->at.name, DS_OPEN_READ);
    *there = fd >= 0;
    if (fd == -ENOENT)
        return DSTREAM_OK;
    if (fd < 0)
        return ds_file_error(err, d->at.path, "open it", fd);
    int rc = ops->info(ops->ctx, fd, &info);
    ds_file_close(ops, &fd);
    if (rc == 0 && info.kind != DS_FILE_REGULAR)
        rc = info.kind == DS_FILE_DIRECTORY ? -EISDIR : -ENXIO;
    return rc == 0 ? DSTREAM_OK : ds_file_error(err, d->at.path, "open it", rc);
}

static struct ds_sqlite *made(void)
{
    struct ds_sqlite *d = ds_calloc(1, sizeof *d);
    if (d)
        d->at.dir = d->at.lock = -1;
    return d;
}

static enum dstream_code open_steps(struct ds_sqlite *d, const struct ds_sqlite_options *o,
                                    struct dstream_error *err)
{
    bool there = false;
    d->table = ds_strdup(o->table);
    if (!d->table)
        return no_memory(err);
    enum dstream_code rc =
        ds_place_open(&d->at, o->ops ? o->ops : &ds_fileops_system, o->path, err);
    if (rc == DSTREAM_OK)
        rc = is_there(d, &there, err);
    if (rc == DSTREAM_OK)
        rc = ds_place_lock_dir(&d->at, DS_LOCK_SHARED, err);
    if (rc == DSTREAM_OK)
        rc = ds_place_lock(&d->at, err);
    if (rc == DSTREAM_OK && there)
        rc = open_old(d, err);
    return rc;
}

enum dstream_code ds_sqlite_open(struct ds_sqlite **out, const struct ds_sqlite_options *o,
                                 struct dstream_error *err)
{
    *out = NULL;
    struct ds_sqlite *d = made();
    if (!d)
        return no_memory(err);
    enum dstream_code rc = open_steps(d, o, err);
    if (rc == DSTREAM_OK)
        *out = d;
    else
        ds_sqlite_free(d);
    return rc;
}

void ds_sqlite_free(struct ds_sqlite *d)
{
    if (!d)
        return;
    for (size_t i = 0; i < STATEMENTS; i++)
        sqlite3_finalize(d->statements[i]);
    sqlite3_close(d->db);
    ds_place_close(&d->at);
    ds_free(d->table);
    ds_free(d);
}

/* --- streams ---------------------------------------------------------------------------------- */

static bool same_text(sqlite3_stmt *s, int column, const char *want)
{
    const char *have = (const char *)sqlite3_column_text(s, column);
    return have && strcmp(have, want) == 0;
}

/* The columns that are for people have to say what the checkpoint says. */
static enum dstream_code read_stream(struct ds_sqlite *d, sqlite3_stmt *q,
                                     struct ds_sqlite_stream *out, struct dstream_error *err)
{
    const char *line = (const char *)sqlite3_column_text(q, 2);
    size_t n = (size_t)sqlite3_column_bytes(q, 2);
    out->id = sqlite3_column_int64(q, 0);
    out->revision = sqlite3_column_int64(q, 1);
    enum dstream_code rc = ds_checkpoint_read(&out->at, line ? line : "", n, d->at.path, err);
    if (rc != DSTREAM_OK && rc != DSTREAM_ERR_STATE_CORRUPT)
        return rc;
    if (rc == DSTREAM_OK && same_text(q, 3, out->at.url) && same_text(q, 4, out->at.offset) &&
        (uint64_t)sqlite3_column_int64(q, 5) == out->at.skip)
        return rc;
    const char *url = (const char *)sqlite3_column_text(q, 3);
    return ds_error_set(err, DSTREAM_ERR_STATE_CORRUPT,
                        "%s: the row of %.200s in " DS_SQLITE_STREAMS
                        " was changed by hand, or is of another release: --reset forgets it",
                        d->at.path, url ? url : "a stream");
}

static int find_rows(struct ds_sqlite *d, struct ds_sqlite_stream *s)
{
    sqlite3_stmt *q = NULL;
    int rc = prepare(d, "SELECT 1 FROM main.\"%w\" WHERE stream = ?1 LIMIT 1", &q);
    if (rc == SQLITE_OK)
        rc = sqlite3_bind_int64(q, 1, s->id);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(q);
    s->has_rows = rc == SQLITE_ROW;
    sqlite3_finalize(q);
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

enum dstream_code ds_sqlite_find(struct ds_sqlite *d, const char *url, struct ds_sqlite_stream *out,
                                 struct dstream_error *err)
{
    sqlite3_stmt *q = NULL;
    memset(out, 0, sizeof *out);
    if (!d->has_streams)
        return broken(d, err);
    int rc = prepare(d,
                     "SELECT id, revision, state, url, \"offset\", skip FROM "
                     "main." DS_SQLITE_STREAMS " WHERE url = ?1 AND into_table = '%q'",
                     &q);
    if (rc == SQLITE_OK)
        rc = bind_text(q, 1, url);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(q);
    enum dstream_code code = DSTREAM_OK;
    if (rc == SQLITE_ROW)
        code = read_stream(d, q, out, err);
    sqlite3_finalize(q);
    if (rc == SQLITE_ROW)
        rc = d->has_table ? find_rows(d, out) : SQLITE_OK;
    else if (rc == SQLITE_DONE)
        rc = SQLITE_OK;
    return rc == SQLITE_OK ? code : failed(d, "read it", rc, err);
}

/* --- a transaction ---------------------------------------------------------------------------- */

static bool is_open(const struct ds_sqlite *d)
{
    return d->db && sqlite3_get_autocommit(d->db) == 0;
}

/* Of a database without anything in it, as one that was just made. */
static int choose_journal(struct ds_sqlite *d)
{
    char *pages, *mode = NULL;
    int rc = ask_text(d, "PRAGMA page_count", NULL, &pages);
    if (rc == SQLITE_OK && pages && strcmp(pages, "0") == 0)
        rc = ask_text(d, "PRAGMA journal_mode=WAL", NULL, &mode);
    ds_free(pages);
    ds_free(mode);
    return rc;
}

static int make_tables(struct ds_sqlite *d)
{
    int rc = SQLITE_OK;
    if (!d->has_streams)
        rc = execute(d,
                     "CREATE TABLE main." DS_SQLITE_STREAMS "(id INTEGER PRIMARY KEY AUTOINCREMENT,"
                     " into_table TEXT NOT NULL COLLATE NOCASE, url TEXT NOT NULL,"
                     " content_type TEXT NOT NULL, \"offset\" TEXT NOT NULL, skip INTEGER NOT NULL,"
                     " closed INTEGER NOT NULL, time TEXT NOT NULL, state TEXT NOT NULL,"
                     " revision INTEGER NOT NULL, UNIQUE (url, into_table))");
    if (rc != SQLITE_OK || d->has_table)
        return rc;
    char *sql = sqlite3_mprintf(
        "CREATE TABLE main.\"%w\"(stream INTEGER NOT NULL REFERENCES " DS_SQLITE_STREAMS "(id),"
        " \"offset\" TEXT NOT NULL, \"index\" INTEGER NOT NULL, received TEXT NOT NULL,"
        " data BLOB NOT NULL, PRIMARY KEY (stream, \"offset\", \"index\"))",
        d->table);
    rc = sql ? execute(d, sql) : SQLITE_NOMEM;
    sqlite3_free(sql);
    return rc;
}

static enum dstream_code begin(struct ds_sqlite *d, struct dstream_error *err)
{
    enum dstream_code code =
        d->db ? DSTREAM_OK : connect(d, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, err);
    if (code != DSTREAM_OK)
        return code;
    int rc = choose_journal(d);
    if (rc == SQLITE_OK)
        rc = execute(d, "BEGIN IMMEDIATE");
    if (rc == SQLITE_OK)
        rc = make_tables(d);
    if (rc != SQLITE_OK) {
        code = failed(d, "write to it", rc, err);
        if (is_open(d))
            (void)execute(d, "ROLLBACK");
        return code;
    }
    d->has_streams = d->has_table = true;
    return DSTREAM_OK;
}

enum dstream_code ds_sqlite_begin(struct ds_sqlite *d, struct dstream_error *err)
{
    if (broken(d, err) != DSTREAM_OK || is_open(d))
        return d->error.code;
    if (!d->has_table || !d->has_streams)
        return begin(d, err);
    int rc = execute(d, "BEGIN IMMEDIATE");
    return rc == SQLITE_OK ? DSTREAM_OK : failed(d, "write to it", rc, err);
}

enum dstream_code ds_sqlite_clear(struct ds_sqlite *d, const struct ds_sqlite_stream *s,
                                  struct dstream_error *err)
{
    sqlite3_stmt *q = NULL;
    if (broken(d, err) != DSTREAM_OK)
        return d->error.code;
    int rc = prepare(d, "DELETE FROM main.\"%w\" WHERE stream = ?1", &q);
    if (rc == SQLITE_OK)
        rc = sqlite3_bind_int64(q, 1, s->id);
    if (rc == SQLITE_OK)
        rc = run(q);
    sqlite3_finalize(q);
    return rc == SQLITE_OK ? DSTREAM_OK : failed(d, "write to it", rc, err);
}

static int bind_stream(sqlite3_stmt *q, const struct ds_sqlite_stream *s, const struct ds_buf *line)
{
    const struct ds_checkpoint *c = &s->at;
    const char *const texts[] = {c->url, c->content_type, c->offset};
    int rc = SQLITE_OK;
    for (int i = 0; i < 3 && rc == SQLITE_OK; i++)
        rc = bind_text(q, 2 + i, texts[i]);
    if (rc == SQLITE_OK)
        rc = sqlite3_bind_int64(q, 5, (sqlite3_int64)c->skip);
    if (rc == SQLITE_OK)
        rc = sqlite3_bind_int(q, 6, c->closed);
    if (rc == SQLITE_OK)
        rc = bind_text(q, 7, c->time);
    if (rc == SQLITE_OK)
        rc = sqlite3_bind_text(q, 8, line->data, (int)line->len, SQLITE_STATIC);
    if (rc == SQLITE_OK && s->id != 0)
        rc = sqlite3_bind_int64(q, 1, s->id);
    if (rc == SQLITE_OK && s->id != 0)
        rc = sqlite3_bind_int64(q, 9, s->revision);
    return rc;
}

static enum dstream_code moved_by_others(struct ds_sqlite *d, const struct ds_sqlite_stream *s,
                                         struct dstream_error *err)
{
    ds_error_set(err, DSTREAM_ERR_STATE_MISMATCH,
                 "%s: somebody else has changed the row of %.200s in " DS_SQLITE_STREAMS
                 " meanwhile: nothing was written since the last commit",
                 d->at.path, s->at.url);
    return finally(d, err);
}

static enum dstream_code put_line(struct ds_sqlite *d, struct ds_sqlite_stream *s,
                                  const struct ds_buf *line, struct dstream_error *err)
{
    sqlite3_stmt *q;
    int rc = statement(d, s->id == 0 ? ADD : MOVE, &q);
    if (rc == SQLITE_OK)
        rc = bind_stream(q, s, line);
    if (rc == SQLITE_OK)
        rc = run(q);
    if (rc == SQLITE_OK && sqlite3_changes(d->db) == 1) {
        s->revision = s->id == 0 ? 1 : s->revision + 1;
        s->id = s->id == 0 ? sqlite3_last_insert_rowid(d->db) : s->id;
        return DSTREAM_OK;
    }
    if (rc == SQLITE_OK || (rc & 0xff) == SQLITE_CONSTRAINT)
        return moved_by_others(d, s, err);
    return failed(d, "write to it", rc, err);
}

enum dstream_code ds_sqlite_put(struct ds_sqlite *d, struct ds_sqlite_stream *s,
                                struct dstream_error *err)
{
    struct ds_buf line;
    if (broken(d, err) != DSTREAM_OK)
        return d->error.code;
    ds_buf_init(&line, DS_CHECKPOINT_LINE_MAX);
    strcpy(s->at.format, DS_SQLITE_FORMAT);
    ds_checkpoint_stamp(&s->at);
    enum dstream_code rc = ds_checkpoint_write(&line, &s->at);
    if (rc == DSTREAM_OK)
        rc = put_line(d, s, &line, err);
    else
        ds_error_set(err, rc, "%s: cannot write a state: %s", d->at.path, dstream_code_text(rc));
    ds_buf_free(&line);
    return rc;
}

/* --- rows ------------------------------------------------------------------------------------- */

static int insert_row(struct ds_sqlite *d, int64_t id, const struct ds_sqlite_row *row)
{
    sqlite3_stmt *q;
    /* Of no bytes there is a place all the same, else it would be NULL. */
    const char *data = row->len > 0 ? row->data : "";
    int rc = statement(d, INSERT, &q);
    if (rc == SQLITE_OK)
        rc = sqlite3_bind_int64(q, 1, id);
    if (rc == SQLITE_OK)
        rc = bind_text(q, 2, row->offset);
    if (rc == SQLITE_OK)
        rc = sqlite3_bind_int64(q, 3, (sqlite3_int64)row->index);
    if (rc == SQLITE_OK)
        rc = bind_text(q, 4, row->received);
    if (rc == SQLITE_OK && row->text)
        rc = sqlite3_bind_text64(q, 5, data, row->len, SQLITE_STATIC, SQLITE_UTF8);
    else if (rc == SQLITE_OK)
        rc = sqlite3_bind_blob64(q, 5, data, row->len, SQLITE_STATIC);
    return rc == SQLITE_OK ? run(q) : rc;
}

static enum dstream_code there_already(const struct ds_sqlite *d, const struct ds_sqlite_row *row,
                                       struct dstream_error *err)
{
    ds_error_set_offset(err, row->offset);
    return ds_error_set(err, DSTREAM_ERR_STATE_MISMATCH,
                        "%s: the row of offset %.100s and index %llu is in %.100s already, or goes "
                        "against a rule of that table (%.100s): with --reset --overwrite the "
                        "stream's rows are made anew",
                        d->at.path, row->offset, (unsigned long long)row->index, d->table,
                        sqlite3_errmsg(d->db));
}

enum dstream_code ds_sqlite_insert(struct ds_sqlite *d, const struct ds_sqlite_stream *s, size_t n,
                                   ds_sqlite_get get, void *ctx, struct dstream_error *err)
{
    struct ds_sqlite_row row;
    if (broken(d, err) != DSTREAM_OK)
        return d->error.code;
    enum dstream_code code = DSTREAM_OK;
    int rc = run_simple(d, MARK);
    for (size_t i = 0; i < n && rc == SQLITE_OK && code == DSTREAM_OK; i++) {
        row = (struct ds_sqlite_row){.received = ""};
        code = get(ctx, i, &row);
        if (code == DSTREAM_OK)
            rc = insert_row(d, s->id, &row);
    }
    if ((rc & 0xff) == SQLITE_CONSTRAINT) {
        code = there_already(d, &row, err);
        rc = SQLITE_OK;
    } else if (code != DSTREAM_OK) {
        ds_error_set(err, code, "%s: cannot take a message: %s", d->at.path,
                     dstream_code_text(code));
    }
    if (rc == SQLITE_OK && code != DSTREAM_OK)
        rc = run_simple(d, UNDO);
    if (rc == SQLITE_OK)
        rc = run_simple(d, KEEP);
    return rc == SQLITE_OK ? code : failed(d, "write to it", rc, err);
}

/* --- committing ------------------------------------------------------------------------------- */

/* Else what is committed would be in a file that has no name any more. */
static bool has_moved(const struct ds_sqlite *d)
{
    int moved = 0;
    return sqlite3_file_control(d->db, "main", SQLITE_FCNTL_HAS_MOVED, &moved) == SQLITE_OK &&
           moved;
}

enum dstream_code ds_sqlite_commit(struct ds_sqlite *d, struct dstream_error *err)
{
    if (broken(d, err) != DSTREAM_OK || !is_open(d))
        return d->error.code;
    if (has_moved(d))
        return failed(d, "write to it", SQLITE_READONLY_DBMOVED, err);
    int rc = execute(d, "COMMIT");
    return rc == SQLITE_OK ? DSTREAM_OK : failed(d, "commit", rc, err);
}

/* --- showing -----------------------------------------------------------------------------------
 */

struct ds_sqlite_rows {
    struct ds_sqlite *d;
    int64_t stream;
    sqlite3_stmt *q; /* NULL: none was asked for yet */
};

bool ds_sqlite_next(struct ds_sqlite_rows *r, struct ds_sqlite_row *row, struct dstream_error *err)
{
    int rc = SQLITE_OK;
    if (!r->q) {
        rc = prepare(r->d,
                     "SELECT \"offset\", \"index\", received, data FROM main.\"%w\" WHERE stream = "
                     "?1 ORDER BY \"offset\", \"index\"",
                     &r->q);
        if (rc == SQLITE_OK)
            rc = sqlite3_bind_int64(r->q, 1, r->stream);
    }
    if (rc == SQLITE_OK)
        rc = sqlite3_step(r->q);
    if (rc != SQLITE_ROW && rc != SQLITE_DONE)
        (void)explain(r->d, "read it", rc, err);
    if (rc != SQLITE_ROW)
        return false;
    *row = (struct ds_sqlite_row){.offset = (const char *)sqlite3_column_text(r->q, 0),
                                  .index = (uint64_t)sqlite3_column_int64(r->q, 1),
                                  .received = (const char *)sqlite3_column_text(r->q, 2),
                                  .text = sqlite3_column_type(r->q, 3) == SQLITE_TEXT,
                                  .data = sqlite3_column_blob(r->q, 3),
                                  .len = (size_t)sqlite3_column_bytes(r->q, 3)};
    return true;
}

/* One row of the table of streams. */
static enum dstream_code show_stream(struct ds_sqlite *d, sqlite3_stmt *q,
                                     struct ds_sqlite_stream *s, ds_sqlite_take take, void *ctx,
                                     struct dstream_error *err)
{
    const char *table = (const char *)sqlite3_column_text(q, 6);
    ds_free(d->table);
    d->table = ds_strdup(table ? table : "");
    enum dstream_code rc = d->table ? read_stream(d, q, s, err) : no_memory(err);
    struct ds_sqlite_rows rows = {.d = d, .stream = s->id};
    if (rc == DSTREAM_OK)
        take(ctx, d->table, &s->at, &rows);
    sqlite3_finalize(rows.q);
    return rc;
}

static enum dstream_code show_streams(struct ds_sqlite *d, ds_sqlite_take take, void *ctx,
                                      struct dstream_error *err)
{
    sqlite3_stmt *q = NULL;
    struct ds_sqlite_stream *s = ds_calloc(1, sizeof *s);
    enum dstream_code code = DSTREAM_OK;
    int rc = s ? sqlite3_prepare_v2(d->db,
                                    "SELECT id, revision, state, url, \"offset\", skip, into_table "
                                    "FROM main." DS_SQLITE_STREAMS " ORDER BY id",
                                    -1, &q, NULL)
               : SQLITE_NOMEM;
    while (rc == SQLITE_OK && code == DSTREAM_OK && (rc = sqlite3_step(q)) == SQLITE_ROW) {
        code = show_stream(d, q, s, take, ctx, err);
        rc = SQLITE_OK;
    }
    sqlite3_finalize(q);
    ds_free(s);
    return rc == SQLITE_OK || rc == SQLITE_DONE ? code : explain(d, "read it", rc, err);
}

enum dstream_code ds_sqlite_show(const struct ds_fileops *ops, const char *path,
                                 ds_sqlite_take take, void *ctx, struct dstream_error *err)
{
    struct ds_sqlite *d = made();
    if (!d)
        return no_memory(err);
    enum dstream_code rc = ds_place_open(&d->at, ops ? ops : &ds_fileops_system, path, err);
    if (rc == DSTREAM_OK)
        rc = connect(d, SQLITE_OPEN_READONLY, err);
    if (rc == DSTREAM_OK)
        rc = look_for_streams(d, err);
    if (rc == DSTREAM_OK && !d->has_streams)
        rc = ds_error_set(err, DSTREAM_ERR_STATE_MISMATCH,
                          "%s: there is no table " DS_SQLITE_STREAMS
                          " in it: no stream was exported "
                          "into it",
                          path);
    if (rc == DSTREAM_OK)
        rc = show_streams(d, take, ctx, err);
    ds_sqlite_free(d);
    return rc;
}

/* --- what is it ------------------------------------------------------------------------------- */

bool ds_sqlite_is(const struct ds_fileops *ops, const char *path)
{
    static const char magic[16] = "SQLite format 3";
    char have[sizeof magic];
    if (!ops)
        ops = &ds_fileops_system;
    int fd = ops->open(ops->ctx, DS_DIR_CWD, path, DS_OPEN_READ);
    bool is = fd >= 0 && ds_file_read(ops, fd, have, sizeof have, 0) == (int64_t)sizeof have &&
              memcmp(have, magic, sizeof have) == 0;
    ds_file_close(ops, &fd);
    return is;
}
