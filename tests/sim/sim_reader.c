/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whole lives of a reader, simulated: the state machine, unchanged, on a simulated clock and
 * network, against a model server (world.h). After each step
 *
 *   what was delivered is the stream from its beginning, each unit once,
 *   the positions of batches are true,
 *   no request goes out while a server's Retry-After forbids it,
 *   requests that bring nothing stay below a rate,
 *   and everything comes to an end.
 *
 * The consumer dies now and then, at any moment, and goes on from what it had stored; it pauses and
 * goes on, and leaves batches on offer.
 *
 * Prints what was met, and fails where what has to be was not. How to run it: frame.h.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "reader/reader.h"
#include "store/witness.h"
#include "tests/sim/frame.h"
#include "tests/sim/world.h"

#define WINDOW     10000 /* ms in which requests that bring nothing are counted */
#define WINDOW_MAX 45
#define LIFE_MAX   (int64_t)(6 * 3600 * 1000)

/* --- what was met ----------------------------------------------------------------------------- */

#define KINDS 5
static const char *const kind_names[KINDS] = {"catch-up", "now", "tail", "long-poll", "sse"};
#define CODES 17
static const int codes[CODES] = {200, 204, 302, 307, 400, 401, 404, 405, 408,
                                 425, 429, 500, 501, 502, 503, 504, 599};
static uint64_t met_status[KINDS][CODES], met_end[KINDS][DS_END_NOMEM + 1], met_abort[KINDS];
static uint64_t met_phase[DS_PHASE_DONE + 1][DS_PHASE_DONE + 1];
static uint64_t met_parts, met_auth, met_pause, met_hold, met_end_on_offer,
    met_notice[DS_NOTICE_WITNESS_GONE + 1], met_result[700];
static uint64_t steps, requests, restarts, verifications;

/* --- one life --------------------------------------------------------------------------------- */

struct life {
    struct world w;
    struct rng rng; /* the consumer's and the driver's draws */
    enum dstream_live live;
    bool recheck, stop_at_tail, parts, at_once, renews, awaits, small_events, pauses, holds;
    bool paused, resumed; /* resumed: and nothing was asked for since */
    int64_t resume_at;
    struct ds_reader *r;
    enum ds_phase phase;
    /* the request under way */
    bool in_flight, headed;
    size_t kind;
    struct answer a;
    size_t next_piece, sent, fed; /* pieces that arrived; bytes of the body before them, and fed */
    size_t end_of_piece;
    /* what the consumer has stored */
    size_t units;
    struct ds_checkpoint at;
    struct ds_witness_keeper keeper;
    bool checked_type;
    bool stop;                    /* the consumer dies at the next moment */
    size_t started_with;          /* length of the stream when the reader was started */
    bool any_complete;            /* in this reader's time */
    bool may_differ;              /* the stream was made anew where no one could see it */
    bool recheck_due, rechecking; /* the witness has to be, or is being, found again */
    int64_t asked_at;             /* when the last request began */
    int64_t not_before;           /* Retry-After */
    int64_t window_from;
    unsigned window;
    bool over;
};

/* --- drawing a life --------------------------------------------------------------------------- */

static void draw_stream(struct rng *g, struct stream *s, enum type type, unsigned incarnation,
                        int64_t born)
{
    int64_t t = born + (one_in(g, 2) ? 0 : between(g, 0, 3000));
    size_t most = one_in(g, 8) ? 400 : 40;
    *s = (struct stream){.type = type,
                         .incarnation = incarnation,
                         .born = born,
                         .dies = DS_NEVER,
                         .closes = DS_NEVER};
    s->n = (size_t)between(g, 0, APPENDS);
    for (size_t i = 0; i < s->n; i++) {
        s->upto[i] = (i > 0 ? s->upto[i - 1] : 0) + (size_t)between(g, 1, (int64_t)most);
        s->at[i] = t;
        t += one_in(g, 3) ? 0 : between(g, 0, one_in(g, 6) ? 90000 : 2000);
    }
    s->closes = t + between(g, 0, 5000);
}

static void draw_faults(struct rng *g, struct faults *f)
{
    static const unsigned rates[] = {0, 0, 3, 8, 20};
    unsigned *all[] = {&f->refuse, &f->lost,        &f->cut,      &f->stall,
                       &f->status, &f->retry_after, &f->redirect, &f->bare};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        *all[i] = rates[draw(g) % 5];
    f->retry_after = 2;
    f->bare = one_in(g, 6) ? 12 : 0;
    f->auth = one_in(g, 6) ? 12 : 0;
}

static void draw_world(struct life *l)
{
    struct rng *g = &l->rng;
    struct world *w = &l->w;
    w->rng.s = draw(g);
    w->nstreams = 1;
    enum type type = (enum type)(draw(g) % TYPES);
    draw_stream(g, &w->streams[0], type, 1, one_in(g, 12) ? START + 500 : START - 60000);
    if (one_in(g, 5)) {
        /* It is deleted, and maybe made anew. */
        w->streams[0].dies = START + between(g, 0, 60000);
        if (one_in(g, 2)) {
            w->nstreams = 2;
            if (one_in(g, 6))
                type = (enum type)(draw(g) % TYPES);
            draw_stream(g, &w->streams[1], type, 2, w->streams[0].dies + between(g, 0, 2000));
        }
    }
    if (one_in(g, 2))
        draw_faults(g, &w->faults);
    w->faults_until = START + between(g, 0, 200000);
    w->page = one_in(g, 3) ? 100000 : (size_t)between(g, 1, 50);
    w->hold = between(g, 1, 40000);
    w->sse_time = one_in(g, 3) ? between(g, 0, 3000) : between(g, 1000, 60000);
    w->sse_short = one_in(g, 12);
    w->sse_refused = one_in(g, 12);
    w->sse_silent = one_in(g, 20);
    w->sse_no_control = one_in(g, 20);
    w->early_tail = one_in(g, 5) && !w->sse_no_control;
    w->lags = one_in(g, 15);
    w->no_up_to_date = one_in(g, 25);
    w->instant_poll = one_in(g, 12);
    if (w->no_up_to_date)
        w->page = 100000;
}

static void draw_life(struct life *l)
{
    struct rng *g = &l->rng;
    draw_world(l);
    l->live = (enum dstream_live)(draw(g) % 4);
    l->recheck = one_in(g, 2);
    l->stop_at_tail = l->live == DSTREAM_LIVE_OFF && one_in(g, 2);
    l->parts = one_in(g, 2);
    l->at_once = one_in(g, 4);
    l->renews = !one_in(g, 4);
    l->small_events = l->parts || one_in(g, 4);
    l->pauses = one_in(g, 4);
    l->holds = one_in(g, 3);
    /* One that goes before it was seen would be awaited for ever. */
    l->awaits = one_in(g, 4) && l->w.streams[0].dies == DS_NEVER;
    if (l->awaits && one_in(g, 2)) {
        int64_t later = between(g, 500, 120000);
        struct stream *s = &l->w.streams[0];
        s->born += later;
        s->closes += later;
        for (size_t i = 0; i < s->n; i++)
            s->at[i] += later;
    }
    strcpy(l->at.offset, "-1");
    if (one_in(g, 8) && l->w.streams[0].born < START) {
        strcpy(l->at.offset, "now");
        l->units = SIZE_MAX; /* known once `now` is */
    }
}

/* --- the consumer ----------------------------------------------------------------------------- */

static void compare(struct life *l, const struct dstream_batch *b, size_t from, size_t to)
{
    struct ds_buf want;
    const struct stream *s = &l->w.streams[0];
    size_t len;
    const char *data = dstream_batch_data(b, &len);
    ds_buf_init(&want, 1 << 24);
    stream_units(s, from, to, &want);
    bool same = want.len == len && (len == 0 || memcmp(want.data, data, len) == 0);
    ds_buf_free(&want);
    if (same)
        return;
    if (l->w.nstreams < 2 || !l->may_differ)
        wrong("units %zu to %zu are not those of the stream", from, to);
    say("the stream was made anew unseen");
    l->over = true;
}

static size_t units_in(const struct dstream_batch *b)
{
    size_t len;
    (void)dstream_batch_data(b, &len);
    return b->flags & DSTREAM_BATCH_JSON ? dstream_batch_count(b) : len;
}

static void check_position(struct life *l, const struct dstream_batch *b, size_t units)
{
    size_t start = token_units(b->start), next = token_units(b->next);
    if (strcmp(b->start, "now") == 0) {
        if (units > 0)
            wrong("data of now");
        if (l->units == SIZE_MAX)
            l->units = next;
        return;
    }
    if (start + b->skip != l->units && units > 0)
        wrong("batch at %s+%llu, %zu units were taken before", b->start,
              (unsigned long long)b->skip, l->units);
    if (b->flags & DSTREAM_BATCH_PARTIAL) {
        met_parts++;
        if (b->next[0] || units == 0)
            wrong("a part says that it ends at '%s'", b->next);
        return;
    }
    if (next != l->units + units)
        wrong("batch of %zu units behind %zu says that it ends at %s", units, l->units, b->next);
}

/* Takes `take` of the batch's new units into the store. */
static void store(struct life *l, const struct dstream_batch *b, size_t units, size_t take)
{
    bool json = b->flags & DSTREAM_BATCH_JSON;
    size_t first = json ? b->first : b->first_byte, to = first + take;
    struct ds_witness_piece p = {
        .start = b->start,
        .at = b->skip - first,
        .data = b->items->bytes.data,
        .len = json ? (to > 0 ? b->items->ends[to - 1] : 0) : to,
        .ends = json ? b->items->ends : NULL,
        .count = json ? to : 0,
    };
    if (take > 0)
        ds_witness_add(&l->keeper, &l->at.witness, &p);
    if (take < units || (b->flags & DSTREAM_BATCH_PARTIAL)) {
        strcpy(l->at.offset, b->start);
        l->at.skip = b->skip + take;
    } else {
        strcpy(l->at.offset, b->next);
        l->at.skip = 0;
        l->at.closed = b->flags & DSTREAM_BATCH_CLOSED;
    }
    l->units += take;
}

static struct ds_witness witness_of(const struct life *l)
{
    struct ds_witness w = {.units = l->at.witness.hashed};
    memcpy(w.start, l->at.witness.start, sizeof w.start);
    memcpy(w.hash, l->at.witness.hash, sizeof w.hash);
    return w;
}

static void deliver(struct life *l, const struct dstream_batch *b)
{
    size_t units = units_in(b);
    say("  batch %s+%llu > %s, %zu units%s%s", b->start, (unsigned long long)b->skip, b->next,
        units, b->flags & DSTREAM_BATCH_UP_TO_DATE ? ", up to date" : "",
        b->flags & DSTREAM_BATCH_CLOSED ? ", closed" : "");
    if (l->at.closed)
        wrong("a batch behind the end");
    if (one_in(&l->rng, 12))
        sim.now += between(&l->rng, 0, 5000); /* a slow consumer */
    if (one_in(&l->rng, l->parts ? 200 : 60)) {
        l->stop = true; /* it dies before it has stored anything */
        return;
    }
    if (units > 0)
        compare(l, b, l->units, l->units + units);
    if (l->over)
        return;
    check_position(l, b, units);
    if (units > 1 && one_in(&l->rng, 40)) {
        store(l, b, units, (size_t)between(&l->rng, 1, (int64_t)units - 1));
        l->stop = true;
        return;
    }
    store(l, b, units, units);
    l->rechecking = false;
    l->any_complete |= !(b->flags & DSTREAM_BATCH_PARTIAL);
    if (units > 0) {
        l->window = 0;
        l->window_from = sim.now;
    }
    l->stop = one_in(&l->rng, l->parts ? 200 : 60);
    if (l->stop && one_in(&l->rng, 2))
        return;
    ds_reader_ack(l->r, sim.now);
    struct ds_witness w = witness_of(l);
    if (w.units > 0)
        ds_reader_set_witness(l->r, &w);
}

/* --- the driver ------------------------------------------------------------------------------- */

static size_t kind_of(const struct ds_request *req)
{
    if (req->method == DS_HEAD)
        return 2;
    if (strstr(req->url, "live=sse"))
        return 4;
    if (strstr(req->url, "live=long-poll"))
        return 3;
    return strstr(req->url, "offset=now") ? 1 : 0;
}

/* After an error and after an event stream's end an exporter looks for its witness again. */
static void check_recheck(struct life *l, const struct ds_request *req)
{
    char want[DS_TOKEN_MAX + 16];
    struct ds_witness w = witness_of(l);
    bool due = l->recheck_due && l->recheck && w.units > 0;
    l->recheck_due = false;
    snprintf(want, sizeof want, "?offset=%s", w.start);
    const char *query = strchr(req->url, '?');
    /* A witness that goes over several pages is gone on with where it was. */
    bool is = query && strcmp(query, want) == 0;
    if (due && !l->rechecking && !is)
        wrong("the witness at %s is not looked for after an error or the end of an SSE "
              "connection",
              w.start);
    l->rechecking |= is;
}

static void begin_request(struct life *l, const struct ds_request *req)
{
    if (l->paused)
        wrong("a request during a pause");
    if (l->resumed && strstr(req->url, "live="))
        wrong("no plain GET behind a pause");
    l->resumed = l->resumed && !strstr(req->url, "offset=");
    say("%s %s", req->method == DS_HEAD ? "HEAD" : "GET", req->url);
    if (l->in_flight)
        wrong("two requests at once");
    if (sim.now < l->not_before)
        wrong("a request %lld ms before Retry-After is over", (long long)(l->not_before - sim.now));
    if (l->at.closed)
        wrong("a request behind the end");
    if (sim.now - l->window_from > WINDOW) {
        l->window = 0;
        l->window_from = sim.now;
    }
    /* What pages over an old backlog moves with each request. */
    if (++l->window > WINDOW_MAX)
        wrong("%u requests in %d s brought nothing", l->window, WINDOW / 1000);
    requests++;
    l->asked_at = sim.now;
    l->kind = kind_of(req);
    l->in_flight = true;
    l->headed = false;
    l->next_piece = l->sent = l->fed = l->end_of_piece = 0;
    answer_free(&l->a);
    world_answer(&l->w, req, sim.now, &l->a);
    check_recheck(l, req);
    /* Made anew since it was last looked at: nobody is told. */
    if (l->w.nstreams > 1 && sim.now >= l->w.streams[0].dies)
        l->may_differ = true;
    if (one_in(&l->rng, 3))
        ds_reader_connected(l->r, sim.now);
}

static int64_t next_event(const struct life *l)
{
    if (!l->in_flight)
        return DS_NEVER;
    if (l->fed < l->end_of_piece)
        return sim.now;
    if (!l->headed && l->a.head_at != DS_NEVER)
        return l->a.head_at;
    if (l->next_piece < l->a.npieces)
        return l->a.pieces[l->next_piece].at;
    return l->a.end_at;
}

static void feed_head(struct life *l)
{
    struct answer *a = &l->a;
    l->headed = true;
    for (size_t i = 0; i < CODES; i++)
        met_status[l->kind][i] += codes[i] == a->head.status;
    say("  %d%s%s", a->head.status, a->what[0] ? ", " : "", a->what);
    if (a->head.retry_after_ms >= 0 && a->head.status >= 400) {
        int64_t most = 300000;
        int64_t ms = a->head.retry_after_ms < most ? a->head.retry_after_ms : most;
        l->not_before = sim.now + ms;
    }
    ds_reader_head(l->r, &a->head, sim.now);
}

/* What is read to be compared is no request in vain. */
static void brought_something(struct life *l)
{
    const struct ds_buf *b = &l->a.body;
    bool data = b->len > 0 && !(b->len == 2 && memcmp(b->data, "[]", 2) == 0);
    if (l->kind == 0 && l->headed && data && l->window > 0)
        l->window--;
}

static void feed_end(struct life *l)
{
    struct ds_result res = {.end = l->a.end, .connected = true, .detail = "simulated"};
    met_end[l->kind][l->a.end]++;
    say("  end %d%s%s", (int)l->a.end, l->a.what[0] ? ", " : "", l->a.what);
    l->in_flight = false;
    brought_something(l);
    int status = l->headed ? l->a.head.status : 0;
    l->recheck_due = l->a.end != DS_END_COMPLETE || (status >= 400 && status != 401) ||
                     (l->kind == 4 && status == 200);
    ds_reader_end(l->r, &res, sim.now);
}

static void feed_body(struct life *l)
{
    if (l->fed == l->end_of_piece)
        l->end_of_piece += l->a.pieces[l->next_piece++].len;
    while (l->fed < l->end_of_piece) {
        size_t left = l->end_of_piece - l->fed;
        size_t n = one_in(&l->rng, 3) ? (size_t)between(&l->rng, 1, (int64_t)left) : left;
        size_t used = ds_reader_body(l->r, l->a.body.data + l->fed, n, sim.now);
        l->fed += used;
        if (used < n)
            return; /* a batch has to be taken first */
    }
}

static void feed(struct life *l)
{
    if (!l->headed && l->a.head_at != DS_NEVER)
        feed_head(l);
    else if (l->fed < l->end_of_piece || l->next_piece < l->a.npieces)
        feed_body(l);
    else
        feed_end(l);
}

/* From one moment to the next, while a request is under way or is waited for. */
static void pause_reader(struct life *l)
{
    say("pause");
    met_pause++;
    ds_reader_pause(l->r);
    if (l->in_flight)
        brought_something(l);
    l->in_flight = false;
    l->paused = true;
    l->resume_at = sim.now + between(&l->rng, 0, 100000);
}

static void resume_reader(struct life *l, int64_t until)
{
    if (l->resume_at > until) {
        sim.now = until;
        return;
    }
    if (sim.now < l->resume_at)
        sim.now = l->resume_at;
    say("resume");
    l->paused = false;
    l->resumed = l->recheck_due = true;
    l->window = 0;
    l->window_from = sim.now;
    ds_reader_resume(l->r, sim.now);
}

/* Not taken now: it is offered again. Meanwhile the transfer may come to its end. */
static void hold(struct life *l)
{
    say("  held");
    met_hold++;
    sim.now += between(&l->rng, 0, 100000);
    if (l->in_flight && l->headed && l->fed == l->end_of_piece && l->next_piece == l->a.npieces &&
        l->a.end_at <= sim.now) {
        met_end_on_offer++;
        feed_end(l);
    }
}

static void pass_time(struct life *l, int64_t until)
{
    if (l->paused) {
        resume_reader(l, until);
        return;
    }
    int64_t event = next_event(l);
    if (event <= until && event != DS_NEVER) {
        if (event > sim.now)
            sim.now = event;
        feed(l);
        return;
    }
    if (until == DS_NEVER)
        wrong("it waits for ever");
    sim.now = until;
}

static void see_phase(struct life *l)
{
    enum ds_phase p = ds_reader_phase(l->r);
    if (p != l->phase)
        met_phase[l->phase][p]++;
    l->phase = p;
}

static void start_reader(struct life *l)
{
    struct ds_witness w = witness_of(l);
    struct dstream_error err = {0};
    struct ds_reader_config c = {
        .url = "http://h/s",
        .offset = l->at.offset,
        .skip = l->at.skip,
        .live = l->live,
        .stop_at_tail = l->stop_at_tail,
        .content_type =
            l->units > 0 && l->units != SIZE_MAX ? type_name(l->w.streams[0].type) : NULL,
        .witness = w.units > 0 ? &w : NULL,
        .recheck = l->recheck,
        .parts = l->parts,
        .live_at_once = l->at_once,
        .auth = true,
        .seen = l->units > 0 && l->units != SIZE_MAX,
        .wait_create = l->awaits,
        .limits = ds_limits_default(),
    };
    if (l->parts)
        c.limits.max_part = 400;
    if (l->small_events)
        c.limits.max_event = 400;
    if (w.units > 0)
        verifications++;
    if (ds_reader_new(&l->r, &c, &err) != DSTREAM_OK)
        wrong("no reader: %s", err.message);
    l->phase = ds_reader_phase(l->r);
    l->started_with = stream_length(&l->w.streams[0], sim.now);
    l->any_complete = l->stop = l->recheck_due = l->paused = l->resumed = false;
    l->rechecking = w.units > 0;
    l->not_before = 0;
    l->window = 0;
    l->window_from = sim.now;
    if (l->w.nstreams > 1 && sim.now >= l->w.streams[0].dies)
        l->may_differ = true;
}

static void stop_reader(struct life *l)
{
    ds_reader_free(l->r);
    l->r = NULL;
    l->in_flight = false;
}

/* --- the end ---------------------------------------------------------------------------------- */

static bool transient(enum dstream_code code)
{
    return code == DSTREAM_ERR_NETWORK || code == DSTREAM_ERR_CONNECT ||
           code == DSTREAM_ERR_RESOLVE || code == DSTREAM_ERR_TLS || code == DSTREAM_ERR_TIMEOUT ||
           code == DSTREAM_ERR_BUSY || code == DSTREAM_ERR_SERVER;
}

/* Whether this life may end so. */
static bool allowed(const struct life *l, enum dstream_code code)
{
    const struct world *w = &l->w;
    const struct stream *s = &w->streams[0];
    bool dead = sim.now >= s->dies;
    switch (code) {
    case DSTREAM_ERR_NOT_FOUND:
        if (l->awaits)
            return false;
        return dead || sim.now <= s->born + 32000; /* its body may have stood still */
    case DSTREAM_ERR_DELETED:
        return dead;
    case DSTREAM_ERR_STREAM_RESET:
        return w->lags || (w->nstreams > 1 && dead);
    case DSTREAM_ERR_PARSE: /* of another type, and not compared with anything */
        return w->nstreams > 1 && dead && w->streams[1].type != s->type;
    case DSTREAM_ERR_LIMIT: /* events that were too large are gone */
        return l->small_events && (w->lags || (w->nstreams > 1 && dead));
    case DSTREAM_ERR_PROTOCOL:
        if (l->live == DSTREAM_LIVE_SSE && w->nstreams > 1 && dead && w->streams[1].type != s->type)
            return true; /* its events are in another coding */
        return w->faults.bare > 0 || w->no_up_to_date || w->lags ||
               (l->live == DSTREAM_LIVE_SSE &&
                (w->sse_refused || w->sse_short || w->sse_silent || w->sse_no_control ||
                 w->faults.cut > 0 || w->sse_time < 3000));
    case DSTREAM_ERR_AUTH:
        return w->faults.auth > 0;
    case DSTREAM_ERR_REDIRECT:
        return w->faults.redirect > 0;
    case DSTREAM_ERR_BAD_REQUEST:
    case DSTREAM_ERR_CONFLICT:
        return l->live == DSTREAM_LIVE_SSE && w->sse_refused;
    default:
        return false;
    }
}

static void regular_end(struct life *l)
{
    const struct stream *s = &l->w.streams[0];
    if (l->may_differ || l->w.lags)
        return;
    if (l->live != DSTREAM_LIVE_OFF && (!l->at.closed || l->units != stream_final(s)))
        wrong("it ended at %zu of %zu units, %s", l->units, stream_final(s),
              l->at.closed ? "closed" : "open");
    if (l->live == DSTREAM_LIVE_OFF && l->units < l->started_with)
        wrong("it ended at %zu, the stream had %zu when it began", l->units, l->started_with);
}

/* The reader is done: so is the life, or a new one begins as a cron job would. */
static void done(struct life *l)
{
    const struct dstream_error *e = ds_reader_error(l->r);
    enum dstream_code code = e->code;
    met_result[code]++;
    met_phase[l->phase][DS_PHASE_DONE]++;
    say("done: %s %s", dstream_code_name(code), e->message);
    l->over = true;
    if (code == DSTREAM_OK) {
        regular_end(l);
    } else if (transient(code)) {
        if (l->live != DSTREAM_LIVE_OFF && l->any_complete)
            wrong("a live reader gave up: %s", e->message);
        if (l->w.faults_until <= l->asked_at)
            wrong("gave up long after all was well: %s", e->message);
        l->over = false;
    } else if (!allowed(l, code)) {
        wrong("%s: %s", dstream_code_name(code), e->message);
    }
    stop_reader(l);
    if (!l->over) {
        sim.now += 10000;
        restarts++;
        start_reader(l);
    }
}

static void act(struct life *l, const struct ds_step *s)
{
    switch (s->kind) {
    case DS_STEP_REQUEST:
        begin_request(l, &s->u.request);
        break;
    case DS_STEP_ABORT:
        if (!l->in_flight)
            wrong("nothing to abort");
        say("  abort");
        met_abort[l->kind]++;
        l->in_flight = false;
        l->recheck_due |= l->kind == 4;
        brought_something(l);
        break;
    case DS_STEP_DELIVER:
        if (l->holds && one_in(&l->rng, 20))
            hold(l);
        else
            deliver(l, s->u.batch);
        break;
    case DS_STEP_NOTICE:
        say("  notice %d, %s", (int)s->u.notice.kind,
            s->u.notice.kind == DS_NOTICE_RETRY ? s->u.notice.error->message : "");
        met_notice[s->u.notice.kind]++;
        break;
    case DS_STEP_AUTH:
        met_auth++;
        ds_reader_auth(l->r, l->renews);
        break;
    case DS_STEP_WAIT:
        if (s->u.until <= sim.now)
            wrong("it waits for what is past");
        pass_time(l, s->u.until);
        break;
    case DS_STEP_DONE:
        if (l->in_flight)
            wrong("done with a request under way");
        done(l);
        break;
    }
}

static void live(struct life *l)
{
    start_reader(l);
    for (size_t n = 0; !l->over; n++) {
        struct ds_step s = ds_reader_step(l->r, sim.now, draw(&l->rng));
        act(l, &s);
        steps++;
        if (l->r)
            see_phase(l);
        if (l->r && l->pauses && !l->over && !l->paused && one_in(&l->rng, 400))
            pause_reader(l);
        if (sim.now > START + LIFE_MAX || n > 2000000)
            wrong("it does not come to an end");
        if (l->stop && !l->over) {
            say("the consumer dies, at %s,%llu", l->at.offset, (unsigned long long)l->at.skip);
            stop_reader(l);
            if (l->at.closed)
                break;
            restarts++;
            sim.now += between(&l->rng, 0, 3000);
            start_reader(l);
        }
    }
}

static bool play(void)
{
    static struct life l;
    memset(&l, 0, sizeof l);
    l.rng.s = sim.seed * 0x2545F4914F6CDD1DULL + 1;
    ds_buf_init(&l.a.body, 1);
    ds_buf_init(&l.a.head.fields, 1);
    bool good = ds_witness_begin(&l.keeper, (size_t)1 << (draw(&l.rng) % 14)) == DSTREAM_OK;
    draw_life(&l);
    if (good && setjmp(sim.failed) == 0)
        live(&l);
    else
        good = false;
    stop_reader(&l);
    answer_free(&l.a);
    ds_witness_end(&l.keeper);
    return good;
}

/* --- what was met ----------------------------------------------------------------------------- */

/* What has to have been met, in a run that is long enough: see semantics of each request. */
static bool report(void)
{
    static const char *const ends[] = {"complete", "resolve", "connect", "cut", "tls"};
    static const char *const phases[] = {"init", "catch-up", "long-poll", "sse", "done"};
    static const char *const notices[] = {"retry", "reconnect", "fallback", "paced",
                                          "lossy", "gap",       "suspect",  "witness gone"};
    static const int due_phase[][2] = {{0, 1}, {0, 4}, {1, 2}, {1, 3}, {1, 4},
                                       {2, 1}, {2, 4}, {3, 1}, {3, 2}, {3, 4}};
    bool all = true;
    char text[32];
    for (size_t k = 0; k < KINDS; k++) {
        for (size_t i = 0; i < CODES; i++) {
            bool live_only = codes[i] == 400 || codes[i] == 405 || codes[i] == 501;
            bool due = codes[i] == 204 ? k == 3 : live_only ? k == 4 : codes[i] != 404 || k != 2;
            snprintf(text, sizeof text, "%d", codes[i]);
            all &= met_row(kind_names[k], text, met_status[k][i], due);
        }
        for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
            all &= met_row(kind_names[k], ends[i], met_end[k][i], true);
        all &= met_row(kind_names[k], "given up", met_abort[k], true);
    }
    for (int a = 0; a < 5; a++) {
        for (int b = 0; b < 5; b++) {
            bool due = false;
            for (size_t i = 0; i < sizeof due_phase / sizeof *due_phase; i++)
                due |= due_phase[i][0] == a && due_phase[i][1] == b;
            snprintf(text, sizeof text, "to %s", phases[b]);
            all &= met_row(phases[a], text, met_phase[a][b], due);
        }
    }
    for (size_t i = 0; i < sizeof notices / sizeof *notices; i++)
        all &= met_row("notice", notices[i], met_notice[i],
                       i != DS_NOTICE_WITNESS_GONE && i != DS_NOTICE_GAP);
    all &= met_row("batch", "in part", met_parts, true);
    all &= met_row("batch", "held", met_hold, true);
    all &= met_row("batch", "its end held", met_end_on_offer, true);
    all &= met_row("consumer", "paused", met_pause, true);
    all &= met_row("credentials", "renewed", met_auth, true);
    for (int c = 0; c < 700; c++) {
        if (met_result[c] > 0)
            met_row("ended", dstream_code_name((enum dstream_code)c) + 8, met_result[c], false);
    }
    return all;
}

static void totals(void)
{
    printf("%llu steps, %llu requests, %llu restarts, %llu of them with a witness\n",
           (unsigned long long)steps, (unsigned long long)requests, (unsigned long long)restarts,
           (unsigned long long)verifications);
}

int main(int argc, char **argv)
{
    static const struct sim_program program = {play, report, totals};
    return sim_main(argc, argv, &program);
}
