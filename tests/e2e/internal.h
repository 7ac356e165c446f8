/* SPDX-License-Identifier: Apache-2.0 */
/* What the harness's own files share. */
#ifndef DS_E2E_INTERNAL_H
#define DS_E2E_INTERNAL_H

#include "tests/e2e/harness.h"

int64_t e2e_now(void);
/* Kills and reaps whatever is still there. */
void e2e_processes_end(void);
void e2e_web_begin(enum e2e_server server);
void e2e_web_end(void);

#endif
