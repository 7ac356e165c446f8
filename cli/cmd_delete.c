/* SPDX-License-Identifier: Apache-2.0 */
/* dstream delete URL. */
#include "config.h"

#include "cli/cli.h"

#include <errno.h>
#include <strings.h>
#include <unistd.h>

#include "cli/signals.h"
#include "cli/unary.h"

/* Whether the user, who sits at a terminal, says yes. */
static bool says_yes(struct ds_cli *c, const char *name)
{
    char line[16];
    size_t n = 0;
    char b;
    (void)fprintf(c->err, "delete %s for good? [y/N] ", name);
    (void)fflush(c->err);
    while (read(STDIN_FILENO, &b, 1) == 1 && b != '\n') {
        if (n + 1 < sizeof line)
            line[n++] = b;
    }
    line[n] = '\0';
    if (ds_signals_ending() != 0)
        (void)fputc('\n', c->err);
    return ds_signals_ending() == 0 && (strcasecmp(line, "y") == 0 || strcasecmp(line, "yes") == 0);
}

static int delete_stream(struct ds_unary *u)
{
    struct ds_cli *c = u->cli;
    if (!c->opt.yes && !says_yes(c, u->name)) {
        ds_error_set(&u->error, DSTREAM_ERR_CANCELLED, "not deleted");
        return ds_cli_fail(c, &u->error);
    }
    if (ds_unary_call(u, (struct ds_call_config){.kind = DS_CALL_DELETE}) != DSTREAM_OK)
        return ds_cli_fail(c, &u->error);
    if (u->result.status >= 400)
        ds_cli_say(c,
                   "%s: deleted; the answer was lost, and then it was not there: by this command, "
                   "or by another at the same time",
                   u->name);
    else
        ds_cli_say(c, "%s: deleted", u->name);
    return DS_EXIT_OK;
}

int ds_cmd_delete(struct ds_cli *c)
{
    struct ds_unary u;
    if (c->nargs != 1)
        return ds_cli_usage(c, "delete takes one stream");
    if (!c->opt.yes && (!isatty(STDIN_FILENO) || !isatty(fileno(c->err))))
        return ds_cli_usage(c, "nobody can be asked here whether to delete it: give --yes");
    enum dstream_code rc = ds_unary_begin(&u, c);
    return ds_unary_end(&u, rc == DSTREAM_OK ? delete_stream(&u) : ds_cli_fail(c, &u.error));
}
