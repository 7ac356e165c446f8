/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "cli/origin.h"

#include <string.h>

static enum dstream_code load(struct ds_origin *o, const struct ds_cli *c,
                              struct dstream_error *err)
{
    struct ds_buf path;
    ds_buf_init(&path, DS_CHECKPOINT_LINE_MAX);
    enum dstream_code rc;
    if (ds_buf_addf(&path, "%s.source", c->opt.state) != DSTREAM_OK || !ds_buf_str(&path))
        rc = ds_error_set(err, DSTREAM_ERR_NOMEM, "no memory for a file name");
    else
        rc = ds_state_open(&o->state, c->fileops, path.data, err);
    ds_buf_free(&path);
    return rc;
}

static enum dstream_code apart(const struct ds_origin *o, const char *what,
                               struct dstream_error *err)
{
    return ds_error_set(
        err, DSTREAM_ERR_STATE_MISMATCH,
        "%s: %s: go on as it was begun, with the files as they were, or name another "
        "--state file to begin anew",
        o->state->at.path, what);
}

/* Whether journal and origin are of one run. */
static enum dstream_code join(struct ds_origin *o, const struct ds_write *w,
                              struct dstream_error *err)
{
    uint64_t mark = w->before ? w->before->mark : 0;
    if (!o->state->exists)
        return mark == 0 ? DSTREAM_OK : apart(o, "it is gone, and the journal is not", err);
    const struct ds_checkpoint *last = &o->state->last;
    if (!last->has_mark)
        return apart(o, "it is the state of something else", err);
    if (last->mark > mark)
        return apart(o, "it is ahead of the journal, which is gone or an old one", err);
    o->ahead = mark - last->mark;
    return DSTREAM_OK;
}

static enum dstream_code begin(struct ds_origin *o, const struct ds_origin_about *about,
                               struct dstream_error *err)
{
    strcpy(o->at.format, about->format);
    o->at.has_mark = true;
    return ds_checkpoint_begin(&o->at, about->url, about->from, about->from_skip, err);
}

enum dstream_code ds_origin_open(struct ds_origin *o, const struct ds_write *w,
                                 const struct ds_origin_about *about, struct dstream_error *err)
{
    const struct ds_cli *c = w->u->cli;
    enum dstream_code rc = DSTREAM_OK;
    *o = (struct ds_origin){.ahead = 0};
    if (c->opt.state)
        rc = load(o, c, err);
    if (rc == DSTREAM_OK && o->state)
        rc = join(o, w, err);
    if (rc != DSTREAM_OK)
        return rc;
    o->resumed = o->state && o->state->exists;
    if (!o->resumed)
        return begin(o, about, err);
    o->at = o->state->last;
    struct ds_checkpoint_ask ask = {.url = about->url,
                                    .format = about->format,
                                    .from = about->from,
                                    .from_skip = about->from_skip};
    rc = ds_checkpoint_fits(&o->at, &ask, o->state->at.path, err);
    return rc == DSTREAM_ERR_ARGUMENT
               ? apart(o, "it was begun with another --from, or by another command", err)
               : rc;
}

enum dstream_code ds_origin_commit(struct ds_origin *o, const struct ds_checkpoint *at,
                                   struct dstream_error *err)
{
    if (!o->state)
        return DSTREAM_OK;
    o->at = *at;
    return ds_state_commit(o->state, at, err);
}

void ds_origin_close(struct ds_origin *o)
{
    ds_state_free(o->state);
    o->state = NULL;
}
