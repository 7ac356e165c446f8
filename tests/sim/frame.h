/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the simulations share: lives played from seeds one after another, a clock, a trace of one
 * life, and rows of what was met.
 *
 *   PROGRAM [-n LIVES] [-s FIRST-SEED] [-t SEED]
 *
 * -t plays one life and prints it, as a run does with the first one that fails. A run fails where a
 * life does, or, where it is long enough, what has to be met was not.
 */
#ifndef DS_SIM_FRAME_H
#define DS_SIM_FRAME_H

#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define START    1000000 /* when a life begins, ms */
#define COUNT(a) (sizeof(a) / sizeof *(a))

/* The life that is being played. */
struct sim {
    uint64_t seed;
    int64_t now; /* ms */
    bool trace;
    unsigned said;  /* lines of it */
    jmp_buf failed; /* where wrong() goes */
};
extern struct sim sim;

/* Prints a line of the trace. */
void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Says what is wrong, and ends the life. */
_Noreturn void wrong(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Prints how often something was met: always, where it is `due`. False where it was due and was
 * not. */
bool met_row(const char *name, const char *what, uint64_t n, bool due);

struct sim_program {
    bool (*play)(void);   /* one life, from sim.seed; true where all was well */
    bool (*report)(void); /* prints what was met; false where not all that is due was */
    void (*totals)(void); /* prints the sums of all lives, to stand behind their number */
};
int sim_main(int argc, char **argv, const struct sim_program *p);

#endif
