/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a service manager is told of a run (sd_notify(3), in our own few lines), and whether
 * standard error is its journal. A manager that cannot be reached never fails the run: what could
 * not be said is left out, or said with the next occasion.
 */
#ifndef DS_CLI_NOTIFY_H
#define DS_CLI_NOTIFY_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/buf.h"

struct ds_notify;

/* Takes NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID out of the environment, so that no process
 * that is started has them. NULL: nobody wants to be told. All others take NULL for that. */
struct ds_notify *ds_notify_new(void);
void ds_notify_free(struct ds_notify *n);

/* The run has begun. Said once, and by ds_notify_reloading() again. */
void ds_notify_ready(struct ds_notify *n);
bool ds_notify_is_ready(const struct ds_notify *n);
/* Its state in words; where it is the same as before, nothing. */
void ds_notify_status(struct ds_notify *n, const struct ds_buf *text);
/* HUP is seen to; then it is over. Nothing before it is ready. */
void ds_notify_reloading(struct ds_notify *n, bool over);
/* It is ending. Said once. */
void ds_notify_stopping(struct ds_notify *n);
/* How often the watchdog waits to hear that all is well, in ms; 0: there is none. */
int64_t ds_notify_interval(const struct ds_notify *n);
void ds_notify_alive(struct ds_notify *n);

/* Lines that are printed there go to the journal, which takes "<3>" and so on at their beginning
 * as how grave they are. */
bool ds_notify_journal(FILE *f);

#endif
