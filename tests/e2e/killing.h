/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests that kill exports have in common: where they were killed, what is in a file of
 * each format, and exports of every form. */
#ifndef DS_E2E_KILLING_H
#define DS_E2E_KILLING_H

#include "tests/e2e/exporting.h"

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

/* Until an export that was started with -v has had its first answer, or has ended: what comes then
 * are commits, and before that there is mostly the starting of a program. */
void until_answered(struct e2e_process *p);
/* Counts a process that was killed. */
void tally_add(struct tally *t, const struct e2e_process *p);
/* "kills; HOW; FORM; SERVER; STEP; N", a line a step, which script/soak adds up. `how` is "random"
 * or "each step". */
void tally_say(const struct tally *t, const char *how, const char *form);

#define FORM_TEMPLATE "%S:%s\\n"

/* The stream's data in a file that an export has written in this format (NULL: as they are). */
struct e2e_bytes payloads(const char *format, const char *type, struct e2e_bytes file);

/* --- exports of a form ------------------------------------------------------------------------ */

enum { FORM_STREAMS = 20 };
struct form {
    const char *name;
    size_t streams; /* more than one: into a directory */
    const char *rotate, *pack, *format;
};

/* A form and its streams. */
struct subject {
    const struct form *f;
    const char *base;
    const char *dir; /* where the files go; NULL: the test's directory */
    struct written w[FORM_STREAMS];
};

/* The type of its i-th stream. */
const char *subject_type(size_t i);
/* Creates the streams on the server at `base`. */
struct subject subject_begin(const struct form *f, const char *base);
void subject_close(const struct subject *s);
/* The command that exports them. */
const char *const *subject_command(const struct subject *s, const char *sync, const char *follow);
/* Starts an export of them with these limits, and with `follow` where that is not NULL. */
struct e2e_process *subject_export(const struct subject *s, const char *limits, const char *sync,
                                   const char *follow);
/* The files hold the streams, and the manifest has all of them once. */
void subject_same(const struct subject *s, const char *what);
/* Removes all files. */
void subject_clear(const struct subject *s);

#endif
