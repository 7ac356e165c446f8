/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "tests/e2e/writing.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

struct e2e_process *writing_fed(struct e2e_bytes input, const char *const *args)
{
    struct e2e_process *p = e2e_spawn(&(struct e2e_run){.argv = e2e_command(args), .input = true});
    e2e_give(p, input);
    e2e_end_input(p);
    return e2e_finished(p);
}

struct e2e_bytes writing_stream(const char *url)
{
    struct e2e_process *p = dstream_run("read", "-q", url);
    e2e_status(p, 0);
    return p->out_data;
}

void writing_holds(const char *url, struct e2e_bytes want)
{
    e2e_same(url, writing_stream(url), want);
}

struct e2e_bytes writing_lines(unsigned from, unsigned n)
{
    struct e2e_bytes b = {0};
    e2e_add(&b, "", 0);
    for (unsigned i = from; i < from + n; i++)
        e2e_add_text(
            &b, e2e_printf("{\"n\":%u,\"s\":\"%.*s\"}\n", i, (int)(i % 17), "abcdefghijklmnopq"));
    return b;
}

uint64_t writing_state(const char *state, const char *name)
{
    struct e2e_process *p = dstream_run("state", "show", "--json", state);
    e2e_status(p, 0);
    const char *at = strstr(p->out_data.p, e2e_printf("\"%s\":", name));
    cr_assert_not_null(at, "no %s in %s", name, p->out_data.p);
    return strtoull(at + strlen(name) + 3, NULL, 10);
}
