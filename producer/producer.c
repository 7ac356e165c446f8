/* SPDX-License-Identifier: Apache-2.0 */
#include "producer/producer.h"

#include <string.h>

#include "base/alloc.h"
#include "base/header.h"
#include "base/url.h"
#include "producer/pipeline.h"

#define LINE_MAX ((size_t)4096) /* of a header of ours */

struct ds_producer_config ds_producer_config_default(void)
{
    return (struct ds_producer_config){
        .window = 5,
        .max_batch_bytes = (size_t)1 << 20,
        .max_batch_items = SIZE_MAX,
        .linger = 5,
        .max_buffered = (size_t)32 << 20,
        .delivery_timeout = 120000,
        .limits = ds_limits_default(),
    };
}

/* --- made and freed --------------------------------------------------------------------------- */

/* Whether it arrives as it is: HTTP drops blanks at the ends of a value. */
static bool is_id(const char *id)
{
    size_t n = strlen(id);
    return n <= DS_ID_MAX && ds_header_value_ok(id) && !strchr(id, '\t') && id[0] != ' ' &&
           id[n - 1] != ' ';
}

static const char *objection(const struct ds_producer_config *c)
{
    if (!c->url || !ds_url_valid(c->url))
        return "not a URL of http or https";
    if (!c->content_type || !c->content_type[0] || strlen(c->content_type) > DS_TYPE_MAX ||
        !ds_header_value_ok(c->content_type))
        return "not a content type, as application/json";
    if (!c->id || !c->id[0])
        return "a producer needs an id that is not empty";
    if (!is_id(c->id))
        return "not a producer id: control characters, a space at an end, or too long";
    if (c->fixed && c->epoch > DS_EPOCH_MAX)
        return "an epoch is at most 2^53-1";
    if (c->window < 1 || c->window > DS_WINDOW_MAX)
        return "from 1 to 64 batches can be under way";
    if (c->max_batch_bytes < 1 || c->max_batch_bytes > UINT32_MAX - 2 || c->max_batch_items < 1 ||
        c->max_buffered < 1)
        return "a batch and the buffer need a size";
    if (c->resubmit && (!c->fixed || c->claim || c->from))
        return "to repeat what an earlier run has sent takes its epoch, and claims none";
    return NULL;
}

static enum dstream_code add_line(struct ds_buf *b, const char *name, const char *value)
{
    ds_buf_init(b, LINE_MAX);
    enum dstream_code rc = ds_buf_addf(b, "%s: %s", name, value);
    return rc == DSTREAM_OK && !ds_buf_str(b) ? DSTREAM_ERR_NOMEM : rc;
}

/* As every other request to this stream has it. */
static char *sent_as(const char *url)
{
    struct ds_buf b;
    ds_buf_init(&b, DS_URL_MAX);
    char *copy =
        ds_url_build(&b, url, NULL, 0) == DSTREAM_OK && ds_buf_str(&b) ? ds_strdup(b.data) : NULL;
    ds_buf_free(&b);
    return copy;
}

static enum dstream_code set_up(struct ds_producer *p, const struct ds_producer_config *c)
{
    p->c.url = sent_as(c->url);
    p->c.content_type = ds_strdup(c->content_type);
    p->c.id = ds_strdup(c->id);
    p->posts = ds_calloc(c->window, sizeof *p->posts);
    if (!p->c.url || !p->c.content_type || !p->c.id || !p->posts)
        return DSTREAM_ERR_NOMEM;
    for (unsigned i = 0; i < c->window; i++) {
        ds_exchange_init(&p->posts[i].x, DS_POST, p->c.url);
        ds_buf_init(&p->posts[i].seq_line, LINE_MAX);
        ds_error_set_url(&p->posts[i].error, c->url);
    }
    ds_error_set_url(&p->trouble, c->url);
    enum dstream_code rc = add_line(&p->type_line, "Content-Type", c->content_type);
    if (rc == DSTREAM_OK)
        rc = add_line(&p->id_line, "Producer-Id", c->id);
    ds_buf_init(&p->epoch_line, LINE_MAX);
    return rc;
}

/* Not where an epoch that is not below it is known of, whatever the caller says: another writer's
 * batch would pass for ours. */
static bool is_fresh(const struct ds_producer_config *c)
{
    return c->fresh && (c->highest == 0 || c->epoch > c->highest) &&
           (!c->from || c->epoch > c->from->epoch);
}

static void configure(struct ds_producer *p, const struct ds_producer_config *c, int64_t now)
{
    p->c = *c;
    p->c.url = p->c.content_type = p->c.id = NULL;
    p->c.claim = c->claim || !c->fixed;
    p->c.fresh = is_fresh(c);
    p->c.from = NULL;
    p->json = ds_type_is_json(c->content_type);
    p->batch_limit = c->max_batch_bytes;
    p->width = c->window;
    p->next_id = c->first_id;
    p->highest = c->highest;
    p->progress_at = p->gate = now;
    p->detach_at = DS_NEVER;
}

enum dstream_code ds_producer_new(struct ds_producer **out, const struct ds_producer_config *c,
                                  int64_t now, struct dstream_error *err)
{
    *out = NULL;
    const char *why = objection(c);
    if (c->url)
        ds_error_set_url(err, c->url);
    if (why)
        return ds_error_set(err, DSTREAM_ERR_ARGUMENT, "%s", why);
    struct ds_producer *p = ds_calloc(1, sizeof *p);
    if (!p)
        return ds_error_set(err, DSTREAM_ERR_NOMEM, "no memory for a producer");
    configure(p, c, now);
    enum dstream_code rc = set_up(p, c);
    if (rc == DSTREAM_OK && c->from)
        rc = ds_producer_resume(p, c->from, now);
    else if (rc == DSTREAM_OK && !ds_producer_first_epoch(p))
        rc = DSTREAM_ERR_LIMIT;
    if (rc != DSTREAM_OK) {
        ds_producer_free(p);
        return ds_error_set(err, rc, "%s",
                            rc == DSTREAM_ERR_LIMIT ? "no epoch is left for this producer id"
                                                    : "no memory for a producer");
    }
    *out = p;
    return DSTREAM_OK;
}

static void free_list(struct ds_batch *b)
{
    while (b) {
        struct ds_batch *next = b->next;
        ds_batch_free(b);
        b = next;
    }
}

void ds_producer_free(struct ds_producer *p)
{
    if (!p)
        return;
    free_list(p->queue);
    free_list(p->settled);
    free_list(p->spare);
    for (unsigned i = 0; p->posts && i < p->c.window; i++) {
        ds_exchange_free(&p->posts[i].x);
        ds_buf_free(&p->posts[i].seq_line);
    }
    ds_free(p->posts);
    ds_call_free(p->confirm);
    ds_buf_free(&p->type_line);
    ds_buf_free(&p->id_line);
    ds_buf_free(&p->epoch_line);
    ds_free((char *)p->c.url);
    ds_free((char *)p->c.content_type);
    ds_free((char *)p->c.id);
    ds_free(p->final_offset);
    ds_free(p->offset);
    ds_free(p);
}

/* --- what is known ---------------------------------------------------------------------------- */

static enum ds_producer_phase phase_of(const struct ds_producer *p)
{
    if (p->finished)
        return p->phase;
    if (!p->reached)
        return DS_PRODUCER_CLAIMING;
    return p->recovering ? DS_PRODUCER_RECOVERING : DS_PRODUCER_RUNNING;
}

void ds_producer_status(const struct ds_producer *p, struct ds_producer_status *out)
{
    const struct ds_batch *oldest = p->settled ? p->settled : p->queue;
    *out = p->counts;
    out->phase = phase_of(p);
    out->epoch = p->epoch;
    out->settled = oldest ? oldest->first : p->next_id;
    out->mark = p->mark;
    out->in_flight = p->in_flight + (p->confirm_out ? 1 : 0);
    out->offset = p->offset ? p->offset : "";
}

const struct dstream_error *ds_producer_error(const struct ds_producer *p)
{
    return &p->error;
}

const struct dstream_error *ds_producer_cause(const struct ds_producer *p)
{
    return &p->cause;
}

const struct dstream_error *ds_producer_first_error(const struct ds_producer *p)
{
    return &p->first_error;
}

const char *ds_producer_final_offset(const struct ds_producer *p)
{
    if (!p->closed)
        return NULL;
    return p->final_offset ? p->final_offset : "";
}

/* --- requests --------------------------------------------------------------------------------- */

static struct ds_post *find(struct ds_producer *p, uint64_t id)
{
    for (unsigned i = 0; i < p->c.window; i++) {
        struct ds_post *post = &p->posts[i];
        if (post->batch && post->id == id && post->over == 0)
            return post;
    }
    return NULL;
}

static bool is_confirm(const struct ds_producer *p, uint64_t id)
{
    return p->confirm_out && p->confirm_id == id;
}

void ds_producer_connected(struct ds_producer *p, uint64_t id, int64_t now)
{
    struct ds_post *post = find(p, id);
    if (post)
        ds_exchange_connected(&post->x, &p->c.limits, now);
    else if (is_confirm(p, id))
        ds_call_connected(p->confirm, now);
}

void ds_producer_head(struct ds_producer *p, uint64_t id, const struct ds_head *head, int64_t now)
{
    struct ds_post *post = find(p, id);
    if (post && ds_exchange_head(&post->x, head, &p->c.limits, now))
        ds_producer_read_head(p, post, head, now);
    else if (is_confirm(p, id))
        ds_call_head(p->confirm, head, now);
}

void ds_producer_body(struct ds_producer *p, uint64_t id, const char *data, size_t n)
{
    struct ds_post *post = find(p, id);
    if (post)
        ds_exchange_body(&post->x, data, n);
    else if (is_confirm(p, id))
        ds_call_body(p->confirm, data, n);
}

void ds_producer_end(struct ds_producer *p, uint64_t id, const struct ds_result *result)
{
    struct ds_post *post = find(p, id);
    if (post) {
        post->x.left |= result->connected;
        if (!post->x.head)
            post->retry = ds_exchange_unanswered(&post->x, result, &post->error);
        post->over = ++p->ended;
    } else if (is_confirm(p, id)) {
        p->confirm_out = false;
        ds_call_end(p->confirm, result);
    }
}

void ds_producer_aborted(struct ds_producer *p, uint64_t id, bool left)
{
    struct ds_post *post = find(p, id);
    if (post) {
        post->x.left |= left;
        if (!post->x.head)
            post->retry = ds_exchange_unanswered(&post->x, NULL, &post->error);
        post->over = ++p->ended;
    } else if (is_confirm(p, id)) {
        p->confirm_out = false;
        ds_call_aborted(p->confirm);
    }
}

/* Of all the bodies that share the way. */
static uint64_t bytes_out(const struct ds_producer *p)
{
    uint64_t n = 0;
    for (unsigned i = 0; i < p->c.window; i++)
        n += p->posts[i].batch ? p->posts[i].batch->body.len : 0;
    return n;
}

static struct ds_producer_step send(struct ds_producer *p, struct ds_post *post, int64_t now)
{
    struct ds_batch *b = post->batch;
    b->state = DS_BATCH_IN_FLIGHT;
    post->id = ++p->next_request;
    post->cancelling = false;
    post->epoch = post->seq = post->expected = (struct ds_number){0};
    ds_exchange_send(&post->x, &p->c.limits, now, bytes_out(p));
    size_t n = 0;
    post->headers[n++] = p->type_line.data;
    post->headers[n++] = p->id_line.data;
    post->headers[n++] = p->epoch_line.data;
    post->headers[n++] = post->seq_line.data;
    if (b->close)
        post->headers[n++] = "Stream-Closed: true";
    return (struct ds_producer_step){
        .kind = DS_PRODUCER_STEP_REQUEST,
        .id = post->id,
        .u.request = {.method = DS_POST,
                      .url = ds_exchange_target(&post->x),
                      .headers = post->headers,
                      .nheaders = n,
                      .send_user_headers = !post->x.stripped,
                      .body = b->body.len > 0 ? b->body.data : "",
                      .body_len = b->body.len},
    };
}

static bool write_number(struct ds_buf *b, const char *name, uint64_t n)
{
    b->len = 0;
    return ds_buf_addf(b, "%s: %llu", name, (unsigned long long)n) == DSTREAM_OK && ds_buf_str(b);
}

/* One that has overtaken those before it was sent in vain. The narrower the way, the rarer that is;
 * only once for all that were under way together. */
static void narrow(struct ds_producer *p, const struct ds_batch *b)
{
    if (b->parked != p->mishaps || b->seq <= p->narrowed)
        return;
    p->narrowed = p->highest_sent;
    p->width = p->width > 1 ? p->width / 2 : 1;
    p->in_order = 0;
}

/* A first request for it, or one more. False without memory. */
static bool begin(struct ds_producer *p, struct ds_batch *b, struct ds_post **out)
{
    struct ds_post *post = p->posts;
    while (post->batch)
        post++;
    if (!write_number(&p->epoch_line, "Producer-Epoch", p->epoch) ||
        !write_number(&post->seq_line, "Producer-Seq", b->seq)) {
        ds_error_set(&p->trouble, DSTREAM_ERR_NOMEM, "no memory for a request");
        ds_producer_plan_stop(p, DS_PRODUCER_FAILED, &p->trouble);
        return false;
    }
    ds_exchange_rewind(&post->x);
    post->batch = b;
    post->as_base = b == p->queue;
    post->first = b->sent == 0;
    post->credentials = p->credentials;
    if (b->state != DS_BATCH_QUEUED)
        p->counts.retries++;
    if (b->state == DS_BATCH_PARKED)
        narrow(p, b);
    if (!p->any_sent || b->seq > p->highest_sent)
        p->highest_sent = b->seq;
    p->any_sent = true;
    p->in_flight++;
    *out = post;
    return true;
}

/* --- what is sent next ------------------------------------------------------------------------ */

struct next {
    struct ds_batch *batch; /* NULL: none now */
    int64_t wake;           /* when there may be one */
    bool only_journal;      /* one before it still waits for the journal */
};

/* Whether the batch in this place of the window may not be sent now; those behind it neither. */
static bool is_held(const struct ds_producer *p, const struct ds_batch *b, unsigned place)
{
    if (p->restart_due && b->first >= p->restart_to)
        return true;
    if (place == 0)
        return false;
    return p->recovering || b->close || b->state == DS_BATCH_PARKED;
}

/* An answer has begun that is no success: what it says of those behind is waited for. */
static bool is_warned(const struct ds_producer *p)
{
    for (unsigned i = 0; p->in_flight > 0 && i < p->c.window; i++) {
        const struct ds_post *post = &p->posts[i];
        if (post->batch && post->x.head && post->x.status >= 300)
            return true;
    }
    return false;
}

/* In order, from base on: what the server would refuse because of one before it is not sent. */
static struct next next_batch(const struct ds_producer *p, int64_t now)
{
    struct next n = {.wake = DS_NEVER};
    unsigned window = p->opening ? 1 : p->width, place = 0;
    if (p->plan != DS_PLAN_NONE || p->finished || p->auth != DS_AUTH_NONE || is_warned(p))
        return n;
    for (struct ds_batch *b = p->queue; b && place < window; b = b->next, place++) {
        if (b->state == DS_BATCH_ACKED)
            continue;
        if (b->state == DS_BATCH_CONFIRM || is_held(p, b, place))
            break;
        if (b->state == DS_BATCH_IN_FLIGHT)
            continue;
        int64_t due = p->gate;
        if (b->state == DS_BATCH_OPEN && !p->pressed && ds_later(b->opened_at, p->c.linger) > due)
            due = ds_later(b->opened_at, p->c.linger);
        if (now < due) {
            n.wake = due;
            break;
        }
        if (b->journalled && !ds_producer_is_durable(p, b)) {
            n.only_journal = true;
            continue;
        }
        n.batch = b;
        break;
    }
    return n;
}

static bool give_number(struct ds_producer *p, struct ds_batch *b, int64_t now)
{
    if (b->state == DS_BATCH_OPEN)
        ds_batch_seal(p, now);
    if (b->numbered)
        return true;
    if (p->next_seq > DS_EPOCH_MAX) {
        ds_error_set(&p->trouble, DSTREAM_ERR_LIMIT, "no number is left under this epoch");
        ds_producer_plan_stop(p, DS_PRODUCER_FAILED, &p->trouble);
        return false;
    }
    b->numbered = true;
    b->epoch = p->epoch;
    b->seq = p->next_seq++;
    return true;
}

/* --- results ---------------------------------------------------------------------------------- */

const struct dstream_error *ds_batch_error(const struct ds_producer *p, const struct ds_batch *b)
{
    if (b->fate == DS_FATE_ACKED)
        return NULL;
    if (b->error)
        return b->error;
    if (p->cause.code == DSTREAM_OK)
        return &p->first_error;
    return b->fate == DS_FATE_UNKNOWN ? &p->error : &p->cause;
}

/* Where the journal can no longer be written, the next run finds out. */
static enum ds_fate fate_to_tell(const struct ds_producer *p, const struct ds_batch *b)
{
    bool in_file = b->fate_listed && b->fate_record <= p->durable;
    return p->broken && b->journalled && !in_file ? DS_FATE_KEPT : b->fate;
}

static struct ds_producer_step report(struct ds_producer *p)
{
    struct ds_batch *b = p->settled;
    b->fate = fate_to_tell(p, b);
    const struct dstream_error *e = ds_batch_error(p, b);
    p->result_out = true;
    p->result = (struct ds_producer_result){
        .first = b->first,
        .count = b->count,
        .fate = b->fate,
        .close = b->close,
        .duplicate = b->duplicate,
        .maybe_duplicate = b->in_doubt,
        .earlier = b->earlier,
        .journalled = b->journalled,
        .unsure = p->broken && !ds_producer_is_durable(p, b),
        .retryable = b->fate == DS_FATE_NOT_WRITTEN && dstream_is_retryable(e->code),
        .epoch = b->epoch,
        .seq = b->seq,
        .mark = ds_batch_mark(b),
        .offset = b->offset ? b->offset : "",
        .error = e,
    };
    return (struct ds_producer_step){.kind = DS_PRODUCER_STEP_RESULT, .u.result = &p->result};
}

static void count_told(struct ds_producer *p, const struct ds_batch *b)
{
    if (b->earlier && b->fate_listed && b->fate_record == 0)
        return; /* that run counted it */
    switch (b->fate) {
    case DS_FATE_NONE:
        break;
    case DS_FATE_ACKED:
        p->counts.acked += b->count;
        p->counts.acked_bytes += b->bytes;
        break;
    case DS_FATE_NOT_WRITTEN:
        p->counts.not_written += b->count;
        break;
    case DS_FATE_UNKNOWN:
        p->counts.unknown += b->count;
        break;
    case DS_FATE_KEPT:
        p->counts.kept += b->count;
        break;
    }
}

void ds_producer_told(struct ds_producer *p)
{
    struct ds_batch *b = p->settled;
    if (!p->result_out)
        return;
    p->result_out = false;
    p->settled = b->next;
    if (!p->settled)
        p->settled_last = NULL;
    count_told(p, b);
    if (p->c.journal && b->journalled && b->fate != DS_FATE_KEPT)
        p->untold++;
    ds_batch_drop(p, b);
}

void ds_producer_auth(struct ds_producer *p, bool renewed)
{
    if (p->auth != DS_AUTH_ASKED)
        return;
    p->auth = DS_AUTH_NONE;
    p->credentials++;
    if (renewed)
        return;
    ds_producer_lack_credentials(p, &p->auth_error);
}

const struct dstream_error *ds_producer_refusal(const struct ds_producer *p)
{
    return &p->auth_error;
}

/* --- the HEAD for a close --------------------------------------------------------------------- */

enum confirm {
    CONFIRM_IDLE,
    CONFIRM_STEP, /* *out is the next one */
    CONFIRM_WAIT, /* until out->u.until */
    CONFIRM_DONE  /* and judged */
};

static enum confirm confirm(struct ds_producer *p, int64_t now, uint64_t random,
                            struct ds_producer_step *out)
{
    struct ds_call_config c = {.kind = DS_CALL_STAT, .url = p->c.url, .limits = p->c.limits};
    bool due = p->queue && p->queue->state == DS_BATCH_CONFIRM && p->plan == DS_PLAN_NONE;
    if (!p->confirm && due && now >= p->confirm_at &&
        ds_call_new(&p->confirm, &c, &p->trouble) != DSTREAM_OK) {
        ds_producer_decide(p, p->queue, DS_FATE_UNKNOWN, NULL);
        ds_producer_plan_stop(p, DS_PRODUCER_FAILED, &p->trouble);
    }
    if (!p->confirm)
        return CONFIRM_IDLE;
    if (p->cancel_all && !p->confirm_out)
        ds_call_cancel(p->confirm);
    struct ds_call_step s = ds_call_step(p->confirm, now, random);
    *out = (struct ds_producer_step){.id = p->confirm_id};
    switch (s.kind) {
    case DS_CALL_STEP_REQUEST:
        p->confirm_out = true;
        out->kind = DS_PRODUCER_STEP_REQUEST;
        out->id = p->confirm_id = ++p->next_request;
        out->u.request = s.request;
        return CONFIRM_STEP;
    case DS_CALL_STEP_ABORT:
        out->kind = DS_PRODUCER_STEP_ABORT;
        out->silent = s.silent;
        return CONFIRM_STEP;
    case DS_CALL_STEP_NOTICE:
        out->kind = DS_PRODUCER_STEP_NOTICE;
        out->u.notice.kind = DS_PRODUCER_RETRY;
        out->u.notice.delay = s.delay;
        out->u.notice.error = ds_call_error(p->confirm);
        return CONFIRM_STEP;
    case DS_CALL_STEP_WAIT:
        out->kind = DS_PRODUCER_STEP_ABORT;
        if (p->cancel_all)
            return CONFIRM_STEP;
        out->u.until = s.until;
        return CONFIRM_WAIT;
    case DS_CALL_STEP_AUTH: /* its configuration does not ask for that */
    case DS_CALL_STEP_DONE:
        break;
    }
    ds_producer_judge_confirm(p, now, random);
    ds_call_free(p->confirm);
    p->confirm = NULL;
    return CONFIRM_DONE;
}

/* --- the next step ---------------------------------------------------------------------------- */

static struct ds_post *first_over(struct ds_producer *p)
{
    struct ds_post *first = NULL;
    for (unsigned i = 0; p->in_flight > 0 && i < p->c.window; i++) {
        struct ds_post *post = &p->posts[i];
        if (post->batch && post->over > 0 && (!first || post->over < first->over))
            first = post;
    }
    return first;
}

/* One that is given up; *until is when the next one will be. */
static struct ds_post *to_cancel(struct ds_producer *p, int64_t now, int64_t *until)
{
    *until = DS_NEVER;
    for (unsigned i = 0; p->in_flight > 0 && i < p->c.window; i++) {
        struct ds_post *post = &p->posts[i];
        if (!post->batch || post->over > 0 || post->cancelling)
            continue;
        int64_t due = ds_exchange_due(&post->x);
        if (p->cancel_all || now >= due)
            return post;
        if (due < *until)
            *until = due;
    }
    return NULL;
}

static struct ds_producer_step simple(enum ds_producer_step_kind kind)
{
    return (struct ds_producer_step){.kind = kind};
}

static struct ds_producer_step journal(struct ds_producer *p)
{
    struct ds_producer_step s = simple(DS_PRODUCER_STEP_JOURNAL);
    s.u.record = &p->record;
    return s;
}

/* What has to be told before anything else is done. */
static bool tell(struct ds_producer *p, struct ds_producer_step *s)
{
    if (p->result_out || (p->settled && ds_producer_is_reportable(p, p->settled))) {
        *s = report(p);
        return true;
    }
    if (!p->retry_notice && !p->epoch_notice)
        return false;
    bool retry = p->retry_notice;
    *s = simple(DS_PRODUCER_STEP_NOTICE);
    s->u.notice.kind = retry ? DS_PRODUCER_RETRY : DS_PRODUCER_EPOCH;
    s->u.notice.delay = retry ? p->retry_delay : 0;
    s->u.notice.error = retry ? &p->trouble : &p->plan_error;
    *(retry ? &p->retry_notice : &p->epoch_notice) = false;
    return true;
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* When something is given up, unless it comes about. */
static int64_t alarm_at(const struct ds_producer *p)
{
    int64_t at = ds_producer_deadline(p);
    if (p->finished || p->plan == DS_PLAN_STOP || !p->queue)
        return DS_NEVER;
    if (p->detaching)
        at = earlier(at, p->detach_at);
    if (!p->confirm && p->queue->state == DS_BATCH_CONFIRM)
        at = earlier(at, p->confirm_at);
    return at;
}

/* All that has ended is judged; true where one goes on by *s. */
static bool judge(struct ds_producer *p, int64_t now, uint64_t random, struct ds_producer_step *s)
{
    struct ds_post *post;
    while ((post = first_over(p))) {
        if (ds_producer_judge(p, post, now, random)) {
            *s = send(p, post, now);
            return true;
        }
        p->in_flight--;
    }
    return false;
}

static bool is_quiet(const struct ds_producer *p)
{
    return p->in_flight == 0 && !p->confirm;
}

struct ds_producer_step ds_producer_step(struct ds_producer *p, int64_t now, uint64_t random)
{
    struct ds_producer_step s;
    struct ds_post *post;
    for (;;) {
        int64_t until;
        if (judge(p, now, random, &s) || tell(p, &s))
            return s;
        ds_producer_check_time(p, now);
        if ((post = to_cancel(p, now, &until))) {
            post->cancelling = true;
            s = simple(DS_PRODUCER_STEP_ABORT);
            s.id = post->id;
            s.silent = now >= post->x.due;
            return s;
        }
        switch (confirm(p, now, random, &s)) {
        case CONFIRM_IDLE:
            break;
        case CONFIRM_STEP:
            return s;
        case CONFIRM_WAIT:
            until = earlier(until, s.u.until);
            break;
        case CONFIRM_DONE:
            continue;
        }
        if (p->plan != DS_PLAN_NONE && is_quiet(p)) {
            ds_producer_execute(p, now, random);
            continue;
        }
        if (ds_producer_follow_up(p, random))
            continue;
        struct next n = next_batch(p, now);
        if (n.batch && !give_number(p, n.batch, now))
            continue;
        if (ds_producer_record(p, n.batch))
            return journal(p);
        if (p->finished && !p->settled && is_quiet(p))
            return simple(DS_PRODUCER_STEP_DONE);
        if (p->auth == DS_AUTH_DUE && p->plan == DS_PLAN_NONE) {
            p->auth = DS_AUTH_ASKED;
            return simple(DS_PRODUCER_STEP_AUTH);
        }
        if (n.batch && !n.only_journal) {
            if (begin(p, n.batch, &post))
                return send(p, post, now);
            continue;
        }
        s = simple(DS_PRODUCER_STEP_WAIT);
        s.u.until = earlier(earlier(until, n.wake), alarm_at(p));
        return s;
    }
}
