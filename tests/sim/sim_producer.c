/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whole lives of a producer, simulated: the state machine, unchanged, on a simulated clock and
 * network, against a model server (server.h) that others may write to as well. After each step
 *
 *   what was reported as stored is stored once and in order,
 *   what was reported as not written is not, and never will be,
 *   what was reported as unknown is stored at most once,
 *   each message has one fate, told in order,
 *   one epoch and number always has the same bytes,
 *   nothing is sent, and nothing told, before the journal is durable,
 *   nobody who was fenced after a success goes on,
 *   no request goes out while a server's Retry-After forbids it, and requests stay below a rate,
 *   and everything comes to an end.
 *
 * The producer is killed now and then, at any moment, and goes on from any state that its journal
 * can be in: what is durable, and any number of the records behind that.
 *
 * Prints what was met, and fails where what has to be was not. How to run it: frame.h.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "producer/producer.h"
#include "tests/sim/frame.h"
#include "tests/sim/server.h"

#define LIFE_MAX   (int64_t)(12 * 3600 * 1000)
#define WINDOW     10000 /* ms in which requests that bring nothing are counted */
#define WINDOW_MAX 60
#define WIRES      256
#define BATCHES    128
#define RECORDS    64
#define NUMBERS    1024 /* a power of two */
#define RUNS_MAX   40

/* --- what was met ----------------------------------------------------------------------------- */

static const int codes[] = {200, 204, 302, 307, 308, 400, 401, 403, 404, 405, 408, 409,
                            410, 413, 415, 425, 429, 500, 501, 502, 503, 504, 599};
#define CODES COUNT(codes)
/* By the state of the batch: base or behind it; sent for the first time, again after a definite
 * answer, or in doubt. */
#define STATES 6
static const char *const state_names[STATES] = {"base",   "base again",   "base in doubt",
                                                "behind", "behind again", "behind in doubt"};
static uint64_t met_status[STATES][CODES], met_end[STATES][3];
static uint64_t met_fate[DS_FATE_KEPT + 1][3], met_notice[700], met_retry;
#define PHASES (DS_PRODUCER_FAILED + 1)
static uint64_t met_move[PHASES][PHASES], met_phase[PHASES][700], met_record[4], met_kill[4][2];
static uint64_t met_flag[16];
enum {
    FLAG_DUPLICATE,
    FLAG_MAYBE,
    FLAG_EARLIER,
    FLAG_AUTH,
    FLAG_AGAIN,
    FLAG_KILL,
    FLAG_RESUMED,
    FLAG_CLOSED,
    FLAG_CLOSE_BODY,
    FLAG_CONFIRM,
    FLAG_RESTART,
    FLAG_TOLERATED,
    FLAG_ABORT,
    FLAG_PERFECT,
    FLAG_REPEATED,
    FLAG_REFUSED
};
static const char *const flag_names[16] = {
    "duplicate", "maybe twice", "told later", "credentials",  "buffer full", "killed",
    "resumed",   "closed",      "close+data", "asked closed", "restart",     "tolerated",
    "given up",  "all stored",  "sent twice", "refused"};
static uint64_t steps, requests, runs;

/* --- one life --------------------------------------------------------------------------------- */

struct wire {
    bool used;
    uint64_t id; /* of the client's request; 0: it is no longer interested */
    struct post post;
    int64_t arrives_at; /* at the server; DS_NEVER: does not, or has */
    int64_t twice_at;   /* a copy made on the way */
    int64_t ends_at;    /* without an answer */
    int64_t answer_at;
    int64_t back; /* how long an answer takes; -1: it is lost */
    struct reply reply;
    enum ds_end end;
    bool left;
    bool head_only; /* of the answer the head arrives, and then nothing */
    bool head_given;
    int state; /* of the batch, as in state_names */
};

struct record {
    enum ds_record_kind kind;
    uint64_t number, epoch, mark, told;
    enum ds_epoch_kind epoch_kind;
    bool known;
    size_t nbatches, nfates;
    struct ds_record_batch batches[BATCHES];
    struct ds_record_fate fates[BATCHES];
};

/* What a journal comes to. */
struct journal {
    bool has;
    uint64_t epoch, mark;
    enum ds_epoch_kind epoch_kind;
    bool known;
    size_t nbatches, nfates;
    struct ds_record_batch batches[BATCHES];
    struct ds_record_fate fates[BATCHES];
};

struct bytes {
    bool used;
    uint64_t epoch, seq, hash;
    bool doubt; /* some attempt has no definite answer */
    bool lost;  /* or none at all */
    bool done;  /* acknowledged, or given up */
    unsigned sent;
};

struct troubles {
    unsigned refuse, lost, late, answer, slow;
};

struct life {
    struct rng rng;
    struct server s;
    struct troubles faults;
    int64_t faults_until;
    /* how it is configured */
    struct ds_producer_config c;
    bool hook;
    int64_t clock; /* unix time at START */
    bool persists; /* epochs that were seen */
    size_t total;  /* messages */
    size_t pads[MESSAGES];
    unsigned pace; /* ms between messages, at most */
    unsigned kill; /* once in so many steps; 0: never */
    unsigned kills_left;
    int ending; /* 0: detach, 1: with a time limit, 2: close, 3: close with a last message */
    bool quick_sync, restarts;
    unsigned twice; /* a request is sent twice on the way, once in so many */
    /* what happens to the server */
    int64_t claim_at[2], close_at, forget_at[2], shrink_at, rotate_at[2], final_at;
    int64_t out_at, in_at;
    size_t shrink_to;
    int final;
    bool forget_back;
    bool perfect; /* all of it has to be stored */
    /* the run */
    struct ds_producer *p;
    enum ds_producer_phase phase;
    unsigned nruns;
    size_t next; /* message to append */
    int64_t next_at;
    bool blocked, over, ended, stop;
    size_t told_to;    /* in this run: ids below have been told of */
    bool succeeded;    /* something was acknowledged in this run */
    bool fenced_after; /* and then it was fenced */
    bool resumed;      /* it began with batches of the journal */
    bool proven;       /* the server has answered as one with producers */
    uint64_t known;    /* epoch under which a 200 came */
    unsigned claims;
    bool asked; /* for credentials, since the last success */
    bool ever_asked;
    unsigned credentials;
    uint64_t used_epoch, seen_epoch;
    int64_t not_before, window_from;
    unsigned window;
    bool close_told, closing, close_acked;
    struct wire wires[WIRES];
    struct bytes numbers[NUMBERS];
    /* the journal */
    struct record pending[RECORDS];
    size_t npending;
    int64_t durable_at;
    struct journal file; /* what is durable */
    /* fates */
    enum ds_fate fates[MESSAGES];
    bool kept[MESSAGES], maybe[MESSAGES], told_now[MESSAGES];
};

/* --- drawing a life --------------------------------------------------------------------------- */

static void draw_faults(struct life *l)
{
    static const unsigned rates[] = {0, 0, 4, 10, 30};
    struct rng *g = &l->rng;
    unsigned *all[] = {&l->faults.refuse, &l->faults.lost, &l->faults.late, &l->faults.answer,
                       &l->faults.slow,   &l->s.before,    &l->s.after};
    for (size_t i = 0; i < COUNT(all); i++)
        *all[i] = rates[draw(g) % COUNT(rates)];
    l->s.retry_after = 3;
    l->s.redirect = one_in(g, 6) ? 5 : 0;
    l->s.moved = one_in(g, 10) ? 6 : 0;
}

static void draw_server(struct life *l)
{
    static const int finals[] = {404, 410, 405, 415, 409, 501, 505, 403};
    struct rng *g = &l->rng;
    struct server *s = &l->s;
    s->rng.s = draw(g);
    s->json = one_in(g, 2);
    s->check_first = one_in(g, 2);
    s->close_204 = one_in(g, 4);
    s->no_seq = one_in(g, 20);
    s->max_body = one_in(g, 6) ? (size_t)between(g, 20, 120) : BODY_MAX;
    for (size_t i = 0; i < MESSAGES; i++)
        s->poison[i] = false;
    if (one_in(g, 6)) {
        for (int64_t n = between(g, 1, 3); n > 0; n--)
            s->poison[between(g, 0, (int64_t)l->total - 1)] = true;
    }
    if (one_in(g, 2))
        draw_faults(l);
    l->faults_until = START + between(g, 0, one_in(g, 5) ? 400000 : 60000);
    int64_t horizon = one_in(g, 2) ? 2000 : 60000;
    for (size_t i = 0; i < 2; i++) {
        l->claim_at[i] = one_in(g, 10) ? START + between(g, -1000, horizon) : DS_NEVER;
        l->forget_at[i] = one_in(g, 16) ? START + between(g, 0, horizon) : DS_NEVER;
    }
    l->forget_back = one_in(g, 3);
    s->near = one_in(g, 3);
    s->rival = one_in(g, 25);
    if (one_in(g, 12)) {
        l->out_at = START + between(g, 0, horizon);
        l->in_at = l->out_at + between(g, 0, 90000);
    }
    l->close_at = one_in(g, 14) ? START + between(g, -1000, horizon) : DS_NEVER;
    l->shrink_at = one_in(g, 10) ? START + between(g, 0, horizon) : DS_NEVER;
    l->shrink_to = (size_t)between(g, 10, 100);
    l->rotate_at[0] = one_in(g, 10) ? START + between(g, 0, horizon) : DS_NEVER;
    l->rotate_at[1] = one_in(g, 2) ? ds_later(l->rotate_at[0], between(g, 0, horizon)) : DS_NEVER;
    s->forbids = one_in(g, 3);
    l->final = finals[draw(g) % COUNT(finals)];
    l->final_at = one_in(g, 8) ? START + between(g, 0, horizon) : DS_NEVER;
    s->no_producers = one_in(g, 60);
}

static void draw_epochs(struct life *l)
{
    struct rng *g = &l->rng;
    struct ds_producer_config *c = &l->c;
    l->clock = 1800000000000 + between(g, 0, 1000000);
    l->persists = one_in(g, 2);
    c->fixed = one_in(g, 2);
    c->fresh = one_in(g, 2);
    c->claim = one_in(g, 2);
    c->epoch = 50000 + 2 * (uint64_t)between(g, 0, 10);
    if (one_in(g, 40))
        c->epoch = DS_EPOCH_MAX - (uint64_t)between(g, 0, 3);
    if (one_in(g, 3)) {
        /* An earlier run was there. */
        l->s.has = true;
        l->s.last = (uint64_t)between(g, 0, 10);
        l->s.epoch = c->epoch - (uint64_t)between(g, 0, 3);
        if (c->fixed && c->fresh && l->s.epoch == c->epoch)
            l->s.epoch--;
        if (one_in(g, 4))
            l->s.epoch = ((uint64_t)l->clock << 10) + 5000;
        if (one_in(g, 40))
            l->s.epoch = DS_EPOCH_MAX - (uint64_t)between(g, 0, 3);
        /* So few are left above that who forgets them meets itself. */
        l->persists |= l->s.epoch > DS_EPOCH_MAX - 4096;
        if (c->fixed && c->fresh && l->s.epoch == c->epoch)
            l->s.has = false;
    }
}

static void draw_config(struct life *l)
{
    struct rng *g = &l->rng;
    struct ds_producer_config *c = &l->c;
    *c = ds_producer_config_default();
    c->url = "http://h/s";
    c->id = "p";
    c->content_type = l->s.json ? "application/json" : "text/plain";
    c->window = (unsigned)between(g, 1, one_in(g, 3) ? 6 : 3);
    c->max_batch_bytes = (size_t)between(g, 40, 300);
    c->max_batch_items = one_in(g, 2) ? (size_t)between(g, 1, 6) : SIZE_MAX;
    c->linger = between(g, 0, 50);
    c->max_buffered = (size_t)between(g, 300, one_in(g, 3) ? 3000 : 20000);
    c->delivery_timeout = one_in(g, 4) ? between(g, 500, 30000) : one_in(g, 3) ? -1 : 120000;
    c->skip_refused = one_in(g, 2);
    c->allow_duplicates = one_in(g, 8);
    c->proof = one_in(g, 20);
    c->journal = one_in(g, 2);
    l->hook = c->auth_hook = !one_in(g, 3);
}

/* Whether nothing but delays can come of all that was drawn. */
static bool is_perfect(const struct life *l)
{
    const struct server *s = &l->s;
    const struct ds_producer_config *c = &l->c;
    bool quiet = l->claim_at[0] == DS_NEVER && l->claim_at[1] == DS_NEVER &&
                 l->forget_at[0] == DS_NEVER && l->forget_at[1] == DS_NEVER &&
                 l->close_at == DS_NEVER && l->shrink_at == DS_NEVER && l->final_at == DS_NEVER &&
                 (l->rotate_at[0] == DS_NEVER || (l->hook && l->rotate_at[1] == DS_NEVER)) &&
                 !s->rival;
    bool tame =
        s->max_body == BODY_MAX && s->moved == 0 && !s->no_producers && !s->has && !s->no_seq;
    for (size_t i = 0; i < l->total; i++)
        tame &= !s->poison[i];
    /* Where a number may be another's, a lost answer is an unknown outcome. */
    bool own = !c->fixed || c->fresh;
    return quiet && tame && own && c->delivery_timeout < 0 && !c->proof && l->ending != 1 &&
           !c->resubmit && (!c->fixed || c->epoch < DS_EPOCH_MAX / 2) && l->twice == 0 &&
           !(l->kill && !c->journal) && !l->restarts;
}

static void draw_life(struct life *l)
{
    struct rng *g = &l->rng;
    l->out_at = l->in_at = DS_NEVER;
    l->total = (size_t)between(g, 1, one_in(g, 3) ? MESSAGES : 20);
    for (size_t i = 0; i < MESSAGES; i++)
        l->pads[i] = (size_t)between(g, 0, 20);
    draw_server(l);
    draw_config(l);
    draw_epochs(l);
    l->pace = one_in(g, 3) ? 0 : (unsigned)between(g, 1, one_in(g, 4) ? 3000 : 60);
    l->kill = one_in(g, 2) ? (unsigned)between(g, 20, 300) : 0;
    l->kills_left = (unsigned)between(g, 1, 8);
    l->ending = (int)between(g, 0, 3);
    l->quick_sync = one_in(g, 2);
    l->restarts = one_in(g, 15);
    if (one_in(g, 15)) {
        /* Requests are sent twice on the way: harmless under epochs that nobody else can have. */
        l->twice = 6;
        l->c.fixed = l->restarts = l->s.has = false;
        memset(l->s.poison, 0, sizeof l->s.poison);
        l->s.max_body = BODY_MAX;
        l->claim_at[0] = l->claim_at[1] = l->forget_at[0] = l->forget_at[1] = DS_NEVER;
        l->shrink_at = l->close_at = l->final_at = DS_NEVER;
        l->rotate_at[0] = l->rotate_at[1] = DS_NEVER;
        l->s.rival = false;
    }
    if (one_in(g, 20)) {
        /* An earlier run is repeated: its batches have to be the same. */
        l->c.resubmit = l->c.fixed = l->c.fresh = true;
        l->c.claim = l->c.journal = false;
        l->c.epoch = 50000;
        l->s.has = false;
        l->c.max_batch_items = (size_t)between(g, 1, 4);
        l->c.linger = 1000000;
        l->c.max_buffered = 1000000;
        l->pace = 0;
        l->restarts = false;
        l->c.allow_duplicates = l->c.proof = false;
        l->claim_at[0] = l->claim_at[1] = l->forget_at[0] = l->forget_at[1] = DS_NEVER;
        l->ending = 0;
    }
    if (l->s.no_producers) {
        /* Such a server doubles what is sent again. */
        memset(&l->faults, 0, sizeof l->faults);
        l->s.before = l->s.after = l->s.moved = l->s.redirect = 0;
        l->kill = 0;
    }
    if (l->c.fixed && l->c.fresh)
        l->s.near = false; /* that is what fresh means */
    l->perfect = is_perfect(l);
}

/* --- one epoch and number always has the same bytes ------------------------------------------- */

static uint64_t hash_of(const struct post *p)
{
    uint64_t h = 1469598103934665603ULL ^ p->close;
    for (size_t i = 0; i < p->len; i++)
        h = (h ^ (unsigned char)p->body[i]) * 1099511628211ULL;
    return h;
}

static struct bytes *number_of(struct life *l, uint64_t epoch, uint64_t seq)
{
    size_t at = (size_t)((epoch * 31 + seq) * 0x9E3779B97F4A7C15ULL >> 40) & (NUMBERS - 1);
    for (size_t i = 0; i < NUMBERS; i++, at = (at + 1) & (NUMBERS - 1)) {
        struct bytes *b = &l->numbers[at];
        if (!b->used || (b->epoch == epoch && b->seq == seq))
            return b;
    }
    wrong("too many batches");
}

static struct bytes *check_bytes(struct life *l, const struct post *p)
{
    struct bytes *b = number_of(l, p->epoch, p->seq);
    uint64_t h = hash_of(p);
    if (b->used && b->hash != h)
        wrong("other bytes under epoch %llu, number %llu", (unsigned long long)p->epoch,
              (unsigned long long)p->seq);
    if (!b->used)
        *b = (struct bytes){.used = true, .epoch = p->epoch, .seq = p->seq, .hash = h};
    return b;
}

/* --- the journal ------------------------------------------------------------------------------ */

static void free_batches(struct ds_record_batch *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        free((char *)b[i].body);
}

static void free_record(struct record *r)
{
    free_batches(r->batches, r->nbatches);
    for (size_t i = 0; i < r->nfates; i++)
        free((char *)r->fates[i].offset);
    r->nbatches = r->nfates = 0;
}

static void add_batch(struct ds_record_batch *list, size_t *n, const struct ds_record_batch *b)
{
    if (*n == BATCHES)
        wrong("too many batches");
    char *body = malloc(b->len + 1);
    memcpy(body, b->body, b->len);
    list[*n] = *b;
    list[(*n)++].body = body;
}

static void add_fate(struct ds_record_fate *list, size_t *n, const struct ds_record_fate *f)
{
    if (*n == BATCHES)
        wrong("too many fates");
    list[*n] = *f;
    list[(*n)++].offset = strdup(f->offset);
}

static void drop_first_batch(struct journal *j)
{
    free((char *)j->batches[0].body);
    j->nbatches--;
    memmove(j->batches, j->batches + 1, j->nbatches * sizeof *j->batches);
}

static void apply(struct journal *j, const struct record *r)
{
    if (r->mark < j->mark)
        wrong("the mark goes back");
    if (r->kind == DS_RECORD_BATCH && (!j->has || r->epoch != j->epoch))
        wrong("a record of an epoch that was not opened");
    j->mark = r->mark;
    if (r->kind == DS_RECORD_EPOCH) {
        if (j->has && r->epoch <= j->epoch && j->nbatches > 0)
            wrong("an epoch below the last one");
        free_batches(j->batches, j->nbatches);
        j->nbatches = 0;
        j->has = true;
        j->epoch = r->epoch;
        j->epoch_kind = r->epoch_kind;
        j->known = false;
    }
    j->known |= r->known;
    for (size_t i = 0; i < r->nfates; i++) {
        if (r->kind == DS_RECORD_FATE) {
            if (j->nbatches == 0 || j->batches[0].first != r->fates[i].first)
                wrong("the fate of a batch that is not the first without one");
            drop_first_batch(j);
        }
        add_fate(j->fates, &j->nfates, &r->fates[i]);
    }
    for (size_t i = 0; i < r->nbatches; i++)
        add_batch(j->batches, &j->nbatches, &r->batches[i]);
    if (r->told > j->nfates)
        wrong("more was told than there was");
    for (uint64_t i = 0; i < r->told; i++)
        free((char *)j->fates[i].offset);
    j->nfates -= (size_t)r->told;
    memmove(j->fates, j->fates + r->told, j->nfates * sizeof *j->fates);
}

static void take_record(struct life *l, struct ds_record *r)
{
    struct ds_record_batch b;
    struct ds_record_fate f;
    static const char *const names[] = {"epoch", "batch", "fate", "told"};
    if (l->npending == RECORDS)
        wrong("too many records");
    struct record *t = &l->pending[l->npending++];
    t->kind = r->kind;
    t->number = r->number;
    t->epoch = r->epoch;
    t->mark = r->mark;
    t->told = r->told;
    t->epoch_kind = r->epoch_kind;
    t->known = r->known;
    t->nbatches = t->nfates = 0;
    while (ds_record_next_batch(r, &b))
        add_batch(t->batches, &t->nbatches, &b);
    while (ds_record_next_fate(r, &f))
        add_fate(t->fates, &t->nfates, &f);
    met_record[r->kind]++;
    say("  journal %llu: %s, epoch %llu, %zu batches, %zu fates, mark %llu",
        (unsigned long long)r->number, names[r->kind], (unsigned long long)r->epoch, t->nbatches,
        t->nfates, (unsigned long long)r->mark);
    if (r->kind == DS_RECORD_BATCH && t->nbatches != 1)
        wrong("a batch's record lists %zu", t->nbatches);
    if (!l->quick_sync && l->durable_at == DS_NEVER)
        l->durable_at = sim.now + between(&l->rng, 0, 30);
}

static void apply_pending(struct life *l, size_t n)
{
    for (size_t i = 0; i < l->npending; i++) {
        if (i < n)
            apply(&l->file, &l->pending[i]);
        free_record(&l->pending[i]);
    }
    l->npending = 0;
    l->durable_at = DS_NEVER;
}

static void sync_journal(struct life *l)
{
    if (l->npending == 0)
        return;
    uint64_t last = l->pending[l->npending - 1].number;
    apply_pending(l, l->npending);
    ds_producer_durable(l->p, last);
}

static bool in_journal(const struct life *l, const struct post *p)
{
    const struct journal *j = &l->file;
    for (size_t i = 0; i < j->nbatches; i++) {
        const struct ds_record_batch *b = &j->batches[i];
        if (b->seq == p->seq && b->len == p->len && b->close == p->close && !b->acked &&
            memcmp(b->body, p->body, p->len) == 0)
            return j->epoch == p->epoch;
    }
    return false;
}

/* --- requests --------------------------------------------------------------------------------- */

static uint64_t number_in(const struct ds_request *req, const char *name)
{
    size_t n = strlen(name);
    for (size_t i = 0; i < req->nheaders; i++) {
        if (strncmp(req->headers[i], name, n) == 0)
            return strtoull(req->headers[i] + n, NULL, 10);
    }
    wrong("no %s", name);
}

static bool has_line(const struct ds_request *req, const char *line)
{
    for (size_t i = 0; i < req->nheaders; i++) {
        if (strcmp(req->headers[i], line) == 0)
            return true;
    }
    return false;
}

static void read_post(struct life *l, const struct ds_request *req, struct post *p)
{
    p->head = req->method == DS_HEAD;
    p->redirected = strcmp(req->url, "http://h/s") != 0;
    p->credentials = l->credentials;
    p->len = 0;
    if (p->head)
        return;
    if (req->body_len > l->c.max_batch_bytes)
        wrong("%zu bytes in a batch of at most %zu", req->body_len, l->c.max_batch_bytes);
    p->epoch = number_in(req, "Producer-Epoch: ");
    p->seq = number_in(req, "Producer-Seq: ");
    p->close = has_line(req, "Stream-Closed: true");
    if (!has_line(req, "Producer-Id: p") || p->epoch > DS_EPOCH_MAX || p->seq > DS_EPOCH_MAX)
        wrong("bad headers");
    p->len = req->body_len;
    memcpy(p->body, req->body, p->len);
}

static void draw_way(struct life *l, struct wire *w)
{
    struct rng *g = &l->rng;
    struct troubles f = l->faults;
    if (sim.now > l->faults_until)
        f = (struct troubles){0};
    int64_t there = between(g, 0, 15), back = between(g, 0, 15);
    if (one_in(g, f.slow))
        there += between(g, 0, 3000);
    w->arrives_at = sim.now + there;
    w->back = back;
    w->end = DS_END_CUT;
    w->left = true;
    w->ends_at = w->twice_at = w->answer_at = DS_NEVER;
    bool silent = one_in(g, 3);
    if (one_in(g, f.refuse)) {
        static const enum ds_end ends[] = {DS_END_CONNECT, DS_END_RESOLVE, DS_END_TLS};
        w->left = false;
        w->end = ends[draw(g) % COUNT(ends)];
        w->arrives_at = DS_NEVER;
        w->ends_at = sim.now + there;
    } else if (one_in(g, f.lost)) {
        w->arrives_at = DS_NEVER;
        w->ends_at = silent ? DS_NEVER : sim.now + there;
    } else if (one_in(g, f.late)) {
        w->arrives_at = sim.now + between(g, 0, one_in(g, 4) ? 300000 : 30000);
        w->ends_at = silent ? DS_NEVER : sim.now + there;
    } else if (one_in(g, f.answer)) {
        w->back = -1;
        w->ends_at = silent ? DS_NEVER : w->arrives_at + back;
    }
    w->head_only = one_in(g, 40) && sim.now < l->faults_until;
    if (one_in(g, l->twice) && w->arrives_at != DS_NEVER && !w->post.head) {
        w->twice_at = w->arrives_at + between(g, 0, 2000);
        met_flag[FLAG_REPEATED]++;
    }
}

static void check_rate(struct life *l, const struct post *p)
{
    if (!p->head && sim.now < l->not_before)
        wrong("a request %lld ms before Retry-After is over", (long long)(l->not_before - sim.now));
    if (sim.now - l->window_from > WINDOW) {
        l->window = 0;
        l->window_from = sim.now;
    }
    if (++l->window > WINDOW_MAX)
        wrong("%u requests in %d s brought nothing", l->window, WINDOW / 1000);
}

/* The first number of the epoch that is not acknowledged. */
static uint64_t base_of(const struct life *l, uint64_t epoch)
{
    uint64_t base = UINT64_MAX;
    for (size_t i = 0; i < NUMBERS; i++) {
        const struct bytes *b = &l->numbers[i];
        if (b->used && !b->done && b->epoch == epoch && b->seq < base)
            base = b->seq;
    }
    return base;
}

/* After a failure what comes first is sent alone. */
static void check_order(struct life *l, const struct post *p)
{
    struct ds_producer_status st;
    ds_producer_status(l->p, &st);
    if (st.phase == DS_PRODUCER_RECOVERING && p->seq != base_of(l, p->epoch) && !p->redirected)
        wrong("number %llu is sent while recovering", (unsigned long long)p->seq);
    if (st.phase == DS_PRODUCER_CLAIMING && st.in_flight > 1)
        wrong("more than one under way while claiming");
    if (st.epoch != p->epoch)
        wrong("sent under another epoch than is said");
}

/* Whatever is numbered anew cannot be stored. */
static void check_new_epoch(struct life *l, enum dstream_code why)
{
    bool doubt = why == DSTREAM_ERR_FENCED || why == DSTREAM_ERR_STATE_LOST;
    uint64_t base = base_of(l, l->used_epoch);
    if (why == DSTREAM_ERR_FENCED && ((l->c.fixed && !l->c.claim) || l->resumed))
        wrong("claims, and may not");
    if (why == DSTREAM_ERR_STATE_LOST && (l->c.fixed || l->resumed))
        wrong("numbers anew under a fixed epoch");
    if (why == DSTREAM_ERR_FENCED && ++l->claims > l->c.limits.retries)
        wrong("claims for ever");
    for (size_t i = 0; i < NUMBERS && !l->c.allow_duplicates; i++) {
        const struct bytes *b = &l->numbers[i];
        if (b->used && !b->done && b->epoch == l->used_epoch && b->doubt &&
            (doubt || b->seq == base))
            wrong("number %llu is in doubt and numbered anew", (unsigned long long)b->seq);
    }
}

static unsigned under_way(const struct life *l)
{
    unsigned n = 0;
    for (size_t i = 0; i < WIRES; i++)
        n += l->wires[i].used && l->wires[i].id != 0;
    return n;
}

static void begin_request(struct life *l, uint64_t id, const struct ds_request *req)
{
    struct wire *w = l->wires;
    while (w < l->wires + WIRES && w->used)
        w++;
    if (w == l->wires + WIRES)
        wrong("too many requests under way");
    memset(w, 0, offsetof(struct wire, post));
    w->used = true;
    w->id = id;
    w->head_given = false;
    read_post(l, req, &w->post);
    w->reply = (struct reply){0};
    draw_way(l, w);
    requests++;
    if (under_way(l) > l->c.window)
        wrong("more requests under way than allowed");
    check_rate(l, &w->post);
    if (w->post.head) {
        say("HEAD (%llu)", (unsigned long long)id);
        met_flag[FLAG_CONFIRM]++;
        return;
    }
    if (l->fenced_after)
        wrong("a request after it was fenced, having been acknowledged before");
    struct bytes *b = check_bytes(l, &w->post);
    check_order(l, &w->post);
    if (l->c.proof && !l->proven && b->lost)
        wrong("sent again to a server that is not known to have producers");
    l->used_epoch = w->post.epoch;
    w->state = b->sent == 0 ? 0 : b->doubt ? 2 : 1;
    for (size_t i = 0; i < WIRES; i++) {
        const struct wire *o = &l->wires[i];
        if (o != w && o->used && o->id != 0 && !o->post.head && o->post.seq < w->post.seq)
            w->state = b->sent == 0 ? 3 : b->doubt ? 5 : 4;
    }
    b->sent++;
    if (l->c.journal && !in_journal(l, &w->post))
        wrong("sent before it was durable");
    say("POST (%llu) epoch %llu number %llu, %zu bytes%s%s", (unsigned long long)id,
        (unsigned long long)w->post.epoch, (unsigned long long)w->post.seq, w->post.len,
        w->post.close ? ", close" : "", w->post.redirected ? ", redirected" : "");
    if (w->left && one_in(&l->rng, 2))
        ds_producer_connected(l->p, id, sim.now);
}

static struct wire *wire_of(struct life *l, uint64_t id)
{
    for (size_t i = 0; i < WIRES; i++) {
        if (l->wires[i].used && l->wires[i].id == id && id != 0)
            return &l->wires[i];
    }
    wrong("no such request");
}

/* The client has done with it; the request itself may still be on its way. */
static void let_go(struct wire *w)
{
    w->id = 0;
    w->used = w->arrives_at != DS_NEVER || w->twice_at != DS_NEVER;
}

/* What the producer knows from now on. */
static void note_end(struct life *l, const struct wire *w)
{
    const struct reply *r = &w->reply;
    if (!w->head_given || w->post.head)
        return;
    if (r->status == 403 && r->echo)
        l->fenced_after |= l->succeeded;
    if (r->status >= 300)
        return;
    l->proven |= r->echo;
    l->asked = false;
    number_of(l, w->post.epoch, w->post.seq)->done = true;
    if (r->status == 200) {
        l->succeeded = true;
        l->known = w->post.epoch;
    }
}

static void abort_request(struct life *l, uint64_t id)
{
    struct wire *w = wire_of(l, id);
    say("  (%llu) is given up", (unsigned long long)id);
    met_flag[FLAG_ABORT]++;
    if (!w->post.head && w->left && !w->head_given) {
        number_of(l, w->post.epoch, w->post.seq)->doubt = true;
        number_of(l, w->post.epoch, w->post.seq)->lost = true;
    }
    note_end(l, w);
    let_go(w);
    ds_producer_aborted(l->p, id, w->left);
}

/* --- answers ---------------------------------------------------------------------------------- */

static void add_number(struct ds_head *h, const char *name, uint64_t n)
{
    char text[32];
    int len = snprintf(text, sizeof text, "%llu", (unsigned long long)n);
    ds_head_add(h, name, strlen(name), text, (size_t)len);
}

static void make_head(const struct life *l, const struct wire *w, struct ds_head *h)
{
    const struct reply *r = &w->reply;
    char token[32];
    *h = (struct ds_head){.status = r->status, .retry_after_ms = r->retry_after, .redirect = r->to};
    ds_buf_init(&h->fields, 4096);
    if (r->echo)
        add_number(h, "producer-epoch", r->epoch);
    if (r->echo && r->status < 300 && !l->s.no_seq)
        add_number(h, "producer-seq", r->seq);
    if (r->expects) {
        add_number(h, "producer-expected-seq", r->expected);
        add_number(h, "producer-received-seq", w->post.seq);
    }
    if (r->closed)
        ds_head_add(h, "stream-closed", 13, "true", 4);
    token_of(r->offset, token);
    if (r->next)
        ds_head_add(h, "stream-next-offset", 18, token, strlen(token));
    if (w->post.head)
        ds_head_add(h, "content-type", 12, "text/plain", 10);
}

static bool is_definite(int status)
{
    static const int all[] = {200, 204, 307, 308, 400, 401, 403, 404, 409, 410, 413, 415, 429};
    for (size_t i = 0; i < COUNT(all); i++) {
        if (all[i] == status)
            return true;
    }
    return false;
}

static void note_answer(struct life *l, const struct wire *w)
{
    const struct reply *r = &w->reply;
    for (size_t i = 0; i < CODES; i++)
        met_status[w->state][i] += codes[i] == r->status;
    if (!is_definite(r->status))
        number_of(l, w->post.epoch, w->post.seq)->doubt = true;
    if (r->status == 403 && r->echo && r->epoch > l->seen_epoch)
        l->seen_epoch = r->epoch;
    if (r->retry_after > 0)
        l->not_before = sim.now + r->retry_after;
}

static void give_head(struct life *l, struct wire *w)
{
    struct ds_head h;
    make_head(l, w, &h);
    say("  (%llu) %d %s", (unsigned long long)w->id, w->reply.status,
        w->reply.stored ? ", stored" : "");
    if (!w->post.head)
        note_answer(l, w);
    ds_producer_head(l->p, w->id, &h, sim.now);
    ds_head_free(&h);
    w->head_given = true;
}

static void give_end(struct life *l, struct wire *w, enum ds_end end)
{
    struct ds_result res = {.end = end, .connected = w->left, .detail = "simulated"};
    uint64_t id = w->id;
    if (!w->head_given) {
        say("  (%llu) ends without an answer%s", (unsigned long long)id,
            w->left ? "" : ", nothing left");
        if (!w->post.head) {
            met_end[w->state][w->left ? 0 : 1]++;
            number_of(l, w->post.epoch, w->post.seq)->doubt |= w->left;
            number_of(l, w->post.epoch, w->post.seq)->lost |= w->left;
        }
    }
    note_end(l, w);
    let_go(w);
    ds_producer_end(l->p, id, &res);
}

/* --- the server's side ------------------------------------------------------------------------ */

static void arrive(struct life *l, struct wire *w, bool copy)
{
    struct reply r;
    if (sim.now > l->faults_until)
        l->s.before = l->s.after = l->s.redirect = l->s.moved = 0;
    server_answer(&l->s, &w->post, &r);
    if (l->s.bug)
        wrong("a malformed body: %.*s", (int)w->post.len, w->post.body);
    if (w->id == 0 || copy)
        say("  %s of number %llu arrives: %d, %s", copy ? "a copy" : "a straggler",
            (unsigned long long)w->post.seq, r.status, l->s.why);
    *(copy ? &w->twice_at : &w->arrives_at) = DS_NEVER;
    if (w->id == 0) {
        w->used = w->arrives_at != DS_NEVER || w->twice_at != DS_NEVER;
        return;
    }
    /* Of a request that was sent twice the first answer may be the one that gets lost. */
    if (w->twice_at != DS_NEVER && one_in(&l->rng, 2))
        return;
    if (w->answer_at != DS_NEVER || w->head_given || w->back < 0)
        return;
    w->reply = r;
    w->answer_at = sim.now + w->back;
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t next_of(const struct wire *w)
{
    int64_t t = least(w->arrives_at, w->twice_at);
    return w->id == 0 ? t : least(t, least(w->ends_at, w->answer_at));
}

static void wire_event(struct life *l, struct wire *w)
{
    if (w->arrives_at <= sim.now)
        arrive(l, w, false);
    else if (w->twice_at <= sim.now)
        arrive(l, w, true);
    else if (w->answer_at <= sim.now) {
        if (!w->head_given)
            give_head(l, w);
        w->answer_at = w->ends_at = DS_NEVER;
        if (!w->head_only)
            give_end(l, w, one_in(&l->rng, 10) ? DS_END_CUT : DS_END_COMPLETE);
    } else if (w->ends_at <= sim.now) {
        w->ends_at = DS_NEVER;
        give_end(l, w, w->end);
    }
}

/* --- what happens to the stream --------------------------------------------------------------- */

static bool due(int64_t *at)
{
    if (*at > sim.now)
        return false;
    *at = DS_NEVER;
    return true;
}

static int64_t next_happening(const struct life *l)
{
    int64_t t = least(l->claim_at[0], l->claim_at[1]);
    t = least(t, least(l->forget_at[0], l->forget_at[1]));
    t = least(t, least(l->close_at, l->shrink_at));
    t = least(t, least(l->rotate_at[0], l->rotate_at[1]));
    return least(t, least(l->final_at, least(l->out_at, l->in_at)));
}

static void happen(struct life *l)
{
    for (size_t i = 0; i < 2; i++) {
        if (due(&l->claim_at[i])) {
            server_claimed(&l->s);
            say("another writer claims epoch %llu", (unsigned long long)l->s.epoch);
        }
        if (due(&l->forget_at[i])) {
            server_forget(&l->s, l->forget_back);
            say("the server forgets");
        }
    }
    if (due(&l->close_at)) {
        server_closed(&l->s);
        say("another writer closes the stream");
    }
    if (due(&l->shrink_at)) {
        l->s.max_body = l->shrink_to;
        say("bodies may have %zu bytes from now on", l->shrink_to);
    }
    for (size_t i = 0; i < 2; i++) {
        if (due(&l->rotate_at[i])) {
            l->s.credentials++;
            say("other credentials are asked for");
        }
    }
    if (due(&l->out_at)) {
        l->s.out = true;
        say("nothing works from now on");
    }
    if (due(&l->in_at)) {
        l->s.out = false;
        say("all works again");
    }
    if (due(&l->final_at)) {
        l->s.final = l->final;
        say("everything is answered %d", l->final);
    }
    if (l->s.foreign && one_in(&l->rng, 3))
        server_written(&l->s);
}

/* --- the writer ------------------------------------------------------------------------------- */

static void finish_input(struct life *l)
{
    struct dstream_error err = {0};
    char text[128];
    l->next_at = DS_NEVER;
    l->ended = true;
    if (l->ending < 2 || l->close_acked) {
        say("detach");
        ds_producer_detach(l->p, sim.now, l->ending != 1 ? -1 : between(&l->rng, 0, 20000));
        return;
    }
    bool last = l->ending == 3 && l->next == l->total - 1;
    size_t n = last ? message_of(l->next, l->s.json, l->pads[l->next], text, sizeof text) : 0;
    enum dstream_code rc = ds_producer_close_stream(l->p, last ? text : NULL, n, l->next + 1,
                                                    one_in(&l->rng, 3), sim.now, &err);
    say("close: %s", dstream_code_name(rc));
    if (rc == DSTREAM_OK) {
        l->next += last;
        l->closing = true;
        met_flag[FLAG_CLOSE_BODY] += last;
        return;
    }
    /* Something failed before. */
    ds_producer_detach(l->p, sim.now, -1);
}

static void feed(struct life *l)
{
    struct dstream_error err = {0};
    char text[128];
    uint64_t id = 0;
    size_t end = l->ending == 3 && l->total > 1 ? l->total - 1 : l->total;
    if (l->next >= end) {
        finish_input(l);
        return;
    }
    size_t n = message_of(l->next, l->s.json, l->pads[l->next], text, sizeof text);
    switch (ds_producer_append(l->p, text, n, l->next + 1, sim.now, &id, &err)) {
    case DS_APPEND_TAKEN:
        if (id != l->next)
            wrong("message %zu has the id %llu", l->next, (unsigned long long)id);
        l->next++;
        l->next_at = sim.now + between(&l->rng, 0, (int64_t)l->pace);
        if (one_in(&l->rng, 20) && !l->c.resubmit)
            (void)ds_producer_flush(l->p, sim.now);
        if (l->restarts && one_in(&l->rng, 5) &&
            ds_producer_restart(l->p, sim.now, (uint64_t)(l->clock + sim.now - START), &err) ==
                DSTREAM_OK)
            met_flag[FLAG_RESTART]++;
        break;
    case DS_APPEND_AGAIN:
        l->blocked = true;
        l->next_at = DS_NEVER;
        met_flag[FLAG_AGAIN]++;
        break;
    case DS_APPEND_REFUSED:
        if (err.code == DSTREAM_OK)
            wrong("refused without a reason");
        say("append refused: %s", err.message);
        met_flag[FLAG_REFUSED]++;
        l->next_at = DS_NEVER;
        break;
    }
}

/* --- results ---------------------------------------------------------------------------------- */

static bool fate_in_journal(const struct life *l, const struct ds_producer_result *r)
{
    for (size_t i = 0; i < l->file.nfates; i++) {
        const struct ds_record_fate *f = &l->file.fates[i];
        if (f->first == r->first && f->count == r->count && f->fate == r->fate)
            return true;
    }
    return false;
}

static void check_fate(struct life *l, size_t i, const struct ds_producer_result *r)
{
    unsigned copies = l->s.copies[i];
    if (l->fates[i] != DS_FATE_NONE && l->fates[i] != r->fate)
        wrong("message %zu has another fate than before", i);
    if (l->told_now[i])
        wrong("message %zu is told of twice", i);
    l->told_now[i] = true;
    if (r->fate == DS_FATE_KEPT) {
        l->kept[i] = true;
        return;
    }
    l->fates[i] = r->fate;
    l->maybe[i] |= r->maybe_duplicate;
    if (r->fate == DS_FATE_ACKED && copies == 0)
        wrong("message %zu is acknowledged and not stored", i);
    /* What somebody on the way has sent once more may be stored whatever we are told. */
    if (r->fate == DS_FATE_NOT_WRITTEN && copies > 0 && l->twice == 0)
        wrong("message %zu is not written and stored", i);
}

static void take_result(struct life *l, const struct ds_producer_result *r)
{
    static const char *const names[] = {"none", "stored", "not written", "unknown", "kept"};
    bool in_file = l->c.journal && r->first + r->count <= l->file.mark;
    say("  messages %llu+%llu%s: %s%s%s%s %s", (unsigned long long)r->first,
        (unsigned long long)r->count, r->close ? ", close" : "", names[r->fate],
        r->duplicate ? ", duplicate" : "", r->maybe_duplicate ? ", maybe twice" : "",
        r->earlier ? ", of an earlier run" : "", r->error ? r->error->message : r->offset);
    if (r->first != l->told_to)
        wrong("told of %llu after %zu", (unsigned long long)r->first, l->told_to);
    l->told_to += (size_t)r->count;
    if ((r->fate == DS_FATE_ACKED) != (r->error == NULL))
        wrong("a result with a wrong error");
    if (r->error && (r->error->code == DSTREAM_OK || !r->error->message[0] || !r->error->url[0]))
        wrong("an error that says nothing");
    if (in_file && r->fate != DS_FATE_KEPT && r->count > 0 && !fate_in_journal(l, r))
        wrong("told before it was durable");
    if (r->fate == DS_FATE_KEPT && !l->c.journal)
        wrong("kept where there is no journal");
    if (r->fate == DS_FATE_ACKED && l->s.no_producers && r->count > 0)
        wrong("acknowledged by a server without producers");
    if (r->fate == DS_FATE_UNKNOWN && !r->earlier && !r->close && r->epoch == l->known &&
        ds_producer_cause(l->p)->status == 204 &&
        ds_producer_cause(l->p)->code == DSTREAM_ERR_CONFLICT && !r->maybe_duplicate)
        wrong("unknown, though a 200 under the epoch is known");
    for (uint64_t i = r->first; i < r->first + r->count; i++) {
        /* What was not taken in is appended again by the next run. */
        if (in_file || !l->c.journal)
            check_fate(l, (size_t)i, r);
        else if (r->fate == DS_FATE_KEPT)
            l->kept[i] = true; /* its record may yet become durable */
    }
    met_fate[r->fate][r->count == 0 ? 2 : r->close]++;
    met_flag[FLAG_DUPLICATE] += r->duplicate;
    met_flag[FLAG_MAYBE] += r->maybe_duplicate;
    met_flag[FLAG_EARLIER] += r->earlier;
    if (r->close) {
        l->close_told = true;
        if (r->fate == DS_FATE_ACKED && !l->s.closed)
            wrong("the close is acknowledged and the stream is open");
        l->close_acked |= r->fate == DS_FATE_ACKED;
        met_flag[FLAG_CLOSED] += r->fate == DS_FATE_ACKED;
    }
    if (r->fate == DS_FATE_ACKED) {
        l->window = 0;
        l->window_from = sim.now;
    }
    if (l->blocked) {
        l->blocked = false;
        l->next_at = sim.now;
    }
    if (l->kill && l->kills_left > 0 && one_in(&l->rng, 100)) {
        l->stop = true; /* killed after the user was told, before that was noted */
        return;
    }
    ds_producer_told(l->p);
}

/* --- runs ------------------------------------------------------------------------------------- */

/* Where others claim the next epochs, ours lie just above as well, so that they meet. */
static uint64_t draw_near(struct life *l)
{
    uint64_t r = draw(&l->rng);
    return l->s.near ? r - r % 1023 + r % 4 : r;
}

/* No epoch is left. */
static void no_more_runs(struct life *l)
{
    const struct journal *j = &l->file;
    for (size_t i = 0; i < j->nfates; i++) {
        for (uint64_t k = 0; k < j->fates[i].count; k++)
            l->kept[j->fates[i].first + k] = true;
    }
    l->over = true;
}

static void start_run(struct life *l)
{
    struct dstream_error err = {0};
    struct ds_producer_config c = l->c;
    struct journal *j = &l->file;
    struct ds_producer_journal from = {.epoch = j->epoch,
                                       .epoch_kind = j->epoch_kind,
                                       .known = j->known,
                                       .mark = j->mark,
                                       .batches = j->batches,
                                       .nbatches = j->nbatches,
                                       .fates = j->fates,
                                       .nfates = j->nfates};
    if (l->nruns++ >= RUNS_MAX)
        wrong("too many runs");
    runs++;
    c.unix_ms = (uint64_t)(l->clock + sim.now - START);
    /* Who forgets its epochs, and draws near, could meet itself after that. */
    bool remembers = l->persists || l->c.journal || !l->s.near;
    if (l->nruns > 1 && l->twice == 0 && !l->perfect && remembers && one_in(&l->rng, 4))
        c.unix_ms -= (uint64_t)between(&l->rng, 1, 100000); /* the clock was set */
    c.random = draw_near(l);
    c.highest = j->has ? j->epoch : 0;
    if (l->persists && l->seen_epoch > c.highest)
        c.highest = l->seen_epoch;
    if (l->persists && l->used_epoch > c.highest)
        c.highest = l->used_epoch;
    if (c.fixed && l->nruns > 1 && !c.resubmit) {
        uint64_t last = l->used_epoch > j->epoch ? l->used_epoch : j->epoch;
        if (last >= c.epoch)
            c.epoch = (last + 10) & ~(uint64_t)1;
        /* The last one there is may be another's as well, so nobody can say that it is fresh: two
         * writers under it take each other's numbers for their own, and no client can help it. */
        if (c.epoch > DS_EPOCH_MAX) {
            c.epoch = DS_EPOCH_MAX;
            c.fresh = false;
        }
        if (c.epoch <= last && j->nbatches == 0) {
            no_more_runs(l);
            return;
        }
    }
    if (c.journal && j->has)
        c.from = &from;
    met_flag[FLAG_RESUMED] += j->nbatches > 0;
    if (c.journal)
        l->next = (size_t)j->mark;
    if (c.resubmit) {
        l->next = 0;
        memset(l->fates, 0, sizeof l->fates);
    }
    c.first_id = l->next;
    say("run %u: %s epoch, from message %zu, %zu batches and %zu fates in the journal", l->nruns,
        c.fixed ? "fixed" : "drawn", l->next, j->nbatches, j->nfates);
    enum dstream_code rc = ds_producer_new(&l->p, &c, sim.now, &err);
    if (rc == DSTREAM_ERR_LIMIT) {
        no_more_runs(l);
        return;
    }
    if (rc != DSTREAM_OK)
        wrong("no producer: %s", err.message);
    struct ds_producer_status st;
    ds_producer_status(l->p, &st);
    l->phase = st.phase;
    l->told_to = j->nfates > 0 && c.from     ? (size_t)j->fates[0].first
                 : j->nbatches > 0 && c.from ? (size_t)j->batches[0].first
                                             : l->next;
    memset(l->told_now, 0, sizeof l->told_now);
    l->next_at = sim.now;
    l->blocked = l->stop = l->ended = l->succeeded = l->fenced_after = false;
    l->close_told = l->closing = false;
    l->resumed = c.from && j->nbatches > 0;
    l->proven = l->asked = l->ever_asked = false;
    l->known = j->known && l->resumed ? j->epoch : 0;
    l->claims = 0;
    /* Of an earlier run's only what is in the journal, or is repeated, is waited for. */
    for (size_t i = 0; i < NUMBERS; i++) {
        l->numbers[i].lost = false;
        l->numbers[i].done = !c.resubmit;
    }
    for (size_t i = 0; i < j->nbatches; i++)
        number_of(l, j->epoch, j->batches[i].seq)->done = false;
    l->credentials = one_in(&l->rng, 2) ? l->s.credentials : l->credentials;
    l->not_before = 0;
    l->window = 0;
    l->window_from = sim.now;
    for (size_t i = 0; i < j->nbatches && c.from; i++)
        l->closing |= j->batches[i].close;
}

static void stop_run(struct life *l)
{
    ds_producer_free(l->p);
    l->p = NULL;
    for (size_t i = 0; i < WIRES; i++) {
        struct wire *w = &l->wires[i];
        if (!w->used || w->id == 0)
            continue;
        if (!w->post.head && w->left)
            number_of(l, w->post.epoch, w->post.seq)->doubt = true;
        if (w->post.head)
            w->arrives_at = w->twice_at = DS_NEVER;
        let_go(w);
    }
}

static void kill_run(struct life *l)
{
    size_t keep = (size_t)between(&l->rng, 0, (int64_t)l->npending);
    for (size_t i = 0; i < l->npending; i++)
        met_kill[l->pending[i].kind][i < keep]++;
    say("killed; of %zu records behind what is durable %zu are there", l->npending, keep);
    met_flag[FLAG_KILL]++;
    stop_run(l);
    apply_pending(l, keep);
    sim.now += between(&l->rng, 10, one_in(&l->rng, 3) ? 60000 : 100);
    l->kills_left--;
    start_run(l);
}

static bool transient(enum dstream_code code)
{
    return code == DSTREAM_ERR_NETWORK || code == DSTREAM_ERR_CONNECT ||
           code == DSTREAM_ERR_RESOLVE || code == DSTREAM_ERR_TLS || code == DSTREAM_ERR_TIMEOUT ||
           code == DSTREAM_ERR_BUSY || code == DSTREAM_ERR_SERVER;
}

static void check_end(struct life *l, const struct dstream_error *e)
{
    struct ds_producer_status st;
    ds_producer_status(l->p, &st);
    met_phase[st.phase][e->code]++;
    if (st.buffered != 0 || st.in_flight != 0)
        wrong("%zu bytes and %u requests are left", st.buffered, st.in_flight);
    if (l->told_to != l->next)
        wrong("told of %zu messages of %zu", l->told_to, l->next);
    if (e->code == DSTREAM_OK && st.not_written + st.unknown + st.kept > 0)
        wrong("success, and %llu messages are not stored",
              (unsigned long long)(st.not_written + st.unknown + st.kept));
    /* Where its time is over, what the server said last is only why. */
    bool late = strstr(e->message, "not acknowledged");
    if (e->code == DSTREAM_ERR_AUTH && l->hook && !l->ever_asked && !late)
        wrong("gives up without asking for credentials");
    if (e->code == DSTREAM_OK && l->closing && !l->close_told)
        wrong("the close was forgotten");
    if (e->code != DSTREAM_ERR_OUTCOME_UNKNOWN && st.unknown > 0)
        wrong("%llu messages are unknown, and it ends with %s", (unsigned long long)st.unknown,
              dstream_code_name(e->code));
    if ((e->code == DSTREAM_ERR_OUTCOME_UNKNOWN) && st.unknown == 0 && !l->closing)
        wrong("nothing is unknown");
}

static void done(struct life *l)
{
    const struct dstream_error *e = ds_producer_error(l->p);
    say("done: %s %s", dstream_code_name(e->code), e->message);
    if (l->npending > 0)
        sync_journal(l);
    check_end(l, e);
    if (l->perfect && e->code != DSTREAM_OK)
        wrong("%s: %s", dstream_code_name(e->code), e->message);
    bool left = l->c.journal && (l->file.nbatches > 0 || l->next < l->total);
    bool again = e->code != DSTREAM_OK && left && l->nruns < 12 &&
                 (transient(e->code) || one_in(&l->rng, 2));
    stop_run(l);
    l->over = !again;
    if (!again)
        return;
    sim.now += between(&l->rng, 1000, 60000);
    start_run(l);
}

/* --- a life ----------------------------------------------------------------------------------- */

static void pass_time(struct life *l, int64_t until)
{
    struct wire *first = NULL;
    int64_t t = least(until, least(l->next_at, next_happening(l))), at;
    if (l->durable_at < t)
        t = l->durable_at;
    for (size_t i = 0; i < WIRES; i++) {
        struct wire *w = &l->wires[i];
        if (w->used && (at = next_of(w)) <= t) {
            t = at;
            first = w;
        }
    }
    if (t == DS_NEVER)
        wrong("it waits for ever");
    if (t > sim.now)
        sim.now = t;
    if (first)
        wire_event(l, first);
    else if (next_happening(l) <= sim.now)
        happen(l);
    else if (l->durable_at <= sim.now)
        sync_journal(l);
    else if (l->next_at <= sim.now)
        feed(l);
}

static void wait_until(struct life *l, int64_t until)
{
    if (until <= sim.now)
        wrong("it waits for what is past");
    if (l->npending > 0 && l->quick_sync)
        sync_journal(l);
    else
        pass_time(l, until);
}

static void act(struct life *l, const struct ds_producer_step *s)
{
    switch (s->kind) {
    case DS_PRODUCER_STEP_REQUEST:
        begin_request(l, s->id, &s->u.request);
        break;
    case DS_PRODUCER_STEP_ABORT:
        abort_request(l, s->id);
        break;
    case DS_PRODUCER_STEP_JOURNAL:
        take_record(l, s->u.record);
        break;
    case DS_PRODUCER_STEP_RESULT:
        take_result(l, s->u.result);
        break;
    case DS_PRODUCER_STEP_AUTH:
        met_flag[FLAG_AUTH]++;
        say("  credentials are asked for");
        if (!l->hook)
            wrong("asks for credentials where nobody can give any");
        if (l->asked)
            wrong("asks for credentials again");
        l->asked = l->ever_asked = true;
        if (!one_in(&l->rng, 6) || l->perfect)
            l->credentials = l->s.credentials;
        ds_producer_auth(l->p, !one_in(&l->rng, 10) || l->perfect);
        break;
    case DS_PRODUCER_STEP_NOTICE:
        say("  notice %d, %lld ms: %s", (int)s->u.notice.kind, (long long)s->u.notice.delay,
            s->u.notice.error->message);
        if (s->u.notice.kind == DS_PRODUCER_RETRY)
            met_retry++;
        else
            met_notice[s->u.notice.error->code]++;
        if (s->u.notice.kind == DS_PRODUCER_EPOCH)
            check_new_epoch(l, s->u.notice.error->code);
        break;
    case DS_PRODUCER_STEP_WAIT:
        wait_until(l, s->u.until);
        break;
    case DS_PRODUCER_STEP_DONE:
        done(l);
        break;
    }
}

static void look_at(struct life *l)
{
    struct ds_producer_status st;
    ds_producer_status(l->p, &st);
    if (st.phase != l->phase)
        met_move[l->phase][st.phase]++;
    l->phase = st.phase;
    /* One message and one batch may lie over it, and a close; and parts of what was split. */
    if (st.buffered > l->c.max_buffered + 4096 + l->total * 300)
        wrong("%zu bytes are buffered", st.buffered);
}

static void live(struct life *l)
{
    start_run(l);
    for (size_t n = 0; !l->over; n++) {
        struct ds_producer_step s = ds_producer_step(l->p, sim.now, draw_near(l));
        act(l, &s);
        steps++;
        if (l->p)
            look_at(l);
        if (sim.now > START + LIFE_MAX || n > 1000000)
            wrong("it does not come to an end");
        if (l->over || !l->p || l->kills_left == 0)
            l->stop = l->stop && !l->over;
        else
            l->stop |= one_in(&l->rng, l->kill);
        if (l->stop && l->p)
            kill_run(l);
    }
}

/* What is still on its way arrives, and then the books are closed. */
static void settle_accounts(struct life *l)
{
    size_t last = 0;
    bool any = false;
    for (;;) {
        struct wire *first = NULL;
        for (size_t i = 0; i < WIRES; i++) {
            struct wire *w = &l->wires[i];
            if (w->used && (!first || next_of(w) < next_of(first)))
                first = w;
        }
        if (!first)
            break;
        sim.now = next_of(first);
        wire_event(l, first);
    }
    for (size_t i = 0; i < l->s.n; i++) {
        const struct entry *e = &l->s.log[i];
        if (e->message == FOREIGN || e->again || l->fates[e->message] != DS_FATE_ACKED ||
            l->maybe[e->message] || l->s.no_producers)
            continue;
        if (any && e->message <= last)
            wrong("message %zu is stored behind %zu", e->message, last);
        any = true;
        last = e->message;
    }
    for (size_t i = 0; i < l->total; i++) {
        unsigned copies = l->s.copies[i];
        met_flag[FLAG_TOLERATED] += l->s.tolerated[i] && copies > 1;
        if (copies > 1 && !l->s.tolerated[i] && !l->maybe[i] && !l->s.no_producers &&
            !(l->c.allow_duplicates && l->fates[i] != DS_FATE_ACKED))
            wrong("message %zu is stored %u times", i, copies);
        if (l->fates[i] == DS_FATE_NOT_WRITTEN && copies > 0 && l->twice == 0)
            wrong("message %zu is not written, and stored later", i);
        if (l->fates[i] == DS_FATE_ACKED && copies == 0)
            wrong("message %zu is acknowledged and not stored", i);
        if (l->c.journal && i < l->file.mark && l->fates[i] == DS_FATE_NONE && !l->kept[i])
            wrong("message %zu was taken in, and has no fate", i);
        if (l->perfect && l->fates[i] != DS_FATE_ACKED)
            wrong("message %zu is not stored, though nothing speaks against it", i);
    }
    met_flag[FLAG_PERFECT] += l->perfect;
}

static bool play(void)
{
    static struct life l;
    memset(&l, 0, sizeof l);
    l.rng.s = sim.seed * 0x2545F4914F6CDD1DULL + 1;
    l.durable_at = DS_NEVER;
    draw_life(&l);
    bool good = setjmp(sim.failed) == 0;
    if (good) {
        live(&l);
        settle_accounts(&l);
    }
    ds_producer_free(l.p);
    apply_pending(&l, 0);
    free_batches(l.file.batches, l.file.nbatches);
    for (size_t i = 0; i < l.file.nfates; i++)
        free((char *)l.file.fates[i].offset);
    return good;
}

/* --- what was met ----------------------------------------------------------------------------- */

static const char *const phases[PHASES] = {"claiming", "running", "recovering", "detached",
                                           "closed",   "fenced",  "failed"};

static bool report_states(void)
{
    static const bool moves[][PHASES] = {
        {false, true, false, true, true, true, true}, /* from claiming */
        {false, false, true, true, true, true, true},
        {false, true, false, true, true, true, true},
    };
    bool all = true;
    char text[64];
    for (size_t a = 0; a < DS_PRODUCER_DETACHED; a++) {
        for (size_t b = 0; b < PHASES; b++) {
            snprintf(text, sizeof text, "to %s", phases[b]);
            all &= met_row(phases[a], text, met_move[a][b], moves[a][b]);
        }
    }
    return all;
}

static bool report(void)
{
    static const char *const ends[] = {"no answer", "nothing left"};
    static const char *const fates[] = {"none", "stored", "not written", "unknown", "kept"};
    static const char *const with[] = {"", " + close", ", close only"};
    static const char *const records[] = {"epoch", "batch", "fate", "told"};
    bool all = true;
    char text[64];
    for (size_t s = 0; s < STATES; s++) {
        for (size_t i = 0; i < CODES; i++) {
            snprintf(text, sizeof text, "%d", codes[i]);
            bool final = codes[i] == 404 || codes[i] == 405 || codes[i] == 410 || codes[i] == 415 ||
                         codes[i] == 501;
            all &= met_row(state_names[s], text, met_status[s][i], s == 0 || (s < 3 && !final));
        }
        for (size_t i = 0; i < COUNT(ends); i++)
            all &= met_row(state_names[s], ends[i], met_end[s][i], true);
    }
    for (size_t f = DS_FATE_ACKED; f <= DS_FATE_KEPT; f++) {
        for (size_t i = 0; i < 3; i++) {
            snprintf(text, sizeof text, "%s%s", fates[f], with[i]);
            all &= met_row("fate", text, met_fate[f][i], f != DS_FATE_KEPT || i == 0);
        }
    }
    all &= report_states();
    for (size_t i = 0; i < COUNT(records); i++) {
        all &= met_row("record", records[i], met_record[i], true);
        all &= met_row("killed, record", records[i], met_kill[i][1], true);
        all &= met_row("killed, none", records[i], met_kill[i][0], true);
    }
    for (size_t i = 0; i < COUNT(flag_names); i++)
        all &= met_row("met", flag_names[i], met_flag[i], true);
    all &= met_row("notice", "retry", met_retry, true);
    for (int c = 0; c < 700; c++) {
        const char *name = dstream_code_name((enum dstream_code)c) + 8;
        bool is_due = c == DSTREAM_ERR_FENCED || c == DSTREAM_ERR_STATE_LOST ||
                      c == DSTREAM_ERR_BAD_REQUEST || c == DSTREAM_ERR_TOO_LARGE;
        all &= met_row("new epoch", name, met_notice[c], is_due);
        for (size_t p = DS_PRODUCER_DETACHED; p <= DS_PRODUCER_FAILED; p++)
            (void)met_row(phases[p], name, met_phase[p][c], false);
    }
    return all;
}

static void totals(void)
{
    printf("%llu steps, %llu requests, %llu runs\n", (unsigned long long)steps,
           (unsigned long long)requests, (unsigned long long)runs);
}

int main(int argc, char **argv)
{
    static const struct sim_program program = {play, report, totals};
    return sim_main(argc, argv, &program);
}
