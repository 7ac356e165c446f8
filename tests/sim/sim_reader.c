/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whole lives of a reader, simulated: the state machine, unchanged, on a simulated clock and
 * network, against a model server (world.h). After each step
 *
 *   what was delivered is the stream from its beginning, each unit once, or from behind a gap that
 *     was reported first,
 *   the positions of batches are true,
 *   where a stream was made anew and the witness looked for, nothing of it is delivered,
 *   no request goes out while a server's Retry-After forbids it, or right behind a failure,
 *   requests that bring nothing stay below a rate,
 *   behind an answer that is final there is no request,
 *   the user's headers go to nobody else, and credentials are asked for once,
 *   and everything comes to an end.
 *
 * The consumer dies now and then, at any moment, and goes on from what it had stored; it pauses and
 * goes on, cancels, and leaves batches on offer.
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
#define LAG_SAFE   8000 /* of a replica: below what is waited for */

/* --- what was met ----------------------------------------------------------------------------- */

/* Requests, in the order of the states that make them. */
enum kind { CATCHUP, NOW, TAIL, GONE, WITNESS, LONG_POLL, SSE, KINDS };
static const char *const kind_names[KINDS] = {"catch-up", "now",       "tail", "gone",
                                              "witness",  "long-poll", "sse"};
static const int codes[] = {200, 204, 301, 302, 303, 304, 307, 308, 400, 401, 403,
                            404, 405, 406, 408, 409, 410, 412, 413, 414, 415, 416,
                            425, 429, 431, 500, 501, 502, 503, 504, 505, 599};
#define CODES COUNT(codes)
#define ENDS  (DS_END_LIMIT + 1)
static const char *const end_names[ENDS] = {"complete",     "resolve",     "connect", "cut",
                                            "tls",          "tls refused", "proxy",   "bad",
                                            "no use of it", "too long"};
static uint64_t met_status[KINDS][CODES], met_end[KINDS][ENDS], met_abort[KINDS];

/* The states, what one can be in beside them, and how a reader ends. */
#define PHASES (DS_PHASE_DONE + 1)
static const char *const phase_names[PHASES] = {"init", "catch-up", "long-poll", "sse", "done"};
enum wrapper { BACKOFF, PAUSED, AUTH, SUSPECT, WRAPPERS };
static const char *const wrapper_names[WRAPPERS] = {"backoff", "paused", "credentials", "suspects"};
enum ending { EOF_, TAIL_, FAILED, CANCELLED, ENDINGS };
static const char *const ending_names[ENDINGS] = {"closed", "at tail", "failed", "cancelled"};
static uint64_t met_phase[PHASES][PHASES], met_wrapper[PHASES][WRAPPERS],
    met_ending[PHASES][ENDINGS];

/* What else has to have happened. */
enum event {
    IN_PARTS,
    HELD,
    END_HELD,
    SSE_JSON,
    SSE_BASE64,
    SSE_TEXT,
    SSE_REFUSED,
    SSE_MISCODED,
    SSE_SHORT,
    SSE_AGAIN,
    SSE_TOO_LARGE,
    SSE_SILENT,
    REDIRECT_KEPT,
    REDIRECT_STRIPPED,
    GAP_EARLIEST,
    GAP_NOW,
    GAP_FAILED,
    AWAITED,
    ANEW_SEEN,
    ANEW_UNSEEN,
    EVENTS
};
static const char *const event_names[EVENTS] = {
    "batch in part", "batch held",   "end held",     "json by sse",   "base64 by sse",
    "text by sse",   "sse refused",  "sse miscoded", "sse too short", "sse tried again",
    "sse too large", "sse silent",   "same origin",  "other origin",  "gap, earliest",
    "gap, now",      "gap, the end", "awaited",      "anew, noticed", "anew, not seen"};
static uint64_t met[EVENTS], met_notice[DS_NOTICE_WITNESS_GONE + 1], met_result[700];
static uint64_t steps, requests, restarts, verifications;

/* --- one life --------------------------------------------------------------------------------- */

struct life {
    struct world w;
    struct rng rng; /* the consumer's and the driver's draws */
    enum dstream_live live;
    enum dstream_gone on_gone;
    bool recheck, stop_at_tail, parts, at_once, renews, awaits, small_events, pauses, holds;
    bool paused, resumed; /* resumed: and nothing was asked for since */
    int64_t resume_at;
    struct ds_reader *r;
    enum ds_phase phase;
    /* the request under way */
    bool in_flight, headed;
    enum kind kind;
    char url[512];
    bool own_headers;
    unsigned hops;
    struct {
        enum kind kind;
        unsigned nth; /* 0: none */
        unsigned which;
    } plant;
    char leads_to[512]; /* a redirect that was answered; "" */
    struct answer a;
    size_t next_piece, sent, fed; /* pieces that arrived; bytes of the body before them, and fed */
    size_t end_of_piece;
    /* what the consumer has stored */
    size_t units;
    bool known; /* where that is in the stream: not before the first data of "-1" and "now" */
    size_t gap; /* data before this has not been given up */
    struct ds_checkpoint at;
    struct ds_witness_keeper keeper;
    bool stop;                    /* the consumer dies at the next moment */
    size_t started_with;          /* length of the stream when the reader was started */
    bool any_complete;            /* in this reader's time */
    bool may_differ;              /* the stream was made anew where no one could see it */
    bool must_notice;             /* and where it was looked for */
    bool may_slip;                /* what is left out may begin elsewhere by now */
    bool has_witness, fresh;      /* fresh: nothing was asked for since it was started */
    bool recheck_due, rechecking; /* the witness has to be, or is being, found again */
    int64_t asked_at;             /* when the last request began */
    int64_t sign;                 /* when the answer, or the consumer, was last heard of */
    bool connected;
    int64_t not_before; /* Retry-After */
    int64_t backoff_until;
    unsigned credentials;
    bool asked;    /* for credentials, and nothing has succeeded since */
    bool is_final; /* the last answer was */
    bool was_410;
    bool fallen_back;
    int64_t window_from;
    unsigned window;
    bool over;
};

/* --- drawing a life --------------------------------------------------------------------------- */

static void draw_stream(struct rng *g, struct stream *s, enum type type, unsigned incarnation,
                        int64_t born)
{
    int64_t t = born + (one_in(g, 2) ? 0 : between(g, 0, 3000));
    int64_t longest = one_in(g, 4) ? 900000 : 90000;
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
        t += one_in(g, 3) ? 0 : between(g, 0, one_in(g, 6) ? longest : 2000);
    }
    s->closes = t + between(g, 0, 5000);
}

/* The same length, and appends of the same sizes: only the data is another's. */
static void draw_twin(const struct stream *of, struct stream *s)
{
    s->n = of->n;
    for (size_t i = 0; i < s->n; i++) {
        s->upto[i] = of->upto[i];
        s->at[i] = s->born;
    }
    s->closes = s->born + (of->closes > of->born ? of->closes - of->born : 0);
}

static void draw_drops(struct rng *g, struct stream *s)
{
    s->ndrops = (size_t)between(g, 1, DROPS);
    s->keeps = one_in(g, 2) ? 0 : between(g, 0, 20000);
    for (size_t i = 0; i < s->ndrops; i++)
        s->drops[i] = START + between(g, 0, 100000);
}

static void draw_faults(struct rng *g, struct faults *f)
{
    static const unsigned rates[] = {0, 0, 3, 8, 20};
    unsigned *all[] = {&f->refuse, &f->lost,        &f->cut,      &f->stall,
                       &f->status, &f->retry_after, &f->redirect, &f->bare};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        *all[i] = rates[draw(g) % 5];
    f->status = one_in(g, 2) ? f->status : 3;
    f->retry_after = 2;
    f->bare = one_in(g, 6) ? 12 : 0;
    f->auth = one_in(g, 6) ? 12 : 0;
    f->unmarked = one_in(g, 2) ? 4 : 0;
}

static void draw_sse(struct rng *g, struct world *w)
{
    /* Who comes back often may find that what was due is no longer kept. */
    bool brief = w->streams[0].ndrops > 0 || one_in(g, 3);
    w->sse_time = brief ? between(g, 0, 3000) : between(g, 1000, 60000);
    w->sse_short_until = !one_in(g, 6)  ? 0
                         : one_in(g, 3) ? DS_NEVER
                                        : START + between(g, 0, 1000000);
    w->sse_refused = one_in(g, 9);
    w->sse_silent = one_in(g, 20);
    w->sse_no_control = one_in(g, 20);
    w->sse_uncoded = one_in(g, 20);
    w->early_tail = one_in(g, 5) && !w->sse_no_control;
}

/* It is deleted, and maybe made anew. */
static void draw_death(struct rng *g, struct world *w)
{
    struct stream *first = &w->streams[0];
    enum type type = one_in(g, 6) ? (enum type)(draw(g) % TYPES) : first->type;
    first->dies = START + between(g, 0, 60000);
    first->soft = one_in(g, 2);
    if (one_in(g, 3))
        return;
    w->nstreams = 2;
    draw_stream(g, &w->streams[1], type, 2, first->dies + between(g, 0, 2000));
    if (one_in(g, 2))
        draw_twin(first, &w->streams[1]);
}

/* Replicas that are behind, and may not even have the stream yet. */
static void draw_lag(struct rng *g, struct world *w)
{
    w->lag = one_in(g, 3) ? 100000 : LAG_SAFE;
    if (one_in(g, 2))
        w->streams[0].born = START - between(g, 0, LAG_SAFE);
}

static void draw_world(struct life *l)
{
    struct rng *g = &l->rng;
    struct world *w = &l->w;
    w->rng.s = draw(g);
    w->nstreams = 1;
    enum type type = (enum type)(draw(g) % TYPES);
    draw_stream(g, &w->streams[0], type, 1, one_in(g, 12) ? START + 500 : START - 60000);
    if (one_in(g, 4))
        draw_death(g, w);
    else if (one_in(g, 3))
        draw_drops(g, &w->streams[0]);
    else if (one_in(g, 6))
        draw_lag(g, w);
    if (one_in(g, 2))
        draw_faults(g, &w->faults);
    w->rotates[0] = one_in(g, 8) ? START + between(g, 0, 60000) : DS_NEVER;
    w->rotates[1] = one_in(g, 2) ? ds_later(w->rotates[0], between(g, 0, 60000)) : DS_NEVER;
    w->forbids = one_in(g, 2);
    w->faults_until = START + between(g, 0, 200000);
    w->page = one_in(g, 3) ? 100000 : (size_t)between(g, 1, 50);
    w->pages_vary = one_in(g, 4);
    w->hold = between(g, 1, 40000);
    draw_sse(g, w);
    w->no_up_to_date = one_in(g, 25);
    w->instant_poll = one_in(g, 12);
    if (w->no_up_to_date)
        w->page = 100000;
}

/* One request, of a kind that the way of reading has, is answered so that there is no going on. */
static void draw_plant(struct life *l)
{
    static const enum kind live[] = {[DSTREAM_LIVE_OFF] = CATCHUP,
                                     [DSTREAM_LIVE_AUTO] = SSE,
                                     [DSTREAM_LIVE_SSE] = SSE,
                                     [DSTREAM_LIVE_LONG_POLL] = LONG_POLL};
    struct rng *g = &l->rng;
    l->plant.kind = one_in(g, 4) ? (enum kind)(draw(g) % KINDS) : live[l->live];
    l->plant.nth = !one_in(g, 3) ? (unsigned)between(g, 1, 3) : 0;
    l->plant.which = (unsigned)draw(g) % 1000;
}

static void draw_life(struct life *l)
{
    struct rng *g = &l->rng;
    draw_world(l);
    l->live = (enum dstream_live)(draw(g) % 4);
    l->on_gone = (enum dstream_gone)(draw(g) % 3);
    l->credentials = 1;
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
    draw_plant(l);
    strcpy(l->at.offset, "-1");
    if (one_in(g, 8) && l->w.streams[0].born < START) {
        strcpy(l->at.offset, "now");
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
    if (!l->may_differ || l->must_notice)
        wrong("units %zu to %zu are not those of the stream", from, to);
    say("the stream was made anew unseen");
    met[ANEW_UNSEEN]++;
    l->over = true;
}

static size_t units_in(const struct dstream_batch *b)
{
    size_t len;
    (void)dstream_batch_data(b, &len);
    return b->flags & DSTREAM_BATCH_JSON ? dstream_batch_count(b) : len;
}

static bool is_sentinel(const char *offset)
{
    return strcmp(offset, "-1") == 0 || strcmp(offset, "now") == 0;
}

/* Where the batch's data begins. "-1" is where the answer does. */
static size_t start_of(const struct life *l, const struct dstream_batch *b)
{
    return (is_sentinel(b->start) ? l->a.from : token_units(b->start)) + (size_t)b->skip;
}

/* The first data of "-1", or the position that answers "now". */
static void find_place(struct life *l, const struct dstream_batch *b, size_t units)
{
    if (l->known || (units == 0 && is_sentinel(b->next)))
        return;
    if (units > 0 && b->skip > 0)
        wrong("%llu units are left out where nothing was read", (unsigned long long)b->skip);
    l->known = true;
    l->units = units > 0 ? start_of(l, b) : token_units(b->next);
    if (l->units < l->gap && !l->may_differ)
        wrong("what is left begins at %zu, before %zu, where it is no longer kept", l->units,
              l->gap);
}

static void check_position(struct life *l, const struct dstream_batch *b, size_t units)
{
    size_t start = start_of(l, b), next = token_units(b->next);
    if (strcmp(b->start, "now") == 0 && units > 0)
        wrong("data of now");
    if (!l->known)
        return;
    if (start != l->units && units > 0)
        wrong("batch at %s+%llu, %zu units were taken before", b->start,
              (unsigned long long)b->skip, l->units);
    if (b->flags & DSTREAM_BATCH_PARTIAL) {
        met[IN_PARTS]++;
        if (b->next[0] || units == 0)
            wrong("a part says that it ends at '%s'", b->next);
        return;
    }
    if (!is_sentinel(b->next) && next != l->units + units)
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

/* What was left out, all of the answer perhaps, is not what was taken before. */
static bool slipped(const struct life *l, const struct dstream_batch *b, size_t units)
{
    if (units > 0)
        return start_of(l, b) != l->units;
    return b->next[0] && !is_sentinel(b->next) && token_units(b->next) != l->units;
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
    find_place(l, b, units);
    if (l->may_slip && slipped(l, b, units)) {
        say("what was left out lay elsewhere");
        l->over = true;
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
    l->sign = sim.now;
    ds_reader_ack(l->r, sim.now);
    struct ds_witness w = witness_of(l);
    if (w.units > 0)
        ds_reader_set_witness(l->r, &w);
    l->has_witness = w.units > 0;
}

/* --- the driver ------------------------------------------------------------------------------- */

static enum kind kind_of(const struct life *l, const struct ds_request *req)
{
    if (req->method == DS_HEAD)
        return l->was_410 ? GONE : TAIL;
    if (strstr(req->url, "live=sse"))
        return SSE;
    if (strstr(req->url, "live=long-poll"))
        return LONG_POLL;
    const char *offset = strstr(req->url, "offset=") + 7;
    if (strcmp(offset, ds_reader_offset(l->r)) != 0)
        return WITNESS;
    return strcmp(offset, "now") == 0 ? NOW : CATCHUP;
}

/* Whether the witness is not in the stream that was made anew. */
static bool is_lost(const struct life *l)
{
    const struct stream *was = &l->w.streams[0], *is = &l->w.streams[1];
    struct ds_witness w = witness_of(l);
    size_t from = token_units(w.start), to = from + (size_t)w.units;
    struct ds_buf one, other;
    if (was->type != is->type || to > stream_final(is))
        return true;
    ds_buf_init(&one, 1 << 24);
    ds_buf_init(&other, 1 << 24);
    stream_units(was, from, to, &one);
    stream_units(is, from, to, &other);
    bool same = one.len == other.len && memcmp(one.data, other.data, one.len) == 0;
    ds_buf_free(&one);
    ds_buf_free(&other);
    return !same;
}

/* After an error and after an event stream's end an exporter looks for its witness again. */
static void check_recheck(struct life *l, const struct ds_request *req)
{
    char want[DS_TOKEN_MAX + 16];
    struct ds_witness w = witness_of(l);
    bool due = l->recheck_due && l->recheck && l->has_witness;
    l->recheck_due = false;
    snprintf(want, sizeof want, "?offset=%s", w.start);
    const char *query = strchr(req->url, '?');
    /* A witness that goes over several pages is gone on with where it was. */
    bool is = query && strcmp(query, want) == 0;
    if (due && !l->rechecking && !is)
        wrong("the witness at %s is not looked for after an error or the end of an SSE "
              "connection",
              w.start);
    l->rechecking |= is && l->has_witness;
    if ((l->kind == WITNESS || due || l->fresh) && is && l->has_witness && l->a.incarnation == 2 &&
        l->w.lag == 0)
        l->must_notice |= is_lost(l);
    l->fresh = l->fresh && req->method == DS_HEAD;
}

static bool is_other(const char *url)
{
    return strstr(url, "//other/");
}

/* A redirect takes the user's headers along only where it stays with the server. */
static void check_redirect(struct life *l, const struct ds_request *req)
{
    bool follows = l->leads_to[0] && strcmp(req->url, l->leads_to) == 0;
    bool tls = strncmp(req->url, "https:", 6) == 0;
    if (follows) {
        if (strncmp(l->url, "https:", 6) == 0 && !tls)
            wrong("a redirect from https to http is followed");
        if (++l->hops > 5)
            wrong("%u redirects are followed", l->hops);
        l->own_headers = l->own_headers && is_other(l->url) == is_other(req->url);
        met[l->own_headers ? REDIRECT_KEPT : REDIRECT_STRIPPED]++;
    } else {
        if (strncmp(req->url, "http://h/s", 10) != 0)
            wrong("a request to %s", req->url);
        l->hops = 0;
        l->own_headers = true;
    }
    if (req->send_user_headers != l->own_headers)
        wrong("the user's headers %s along to %s", l->own_headers ? "do not go" : "go", req->url);
    l->leads_to[0] = '\0';
    snprintf(l->url, sizeof l->url, "%s", req->url);
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
    if (sim.now < l->backoff_until)
        wrong("a request without a pause behind a failure");
    if (l->at.closed)
        wrong("a request behind the end");
    if (l->is_final)
        wrong("a request behind what is final");
    check_redirect(l, req);
    if (sim.now - l->window_from > WINDOW) {
        l->window = 0;
        l->window_from = sim.now;
    }
    /* What pages over an old backlog moves with each request. */
    if (++l->window > WINDOW_MAX)
        wrong("%u requests in %d s brought nothing", l->window, WINDOW / 1000);
    requests++;
    l->asked_at = sim.now;
    l->kind = kind_of(l, req);
    l->was_410 = false;
    met[SSE_AGAIN] += l->kind == SSE && l->fallen_back;
    l->fallen_back = l->fallen_back && l->kind != SSE;
    l->in_flight = true;
    l->headed = false;
    l->next_piece = l->sent = l->fed = l->end_of_piece = 0;
    answer_free(&l->a);
    l->w.given = req->send_user_headers ? l->credentials : 0;
    if (l->kind == l->plant.kind && l->plant.nth > 0 && --l->plant.nth == 0)
        world_final(l->plant.which, sim.now, &l->a);
    else
        world_answer(&l->w, req, sim.now, &l->a);
    check_recheck(l, req);
    /* Made anew since it was last looked at: nobody is told. */
    if (l->a.incarnation == 2 || (l->w.nstreams > 1 && sim.now >= l->w.streams[0].dies))
        l->may_differ = true;
    l->sign = sim.now;
    l->connected = one_in(&l->rng, 3);
    if (l->connected)
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
    say("  %d%s%s (%d)", a->head.status, a->what[0] ? ", " : "", a->what, a->incarnation);
    if (l->kind == SSE && a->head.status == 200) {
        enum type t = l->w.streams[0].type;
        met[t == TYPE_JSON ? SSE_JSON : t == TYPE_BINARY ? SSE_BASE64 : SSE_TEXT]++;
    }
    if (a->head.retry_after_ms >= 0 && a->head.status >= 400) {
        int64_t most = 300000;
        int64_t ms = a->head.retry_after_ms < most ? a->head.retry_after_ms : most;
        l->not_before = sim.now + ms;
    }
    l->sign = sim.now;
    ds_reader_head(l->r, &a->head, sim.now);
}

/* What is read to be compared is no request in vain. */
static void brought_something(struct life *l)
{
    const struct ds_buf *b = &l->a.body;
    bool data = b->len > 0 && !(b->len == 2 && memcmp(b->data, "[]", 2) == 0);
    if ((l->kind == CATCHUP || l->kind == WITNESS) && l->headed && data && l->window > 0)
        l->window--;
}

static bool is_retryable(int status)
{
    return status == 408 || status == 425 || status == 429 ||
           (status >= 500 && status != 501 && status != 505);
}

/* Which statuses mean that only this way does not work. */
static bool refuses_sse(int status)
{
    return status != 304;
}

/* What has to follow. */
static void judge_end(struct life *l)
{
    const struct answer *a = &l->a;
    int status = l->headed ? a->head.status : 0;
    bool data = status == 200 || status == 204;
    bool failed = status > 0 && !data ? is_retryable(status) : a->end != DS_END_COMPLETE;
    bool other_way = l->kind == SSE && l->live == DSTREAM_LIVE_AUTO && status > 0;
    l->is_final = a->final && !(other_way && refuses_sse(status));
    if (failed && !l->is_final)
        l->backoff_until = sim.now + 50;
    l->was_410 = status == 410;
    if (a->end == DS_END_COMPLETE && data && !a->unmarked && l->kind != SSE)
        l->asked = false;
    snprintf(l->leads_to, sizeof l->leads_to, "%s",
             status >= 300 && status < 400 && a->head.redirect ? a->head.redirect : "");
}

static void feed_end(struct life *l)
{
    struct ds_result res = {
        .end = l->a.end, .connected = true, .unmarked = l->a.unmarked, .detail = "simulated"};
    met_end[l->kind][l->a.end]++;
    say("  end %d%s%s", (int)l->a.end, l->a.what[0] ? ", " : "", l->a.what);
    l->in_flight = false;
    brought_something(l);
    int status = l->headed ? l->a.head.status : 0;
    bool error = status >= 400 ? status != 401 && status != 403 && status != 410
                               : l->a.end != DS_END_COMPLETE;
    l->recheck_due = error || (l->kind == SSE && status == 200);
    judge_end(l);
    ds_reader_end(l->r, &res, sim.now);
}

static void feed_body(struct life *l)
{
    if (l->fed == l->end_of_piece)
        l->end_of_piece += l->a.pieces[l->next_piece++].len;
    l->asked = l->asked && l->kind != SSE;
    while (l->fed < l->end_of_piece) {
        size_t left = l->end_of_piece - l->fed;
        size_t n = one_in(&l->rng, 3) ? (size_t)between(&l->rng, 1, (int64_t)left) : left;
        l->sign = sim.now;
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
    met_wrapper[l->phase][PAUSED]++;
    ds_reader_pause(l->r);
    l->backoff_until = 0;
    l->leads_to[0] = '\0';
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
    met[HELD]++;
    sim.now += between(&l->rng, 0, 100000);
    if (l->in_flight && l->headed && l->fed == l->end_of_piece && l->next_piece == l->a.npieces &&
        l->a.end_at <= sim.now) {
        met[END_HELD]++;
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
    if (p == DS_PHASE_DONE)
        return;
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
        .content_type = l->units > 0 ? type_name(l->w.streams[0].type) : NULL,
        .witness = w.units > 0 ? &w : NULL,
        .recheck = l->recheck,
        .parts = l->parts,
        .live_at_once = l->at_once,
        .auth = true,
        .seen = l->units > 0,
        .on_gone = l->on_gone,
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
    l->rechecking = l->has_witness = w.units > 0;
    l->fresh = true;
    l->must_notice = l->is_final = l->asked = l->was_410 = l->fallen_back = false;
    l->may_slip = strcmp(l->at.offset, "-1") == 0 && l->at.skip > 0 && l->w.streams[0].ndrops > 0;
    l->backoff_until = 0;
    l->leads_to[0] = '\0';
    l->gap = 0;
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

/* The code that says what was answered, where asking again could not help. */
static enum dstream_code final_code(const struct answer *a)
{
    static const enum dstream_code by_end[ENDS] = {
        [DS_END_TLS_REFUSED] = DSTREAM_ERR_TLS, [DS_END_PROXY_AUTH] = DSTREAM_ERR_AUTH,
        [DS_END_BAD] = DSTREAM_ERR_ARGUMENT,    [DS_END_PROTOCOL] = DSTREAM_ERR_PROTOCOL,
        [DS_END_LIMIT] = DSTREAM_ERR_LIMIT,
    };
    if (a->head.status == 0)
        return by_end[a->end];
    return a->head.status == 304   ? DSTREAM_ERR_PROTOCOL
           : a->head.status == 409 ? DSTREAM_ERR_CONFLICT
           : a->head.status == 413 ? DSTREAM_ERR_TOO_LARGE
                                   : DSTREAM_ERR_BAD_REQUEST;
}

/* What a server that breaks the protocol, or an event stream that does not work, leads to. */
static bool may_break_protocol(const struct life *l)
{
    const struct world *w = &l->w;
    bool sse = l->live == DSTREAM_LIVE_SSE;
    if (w->faults.bare > 0 || w->no_up_to_date || w->lag > LAG_SAFE)
        return true;
    if (w->faults.unmarked > 0 && w->faults.cut > 0)
        return true;
    return sse && (w->sse_refused || w->sse_short_until > 0 || w->sse_silent || w->sse_no_control ||
                   w->sse_uncoded || w->faults.cut > 0 || w->sse_time < 3000);
}

/* Whether this life may end so. */
static bool allowed(const struct life *l, enum dstream_code code)
{
    const struct world *w = &l->w;
    const struct stream *s = &w->streams[0];
    bool dead = sim.now >= s->dies, anew = w->nstreams > 1 && dead, behind = w->lag > LAG_SAFE;
    switch (code) {
    case DSTREAM_ERR_NOT_FOUND:
        /* Its body may have stood still. */
        return !l->awaits && (dead || sim.now - w->lag <= s->born + 32000);
    case DSTREAM_ERR_DELETED:
        return dead || behind;
    case DSTREAM_ERR_GONE:
        /* Deleted softly, and made anew before it was asked for. */
        return (l->on_gone == DSTREAM_GONE_FAIL && s->ndrops > 0) || (s->soft && anew);
    case DSTREAM_ERR_STREAM_RESET: /* a witness of "-1" is where it now begins */
        return behind || anew || s->ndrops > 0;
    case DSTREAM_ERR_PARSE: /* of another type, and not compared with anything */
        return anew && w->streams[1].type != s->type;
    case DSTREAM_ERR_LIMIT: /* events that were too large are gone */
        return l->small_events && (behind || anew || s->ndrops > 0);
    case DSTREAM_ERR_PROTOCOL: /* its events may be in another coding */
        return may_break_protocol(l) ||
               (l->live == DSTREAM_LIVE_SSE && anew && w->streams[1].type != s->type);
    case DSTREAM_ERR_AUTH:
        return w->faults.auth > 0 || w->rotates[l->renews ? 1 : 0] <= sim.now;
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
    met_ending[l->phase][l->at.closed ? EOF_ : TAIL_]++;
    if (l->may_differ || l->may_slip || l->w.lag > LAG_SAFE)
        return;
    if (l->live != DSTREAM_LIVE_OFF && (!l->at.closed || l->units != stream_final(s)))
        wrong("it ended at %zu of %zu units, %s", l->units, stream_final(s),
              l->at.closed ? "closed" : "open");
    size_t units = l->known ? l->units : stream_kept(s, sim.now);
    if (l->live == DSTREAM_LIVE_OFF && units < l->started_with && l->w.lag == 0)
        wrong("it ended at %zu, the stream had %zu when it began", units, l->started_with);
}

/* The reader has failed. Where that may pass, a new one begins, as a cron job would. */
static void failed(struct life *l, enum dstream_code code, const char *message)
{
    bool passes = transient(code) && !l->is_final;
    met_ending[l->phase][FAILED]++;
    met[ANEW_SEEN] += code == DSTREAM_ERR_STREAM_RESET && l->w.nstreams > 1;
    met[GAP_FAILED] += code == DSTREAM_ERR_GONE;
    if (l->is_final && code != final_code(&l->a))
        wrong("%s of what is %s: %s", dstream_code_name(code), dstream_code_name(final_code(&l->a)),
              message);
    if (passes && l->live != DSTREAM_LIVE_OFF && l->any_complete)
        wrong("a live reader gave up: %s", message);
    if (passes && l->w.faults_until <= l->asked_at)
        wrong("gave up long after all was well: %s", message);
    if (!passes && !l->is_final && !allowed(l, code))
        wrong("%s: %s", dstream_code_name(code), message);
    l->over = !passes;
}

static void done(struct life *l)
{
    const struct dstream_error *e = ds_reader_error(l->r);
    met_result[e->code]++;
    met_phase[l->phase][DS_PHASE_DONE]++;
    say("done: %s %s", dstream_code_name(e->code), e->message);
    l->over = true;
    if (e->code == DSTREAM_OK)
        regular_end(l);
    else
        failed(l, e->code, e->message);
    stop_reader(l);
    if (!l->over) {
        sim.now += 10000;
        restarts++;
        start_reader(l);
    }
}

/* --- a life ----------------------------------------------------------------------------------- */

/* How long nothing may come. */
static int64_t patience(const struct life *l)
{
    bool data = l->a.head.status == 200 || l->a.head.status == 204;
    int64_t connect = l->connected ? 0 : 10000;
    if (!l->headed)
        return connect + (l->kind == SSE ? 30000 : l->kind == LONG_POLL ? 90000 : 10000);
    if (l->kind != SSE || !data)
        return 30000;
    return l->fed == 0 ? 10000 : 90000;
}

static void abort_request(struct life *l, bool silent)
{
    if (!l->in_flight)
        wrong("nothing to abort");
    if (silent && sim.now - l->sign != patience(l))
        wrong("given up after %lld ms without a sign, not %lld", (long long)(sim.now - l->sign),
              (long long)patience(l));
    say("  abort");
    met_abort[l->kind]++;
    if (l->kind == SSE && l->headed && l->a.head.status == 200)
        met[silent ? SSE_SILENT : SSE_TOO_LARGE] += silent ? l->fed == 0 : l->small_events;
    l->in_flight = false;
    l->was_410 = l->headed && l->a.head.status == 410;
    l->recheck_due |= l->kind == SSE && !l->was_410;
    brought_something(l);
}

static void fell_back(struct life *l)
{
    const struct answer *a = &l->a;
    const char *type = ds_head_get(&a->head, "content-type");
    bool events = a->head.status == 200 && type && strcmp(type, "text/event-stream") == 0;
    met[!events ? SSE_REFUSED : l->w.sse_uncoded ? SSE_MISCODED : SSE_SHORT]++;
    l->fallen_back = true;
}

/* What is left, or what comes from now on, begins behind what was due. */
static void gap(struct life *l)
{
    if (l->on_gone == DSTREAM_GONE_FAIL)
        wrong("goes on behind what is gone");
    met[l->on_gone == DSTREAM_GONE_NOW ? GAP_NOW : GAP_EARLIEST]++;
    if (strcmp(ds_reader_offset(l->r), l->on_gone == DSTREAM_GONE_NOW ? "now" : "-1") != 0)
        wrong("goes on at %s behind what is gone", ds_reader_offset(l->r));
    l->gap = l->units - (size_t)l->at.skip;
    l->known = l->has_witness = false;
}

static void notice(struct life *l, const struct ds_notice *n)
{
    say("  notice %d, %s", (int)n->kind, n->kind == DS_NOTICE_RETRY ? n->error->message : "");
    met_notice[n->kind]++;
    if (n->kind == DS_NOTICE_RETRY)
        met_wrapper[l->phase][BACKOFF]++;
    else if (n->kind == DS_NOTICE_SUSPECT)
        met_wrapper[l->phase][SUSPECT]++;
    else if (n->kind == DS_NOTICE_FALLBACK)
        fell_back(l);
    else if (n->kind == DS_NOTICE_GAP)
        gap(l);
    else if (n->kind == DS_NOTICE_WITNESS_GONE)
        l->has_witness = l->must_notice = false;
    met[AWAITED] += n->kind == DS_NOTICE_RETRY && n->error->code == DSTREAM_ERR_NOT_FOUND;
}

static void give_credentials(struct life *l)
{
    met_wrapper[l->phase][AUTH]++;
    if (l->asked)
        wrong("credentials are asked for again");
    l->asked = true;
    if (l->renews)
        l->credentials = world_credentials(&l->w, sim.now);
    ds_reader_auth(l->r, l->renews);
}

static void act(struct life *l, const struct ds_step *s)
{
    switch (s->kind) {
    case DS_STEP_REQUEST:
        begin_request(l, &s->u.request);
        break;
    case DS_STEP_ABORT:
        abort_request(l, s->u.silent);
        break;
    case DS_STEP_DELIVER:
        if (l->holds && one_in(&l->rng, 20))
            hold(l);
        else
            deliver(l, s->u.batch);
        break;
    case DS_STEP_NOTICE:
        notice(l, &s->u.notice);
        break;
    case DS_STEP_AUTH:
        give_credentials(l);
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
        l->stop |= one_in(&l->rng, 2000);
        if (l->stop && !l->over) {
            say("the consumer dies, at %s,%llu", l->at.offset, (unsigned long long)l->at.skip);
            met_ending[l->phase][CANCELLED]++;
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

/* What has to have been met of the answers to a kind of request. */
static bool is_due(enum kind k, int code)
{
    switch (k) {
    case CATCHUP:
    case LONG_POLL:
    case SSE:
        return true;
    case NOW:
        return code == 200;
    case TAIL:
    case WITNESS:
        return code == 200 || code == 401 || code == 404 || code == 503;
    default:
        return code == 200 || code == 410;
    }
}

static bool report_answers(void)
{
    bool all = true;
    char text[32];
    for (enum kind k = 0; k < KINDS; k++) {
        for (size_t i = 0; i < CODES; i++) {
            snprintf(text, sizeof text, "%d", codes[i]);
            all &= met_row(kind_names[k], text, met_status[k][i], is_due(k, codes[i]));
        }
        bool main = k == CATCHUP || k == LONG_POLL || k == SSE;
        for (size_t i = 0; i < ENDS; i++)
            all &= met_row(kind_names[k], end_names[i], met_end[k][i], main || i == 0);
        all &= met_row(kind_names[k], "given up", met_abort[k], true);
    }
    return all;
}

static bool report_states(void)
{
    static const bool moves[PHASES][PHASES] = {
        {false, true, true, true, true}, /* from init; to the same and to done */
        {false, false, true, true, true},
        {false, true, false, true, true},
        {false, true, true, false, true},
    };
    static const bool endings[PHASES][ENDINGS] = {
        {false, false, true, true}, /* of init; closed, at tail, failed, cancelled */
        {true, true, true, true},
        {true, false, true, true},
        {true, false, true, true},
    };
    bool all = true;
    char text[32];
    for (size_t a = 0; a < DS_PHASE_DONE; a++) {
        for (size_t b = 0; b < PHASES; b++) {
            snprintf(text, sizeof text, "to %s", phase_names[b]);
            all &= met_row(phase_names[a], text, met_phase[a][b], moves[a][b]);
        }
        for (size_t b = 0; b < WRAPPERS; b++)
            all &= met_row(phase_names[a], wrapper_names[b], met_wrapper[a][b], true);
        for (size_t b = 0; b < ENDINGS; b++)
            all &= met_row(phase_names[a], ending_names[b], met_ending[a][b], endings[a][b]);
    }
    return all;
}

static bool report(void)
{
    static const char *const notices[] = {"retry", "reconnect", "fallback", "paced",
                                          "lossy", "gap",       "suspect",  "witness gone"};
    static const enum dstream_code results[] = {
        DSTREAM_OK,           DSTREAM_ERR_NOT_FOUND,   DSTREAM_ERR_DELETED,
        DSTREAM_ERR_GONE,     DSTREAM_ERR_AUTH,        DSTREAM_ERR_REDIRECT,
        DSTREAM_ERR_CONFLICT, DSTREAM_ERR_BAD_REQUEST, DSTREAM_ERR_STREAM_RESET,
        DSTREAM_ERR_PROTOCOL, DSTREAM_ERR_LIMIT,       DSTREAM_ERR_TIMEOUT,
        DSTREAM_ERR_NETWORK,  DSTREAM_ERR_CONNECT,     DSTREAM_ERR_RESOLVE,
        DSTREAM_ERR_TLS,      DSTREAM_ERR_BUSY,        DSTREAM_ERR_SERVER,
        DSTREAM_ERR_ARGUMENT, DSTREAM_ERR_TOO_LARGE,
    };
    bool all = report_answers();
    all &= report_states();
    for (size_t i = 0; i < COUNT(notices); i++)
        all &= met_row("notice", notices[i], met_notice[i], true);
    for (size_t i = 0; i < EVENTS; i++)
        all &= met_row("met", event_names[i], met[i], true);
    for (size_t i = 0; i < COUNT(results); i++)
        all &= met_row("ended", dstream_code_name(results[i]) + 8, met_result[results[i]], true);
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
