/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of writing exactly once have in common. */
#ifndef DS_E2E_WRITING_H
#define DS_E2E_WRITING_H

#include "tests/e2e/harness.h"

/* The command with an input that is given at once. */
struct e2e_process *writing_fed(struct e2e_bytes input, const char *const *args);
#define feed(input, ...) writing_fed((input), (const char *const[]){__VA_ARGS__, NULL})
/* The command with an open input. */
#define begin(...)                                                                                 \
    e2e_spawn(&(struct e2e_run){.argv = e2e_command((const char *const[]){__VA_ARGS__, NULL}),     \
                                .input = true})

/* The stream is just that: of JSON, as a message a line. */
void writing_holds(const char *url, struct e2e_bytes want);
struct e2e_bytes writing_stream(const char *url);
/* `n` messages from number `from` on, a line each; as text they are just these bytes. */
struct e2e_bytes writing_lines(unsigned from, unsigned n);
/* A number that `state show --json` names. */
uint64_t writing_state(const char *state, const char *name);

#endif
