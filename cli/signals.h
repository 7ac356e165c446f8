/* SPDX-License-Identifier: Apache-2.0 */
/* Signals as flags that a loop looks at. One loop of a process can be woken by them. */
#ifndef DS_CLI_SIGNALS_H
#define DS_CLI_SIGNALS_H

#include "dstream.h"

/* From now on INT, TERM, HUP and USR1 set a flag and wake `loop` instead of ending the process. The
 * second INT or TERM ends it, so that a drain that hangs can be left. Those that were ignored when
 * the process began (nohup, a shell's background jobs) stay ignored. */
void ds_signals_catch(dstream_loop *loop);
/* A child that ends wakes the loop, too. */
void ds_signals_catch_children(void);
/* The loop goes away: the flags are still set, and nothing is woken. */
void ds_signals_release(void);
/* INT or TERM, once it came; else 0. */
int ds_signals_ending(void);
/* Whether `sig` (HUP, USR1) came since the last call. */
bool ds_signals_take(int sig);

#endif
