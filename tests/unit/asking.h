/* SPDX-License-Identifier: Apache-2.0 */
/* The asking side of a transport's tests: a loop, a session, and requests whose callbacks check
 * that they come in order. */
#ifndef DS_UNIT_ASKING_H
#define DS_UNIT_ASKING_H

#include "client/loop.h"

extern dstream_loop *ask_loop;
extern struct ds_session *ask_session; /* with default options */

/* For the beginning and the end of each test. */
void ask_start(void);
void ask_end(void);
/* Zero means a default. */
struct ds_session *ask_session_with(struct ds_transport_options o);

/* One request and what came of it. */
struct call {
    struct ds_transfer *x;
    int connections;
    int heads, status;
    int64_t retry_after_ms;
    char type[64], redirect[256], trailer[64];
    struct ds_buf body;
    size_t pieces;
    size_t pause_every; /* pieces; 0: never */
    bool paused;
    int ends;
    enum ds_end end;
    bool connected;
    char detail[512];
    void (*then)(struct call *c); /* after the end */
};

/* What transport calls with a struct call. */
extern const struct ds_transfer_ops ask_ops;
void ask_on_head(void *ctx, const struct ds_head *h);
bool ask_on_body(void *ctx, const char *p, size_t n);

void ask_launch(struct call *c, struct ds_session *s, const struct ds_request *req);
void ask_resume(struct call *c);
void ask_cancel(struct call *c);
void ask_turn(void);
/* Turns the loop to its end; what is paused is resumed a turn later. */
void ask_finish(struct call *c);
/* All of it. `body` is NULL or a string. */
void ask_run(struct call *c, struct ds_session *s, enum ds_method m, const char *url,
             const char *body);
/* Empties it for the next use. */
void ask_done(struct call *c);
const char *ask_body_of(struct call *c);

#endif
