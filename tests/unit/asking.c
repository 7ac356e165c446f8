/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "tests/unit/asking.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "tests/unit/clients.h"

dstream_loop *ask_loop;
struct ds_session *ask_session;
static bool calling; /* nothing is called back from inside a call */

struct ds_session *ask_session_with(struct ds_transport_options o)
{
    struct ds_session *s;
    struct dstream_error err = {0};
    o.connect_ms = o.connect_ms ? o.connect_ms : 10000;
    o.max_head = o.max_head ? o.max_head : 65536;
    cr_assert_eq(ds_session_new(&s, ds_loop_transport(ask_loop), &o, &err), DSTREAM_OK, "%s",
                 err.message);
    return s;
}

void ask_start(void)
{
    clients_start();
    ask_loop = dstream_loop_new();
    cr_assert_not_null(ask_loop);
    ask_session = ask_session_with((struct ds_transport_options){.nheaders = 0});
}

void ask_end(void)
{
    ds_session_free(ask_session);
    dstream_loop_free(ask_loop);
}

static void take(char *out, size_t size, const char *s)
{
    snprintf(out, size, "%s", s ? s : "");
}

static void on_connected(void *ctx)
{
    struct call *c = ctx;
    cr_assert_not(calling);
    cr_assert_eq(c->heads, 0);
    cr_assert_eq(c->ends, 0);
    c->connections++;
}

void ask_on_head(void *ctx, const struct ds_head *h)
{
    struct call *c = ctx;
    cr_assert_not(calling);
    cr_assert_gt(c->connections, 0);
    cr_assert(ds_transfer_left(c->x));
    cr_assert_eq(c->ends, 0);
    cr_assert_eq(c->pieces, 0);
    c->heads++;
    c->status = h->status;
    c->retry_after_ms = h->retry_after_ms;
    take(c->type, sizeof c->type, ds_head_get(h, "content-type"));
    take(c->trailer, sizeof c->trailer, ds_head_get(h, "x-trailer"));
    take(c->redirect, sizeof c->redirect, h->redirect);
}

bool ask_on_body(void *ctx, const char *p, size_t n)
{
    struct call *c = ctx;
    cr_assert_not(calling);
    cr_assert_not(c->paused);
    cr_assert_eq(c->heads, 1);
    cr_assert_eq(c->ends, 0);
    cr_assert_gt(n, 0);
    cr_assert_eq(ds_buf_add(&c->body, p, n), DSTREAM_OK);
    c->pieces++;
    c->paused = c->pause_every > 0 && c->pieces % c->pause_every == 0;
    return !c->paused;
}

static void on_end(void *ctx, const struct ds_result *r)
{
    struct call *c = ctx;
    cr_assert_not(calling);
    cr_assert_not(c->paused);
    c->ends++;
    c->end = r->end;
    c->connected = r->connected;
    take(c->detail, sizeof c->detail, r->detail);
    c->x = NULL;
    cr_assert_eq(c->connected, c->connections > 0);
    if (c->then)
        c->then(c);
}

const struct ds_transfer_ops ask_ops = {
    .connected = on_connected, .head = ask_on_head, .body = ask_on_body, .end = on_end};

void ask_launch(struct call *c, struct ds_session *s, const struct ds_request *req)
{
    ds_buf_init(&c->body, (size_t)256 * 1024 * 1024);
    calling = true;
    c->x = ds_transfer_start(s, req, &ask_ops, c);
    calling = false;
    cr_assert_not_null(c->x);
    cr_assert_not(ds_transfer_left(c->x));
}

void ask_resume(struct call *c)
{
    c->paused = false;
    calling = true;
    ds_transfer_resume(c->x);
    calling = false;
}

void ask_cancel(struct call *c)
{
    calling = true;
    ds_transfer_cancel(c->x);
    calling = false;
    c->x = NULL;
}

void ask_turn(void)
{
    cr_assert_eq(dstream_loop_turn(ask_loop, -1), DSTREAM_OK);
}

void ask_finish(struct call *c)
{
    while (c->ends == 0) {
        if (c->paused)
            ask_resume(c);
        ask_turn();
    }
    cr_assert_eq(c->ends, 1);
}

void ask_run(struct call *c, struct ds_session *s, enum ds_method m, const char *url,
             const char *body)
{
    struct ds_request req = {.method = m,
                             .url = url,
                             .send_user_headers = true,
                             .body = body,
                             .body_len = body ? strlen(body) : 0};
    ask_launch(c, s, &req);
    ask_finish(c);
}

void ask_done(struct call *c)
{
    ds_buf_free(&c->body);
    *c = (struct call){.heads = 0};
}

const char *ask_body_of(struct call *c)
{
    return ds_buf_str(&c->body);
}
