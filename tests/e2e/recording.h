/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of recordings have in common. */
#ifndef DS_E2E_RECORDING_H
#define DS_E2E_RECORDING_H

#include "tests/e2e/exporting.h"

/* What is in a recording. */
struct recorded {
    struct e2e_bytes data; /* of JSON: the messages, an LF behind each */
    size_t entries, answers, by[3];
    int64_t last; /* the time of the last entry */
    bool closed, torn;
};

/* Reads a recording, and fails unless each entry begins where the one before ended, so that nothing
 * is in it twice and nothing is missing. */
struct recorded recorded_read(const char *path);

#endif
