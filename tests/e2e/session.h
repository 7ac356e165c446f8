/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sessions with the conformance adapter: its lines, and what has to come back for each. A session
 * is a file of tests/conformance/sessions:
 *
 *   > LINE                 a line for the adapter
 *   < PATTERN              what it has to answer: '*' is any text, "<name>" any text up to a quote,
 *                          which is known as %name% from then on
 *   within MS              how soon the next answer has to come, from its command on
 *   after MS               and not sooner than this
 *   ! METHOD PATH [NAME: VALUE]... [| BODY]     a request of ours meanwhile, which has to succeed
 *   fault JSON             what the reference server is to do wrong (its /_test/inject-error)
 *   # a comment
 *
 * %base% is the server's URL. Each session begins with an init that has been answered.
 */
#ifndef DS_E2E_SESSION_H
#define DS_E2E_SESSION_H

#include "tests/e2e/harness.h"

struct session;

/* An adapter that has been told of this server. */
struct session *session_start(const char *base);
/* One that has been told nothing. */
struct session *session_new(void);
/* Plays the file on it. */
void session_play(struct session *s, const char *name);
/* Sends a line, and returns the answer without its line end. */
const char *session_ask(struct session *s, const char *line);
/* Only the first or the second half of that. */
void session_send(struct session *s, struct e2e_bytes line);
const char *session_reply(struct session *s);
/* Fails unless the answer is as the pattern says; within `ms` (0: no matter). */
void session_expect(struct session *s, const char *line, const char *pattern, int64_t ms);
/* The processor's and the adapter's end: nothing is answered twice, it ends with 0, and stderr is
 * empty. */
void session_end(struct session *s);
struct e2e_process *session_process(struct session *s);

#endif
