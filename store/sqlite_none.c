/* SPDX-License-Identifier: Apache-2.0 */
/* Stands for sqlite.c in a build without SQLite. */
#include "config.h"

#include "store/sqlite.h"

static enum dstream_code none(struct dstream_error *err)
{
    return ds_error_set(err, DSTREAM_ERR_ARGUMENT, "this dstream was built without SQLite");
}

bool ds_sqlite_table_valid(const char *name)
{
    return *name != '\0';
}

enum dstream_code ds_sqlite_open(struct ds_sqlite **out, const struct ds_sqlite_options *o,
                                 struct dstream_error *err)
{
    (void)o;
    *out = NULL;
    return none(err);
}

void ds_sqlite_free(struct ds_sqlite *d)
{
    (void)d;
}

enum dstream_code ds_sqlite_find(struct ds_sqlite *d, const char *url, struct ds_sqlite_stream *out,
                                 struct dstream_error *err)
{
    (void)d, (void)url, (void)out;
    return none(err);
}

enum dstream_code ds_sqlite_begin(struct ds_sqlite *d, struct dstream_error *err)
{
    (void)d;
    return none(err);
}

enum dstream_code ds_sqlite_clear(struct ds_sqlite *d, const struct ds_sqlite_stream *s,
                                  struct dstream_error *err)
{
    (void)d, (void)s;
    return none(err);
}

enum dstream_code ds_sqlite_put(struct ds_sqlite *d, struct ds_sqlite_stream *s,
                                struct dstream_error *err)
{
    (void)d, (void)s;
    return none(err);
}

enum dstream_code ds_sqlite_insert(struct ds_sqlite *d, const struct ds_sqlite_stream *s, size_t n,
                                   ds_sqlite_get get, void *ctx, struct dstream_error *err)
{
    (void)d, (void)s, (void)n, (void)get, (void)ctx;
    return none(err);
}

enum dstream_code ds_sqlite_commit(struct ds_sqlite *d, struct dstream_error *err)
{
    (void)d;
    return none(err);
}

enum dstream_code ds_sqlite_show(const struct ds_fileops *ops, const char *path,
                                 ds_sqlite_take take, void *ctx, struct dstream_error *err)
{
    (void)ops, (void)path, (void)take, (void)ctx;
    return none(err);
}

bool ds_sqlite_next(struct ds_sqlite_rows *r, struct ds_sqlite_row *row, struct dstream_error *err)
{
    (void)r, (void)row;
    (void)none(err);
    return false;
}

bool ds_sqlite_is(const struct ds_fileops *ops, const char *path)
{
    (void)ops, (void)path;
    return false;
}
