/* SPDX-License-Identifier: Apache-2.0 */
/* The conformance adapter: sessions with servers in order, and with the reference server's faults.
 */
#include "config.h"

#include "tests/e2e/session.h"

#include <criterion/criterion.h>

static void play(const char *name)
{
    struct session *s = session_start(e2e_base());
    session_play(s, name);
    session_end(s);
}

#define SESSION(name, file)                                                                        \
    E2E_BOTH(adapter, name)                                                                        \
    {                                                                                              \
        play(file);                                                                                \
    }

SESSION(takes_lines, "lines")
SESSION(creates, "create-stream")
SESSION(looks_and_deletes, "head-metadata")
SESSION(appends, "append-data")
SESSION(writes_and_reads_json, "json")
SESSION(catches_up, "read-catchup")
SESSION(reads_by_long_poll, "read-longpoll")
SESSION(reads_by_sse, "read-sse")
SESSION(reads_binary_by_sse, "read-sse-base64")
SESSION(reads_as_it_sees_fit, "read-auto")
SESSION(goes_on_from_offsets, "offsets")
SESSION(closes, "stream-closure")
SESSION(makes_headers_anew, "dynamic-headers")
SESSION(validates, "validate")
SESSION(produces, "producers")
SESSION(claims, "producer-claims")
SESSION(produces_batches, "producer-batches")
SESSION(closes_by_a_producer, "producer-close")
SESSION(measures, "benchmark")

#define FAULTS(name, file)                                                                         \
    static void adapter_##name(void);                                                              \
    E2E_ON(E2E_REFERENCE, reference_, adapter, name)                                               \
    static void adapter_##name(void)                                                               \
    {                                                                                              \
        play(file);                                                                                \
    }

FAULTS(tries_again, "faults-retry")
FAULTS(takes_no_rubbish, "faults-network")
FAULTS(minds_what_befalls_a_method, "faults-methods")
