/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "store/export.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "store/segment.h"
#include "store/set.h"

/* --- opening ---------------------------------------------------------------------------------- */

/* Behind what others wrote no segment can begin: its bounds would not be those of its data. */
static enum dstream_code refuse_there(const struct ds_export *x, struct dstream_error *err)
{
    const struct ds_exports *s = x->set;
    const char *why = s->reset ? "its state is to be forgotten" : "has no state file";
    if (s->rotate)
        return ds_error_set(err, DSTREAM_ERR_EXISTS,
                            "%s: it exists, and %s: give --overwrite, or another name",
                            x->data.path, why);
    return ds_error_set(err, DSTREAM_ERR_EXISTS,
                        "%s: it exists, and %s: give --overwrite or --append, or another name",
                        x->data.path, why);
}

static enum dstream_code without_state(struct ds_export *x, uint64_t size,
                                       struct dstream_error *err)
{
    const struct ds_exports *s = x->set;
    const char *state = s->state.at.path;
    bool old = x->exists && x->last.segment.number > 0; /* there was a segment before the reset */
    x->finish = old && (x->last.segment.sealing[0] || (s->append && x->last.length > 0));
    if (x->data.fd < 0)
        return DSTREAM_OK;
    if (x->finish)
        return ds_data_compare(&x->data, &x->last, size, state, err);
    if (s->overwrite) {
        x->empty_first = true;
        return DSTREAM_OK;
    }
    if (!s->append || (s->rotate && !old))
        return refuse_there(x, err);
    if (x->exists && strcmp(x->last.compression, ds_pack_name(s->pack)) != 0)
        return ds_error_set(err, DSTREAM_ERR_ARGUMENT,
                            "%s: what is there is of another compression: give that one, or "
                            "--overwrite",
                            x->data.path);
    if (x->exists) /* --reset cuts to the recorded length */
        return ds_data_compare(&x->data, &x->last, size, state, err);
    ds_data_set_length(&x->data, size);
    return DSTREAM_OK;
}

/* A state whose output is rotated goes on being so, and the other way round. */
static enum dstream_code check_rotation(const struct ds_export *x, struct dstream_error *err)
{
    const struct ds_exports *s = x->set;
    bool was = x->last.segment.number > 0;
    if (!x->exists || was == (s->rotate != NULL) || (s->reset && !x->last.segment.sealing[0]))
        return DSTREAM_OK;
    return ds_error_set(err, DSTREAM_ERR_ARGUMENT, "%s: the state is of an output that is %s: %s",
                        s->state.at.path, was ? "rotated" : "not rotated",
                        was ? "give --rotate-size or --rotate-time"
                            : "leave out --rotate-size and --rotate-time, or give --reset");
}

static enum dstream_code with_state(struct ds_export *x, uint64_t size, struct dstream_error *err)
{
    x->segment = x->last.segment;
    x->before = x->last.before;
    x->finish = x->segment.sealing[0];
    if (x->data.fd < 0 && x->finish)
        return DSTREAM_OK; /* it was renamed, and may have been taken away since */
    return ds_data_compare(&x->data, &x->last, size, x->set->state.at.path, err);
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
    const char *suffix = s->rotate ? ".partial" : "";
    char *plain = s->directory ? path_in(s, x->file) : ds_strdup(s->at.path);
    char *path = plain ? ds_name_with(plain, suffix) : NULL;
    enum dstream_code rc =
        ds_data_begin(&x->data, s->ops, s->at.dir, ds_name_with(x->file, suffix), path, err);
    ds_free(plain);
    if (rc == DSTREAM_OK)
        rc = ds_data_pack(&x->data, s->pack, err);
    if (rc == DSTREAM_OK)
        rc = load_line(x, err);
    if (rc == DSTREAM_OK)
        rc = check_rotation(x, err);
    if (rc == DSTREAM_OK)
        rc = ds_data_open(&x->data, &size, err);
    if (rc != DSTREAM_OK)
        return rc;
    x->resume = x->exists && !s->reset;
    if (s->rotate)
        x->segment.number = x->last.segment.number > 0 ? x->last.segment.number : 1;
    return x->resume ? with_state(x, size, err) : without_state(x, size, err);
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
        ds_place_is(b, ".tmp", a) ||
        (s->rotate && (ds_place_is(a, ".partial", b) || ds_place_is(a, DS_EXPORT_MANIFEST, b))))
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

/* That of the segments. */
static enum dstream_code open_manifest(struct ds_exports *s, struct dstream_error *err)
{
    struct ds_manifest_options o = {
        .ops = s->ops,
        .dir = s->at.dir,
        .name = ds_name_with(s->at.name, DS_EXPORT_MANIFEST),
        .path = ds_name_with(s->at.path, DS_EXPORT_MANIFEST),
        .state = s->state.at.path,
        .known = s->state.exists,
        .keep = s->append,
        .empty = s->overwrite,
        .length = s->state.last.manifest,
    };
    return ds_manifest_open(&s->manifest, &o, err);
}

/* Before the output is compared, which is that of the other stream then. */
static enum dstream_code check_stream(const struct ds_exports *s, const char *url,
                                      struct dstream_error *err)
{
    struct ds_checkpoint_ask ask = {.url = url};
    if (!url || !s->state.exists || s->reset)
        return DSTREAM_OK;
    return ds_checkpoint_fits(&s->state.last, &ask, s->state.at.path, err);
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
        rc = check_stream(s, o->url, err);
    if (rc == DSTREAM_OK && s->rotate)
        rc = open_manifest(s, err);
    if (rc == DSTREAM_OK)
        rc = ds_set_add(s, s->at.name, out, err);
    return rc == DSTREAM_OK ? ds_set_settle(s, err) : rc;
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
    bool whole = x->set->rotate ? x->data.fd < 0 && !x->finish && x->last.length == 0
                                : x->data.fd >= 0 && !x->data.longer;
    return x->resume && x->last.closed && whole;
}

bool ds_export_unsealed(const struct ds_export *x)
{
    return x->set->rotate && x->resume && x->last.closed && !ds_export_complete(x);
}

int64_t ds_export_since(const struct ds_export *x)
{
    return ds_data_is_empty(&x->data) ? 0 : x->segment.since;
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

bool ds_member_waits(const struct ds_export *x)
{
    return x->first || x->finish || x->seal;
}

/* What waits for commits has them at once, unless that is for the directory to say. */
static enum dstream_code see_through(struct ds_export *x, struct dstream_error *err)
{
    enum dstream_code rc = DSTREAM_OK;
    while (!x->set->directory && rc == DSTREAM_OK && ds_member_waits(x))
        rc = commit_all(x, err);
    return rc;
}

/* A first state is durable before the file is made or emptied, so that a crash in between goes on
 * from it: a file longer than its state is cut. A segment that is being sealed gets its name before
 * anything else. */
enum dstream_code ds_export_confirm(struct ds_export *x, const struct ds_checkpoint *c,
                                    struct dstream_error *err)
{
    enum dstream_code rc = DSTREAM_OK;
    int why;
    if (x->ready || x->confirmed)
        return rc;
    x->now = c;
    x->confirmed = true;
    x->first = !x->resume;
    if (ds_member_waits(x))
        rc = see_through(x, err);
    else if (x->data.fd < 0 && !x->set->rotate)
        rc = create(x, &why, err);
    else if (x->data.longer)
        rc = ds_data_cut(&x->data, x->data.length, err);
    x->confirmed = rc == DSTREAM_OK;
    x->ready = x->confirmed && !ds_member_waits(x);
    return rc;
}

/* --- writing ---------------------------------------------------------------------------------- */

/* Where one segment ends the next one begins, so that their bounds have no gaps. */
static void begin_at(struct ds_export *x, const struct ds_checkpoint *c)
{
    strcpy(x->segment.from, c->offset);
    x->segment.from_skip = c->skip;
}

/* Its first data are about to come. There are no empty ones, so the file is made now. */
static enum dstream_code begin_segment(struct ds_export *x, struct dstream_error *err)
{
    struct timespec t = {0};
    int why;
    clock_gettime(CLOCK_REALTIME, &t);
    x->segment.since = (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
    return x->data.fd < 0 ? create(x, &why, err) : DSTREAM_OK;
}

enum dstream_code ds_export_write(struct ds_export *x, const void *p, size_t n,
                                  struct dstream_error *err)
{
    if (!x->ready)
        return ds_error_set(err, DSTREAM_ERR_STATE, "%s: written before it was ready",
                            x->data.path);
    x->changed = x->changed || n > 0;
    enum dstream_code rc = DSTREAM_OK;
    if (x->set->rotate && n > 0 && ds_data_is_empty(&x->data))
        rc = begin_segment(x, err);
    return rc == DSTREAM_OK ? ds_data_write(&x->data, p, n, err) : rc;
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

/* In a directory it may have failed in a commit that another file has asked for, so nobody was told
 * why yet. */
static enum dstream_code say_failed(const struct ds_export *x, struct dstream_error *err)
{
    const struct dstream_error *why = x->data.sync_failed ? &x->error : &x->set->error;
    if (!x->alone && why->code != DSTREAM_OK) {
        *err = *why;
        return err->code;
    }
    return ds_error_set(err, DSTREAM_ERR_IO,
                        "%s: not committed, since an earlier sync failed: start again, which goes "
                        "on from the last good state",
                        x->data.path);
}

enum dstream_code ds_export_commit(struct ds_export *x, const struct ds_checkpoint *c,
                                   struct dstream_error *err)
{
    if (!x->ready)
        return ds_error_set(err, DSTREAM_ERR_STATE, "%s: committed before it was ready",
                            x->data.path);
    if (never_again(x))
        return say_failed(x, err);
    if (x->data.spoiled)
        return ds_error_set(err, DSTREAM_ERR_IO,
                            "%s: what came since its last commit is not in it: the next run reads "
                            "that again",
                            x->data.path);
    x->now = c;
    x->changed = true;
    return commit_all(x, err);
}

enum dstream_code ds_export_seal(struct ds_export *x, const struct ds_checkpoint *c,
                                 struct dstream_error *err)
{
    if (!x->ready || !x->set->rotate || ds_data_is_empty(&x->data))
        return DSTREAM_OK;
    x->now = c;
    x->seal = true;
    x->ready = false;
    return see_through(x, err);
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

/* The name that the segment is to have: one that was never used, and is free. */
static enum dstream_code choose_name(struct ds_export *x)
{
    const struct ds_exports *s = x->set;
    struct ds_checkpoint_segment *g = &x->last.segment;
    struct ds_buf b;
    int fd = 0;
    ds_buf_init(&b, 4 * DS_SEGMENT_MAX);
    for (g->number--; fd >= 0 || fd == -ELOOP;) {
        g->number++;
        b.len = 0;
        enum dstream_code rc = ds_segment_name(&b, s->rotate, x->file, g);
        if (rc != DSTREAM_OK || !ds_buf_str(&b)) {
            ds_buf_free(&b);
            return ds_error_set(&x->error, DSTREAM_ERR_LIMIT,
                                "%s: the name of a segment would be longer than %d bytes",
                                x->data.path, DS_SEGMENT_MAX);
        }
        fd = s->ops->open(s->ops->ctx, s->at.dir, b.data, DS_OPEN_READ);
        if (fd >= 0)
            s->ops->close(s->ops->ctx, fd);
    }
    if (fd == -ENOENT)
        strcpy(g->sealing, b.data);
    ds_buf_free(&b);
    return fd == -ENOENT ? DSTREAM_OK
                         : ds_file_error(&x->error, x->data.path, "find it a free name", fd);
}

/* What the last state says of the segment is all that there will be of it. */
static enum dstream_code prepare_finish(struct ds_export *x)
{
    enum dstream_code rc = DSTREAM_OK;
    if (x->data.longer)
        rc = ds_data_cut(&x->data, x->data.length, &x->error);
    if (rc == DSTREAM_OK && x->data.fd >= 0)
        rc = ds_data_sync(&x->data, &x->error);
    if (rc == DSTREAM_OK && !x->last.segment.sealing[0])
        rc = choose_name(x);
    return rc;
}

static enum dstream_code prepare_next(struct ds_export *x)
{
    struct ds_checkpoint *c = &x->last;
    enum dstream_code rc = x->first ? take_over(x) : DSTREAM_OK;
    if (rc == DSTREAM_OK)
        rc = ds_data_sync(&x->data, &x->error);
    if (rc != DSTREAM_OK)
        return rc;
    if (c != x->now)
        *c = *x->now;
    strcpy(c->compression, ds_pack_name(x->set->pack));
    c->has_output = true;
    c->length = x->data.length;
    if (x->first)
        x->before = c->length; /* nothing of the stream is in it yet */
    c->before = x->set->rotate ? 0 : x->before;
    if (x->first && x->set->rotate)
        begin_at(x, c);
    c->segment = x->segment;
    rc = ds_data_tail(&x->data, c->length, c->tail, &x->error);
    return rc == DSTREAM_OK && x->seal ? choose_name(x) : rc;
}

enum dstream_code ds_member_prepare(struct ds_export *x)
{
    ds_error_clear(&x->error);
    enum dstream_code rc = x->finish ? prepare_finish(x) : prepare_next(x);
    x->prepared = rc == DSTREAM_OK;
    x->changed = x->changed && (rc != DSTREAM_OK || x->finish);
    return rc;
}

/* --- sealing ---------------------------------------------------------------------------------- */

/* A file system that renames in two steps may have been stopped between them: both names are of
 * one file then. */
static int name_twice(struct ds_export *x)
{
    const struct ds_fileops *ops = x->set->ops;
    struct ds_file_info a, b;
    int fd = ops->open(ops->ctx, x->set->at.dir, x->last.segment.sealing, DS_OPEN_READ);
    if (fd < 0)
        return -EEXIST;
    bool same = x->data.fd >= 0 && ops->info(ops->ctx, x->data.fd, &a) == 0 &&
                ops->info(ops->ctx, fd, &b) == 0 && a.device == b.device && a.inode == b.inode;
    ops->close(ops->ctx, fd);
    return same ? ops->unlink(ops->ctx, x->set->at.dir, x->data.name) : -EEXIST;
}

static enum dstream_code rename_segment(struct ds_export *x)
{
    const struct ds_fileops *ops = x->set->ops;
    const char *name = x->last.segment.sealing;
    int rc = ops->rename_new(ops->ctx, x->set->at.dir, x->data.name, name);
    if (rc == -EEXIST)
        rc = name_twice(x);
    if (rc == -EEXIST)
        return ds_error_set(&x->error, DSTREAM_ERR_EXISTS,
                            "%s: it is to be renamed to %s, and that is there: move that away, "
                            "then start again",
                            x->data.path, name);
    if (rc < 0 && rc != -ENOENT)
        return ds_file_error(&x->error, x->data.path, "give the segment its name", rc);
    x->set->named = true;
    return DSTREAM_OK;
}

/* The segment has its name in the state: now in the directory, and in the manifest. Then the state
 * is to speak of the next one. */
static enum dstream_code seal(struct ds_export *x, bool *more)
{
    struct ds_exports *s = x->set;
    struct ds_checkpoint *c = &x->last;
    x->finish = true; /* whatever fails, it is this that is to be done again */
    enum dstream_code rc = rename_segment(x);
    if (rc != DSTREAM_OK)
        return rc;
    rc = ds_manifest_add_segment(&s->manifest, x->file, c, &s->error);
    s->broken = rc != DSTREAM_OK;
    if (rc != DSTREAM_OK)
        return rc;
    ds_data_close(&x->data);
    x->segment = (struct ds_checkpoint_segment){.number = c->segment.number + 1};
    begin_at(x, c);
    c->segment = x->segment;
    c->length = 0;
    ds_hash_of("", 0, c->tail);
    x->finish = x->seal = false;
    *more = true;
    return DSTREAM_OK;
}

/* --- once the state is durable ---------------------------------------------------------------- */

static enum dstream_code make_first(struct ds_export *x)
{
    int why = 0;
    enum dstream_code rc = DSTREAM_OK;
    if (x->data.fd < 0 && !x->set->rotate)
        rc = create(x, &why, &x->error);
    else if (x->data.fd >= 0 && x->empty_first)
        rc = ds_data_cut(&x->data, 0, &x->error);
    x->first = false;
    x->changed = rc == DSTREAM_OK; /* it is to be synced */
    /* Somebody made it in this moment: with our state beside it the next run would empty it. */
    if (why == -EEXIST)
        x->exists = false;
    return rc;
}

enum dstream_code ds_member_recorded(struct ds_export *x, bool *more)
{
    enum dstream_code rc = DSTREAM_OK;
    x->exists = true;
    if (x->last.segment.sealing[0])
        rc = seal(x, more);
    else if (x->first)
        rc = make_first(x);
    x->ready = x->confirmed && rc == DSTREAM_OK && !ds_member_waits(x);
    return rc;
}
