/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "cli/player.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "cli/format.h"

#define PIECE ((size_t)64 * 1024)

/* --- the file --------------------------------------------------------------------------------- */

static enum dstream_code file_failed(const struct ds_player *p, enum dstream_code code,
                                     struct dstream_error *err)
{
    return ds_error_set(err, code, "%.300s: cannot read it: %s", p->c.path, strerror(errno));
}

/* One piece more. Sets `ended` at the end. */
static enum dstream_code read_more(struct ds_player *p, struct dstream_error *err)
{
    char piece[PIECE];
    ssize_t n;
    do
        n = read(p->fd, piece, sizeof piece);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return file_failed(p, DSTREAM_ERR_IO, err);
    p->ended = n == 0;
    return ds_recording_feed(&p->in, piece, (size_t)n, err);
}

/* The next entry, unless the file has ended. */
static enum dstream_code read_entry(struct ds_player *p, struct dstream_error *err)
{
    enum dstream_code rc = DSTREAM_OK;
    while (rc == DSTREAM_OK && !p->has_entry && !p->ended) {
        rc = ds_recording_next(&p->in, &p->has_entry, err);
        if (rc == DSTREAM_OK && !p->has_entry)
            rc = read_more(p, err);
    }
    return rc;
}

enum dstream_code ds_player_open(struct ds_player *p, const struct ds_player_config *c,
                                 struct dstream_error *err)
{
    *p = (struct ds_player){.c = *c, .pace = {.speed = c->speed}, .left = c->left};
    bool beginning = !c->from || strcmp(c->from, "-1") == 0;
    p->from = (struct ds_player_mark){.offset = c->from, .skip = c->from_skip};
    if (beginning)
        p->from = (struct ds_player_mark){.offset = c->from_skip > 0 ? "-1" : NULL,
                                          .skip = c->from_skip,
                                          .found = true,
                                          .left = c->from_skip};
    p->until = (struct ds_player_mark){.offset = c->until, .skip = c->until_skip};
    ds_recording_init(&p->in, c->path, c->json_depth);
    p->fd = open(c->path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (p->fd < 0)
        return file_failed(p, errno == ENOENT ? DSTREAM_ERR_NOT_FOUND : DSTREAM_ERR_IO, err);
    return read_entry(p, err);
}

void ds_player_close(struct ds_player *p)
{
    if (p->fd >= 0)
        close(p->fd);
    p->fd = -1;
    ds_recording_free(&p->in);
}

size_t ds_player_torn(const struct ds_player *p)
{
    return p->ended ? ds_recording_torn(&p->in) : 0;
}

int64_t ds_player_received(const struct ds_player *p)
{
    return p->in.about.begun + p->in.entry.time;
}

/* --- positions -------------------------------------------------------------------------------- */

static size_t units(const struct ds_recording_entry *e)
{
    return e->flags & DSTREAM_BATCH_JSON ? e->items.count : e->items.bytes.len;
}

/* Whether the position lies in this entry, or behind it: `left` says how far. A skip may reach over
 * the end of its answer, as in what a reader is told. */
static void look_for(struct ds_player_mark *m, const struct ds_recording_entry *e)
{
    if (!m->offset || m->found || strcmp(m->offset, e->offset) != 0 || m->skip < e->skip)
        return;
    m->found = true;
    m->left = m->skip - e->skip;
}

static void move_on(struct ds_player_mark *m, size_t passed)
{
    m->left -= passed < m->left ? passed : m->left;
}

/* All of the recording was passed. A position that was not found must be where it ends, and one
 * that was lies no further than that. */
static enum dstream_code check_mark(const struct ds_player *p, const char *option,
                                    const struct ds_player_mark *m, struct dstream_error *err)
{
    bool at_end = m->offset && !m->found && strcmp(m->offset, p->in.entry.next) == 0;
    uint64_t beyond = m->found ? m->left : at_end ? m->skip : 0;
    if (beyond > 0)
        return ds_error_set(err, DSTREAM_ERR_ARGUMENT,
                            "%s %.200s,%llu: the recording %.200s ends %llu %s before that", option,
                            m->offset, (unsigned long long)m->skip, p->c.path,
                            (unsigned long long)beyond, p->in.about.json ? "messages" : "bytes");
    if (!m->offset || m->found || at_end)
        return DSTREAM_OK;
    return ds_error_set(err, DSTREAM_ERR_ARGUMENT,
                        "%s %.200s: no entry of the recording %.200s begins there", option,
                        m->offset, p->c.path);
}

/* --- steps ------------------------------------------------------------------------------------ */

/* What --count, --bytes and --until leave of an entry whose first units are not wanted. */
static struct ds_left what_is_left(const struct ds_player *p, bool json, size_t first)
{
    struct ds_left left = p->left;
    if (!p->until.found)
        return left;
    uint64_t n = p->until.left > first ? p->until.left - first : 0;
    bool *has = json ? &left.has_count : &left.has_bytes;
    uint64_t *units_left = json ? &left.count : &left.bytes;
    *units_left = *has && *units_left < n ? *units_left : n;
    *has = true;
    return left;
}

/* A batch of what is wanted of the entry. */
static void make_batch(struct ds_player *p)
{
    const struct ds_recording_entry *e = &p->in.entry;
    bool json = e->flags & DSTREAM_BATCH_JSON;
    size_t first = (size_t)p->from.left; /* of fewer than it has */
    dstream_batch *b = &p->batch;
    *b = (dstream_batch){.items = &e->items, .flags = e->flags};
    b->first = json ? first : 0;
    b->first_byte = !json ? first : first > 0 ? e->items.ends[first - 1] : 0;
    b->skip = e->skip + first;
    b->start = e->offset;
    b->next = e->next;
    b->cursor = e->cursor;
    struct ds_left left = what_is_left(p, json, first);
    p->span = ds_span_of(b, &left);
}

static bool is_over(const struct ds_player *p)
{
    return p->stop || (p->until.found && p->until.left == 0);
}

/* Finds the next entry that is wanted. False where there is none. */
static bool find_entry(struct ds_player *p, struct dstream_error *err)
{
    while (read_entry(p, err) == DSTREAM_OK && p->has_entry) {
        const struct ds_recording_entry *e = &p->in.entry;
        look_for(&p->from, e);
        look_for(&p->until, e);
        if (is_over(p))
            return false;
        if (p->from.found && (p->from.left == 0 || p->from.left < units(e)))
            return true;
        move_on(&p->from, units(e));
        move_on(&p->until, units(e));
        p->has_entry = false;
    }
    return false;
}

/* Leaves out what an earlier run has played. True where nothing else is in the entry. */
static bool pass_over(struct ds_player *p)
{
    bool json = p->span.json;
    uint64_t n = p->span.take - p->span.first;
    if (p->passed >= n) {
        p->passed -= n;
        ds_player_taken(p);
        return true;
    }
    struct ds_left part = {
        .has_count = json, .has_bytes = !json, .count = p->passed, .bytes = p->passed};
    p->span = ds_span_of(&p->batch, &part);
    (void)ds_span_spend(&p->span, &p->left);
    p->from.left += p->passed;
    p->passed = 0;
    make_batch(p);
    return false;
}

static enum dstream_code begin_entry(struct ds_player *p, int64_t now, struct dstream_error *err)
{
    if (ds_format_check_count(&p->left, p->in.about.json, err) != DSTREAM_OK)
        return DSTREAM_ERR_ARGUMENT;
    make_batch(p);
    if (p->passed > 0 && pass_over(p))
        return DSTREAM_OK;
    p->due = ds_pace_due(&p->pace, p->in.entry.time, now);
    p->begun = true;
    return DSTREAM_OK;
}

static enum ds_player_step end(struct ds_player *p, struct dstream_error *err)
{
    enum dstream_code rc = DSTREAM_OK;
    if (p->passed > 0)
        rc = ds_error_set(err, DSTREAM_ERR_STATE_MISMATCH,
                          "%.300s: it is shorter than what an earlier run has played of it: name "
                          "another --state file for another recording, or another part",
                          p->c.path);
    if (rc == DSTREAM_OK && p->ended && !is_over(p)) {
        rc = check_mark(p, "--from", &p->from, err);
        if (rc == DSTREAM_OK)
            rc = check_mark(p, "--until", &p->until, err);
    }
    return rc == DSTREAM_OK ? DS_PLAYER_END : DS_PLAYER_FAIL;
}

enum ds_player_step ds_player_step(struct ds_player *p, int64_t now, struct dstream_error *err)
{
    while (!p->begun) {
        bool found = !is_over(p) && find_entry(p, err);
        if (err->code != DSTREAM_OK)
            return DS_PLAYER_FAIL;
        if (!found)
            return end(p, err);
        if (begin_entry(p, now, err) != DSTREAM_OK)
            return DS_PLAYER_FAIL;
    }
    return now >= p->due ? DS_PLAYER_BATCH : DS_PLAYER_WAIT;
}

void ds_player_restart(struct ds_player *p, int64_t now)
{
    p->pace.start = now;
    if (p->begun)
        p->due = ds_pace_due(&p->pace, p->in.entry.time, now);
}

void ds_player_taken(struct ds_player *p)
{
    ds_span_advance(&p->span, &p->batch, &p->at, NULL);
    p->stop = ds_span_spend(&p->span, &p->left);
    move_on(&p->until, p->span.take);
    p->from.left = 0;
    p->begun = p->has_entry = false;
}
