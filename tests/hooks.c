/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the test build of the command takes from DSTREAM_TEST, as "connect=300,retries=2":
 *   - limits by their names in struct ds_limits (milliseconds, counts, bytes), so that no test
 *     waits for a real 30 s;
 *   - what happens to the N-th operation on files, from 1, that opens, changes or syncs something:
 *     kill_at=N the process is killed (SIGKILL) just before it, kill_after=N just after it,
 *     fail_at=N it fails, with fail_with=ERRNO (EIO where that is not given). A write takes half at
 *     a time, so that a kill can come in the middle of one;
 *   - sync_ms=N: each sync takes so long at least (up to 999).
 * What it does not know ends it, since a test with a misspelt limit tests nothing.
 */
#include "config.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "cli/cli.h"
#include "tests/unit/faulty.h"

enum kind { TIME, COUNT, SIZE };
static const struct {
    const char *name;
    enum kind kind;
    size_t at;
} limits[] = {
#define LIMIT(kind, name)                                                                          \
    {                                                                                              \
#name, kind, offsetof(struct ds_limits, name)                                              \
    }
    LIMIT(TIME, connect),          LIMIT(TIME, header),       LIMIT(TIME, header_sse),
    LIMIT(TIME, header_long_poll), LIMIT(TIME, silence),      LIMIT(TIME, silence_sse),
    LIMIT(TIME, first_byte_sse),   LIMIT(TIME, backoff_base), LIMIT(TIME, backoff_max),
    LIMIT(TIME, retry_after_max),  LIMIT(TIME, retry_time),   LIMIT(TIME, healthy_sse),
    LIMIT(TIME, short_base),       LIMIT(TIME, short_max),    LIMIT(TIME, idle_within),
    LIMIT(TIME, idle_max),         LIMIT(COUNT, retries),     LIMIT(COUNT, short_count),
    LIMIT(COUNT, idle_count),      LIMIT(COUNT, moves_free),  LIMIT(COUNT, protocol_tries),
    LIMIT(COUNT, redirects),       LIMIT(COUNT, json_depth),  LIMIT(SIZE, max_event),
    LIMIT(TIME, hold_shared),      LIMIT(TIME, replica_lag),  LIMIT(TIME, probe_base),
    LIMIT(TIME, probe_max),        LIMIT(SIZE, max_part),     LIMIT(SIZE, max_body),
    LIMIT(SIZE, max_head),         LIMIT(SIZE, max_witness),  LIMIT(TIME, db_locked),
    LIMIT(TIME, exec_grace),
#undef LIMIT
};

static void refuse(const char *what)
{
    fprintf(stderr, "DSTREAM_TEST: %s is not NAME=NUMBER of a known name\n", what);
    exit(99);
}

static struct ds_faulty faulty;

static bool set_fault(struct ds_cli *c, const char *name, const char *value)
{
    static const char *const kinds[] = {[DS_FAULT_FAIL] = "fail_at",
                                        [DS_FAULT_KILL_BEFORE] = "kill_at",
                                        [DS_FAULT_KILL_AFTER] = "kill_after"};
    uint64_t n;
    if (!ds_parse_u64(value, INT_MAX, &n) || n == 0)
        return false;
    if (strcmp(name, "fail_with") == 0) {
        faulty.error = (int)n;
        return true;
    }
    if (strcmp(name, "sync_ms") == 0 && n < 1000) {
        ds_faulty_init(&faulty, DS_FAULT_FAIL, -1);
        faulty.sync_ms = (int)n;
        c->fileops = &faulty.ops;
        return true;
    }
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (strcmp(name, kinds[i]) != 0)
            continue;
        int error = faulty.error ? faulty.error : EIO;
        ds_faulty_init(&faulty, (enum ds_fault)i, (long)n - 1);
        faulty.error = error;
        faulty.tell = true;
        c->fileops = &faulty.ops;
        return true;
    }
    return false;
}

static void set_limit(struct ds_limits *l, const char *name, const char *value)
{
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        uint64_t n;
        if (strcmp(limits[i].name, name) != 0 || !ds_parse_u64(value, INT64_MAX, &n))
            continue;
        char *field = (char *)l + limits[i].at;
        if (limits[i].kind == TIME)
            *(int64_t *)(void *)field = (int64_t)n;
        else if (limits[i].kind == COUNT)
            *(unsigned *)(void *)field = (unsigned)n;
        else
            *(size_t *)(void *)field = (size_t)n;
        return;
    }
    refuse(name);
}

void ds_cli_hooks(struct ds_cli *c)
{
    const char *given = getenv("DSTREAM_TEST");
    char text[1024];
    if (!given)
        return;
    if (strlen(given) >= sizeof text)
        refuse("something so long");
    strcpy(text, given);
    for (char *name = text; *name;) {
        char *end = name + strcspn(name, ",");
        char *next = *end ? end + 1 : end;
        *end = '\0';
        char *value = strchr(name, '=');
        if (!value)
            refuse(name);
        *value++ = '\0';
        if (!set_fault(c, name, value))
            set_limit(&c->limits, name, value);
        name = next;
    }
}
