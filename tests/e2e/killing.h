/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests that kill exports have in common: where they were killed, and what is in a file of
 * each format. */
#ifndef DS_E2E_KILLING_H
#define DS_E2E_KILLING_H

#include "tests/e2e/harness.h"

#include <signal.h>

#define KILLED (128 + SIGKILL)

/* How often which step was where it ended, as it says itself. */
struct tally {
    struct {
        char what[48];
        unsigned n;
    } of[64];
    size_t n;
};

/* Counts a process that was killed. */
void tally_add(struct tally *t, const struct e2e_process *p);
/* "kills; HOW; FORM; SERVER; STEP; N", a line a step, which script/soak adds up. `how` is "random"
 * or "each step". */
void tally_say(const struct tally *t, const char *how, const char *form);

/* The stream's data in a file that an export has written in this format (NULL: as they are). */
struct e2e_bytes payloads(const char *format, const char *type, struct e2e_bytes file);

#endif
