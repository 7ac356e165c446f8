/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "tests/e2e/reading.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_live(const struct e2e_process *p, const void *ctx)
{
    (void)ctx;
    for (const char *line = p->err_data.p; (line = strstr(line, "live=")); line++) {
        size_t n = strcspn(line, "\n");
        if (line[n] == '\n' && (strncmp(line, "live=long-poll", 14) == 0 ||
                                (n > 5 && strncmp(line + n - 5, ": 200", 5) == 0)))
            return true;
    }
    return false;
}

void reading_until_live(struct e2e_process *p)
{
    e2e_until(p, is_live, NULL, "it was live");
}

char *reading_position(struct e2e_process *p)
{
    const char *marks[] = {"to go on: --from ", "its end is "};
    e2e_wait(p);
    for (size_t i = 0; i < 2; i++) {
        const char *found = strstr(p->err_data.p, marks[i]);
        if (found)
            return e2e_printf("%.*s", (int)strcspn(found + strlen(marks[i]), "\n"),
                              found + strlen(marks[i]));
    }
    cr_assert_fail("%s: told no position but: %s", p->line, p->err_data.p);
    return NULL;
}

long reading_peak(pid_t pid)
{
    char line[256];
    long peak = -1;
    FILE *f = fopen(e2e_printf("/proc/%d/status", (int)pid), "re");
    while (f && peak < 0 && fgets(line, sizeof line, f)) {
        if (strncmp(line, "VmHWM:", 6) == 0)
            peak = strtol(line + 6, NULL, 10);
    }
    if (f)
        fclose(f);
    cr_assert_gt(peak, 0, "the memory of process %d cannot be read", (int)pid);
    return peak;
}

size_t reading_said(const struct e2e_process *p, const char *text)
{
    size_t n = 0;
    for (const char *at = p->err_data.p; (at = strstr(at, text)); at++)
        n++;
    return n;
}

struct repeated {
    const char *text;
    size_t n;
};

static bool said_so_often(const struct e2e_process *p, const void *ctx)
{
    const struct repeated *r = ctx;
    return reading_said(p, r->text) >= r->n;
}

void reading_until_said(struct e2e_process *p, const char *text, size_t n)
{
    struct repeated r = {text, n};
    e2e_until(p, said_so_often, &r, e2e_printf("it said \"%s\" %zu times", text, n));
}

size_t reading_lines(const char *text)
{
    size_t n = 0;
    for (; (text = strchr(text, '\n')); text++)
        n++;
    return n;
}
