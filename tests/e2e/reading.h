/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of reading have in common. */
#ifndef DS_E2E_READING_H
#define DS_E2E_READING_H

#include "tests/e2e/harness.h"

#define TYPE_JSON   "application/json"
#define TYPE_TEXT   "text/plain"
#define TYPE_BINARY "application/octet-stream"

/* Waits until the command, run with -vv, has sent its live request; by SSE, until that was
 * answered. */
void reading_until_live(struct e2e_process *p);
/* What the command, run with -v, said behind "to go on: --from ", or behind "its end is ". */
char *reading_position(struct e2e_process *p);
/* The resident memory of a running process at its highest, KiB. */
long reading_peak(pid_t pid);
/* How many times a text is in its messages. */
size_t reading_said(const struct e2e_process *p, const char *text);
/* How many lines a text has. */
size_t reading_lines(const char *text);
void reading_until_said(struct e2e_process *p, const char *text, size_t n);

#endif
