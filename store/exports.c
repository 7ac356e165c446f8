/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "store/exports.h"

#include <string.h>

#include "base/alloc.h"
#include "store/set.h"

#define STATE_MAX ((size_t)256 * 1024 * 1024)

struct ds_exports *ds_set_new(const struct ds_export_options *o, struct dstream_error *err)
{
    if (o->overwrite && o->append) {
        ds_error_set(err, DSTREAM_ERR_ARGUMENT, "--overwrite and --append exclude each other");
        return NULL;
    }
    struct ds_exports *s = ds_calloc(1, sizeof *s);
    if (!s) {
        ds_error_set(err, DSTREAM_ERR_NOMEM, "no memory for an export");
        return NULL;
    }
    s->ops = o->ops ? o->ops : &ds_fileops_system;
    s->overwrite = o->overwrite;
    s->append = o->append;
    s->reset = o->reset;
    s->rotate = o->rotate;
    s->pack = o->pack;
    s->at = s->state.at = (struct ds_place){.dir = -1, .lock = -1};
    s->manifest.file.fd = -1;
    return s;
}

enum dstream_code ds_set_settle(struct ds_exports *s, struct dstream_error *err)
{
    enum dstream_code rc = ds_place_sync(&s->at, err);
    return rc == DSTREAM_OK ? ds_place_sync(&s->state.at, err) : rc;
}

static void free_line(struct ds_line *l)
{
    ds_buf_free(&l->text);
    ds_free(l->file);
    ds_free(l);
}

void ds_exports_free(struct ds_exports *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->n; i++)
        ds_member_free(s->members[i]);
    for (size_t i = 0; i < s->nlines; i++)
        free_line(s->lines[i]);
    ds_free(s->members);
    ds_free(s->lines);
    ds_manifest_close(&s->manifest);
    ds_state_end(&s->state);
    ds_place_close(&s->at);
    ds_free(s);
}

/* --- the state's lines ------------------------------------------------------------------------ */

static enum dstream_code no_memory(struct dstream_error *err)
{
    return ds_error_set(err, DSTREAM_ERR_NOMEM, "no memory for a state of so many files");
}

static struct ds_line *add_line(struct ds_exports *s, const char *file)
{
    struct ds_line **all = ds_realloc(s->lines, (s->nlines + 1) * sizeof(struct ds_line *));
    if (all)
        s->lines = all;
    struct ds_line *l = all ? ds_calloc(1, sizeof *l) : NULL;
    if (!l)
        return NULL;
    ds_buf_init(&l->text, DS_CHECKPOINT_LINE_MAX);
    l->file = ds_strdup(file);
    if (!l->file) {
        free_line(l);
        return NULL;
    }
    return s->lines[s->nlines++] = l;
}

static void drop_line(struct ds_exports *s, struct ds_line *line)
{
    size_t i = 0;
    while (s->lines[i] != line)
        i++;
    memmove(&s->lines[i], &s->lines[i + 1], (--s->nlines - i) * sizeof(struct ds_line *));
    free_line(line);
}

/* What the state is to say of a file. */
static enum dstream_code set_line(struct ds_export *x)
{
    struct ds_exports *s = x->set;
    strcpy(x->last.file, x->file);
    ds_checkpoint_stamp(&x->last);
    if (!x->line) {
        x->line = add_line(s, x->file);
        if (!x->line)
            return no_memory(&x->error);
        x->line->member = x;
    }
    x->line->text.len = 0;
    enum dstream_code rc = ds_checkpoint_write(&x->line->text, &x->last);
    return rc == DSTREAM_OK ? rc
                            : ds_error_set(&x->error, rc, "%s: cannot write the state: %s",
                                           x->data.path, dstream_code_text(rc));
}

/* Each line of the file in turn, without the first. What `each` returns ends it. */
struct reading {
    struct ds_checkpoint_head head;
    enum dstream_code (*each)(void *ctx, const struct ds_checkpoint *c, const char *line, size_t n,
                              struct dstream_error *err);
    void *ctx;
    const char *path;
};

static enum dstream_code read_lines(struct reading *r, const char *p, size_t n,
                                    struct ds_checkpoint *c, struct dstream_error *err)
{
    uint64_t lines = 0;
    while (n > 0) {
        const char *lf = memchr(p, '\n', n);
        size_t len = lf ? (size_t)(lf - p) + 1 : n;
        enum dstream_code rc = ds_checkpoint_read(c, p, len, r->path, err);
        if (rc == DSTREAM_OK && !c->file[0])
            rc = ds_checkpoint_corrupt(err, r->path, "has a line that is of no file");
        if (rc == DSTREAM_OK)
            rc = r->each(r->ctx, c, p, len, err);
        if (rc != DSTREAM_OK)
            return rc;
        lines++;
        p += len;
        n -= len;
    }
    return lines == r->head.files ? DSTREAM_OK
                                  : ds_checkpoint_corrupt(err, r->path, "lacks some of its lines");
}

static enum dstream_code read_state(struct reading *r, const struct ds_buf *b,
                                    struct dstream_error *err)
{
    const char *lf = b->len > 0 ? memchr(b->data, '\n', b->len) : NULL;
    size_t n = lf ? (size_t)(lf - b->data) + 1 : b->len;
    struct ds_checkpoint *c = ds_calloc(1, sizeof *c);
    if (!c)
        return no_memory(err);
    enum dstream_code rc;
    if (b->len > 0 && !ds_checkpoint_is_head(b->data, b->len) &&
        ds_checkpoint_read(c, b->data, n, r->path, err) == DSTREAM_OK)
        rc = ds_error_set(err, DSTREAM_ERR_STATE_MISMATCH,
                          "%s: the state goes with a single output: name that with --output, or "
                          "give another state file",
                          r->path);
    else
        rc = ds_checkpoint_read_head(&r->head, b->data, n, r->path, err);
    if (rc == DSTREAM_OK)
        rc = read_lines(r, b->data + n, b->len - n, c, err);
    ds_free(c);
    return rc;
}

static enum dstream_code keep_line(void *ctx, const struct ds_checkpoint *c, const char *line,
                                   size_t n, struct dstream_error *err)
{
    struct ds_exports *s = ctx;
    for (size_t i = 0; i < s->nlines; i++) {
        if (strcmp(s->lines[i]->file, c->file) == 0)
            return ds_checkpoint_corrupt(err, s->state.at.path, "has two lines of one file");
    }
    struct ds_line *l = add_line(s, c->file);
    return l && ds_buf_add(&l->text, line, n) == DSTREAM_OK ? DSTREAM_OK : no_memory(err);
}

static enum dstream_code load_state(struct ds_exports *s, struct ds_checkpoint_head *head,
                                    struct dstream_error *err)
{
    struct ds_buf b;
    bool missing;
    struct reading r = {.each = keep_line, .ctx = s, .path = s->state.at.path};
    ds_buf_init(&b, STATE_MAX);
    enum dstream_code rc = ds_state_read(s->ops, s->state.at.dir, s->state.at.name,
                                         s->state.at.path, &b, &missing, err);
    if (rc == DSTREAM_OK)
        rc = read_state(&r, &b, err);
    s->state.exists = rc == DSTREAM_OK;
    *head = r.head;
    ds_buf_free(&b);
    if (!missing)
        return rc;
    ds_error_clear(err);
    return DSTREAM_OK;
}

struct showing {
    ds_exports_take take;
    void *ctx;
};

static enum dstream_code show_line(void *ctx, const struct ds_checkpoint *c, const char *line,
                                   size_t n, struct dstream_error *err)
{
    const struct showing *s = ctx;
    (void)line;
    (void)n;
    (void)err;
    s->take(s->ctx, c);
    return DSTREAM_OK;
}

enum dstream_code ds_exports_show(const struct ds_fileops *ops, const char *path,
                                  struct ds_checkpoint_head *head, ds_exports_take take, void *ctx,
                                  bool *missing, struct dstream_error *err)
{
    struct ds_buf b;
    struct showing s = {take, ctx};
    struct reading r = {.each = show_line, .ctx = &s, .path = path};
    ds_buf_init(&b, STATE_MAX);
    enum dstream_code rc =
        ds_state_read(ops ? ops : &ds_fileops_system, DS_DIR_CWD, path, path, &b, missing, err);
    if (rc == DSTREAM_OK)
        rc = read_state(&r, &b, err);
    *head = r.head;
    ds_buf_free(&b);
    return rc;
}

/* --- opening a directory ---------------------------------------------------------------------- */

static enum dstream_code open_places(struct ds_exports *s, const struct ds_export_options *o,
                                     struct dstream_error *err)
{
    enum dstream_code rc = ds_place_open_dir(&s->at, s->ops, o->path, err);
    if (rc != DSTREAM_OK)
        return rc;
    char *state = o->state ? ds_strdup(o->state) : ds_name_with(o->path, "/" DS_EXPORTS_STATE);
    rc = state ? ds_state_begin(&s->state, s->ops, state, err) : no_memory(err);
    ds_free(state);
    return rc;
}

static enum dstream_code open_manifest(struct ds_exports *s, const struct ds_checkpoint_head *head,
                                       struct dstream_error *err)
{
    struct ds_manifest_options o = {
        .ops = s->ops,
        .dir = s->at.dir,
        .name = ds_strdup(DS_EXPORTS_MANIFEST),
        .path = ds_name_with(s->at.path, "/" DS_EXPORTS_MANIFEST),
        .state = s->state.at.path,
        .known = s->state.exists,
        .keep = s->append,
        .empty = s->overwrite,
        .length = head->manifest,
    };
    return ds_manifest_open(&s->manifest, &o, err);
}

static enum dstream_code open_steps(struct ds_exports *s, const struct ds_export_options *o,
                                    struct dstream_error *err)
{
    struct ds_checkpoint_head head = {0};
    enum dstream_code rc = open_places(s, o, err);
    if (rc == DSTREAM_OK)
        rc = ds_place_lock_dir(&s->at, DS_LOCK_EXCLUSIVE, err);
    if (rc == DSTREAM_OK)
        rc = ds_place_lock(&s->state.at, err);
    if (rc == DSTREAM_OK)
        rc = load_state(s, &head, err);
    if (rc == DSTREAM_OK)
        rc = open_manifest(s, &head, err);
    return rc == DSTREAM_OK ? ds_set_settle(s, err) : rc;
}

enum dstream_code ds_exports_open(struct ds_exports **out, const struct ds_export_options *o,
                                  struct dstream_error *err)
{
    *out = NULL;
    struct ds_exports *s = ds_set_new(o, err);
    if (!s)
        return err->code;
    s->directory = true;
    enum dstream_code rc = open_steps(s, o, err);
    if (rc == DSTREAM_OK)
        *out = s;
    else
        ds_exports_free(s);
    return rc;
}

/* Whether the name is one that is needed for something else. */
static bool reserved(const struct ds_exports *s, const char *file)
{
    struct ds_place as = s->at;
    as.name = (char *)file; /* only looked at */
    const struct ds_place *state = &s->state.at;
    return strcmp(file, DS_EXPORTS_MANIFEST) == 0 || ds_place_is(state, "", &as) ||
           ds_place_is(state, ".lock", &as) || ds_place_is(state, ".tmp", &as);
}

enum dstream_code ds_exports_add(struct ds_exports *s, const char *file, struct ds_export **out,
                                 struct dstream_error *err)
{
    *out = NULL;
    if (!file[0] || strchr(file, '/') || strcmp(file, ".") == 0 || strcmp(file, "..") == 0 ||
        strlen(file) > DS_SEGMENT_MAX || reserved(s, file))
        return ds_error_set(err, DSTREAM_ERR_ARGUMENT, "%.200s: no file of %s can have this name",
                            file, s->at.path);
    for (size_t i = 0; i < s->n; i++) {
        if (strcmp(s->members[i]->file, file) == 0)
            return ds_error_set(err, DSTREAM_ERR_ARGUMENT, "%s: two streams would be written to it",
                                s->members[i]->data.path);
    }
    return ds_set_add(s, file, out, err);
}

bool ds_exports_find(const struct ds_exports *s, const char *file, struct ds_checkpoint *out)
{
    struct dstream_error err = {0};
    for (size_t i = 0; i < s->nlines; i++) {
        const struct ds_buf *text = &s->lines[i]->text;
        if (strcmp(s->lines[i]->file, file) == 0)
            return ds_checkpoint_read(out, text->data, text->len, s->state.at.path, &err) ==
                   DSTREAM_OK;
    }
    return false;
}

const char *ds_exports_path(const struct ds_exports *s)
{
    return s->state.at.path;
}

/* --- committing ------------------------------------------------------------------------------- */

static bool is_due(const struct ds_exports *s, const struct ds_export *x)
{
    return (x->changed || ds_member_waits(x)) && !x->data.spoiled &&
           (!s->directory || x->error.code == DSTREAM_OK);
}

bool ds_exports_due(const struct ds_exports *s)
{
    for (size_t i = 0; i < s->n; i++) {
        if (is_due(s, s->members[i]))
            return true;
    }
    return false;
}

const struct dstream_error *ds_exports_error(const struct ds_exports *s)
{
    return &s->error;
}

/* One that has not got its first state yet, in this commit. */
static bool is_new(const struct ds_export *x)
{
    return x->prepared && x->first && !x->exists;
}

static enum dstream_code sync_names(struct ds_exports *s)
{
    if (!s->named)
        return DSTREAM_OK;
    enum dstream_code rc = ds_place_sync(&s->at, &s->error);
    s->sync_failed = s->sync_failed || rc != DSTREAM_OK;
    s->named = rc != DSTREAM_OK;
    return rc;
}

static enum dstream_code put_lines(struct ds_exports *s, size_t n, uint64_t manifest)
{
    struct ds_checkpoint_head head = {.files = n, .manifest = manifest};
    struct ds_buf b;
    ds_checkpoint_now(head.time);
    ds_buf_init(&b, STATE_MAX);
    enum dstream_code rc = ds_checkpoint_write_head(&b, &head);
    for (size_t i = 0; i < n && rc == DSTREAM_OK; i++)
        rc = ds_buf_add(&b, s->lines[i]->text.data, s->lines[i]->text.len);
    if (rc == DSTREAM_OK)
        rc = ds_state_replace(&s->state, &b, &s->error);
    else
        ds_error_set(&s->error, rc, "%s: cannot write the state: %s", s->state.at.path,
                     dstream_code_text(rc));
    ds_buf_free(&b);
    return rc;
}

static enum dstream_code put_state(struct ds_exports *s)
{
    enum dstream_code rc;
    if (!s->directory)
        s->members[0]->last.manifest = s->rotate ? ds_manifest_length(&s->manifest) : 0;
    rc = s->directory ? put_lines(s, s->nlines, ds_manifest_length(&s->manifest))
                      : ds_state_commit(&s->state, &s->members[0]->last, &s->error);
    s->sync_failed = s->sync_failed || s->state.sync_failed;
    return rc;
}

/* Before the manifest is made, emptied or written behind there is a state, of no files if need be:
 * as with any file, what a crash leaves of it then is longer than its state, and not a manifest
 * without one. What is kept of it others may have written, so it is synced first. */
static enum dstream_code begin_state(struct ds_exports *s)
{
    enum dstream_code rc = ds_manifest_sync(&s->manifest, &s->error);
    s->named = true;
    if (rc == DSTREAM_OK)
        rc = sync_names(s);
    if (rc == DSTREAM_OK && s->directory)
        rc = put_lines(s, 0, ds_manifest_length(&s->manifest));
    s->sync_failed = s->sync_failed || s->state.sync_failed;
    return rc;
}

/* The manifest says of each new file what it is, before the state speaks of that. */
static enum dstream_code record_manifest(struct ds_exports *s)
{
    enum dstream_code rc = DSTREAM_OK;
    if (!s->directory && !s->rotate)
        return rc;
    if (!s->state.exists)
        rc = begin_state(s);
    if (rc == DSTREAM_OK && s->state.exists)
        rc = ds_manifest_settle(&s->manifest, &s->error);
    for (size_t i = 0; s->directory && i < s->n && rc == DSTREAM_OK; i++) {
        struct ds_export *x = s->members[i];
        if (is_new(x) && !x->listed)
            rc = ds_manifest_add_file(&s->manifest, x->file, &x->last, &s->error);
        x->listed = x->listed || (is_new(x) && rc == DSTREAM_OK);
    }
    s->broken = s->broken || s->manifest.file.write_failed < 0;
    if (rc == DSTREAM_OK)
        rc = ds_manifest_sync(&s->manifest, &s->error);
    s->named = s->named || s->manifest.named;
    s->manifest.named = false;
    s->sync_failed = s->sync_failed || s->manifest.file.sync_failed;
    return rc;
}

static enum dstream_code record(struct ds_exports *s)
{
    enum dstream_code rc = record_manifest(s);
    if (rc == DSTREAM_OK)
        rc = sync_names(s);
    return rc == DSTREAM_OK ? put_state(s) : rc;
}

/* The state must not speak of a file that turned out to be another's. */
static enum dstream_code forget(struct ds_exports *s, struct ds_export *x)
{
    if (s->directory) {
        drop_line(s, x->line);
        x->line = NULL;
        return put_state(s);
    }
    s->ops->unlink(s->ops->ctx, s->state.at.dir, s->state.at.name);
    return DSTREAM_OK;
}

static bool prepared(struct ds_exports *s)
{
    for (size_t i = 0; i < s->n; i++) {
        if (s->members[i]->prepared)
            return true;
    }
    return false;
}

/* What had to wait for the state to be durable. *more: the state has to be written once more. */
static enum dstream_code recorded(struct ds_exports *s, struct ds_export *x, bool *more)
{
    bool again = false;
    enum dstream_code rc = ds_member_recorded(x, &again);
    if (rc != DSTREAM_OK && !x->exists)
        return forget(s, x);
    if (again && s->directory && set_line(x) != DSTREAM_OK) {
        s->error = x->error;
        s->broken = true;
    }
    *more = *more || again;
    return s->broken ? s->error.code : DSTREAM_OK;
}

/* All that was changed is synced. */
static void conclude(struct ds_exports *s)
{
    enum dstream_code rc = prepared(s) ? record(s) : DSTREAM_OK;
    bool more = false;
    for (size_t i = 0; i < s->n; i++) {
        struct ds_export *x = s->members[i];
        if (!x->prepared)
            continue;
        x->prepared = false;
        if (rc != DSTREAM_OK)
            x->changed = x->changed || !x->first;
        else
            rc = recorded(s, x, &more);
    }
    if (rc == DSTREAM_OK && more)
        (void)record(s);
    s->phase = DS_COMMIT_IDLE;
}

/* Those that wait for their first state are a commit of their own: they have nothing to be synced,
 * and nothing of them is taken until then. */
static void begin(struct ds_exports *s)
{
    ds_error_clear(&s->error);
    s->next = 0;
    s->phase = DS_COMMIT_SYNC;
    s->only_new = false;
    for (size_t i = 0; i < s->n && s->directory; i++)
        s->only_new = s->only_new || (s->members[i]->first && is_due(s, s->members[i]));
}

bool ds_exports_step(struct ds_exports *s)
{
    if (s->sync_failed || s->broken)
        return false;
    if (s->phase == DS_COMMIT_IDLE)
        begin(s);
    while (s->next < s->n) {
        struct ds_export *x = s->members[s->next++];
        if (!is_due(s, x) || (s->only_new && !x->first))
            continue;
        if (ds_member_prepare(x) == DSTREAM_OK && s->directory)
            x->prepared = set_line(x) == DSTREAM_OK;
        return true;
    }
    conclude(s);
    return false;
}

enum dstream_code ds_exports_commit(struct ds_exports *s, struct dstream_error *err)
{
    if (s->phase != DS_COMMIT_IDLE) {
        while (ds_exports_step(s))
            continue;
    }
    do
        while (ds_exports_step(s))
            continue;
    while (s->only_new && s->error.code == DSTREAM_OK);
    if (s->error.code != DSTREAM_OK)
        *err = s->error;
    return s->error.code;
}

/* --- by hand ---------------------------------------------------------------------------------- */

/* `c` is for this function alone. */
static enum dstream_code change_line(struct ds_exports *s, struct ds_line *line,
                                     struct ds_checkpoint *c, const char *offset, uint64_t skip,
                                     struct dstream_error *err)
{
    if (!offset) {
        drop_line(s, line);
        return DSTREAM_OK;
    }
    enum dstream_code rc =
        ds_checkpoint_read(c, line->text.data, line->text.len, s->state.at.path, err);
    if (rc == DSTREAM_OK)
        rc = ds_state_move(c, s->state.at.path, offset, skip, err);
    if (rc != DSTREAM_OK)
        return rc;
    ds_checkpoint_stamp(c);
    line->text.len = 0;
    rc = ds_checkpoint_write(&line->text, c);
    return rc == DSTREAM_OK ? rc : no_memory(err);
}

static enum dstream_code change(struct ds_exports *s, const char *file, const char *offset,
                                uint64_t skip, struct dstream_error *err)
{
    struct ds_checkpoint_head head;
    enum dstream_code rc = load_state(s, &head, err);
    size_t i = 0;
    while (rc == DSTREAM_OK && i < s->nlines && strcmp(s->lines[i]->file, file) != 0)
        i++;
    if (rc != DSTREAM_OK || i == s->nlines)
        return rc != DSTREAM_OK ? rc
                                : ds_error_set(err, DSTREAM_ERR_NOT_FOUND, "%s: has no file %s",
                                               s->state.at.path, file);
    struct ds_checkpoint *c = ds_calloc(1, sizeof *c);
    rc = c ? change_line(s, s->lines[i], c, offset, skip, err) : no_memory(err);
    ds_free(c);
    if (rc == DSTREAM_OK && put_lines(s, s->nlines, head.manifest) != DSTREAM_OK) {
        *err = s->error;
        rc = err->code;
    }
    return rc;
}

enum dstream_code ds_exports_change(const struct ds_fileops *ops, const char *path,
                                    const char *file, const char *offset, uint64_t skip,
                                    struct dstream_error *err)
{
    struct ds_exports *s = ds_set_new(&(struct ds_export_options){.ops = ops}, err);
    if (!s)
        return err->code;
    enum dstream_code rc = ds_state_begin_locked(&s->state, s->ops, path, err);
    if (rc == DSTREAM_OK)
        rc = change(s, file, offset, skip, err);
    ds_exports_free(s);
    return rc;
}
