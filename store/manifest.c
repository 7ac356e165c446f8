/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "store/manifest.h"

#include <string.h>

#define LINE_MAX_BYTES ((size_t)2 * DS_CHECKPOINT_LINE_MAX)

/* --- opening ---------------------------------------------------------------------------------- */

static enum dstream_code fits(struct ds_manifest *m, const struct ds_manifest_options *o,
                              uint64_t size, struct dstream_error *err)
{
    struct ds_data *f = &m->file;
    bool there = f->fd >= 0;
    if (o->known && (size < o->length || (!there && o->length > 0)))
        return ds_error_set(err, DSTREAM_ERR_STATE_MISMATCH,
                            "%s: it has %llu bytes where %s says %llu: put it back, or give "
                            "--reset --overwrite to export anew",
                            f->path, (unsigned long long)size, o->state,
                            (unsigned long long)o->length);
    if (!o->known && there && !o->keep && !o->empty)
        return ds_error_set(err, DSTREAM_ERR_EXISTS,
                            "%s: it exists, and has no state file: give --overwrite or --append, "
                            "or another directory",
                            f->path);
    ds_data_set_length(f, o->known ? o->length : o->keep ? size : 0);
    f->longer = size > f->length;
    f->dirty = there && !o->known; /* others may have written it */
    return DSTREAM_OK;
}

enum dstream_code ds_manifest_open(struct ds_manifest *m, const struct ds_manifest_options *o,
                                   struct dstream_error *err)
{
    uint64_t size;
    m->named = false;
    enum dstream_code rc = ds_data_begin(&m->file, o->ops, o->dir, o->name, o->path, err);
    if (rc == DSTREAM_OK)
        rc = ds_data_open(&m->file, &size, err);
    if (rc == DSTREAM_OK)
        rc = fits(m, o, size, err);
    return rc;
}

void ds_manifest_close(struct ds_manifest *m)
{
    ds_data_end(&m->file);
}

/* --- lines ------------------------------------------------------------------------------------ */

enum dstream_code ds_manifest_settle(struct ds_manifest *m, struct dstream_error *err)
{
    return m->file.longer ? ds_data_cut(&m->file, m->file.length, err) : DSTREAM_OK;
}

static enum dstream_code add(struct ds_manifest *m, const struct ds_buf *line,
                             struct dstream_error *err)
{
    int why;
    enum dstream_code rc = ds_manifest_settle(m, err);
    if (rc == DSTREAM_OK && m->file.fd < 0) {
        rc = ds_data_create(&m->file, &why, err);
        m->named = rc == DSTREAM_OK;
    }
    return rc == DSTREAM_OK ? ds_data_write(&m->file, line->data, line->len, err) : rc;
}

static void put_stream(struct ds_buf *b, const struct ds_checkpoint *c)
{
    ds_checkpoint_add_text(b, ",\"stream\":", c->url);
    ds_checkpoint_add_text(b, ",\"content_type\":", c->content_type);
    ds_checkpoint_add_text(b, ",\"format\":", c->format);
    if (c->template[0])
        ds_checkpoint_add_text(b, ",\"template\":", c->template);
    if (c->compression[0])
        ds_checkpoint_add_text(b, ",\"compression\":", c->compression);
}

/* As --from takes it. */
static void put_position(struct ds_buf *b, const char *before, const char *offset, uint64_t skip)
{
    char position[DS_TOKEN_MAX + 32], digits[24];
    size_t n = sizeof digits;
    digits[--n] = '\0';
    do
        digits[--n] = (char)('0' + skip % 10);
    while ((skip /= 10) > 0);
    strcpy(position, offset);
    strcat(strcat(position, ","), digits + n);
    ds_checkpoint_add_text(b, before, position);
}

/* All of a line was reserved before, so that only its end has to be checked. */
static enum dstream_code end(struct ds_manifest *m, struct ds_buf *b, struct dstream_error *err)
{
    enum dstream_code rc = ds_buf_adds(b, "}\n");
    rc = rc == DSTREAM_OK ? add(m, b, err)
                          : ds_error_set(err, rc, "%s: no memory for a line of it", m->file.path);
    ds_buf_free(b);
    return rc;
}

static enum dstream_code begin(struct ds_manifest *m, struct ds_buf *b, struct dstream_error *err)
{
    ds_buf_init(b, LINE_MAX_BYTES);
    if (ds_buf_reserve(b, LINE_MAX_BYTES) == DSTREAM_OK)
        return DSTREAM_OK;
    ds_buf_free(b);
    return ds_error_set(err, DSTREAM_ERR_NOMEM, "%s: no memory for a line of it", m->file.path);
}

enum dstream_code ds_manifest_add_file(struct ds_manifest *m, const char *file,
                                       const struct ds_checkpoint *c, struct dstream_error *err)
{
    struct ds_buf b;
    enum dstream_code rc = begin(m, &b, err);
    if (rc != DSTREAM_OK)
        return rc;
    ds_checkpoint_add_text(&b, "{\"file\":", file);
    put_stream(&b, c);
    if (c->segment.number > 0)
        ds_buf_adds(&b, ",\"rotated\":true");
    return end(m, &b, err);
}

enum dstream_code ds_manifest_add_segment(struct ds_manifest *m, const char *file,
                                          const struct ds_checkpoint *c, struct dstream_error *err)
{
    struct ds_buf b;
    char now[32];
    enum dstream_code rc = begin(m, &b, err);
    if (rc != DSTREAM_OK)
        return rc;
    ds_checkpoint_now(now);
    ds_checkpoint_add_text(&b, "{\"segment\":", c->segment.sealing);
    ds_checkpoint_add_text(&b, ",\"of\":", file);
    put_stream(&b, c);
    put_position(&b, ",\"from\":", c->segment.from, c->segment.from_skip);
    put_position(&b, ",\"to\":", c->offset, c->skip);
    ds_buf_addf(&b, ",\"length\":%llu", (unsigned long long)c->length);
    if (c->closed)
        ds_buf_adds(&b, ",\"last\":true");
    ds_checkpoint_add_text(&b, ",\"sealed\":", now);
    return end(m, &b, err);
}

enum dstream_code ds_manifest_sync(struct ds_manifest *m, struct dstream_error *err)
{
    return ds_data_sync(&m->file, err);
}

uint64_t ds_manifest_length(const struct ds_manifest *m)
{
    return m->file.length;
}
