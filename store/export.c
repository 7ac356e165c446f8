/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "store/export.h"

#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "store/set.h"

/* --- opening ---------------------------------------------------------------------------------- */

static enum dstream_code without_state(struct ds_export *x, uint64_t size,
                                       struct dstream_error *err)
{
    const struct ds_exports *s = x->set;
    if (x->data.fd < 0)
        return DSTREAM_OK;
    if (s->overwrite) {
        x->empty_first = true;
        return DSTREAM_OK;
    }
    if (!s->append)
        return ds_error_set(err, DSTREAM_ERR_EXISTS,
                            "%s: it exists, and %s: give --overwrite or --append, or another name",
                            x->data.path,
                            s->reset ? "its state is to be forgotten" : "has no state file");
    if (x->exists) /* --reset cuts to the recorded length */
        return ds_data_compare(&x->data, &x->last, size, s->state.at.path, err);
    x->data.length = size;
    return DSTREAM_OK;
}

static enum dstream_code load_line(struct ds_export *x, struct dstream_error *err)
{
    const struct ds_exports *s = x->set;
    if (!s->directory) {
        x->exists = s->state.exists;
        x->last = s->state.last;
    } else if (x->line) {
        x->exists = true;
        enum dstream_code rc = ds_checkpoint_read(&x->last, x->line->text.data, x->line->text.len,
                                                  s->state.at.path, err);
        if (rc != DSTREAM_OK)
            return rc;
    }
    if (x->exists && !x->last.has_output)
        return ds_error_set(err, DSTREAM_ERR_STATE_MISMATCH,
                            "%s: the state goes with no output file: give another state file",
                            s->state.at.path);
    return DSTREAM_OK;
}

static struct ds_line *line_of(const struct ds_exports *s, const char *file)
{
    for (size_t i = 0; i < s->nlines; i++) {
        if (strcmp(s->lines[i]->file, file) == 0)
            return s->lines[i];
    }
    return NULL;
}

/* "DIRECTORY/FILE". */
static char *path_in(const struct ds_exports *s, const char *file)
{
    struct ds_buf b;
    size_t n = strlen(s->at.path);
    ds_buf_init(&b, SIZE_MAX);
    if (ds_buf_addf(&b, "%s%s%s", s->at.path, n > 0 && s->at.path[n - 1] == '/' ? "" : "/", file) ==
            DSTREAM_OK &&
        ds_buf_str(&b))
        return b.data;
    ds_buf_free(&b);
    return NULL;
}

static enum dstream_code open_member(struct ds_export *x, struct dstream_error *err)
{
    const struct ds_exports *s = x->set;
    uint64_t size;
    char *path = s->directory ? path_in(s, x->file) : ds_strdup(s->at.path);
    enum dstream_code rc =
        ds_data_begin(&x->data, s->ops, s->at.dir, ds_strdup(x->file), path, err);
    if (rc == DSTREAM_OK)
        rc = load_line(x, err);
    if (rc == DSTREAM_OK)
        rc = ds_data_open(&x->data, &size, err);
    if (rc != DSTREAM_OK)
        return rc;
    x->resume = x->exists && !s->reset;
    return x->resume ? ds_data_compare(&x->data, &x->last, size, s->state.at.path, err)
                     : without_state(x, size, err);
}

enum dstream_code ds_set_add(struct ds_exports *s, const char *file, struct ds_export **out,
                             struct dstream_error *err)
{
    *out = NULL;
    struct ds_export **all = ds_realloc(s->members, (s->n + 1) * sizeof *all);
    if (all)
        s->members = all;
    struct ds_export *x = all ? ds_calloc(1, sizeof *x) : NULL;
    if (!x)
        return ds_error_set(err, DSTREAM_ERR_NOMEM, "no memory for an export");
    x->set = s;
    x->data.fd = -1;
    x->file = ds_strdup(file);
    x->line = s->directory && file ? line_of(s, file) : NULL;
    enum dstream_code rc = x->file ? open_member(x, err)
                                   : ds_error_set(err, DSTREAM_ERR_NOMEM, "no memory for a name");
    if (rc != DSTREAM_OK) {
        ds_member_free(x);
        return rc;
    }
    if (x->line)
        x->line->member = x;
    s->members[s->n++] = x;
    *out = x;
    return DSTREAM_OK;
}

void ds_member_free(struct ds_export *x)
{
    ds_data_end(&x->data);
    ds_free(x->file);
    ds_free(x);
}

/* Names that would meet: the state is renamed, a lock file must never be. */
static enum dstream_code check_names(const struct ds_exports *s, struct dstream_error *err)
{
    const struct ds_place *a = &s->at, *b = &s->state.at;
    if (ds_place_is(a, "", b) || ds_place_is(a, ".lock", b) || ds_place_is(b, ".lock", a) ||
        ds_place_is(b, ".tmp", a))
        return ds_error_set(err, DSTREAM_ERR_ARGUMENT,
                            "%s: the state cannot have the name %s beside this output: give "
                            "another one",
                            a->path, b->path);
    return DSTREAM_OK;
}

static enum dstream_code open_places(struct ds_exports *s, const struct ds_export_options *o,
                                     struct dstream_error *err)
{
    enum dstream_code rc = ds_place_open(&s->at, s->ops, o->path, err);
    if (rc != DSTREAM_OK)
        return rc;
    char *state = o->state ? ds_strdup(o->state) : ds_name_with(o->path, ".dstate");
    rc = state ? ds_state_begin(&s->state, s->ops, state, err)
               : ds_error_set(err, DSTREAM_ERR_NOMEM, "no memory for a file name");
    ds_free(state);
    return rc == DSTREAM_OK ? check_names(s, err) : rc;
}

/* The state's lock is the third: that it is free is seen before the second one's file is made, so
 * that who is refused for it has made nothing. */
static enum dstream_code take_locks(struct ds_exports *s, struct dstream_error *err)
{
    enum dstream_code rc = ds_place_lock_dir(&s->at, DS_LOCK_SHARED, err);
    if (rc == DSTREAM_OK)
        rc = ds_place_probe(&s->state.at, err);
    if (rc == DSTREAM_OK)
        rc = ds_place_lock(&s->at, err);
    if (rc == DSTREAM_OK)
        rc = ds_place_lock(&s->state.at, err);
    return rc;
}

static enum dstream_code open_steps(struct ds_exports *s, const struct ds_export_options *o,
                                    struct ds_export **out, struct dstream_error *err)
{
    enum dstream_code rc = open_places(s, o, err);
    if (rc == DSTREAM_OK)
        rc = take_locks(s, err);
    if (rc == DSTREAM_OK)
        rc = ds_state_load(&s->state, err);
    if (rc == DSTREAM_OK)
        rc = ds_set_add(s, s->at.name, out, err);
    /* What a crash left in the caches must be settled before anything is built on it. */
    if (rc == DSTREAM_OK)
        rc = ds_place_sync(&s->at, err);
    if (rc == DSTREAM_OK)
        rc = ds_place_sync(&s->state.at, err);
    return rc;
}

enum dstream_code ds_export_open(struct ds_export **out, const struct ds_export_options *o,
                                 struct dstream_error *err)
{
    *out = NULL;
    struct ds_exports *s = ds_set_new(o, err);
    if (!s)
        return err->code;
    struct ds_export *x = NULL;
    enum dstream_code rc = open_steps(s, o, &x, err);
    if (rc == DSTREAM_OK) {
        x->alone = true;
        *out = x;
    } else {
        ds_exports_free(s);
    }
    return rc;
}

void ds_export_free(struct ds_export *x)
{
    if (x && x->alone)
        ds_exports_free(x->set);
}

/* --- what is known ---------------------------------------------------------------------------- */

const struct ds_checkpoint *ds_export_state(const struct ds_export *x)
{
    return x->resume ? &x->last : NULL;
}

const char *ds_export_path(const struct ds_export *x)
{
    return x->data.path;
}

const char *ds_export_state_path(const struct ds_export *x)
{
    return x->set->state.at.path;
}

bool ds_export_complete(const struct ds_export *x)
{
    return x->resume && x->last.closed && x->data.fd >= 0 && !x->data.longer;
}

bool ds_export_ready(const struct ds_export *x)
{
    return x->ready;
}

bool ds_export_changed(const struct ds_export *x)
{
    return x->changed;
}

uint64_t ds_export_length(const struct ds_export *x)
{
    return x->data.length;
}

uint64_t ds_export_committed(const struct ds_export *x)
{
    return x->exists ? x->last.length : 0;
}

const struct dstream_error *ds_export_error(const struct ds_export *x)
{
    return &x->error;
}

enum dstream_code ds_export_read(struct ds_export *x, uint64_t at, void *p, size_t n,
                                 struct dstream_error *err)
{
    int64_t got = ds_file_read(x->data.ops, x->data.fd, p, n, at);
    if (got >= 0 && (size_t)got < n)
        got = -EIO;
    return got < 0 ? ds_file_error(err, x->data.path, "read it", (int)got) : DSTREAM_OK;
}

/* --- making it ready -------------------------------------------------------------------------- */

static enum dstream_code create(struct ds_export *x, int *why, struct dstream_error *err)
{
    enum dstream_code rc = ds_data_create(&x->data, why, err);
    x->set->named = x->set->named || x->data.fd >= 0;
    return rc;
}

/* A whole commit, as far as this file is concerned. */
static enum dstream_code commit_all(struct ds_export *x, struct dstream_error *err)
{
    enum dstream_code rc = ds_exports_commit(x->set, err);
    if (rc == DSTREAM_OK && x->error.code != DSTREAM_OK) {
        *err = x->error;
        rc = err->code;
    }
    return rc;
}

/* A first state. It is durable before the file is made or emptied, so that a crash in between goes
 * on from it: a file longer than its state is cut. */
static enum dstream_code begin(struct ds_export *x, struct dstream_error *err)
{
    x->first = true;
    return x->set->directory ? DSTREAM_OK : commit_all(x, err);
}

enum dstream_code ds_export_confirm(struct ds_export *x, const struct ds_checkpoint *c,
                                    struct dstream_error *err)
{
    enum dstream_code rc = DSTREAM_OK;
    int why;
    if (x->ready || x->first)
        return rc;
    x->now = c;
    if (!x->resume)
        return begin(x, err);
    if (x->data.fd < 0)
        rc = create(x, &why, err);
    else if (x->data.longer)
        rc = ds_data_cut(&x->data, x->data.length, err);
    x->ready = rc == DSTREAM_OK;
    return rc;
}

/* --- writing ---------------------------------------------------------------------------------- */

enum dstream_code ds_export_write(struct ds_export *x, const void *p, size_t n,
                                  struct dstream_error *err)
{
    if (!x->ready)
        return ds_error_set(err, DSTREAM_ERR_STATE, "%s: written before it was ready",
                            x->data.path);
    x->changed = x->changed || n > 0;
    return ds_data_write(&x->data, p, n, err);
}

void ds_export_undo(struct ds_export *x, uint64_t length)
{
    if (x->ready)
        ds_data_undo(&x->data, length);
}

void ds_export_touch(struct ds_export *x)
{
    x->changed = true;
}

static bool never_again(const struct ds_export *x)
{
    return x->data.sync_failed || x->set->sync_failed;
}

enum dstream_code ds_export_commit(struct ds_export *x, const struct ds_checkpoint *c,
                                   struct dstream_error *err)
{
    if (!x->ready)
        return ds_error_set(err, DSTREAM_ERR_STATE, "%s: committed before it was ready",
                            x->data.path);
    if (never_again(x))
        return ds_error_set(err, DSTREAM_ERR_IO,
                            "%s: not committed, since an earlier sync failed: start again, which "
                            "goes on from the last good state",
                            x->data.path);
    x->now = c;
    x->changed = true;
    return commit_all(x, err);
}

/* --- one file's part in a commit -------------------------------------------------------------- */

/* What is there already, to be written behind: others wrote it, and may not have synced it. */
static enum dstream_code take_over(struct ds_export *x)
{
    enum dstream_code rc = DSTREAM_OK;
    if (x->data.fd < 0 || x->empty_first)
        return rc;
    if (x->data.longer)
        rc = ds_data_cut(&x->data, x->data.length, &x->error);
    x->data.dirty = x->set->named = true;
    return rc;
}

enum dstream_code ds_member_prepare(struct ds_export *x)
{
    struct ds_checkpoint *c = &x->last;
    ds_error_clear(&x->error);
    enum dstream_code rc = x->first ? take_over(x) : DSTREAM_OK;
    if (rc == DSTREAM_OK)
        rc = ds_data_sync(&x->data, &x->error);
    if (rc != DSTREAM_OK)
        return rc;
    if (c != x->now)
        *c = *x->now;
    c->has_output = true;
    c->length = x->data.length;
    rc = ds_data_tail(&x->data, c->length, c->tail, &x->error);
    x->prepared = rc == DSTREAM_OK;
    x->changed = x->changed && rc != DSTREAM_OK;
    return rc;
}

enum dstream_code ds_member_recorded(struct ds_export *x)
{
    int why = 0;
    enum dstream_code rc = DSTREAM_OK;
    x->exists = true;
    if (!x->first)
        return rc;
    if (x->data.fd < 0)
        rc = create(x, &why, &x->error);
    else if (x->empty_first)
        rc = ds_data_cut(&x->data, 0, &x->error);
    x->first = false;
    x->ready = rc == DSTREAM_OK;
    x->changed = x->ready; /* it is to be synced */
    /* Somebody made it in this moment: with our state beside it the next run would empty it. */
    if (why == -EEXIST)
        x->exists = false;
    return rc;
}
