/* SPDX-License-Identifier: Apache-2.0 */
/* Playing a recording: when each entry comes, and from where to where. */
#include "config.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/player.h"
#include "tests/unit/home.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))
#define HEAD(type)                                                                                 \
    "{\"dstream-recording\":1,\"url\":\"http://h/s\",\"contentType\":\"" type                      \
    "\",\"begun\":1000000}\n"

/* --- pace ------------------------------------------------------------------------------------- */

Test(pace, speeds_are_read)
{
    static const struct {
        const char *text;
        bool good;
        uint64_t speed;
    } cases[] = {{"1", true, 1000},        {"max", true, DS_PACE_MAX},
                 {"0.5", true, 500},       {"2.25", true, 2250},
                 {"0.001", true, 1},       {"1000000", true, 1000000000},
                 {"20", true, 20000},      {"1.05", true, 1050},
                 {"007", true, 7000},      {"", false, 0},
                 {"0", false, 0},          {"0.0", false, 0},
                 {"-1", false, 0},         {"1.", false, 0},
                 {".5", false, 0},         {"1.2345", false, 0},
                 {"1e3", false, 0},        {"1000001", false, 0},
                 {"10000000", false, 0},   {"1.2.3", false, 0},
                 {"fast", false, 0},       {"max ", false, 0},
                 {"99999999999", false, 0}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        uint64_t speed = 77;
        bool good = ds_pace_parse(cases[i].text, &speed);
        cr_expect_eq(good, cases[i].good, "'%s'", cases[i].text);
        if (good)
            cr_expect_eq(speed, cases[i].speed, "'%s': %llu", cases[i].text,
                         (unsigned long long)speed);
    }
}

Test(pace, everything_is_reckoned_from_the_first)
{
    static const struct {
        uint64_t speed;
        int64_t time, due;
    } cases[] = {{1000, 5000, 100},
                 {1000, 5001, 101},
                 {1000, 4000, 100},
                 {1000, 65000, 60100},
                 {500, 5001, 102},
                 {2000, 5001, 100},
                 {2000, 5002, 101},
                 {20000, 86405000, 4320100},
                 {DS_PACE_MAX, 86405000, 100},
                 {1, 5001, 1100},
                 {1, (INT64_C(1) << 53) - 1, INT64_MAX}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct ds_pace p = {.speed = cases[i].speed};
        cr_expect_eq(ds_pace_due(&p, 5000, 100), 100);
        int64_t due = ds_pace_due(&p, cases[i].time, 100 + (int64_t)i);
        if (cases[i].due == INT64_MAX)
            cr_expect_gt(due, INT64_C(1) << 60);
        else
            cr_expect_eq(due, cases[i].due, "%zu: %lld", i, (long long)due);
    }
}

/* --- a day ------------------------------------------------------------------------------------ */

TestSuite(player, .init = home_enter, .fini = home_leave);

static uint64_t draw(uint64_t *state, uint64_t below)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (*state >> 33) % below;
}

#define DAY INT64_C(86400000)

/* Bursts, seconds, and silences of up to half an hour. Returns how many entries there are. */
static size_t write_day(int64_t *times, size_t max)
{
    uint64_t seed = 11;
    size_t n = 0;
    FILE *f = fopen("day", "w");
    cr_assert_not_null(f);
    fputs(HEAD("application/json"), f);
    for (int64_t t = 3; t < DAY; n++) {
        cr_assert_lt(n, max);
        times[n] = t;
        fprintf(f, "{\"time\":%lld,\"offset\":\"%08zu\",\"next\":\"%08zu\",\"json\":[%zu]}\n",
                (long long)t, n, n + 1, n);
        uint64_t kind = draw(&seed, 100);
        t += (int64_t)(kind < 30   ? draw(&seed, 3)
                       : kind < 99 ? draw(&seed, 9000)
                                   : draw(&seed, 1800000));
    }
    cr_assert_eq(fclose(f), 0);
    return n;
}

/* Plays it by a clock that is late by up to 2 ms after each wait, as poll(2) is, and now and then,
 * where asked for, held up for seconds by who takes the entries. Each has to come within 5 ms of
 * when it is due, counted from the first; or at once, where it was held up. */
static void play_day(const int64_t *times, size_t n, uint64_t speed, bool held_up)
{
    struct ds_player p;
    struct dstream_error err = {0};
    struct ds_player_config c = {.path = "day", .speed = speed, .json_depth = 512};
    cr_assert_eq(ds_player_open(&p, &c, &err), DSTREAM_OK, "%s", err.message);
    uint64_t seed = 5;
    const int64_t start = 777;
    int64_t now = start, busy_until = start, last = start;
    size_t i = 0;
    enum ds_player_step step;
    while ((step = ds_player_step(&p, now, &err)) != DS_PLAYER_END) {
        cr_assert_neq(step, DS_PLAYER_FAIL, "%s", err.message);
        if (step == DS_PLAYER_WAIT) {
            cr_assert_gt(p.due, now);
            now = p.due + (int64_t)draw(&seed, 3);
            continue;
        }
        size_t len;
        cr_assert(i < n &&
                  (size_t)strtoull(dstream_batch_message(&p.batch, 0, &len), NULL, 10) == i);
        int64_t due = start + (times[i] - times[0]) * 1000 / (int64_t)speed;
        cr_assert_geq(now, due);
        cr_assert(now - due < 5 || now == busy_until, "entry %zu: %lld ms late", i,
                  (long long)(now - due));
        if (!held_up && i > 0) {
            int64_t gap = (times[i] - times[i - 1]) * 1000 / (int64_t)speed;
            cr_assert(llabs(now - last - gap) < 5, "entry %zu: a gap of %lld ms for %lld", i,
                      (long long)(now - last), (long long)gap);
        }
        last = now;
        if (held_up && draw(&seed, 50) == 0)
            now = busy_until = now + (int64_t)draw(&seed, 20000);
        ds_player_taken(&p);
        i++;
    }
    cr_expect_eq(i, n);
    ds_player_close(&p);
}

Test(player, a_day_takes_a_day)
{
    enum { MOST = 200000 };
    int64_t *times = calloc(MOST, sizeof *times);
    size_t n = write_day(times, MOST);
    cr_assert_gt(n, 5000);
    play_day(times, n, 1000, false);
    play_day(times, n, 1000, true);
    play_day(times, n, 500, false);
    play_day(times, n, 20000, false);
    free(times);
}

/* --- from where to where ---------------------------------------------------------------------- */

/* Answers of several lengths, parts of answers, and empty ones. Units are single characters, so
 * that messages and bytes are counted alike. */
static const struct {
    const char *offset, *next; /* next NULL: a part */
    unsigned skip;
    const char *units;
} entries[] = {{"-1", "b", 0, "abc"}, {"b", "c", 0, "d"},   {"c", "c", 0, ""},
               {"c", NULL, 0, "ef"},  {"c", NULL, 2, "g"},  {"c", "d", 3, "hi"},
               {"d", "e", 0, ""},     {"e", "f", 0, "jkl"}, {"f", "f", 0, ""}};
static const char ALL[] = "abcdefghijkl";

static void write_recording(bool json)
{
    FILE *f = fopen("r", "w");
    cr_assert_not_null(f);
    fputs(json ? HEAD("application/json") : HEAD("text/plain"), f);
    for (size_t i = 0; i < COUNT(entries); i++) {
        fprintf(f, "{\"time\":%zu,\"offset\":\"%s\",\"skip\":%u,", i, entries[i].offset,
                entries[i].skip);
        fprintf(f, entries[i].next ? "\"next\":\"%s\"," : "\"next\":null,", entries[i].next);
        fputs(json ? "\"json\":[" : "\"text\":\"", f);
        for (const char *p = entries[i].units; *p; p++)
            fprintf(f, json ? "%s\"%c\"" : "%s%c", p > entries[i].units && json ? "," : "", *p);
        fputs(json ? "]}\n" : "\"}\n", f);
    }
    cr_assert_eq(fclose(f), 0);
}

/* What is played, without quotes; "!" and the reason where it fails. The position that it came to
 * is in *at. */
static void played_behind(uint64_t passed, const struct ds_player_config *c, char *out, size_t size,
                          char *at)
{
    struct ds_player p;
    struct dstream_error err = {0};
    size_t n = 0;
    enum ds_player_step step = DS_PLAYER_FAIL;
    if (ds_player_open(&p, c, &err) == DSTREAM_OK) {
        p.passed = passed;
        while ((step = ds_player_step(&p, 0, &err)) == DS_PLAYER_BATCH) {
            const struct ds_items *it = &p.in.entry.items;
            bool json = p.in.about.json;
            for (size_t i = p.span.first; i < p.span.take; i++) {
                size_t len;
                out[n++] = json ? ds_items_get(it, i, &len)[1] : it->bytes.data[i];
            }
            ds_player_taken(&p);
        }
    }
    out[n] = '\0';
    if (step == DS_PLAYER_FAIL)
        snprintf(out + n, size - n, "!%s", err.message);
    if (at && p.at.offset[0])
        sprintf(at, "%s,%llu", p.at.offset, (unsigned long long)p.at.skip);
    ds_player_close(&p);
}

static void played(const struct ds_player_config *c, char *out, size_t size, char *at)
{
    played_behind(0, c, out, size, at);
}

/* Every way to write the position before unit `at`: behind each answer that began at or before it.
 */
static size_t names_of(size_t at, struct ds_player_mark *out)
{
    size_t n = 0, before = 0;
    for (size_t i = 0; i < COUNT(entries); i++) {
        if (entries[i].skip == 0 && before <= at)
            out[n++] = (struct ds_player_mark){.offset = entries[i].offset, .skip = at - before};
        before += strlen(entries[i].units);
    }
    return n;
}

static void every_range(bool json)
{
    char got[600], want[32];
    write_recording(json);
    for (size_t from = 0; from <= strlen(ALL); from++) {
        for (size_t until = from; until <= strlen(ALL); until++) {
            struct ds_player_mark a[COUNT(entries)], b[COUNT(entries)];
            size_t na = names_of(from, a), nb = names_of(until, b);
            snprintf(want, sizeof want, "%.*s", (int)(until - from), ALL + from);
            for (size_t i = 0; i < na * nb; i++) {
                struct ds_player_config c = {.path = "r",
                                             .from = a[i / nb].offset,
                                             .from_skip = a[i / nb].skip,
                                             .until = b[i % nb].offset,
                                             .until_skip = b[i % nb].skip,
                                             .json_depth = 9};
                played(&c, got, sizeof got, NULL);
                cr_assert_str_eq(got, want, "from %s,%llu until %s,%llu: %s", c.from,
                                 (unsigned long long)c.from_skip, c.until,
                                 (unsigned long long)c.until_skip, got);
            }
        }
    }
}

Test(player, every_range_of_messages)
{
    every_range(true);
}

Test(player, every_range_of_bytes)
{
    every_range(false);
}

/* Stopped after n units, wherever that is, the position that it came to is where the rest begins.
 */
Test(player, stops_and_goes_on_anywhere)
{
    for (int json = 0; json < 2; json++) {
        write_recording(json);
        for (size_t n = 1; n <= strlen(ALL); n++) {
            char got[600], rest[600], at[64] = "-1,0";
            struct ds_player_config c = {.path = "r", .json_depth = 9};
            c.left = json ? (struct ds_left){.has_count = true, .count = n}
                          : (struct ds_left){.has_bytes = true, .bytes = n};
            played(&c, got, sizeof got, at);
            cr_expect(strlen(got) == n && memcmp(got, ALL, n) == 0, "%zu: %s", n, got);
            char *comma = strchr(at, ',');
            *comma = '\0';
            struct ds_player_config then = {.path = "r",
                                            .from = at,
                                            .from_skip = strtoull(comma + 1, NULL, 10),
                                            .json_depth = 9};
            played(&then, rest, sizeof rest, NULL);
            cr_expect_str_eq(rest, ALL + n, "%zu: at %s,%s: %s", n, at, comma + 1, rest);
        }
    }
}

/* What an earlier run has played is left out of each part, and counts. */
Test(player, passes_over_what_was_played)
{
    for (int json = 0; json < 2; json++) {
        write_recording(json);
        for (size_t from = 0; from <= strlen(ALL); from++) {
            for (size_t passed = 0; from + passed <= strlen(ALL); passed++) {
                char got[600], want[32];
                struct ds_player_config c = {
                    .path = "r", .from = "-1", .from_skip = from, .json_depth = 9};
                played_behind(passed, &c, got, sizeof got, NULL);
                cr_expect_str_eq(got, ALL + from + passed, "%zu+%zu: %s", from, passed, got);
                c.left = json ? (struct ds_left){.has_count = true, .count = passed + 2}
                              : (struct ds_left){.has_bytes = true, .bytes = passed + 2};
                played_behind(passed, &c, got, sizeof got, NULL);
                snprintf(want, sizeof want, "%.2s", ALL + from + passed);
                cr_expect_str_eq(got, want, "%zu+%zu and 2: %s", from, passed, got);
            }
        }
        char got[600];
        struct ds_player_config c = {.path = "r", .json_depth = 9};
        played_behind(strlen(ALL) + 1, &c, got, sizeof got, NULL);
        cr_expect(strstr(got, "!r: it is shorter than what an earlier run"), "%s", got);
    }
}

Test(player, says_what_it_cannot_play)
{
    char got[600];
    write_recording(false);
    static const struct {
        struct ds_player_config c;
        const char *want;
    } cases[] = {
        {{.path = "none"}, "!none: cannot read it: No such file or directory"},
        {{.path = "r", .from = "x"}, "!--from x: no entry of the recording r begins there"},
        {{.path = "r", .until = "x"},
         "abcdefghijkl!--until x: no entry of the recording r begins there"},
        {{.path = "r", .left = {.has_count = true, .count = 1}},
         "!--count counts messages, which only JSON streams have: use --bytes, or --format lines, "
         "of which it counts the lines"},
        {{.path = "r", .left = {.has_count = true, .count = 1, .lines = true}}, "abcdefghijkl"},
        {{.path = "r", .from = "f", .from_skip = 3},
         "!--from f,3: the recording r ends 3 bytes before that"},
        {{.path = "r", .from = "-1", .from_skip = 12}, ""},
        {{.path = "r", .from = "-1", .from_skip = 14},
         "!--from -1,14: the recording r ends 2 bytes before that"},
        {{.path = "r", .until = "f", .until_skip = 2},
         "abcdefghijkl!--until f,2: the recording r ends 2 bytes before that"},
        {{.path = "bad"}, "!bad: line 1: it is not valid JSON"},
        {{.path = "worse"}, "abc!worse: line 3: it is not valid JSON"},
        {{.path = "torn"}, "abc"},
        {{.path = "empty"}, ""},
    };
    static const char begin[] =
        HEAD("text/plain") "{\"time\":0,\"offset\":\"a\",\"next\":\"b\",\"text\":\"abc\"}\n";
    static const struct {
        const char *name, *text;
    } files[] = {{"bad", "x\n"}, {"worse", "]\n"}, {"torn", "{\"time\""}, {"empty", ""}};
    for (size_t i = 0; i < COUNT(files); i++) {
        FILE *f = fopen(files[i].name, "w");
        cr_assert(f && fprintf(f, "%s%s", i == 1 || i == 2 ? begin : "", files[i].text) >= 0);
        cr_assert_eq(fclose(f), 0);
    }
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct ds_player_config c = cases[i].c;
        c.json_depth = 9;
        played(&c, got, sizeof got, NULL);
        cr_expect_str_eq(got, cases[i].want, "%zu: %s", i, got);
    }
}
