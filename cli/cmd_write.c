/* SPDX-License-Identifier: Apache-2.0 */
/* dstream write: what is the same with a producer identity and without. */
#include "config.h"

#include "cli/cli.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/write.h"

/* --- the stream ------------------------------------------------------------------------------- */

static enum dstream_code fail_here(struct ds_unary *u, enum dstream_code code, const char *what)
{
    ds_error_set_url(&u->error, u->url.data);
    return ds_error_set(&u->error, code, "%s", what);
}

/* The type that was asked for on the command line, or NULL. */
static const char *type_given(const struct ds_cli_options *o)
{
    return o->create_type ? o->create_type : o->type;
}

static enum dstream_code create(struct ds_unary *u, const char *type)
{
    struct ds_buf ttl;
    ds_buf_init(&ttl, 32);
    (void)ds_unary_ttl(u->cli->opt.ttl, &ttl);
    struct ds_call_config c = {.kind = DS_CALL_CREATE,
                               .content_type = type ? type : "application/octet-stream",
                               .ttl = ttl.data};
    enum dstream_code rc = ds_unary_call(u, c);
    ds_buf_free(&ttl);
    return rc;
}

/* Without parameters. */
static bool same_type(const char *a, const char *b)
{
    char one[DS_TYPE_MAX + 1], other[DS_TYPE_MAX + 1];
    ds_media_type(a, one, sizeof one);
    ds_media_type(b, other, sizeof other);
    return strcmp(one, other) == 0;
}

/* Learns the stream's type, and makes the stream where that was asked for: one that a journal knows
 * is not made anew. The answer is in u->result. */
static enum dstream_code look(struct ds_write *w, const char *type)
{
    struct ds_unary *u = w->u;
    const struct ds_cli_options *o = &u->cli->opt;
    enum dstream_code rc = ds_unary_call(u, (struct ds_call_config){.kind = DS_CALL_STAT});
    if (rc == DSTREAM_ERR_NOT_FOUND && w->before)
        return fail_here(u, DSTREAM_ERR_DELETED,
                         "there is no such stream any more (404), though the journal is of it: "
                         "begin with another --state file");
    if (rc == DSTREAM_ERR_NOT_FOUND && o->create)
        rc = create(u, type_given(o) ? type_given(o) : type);
    if (rc == DSTREAM_ERR_CONFLICT) /* somebody else has made it in between: any will do */
        rc = ds_unary_call(u, (struct ds_call_config){.kind = DS_CALL_STAT});
    if (rc != DSTREAM_OK)
        return rc;
    if (!u->result.content_type[0])
        return fail_here(u, DSTREAM_ERR_PROTOCOL, "the server does not tell the stream's type");
    const char *want = type_given(o);
    if (!want || same_type(u->result.content_type, want))
        return DSTREAM_OK;
    ds_error_set_url(&u->error, u->url.data);
    return ds_error_set(&u->error, DSTREAM_ERR_CONFLICT, "the stream is of type %s, not %s",
                        u->result.content_type, want);
}

/* A journal's batches are as its type has them. */
static enum dstream_code check_journal_type(struct ds_write *w)
{
    const char *had = w->before ? ds_journal_type(w->journal) : w->type;
    if (same_type(had, w->type))
        return DSTREAM_OK;
    ds_error_set_url(&w->u->error, w->u->url.data);
    return ds_error_set(&w->u->error, DSTREAM_ERR_STATE_MISMATCH,
                        "the stream is of type %s, and the journal of one of type %.128s: begin "
                        "with another --state file",
                        w->type, had);
}

/* The stream's last answer may be what a journal waits for, and closing what is closed is fine. */
static bool may_be_closed(const struct ds_write *w)
{
    return w->u->cli->opt.close_after || (w->before && w->before->nbatches > 0);
}

enum dstream_code ds_write_prepare(struct ds_write *w, const char *type)
{
    struct ds_unary *u = w->u;
    const struct ds_cli_options *o = &u->cli->opt;
    bool known = o->type && !o->create;
    enum dstream_code rc = ds_write_open_journal(w);
    if (rc == DSTREAM_OK && !known)
        rc = look(w, type);
    if (rc != DSTREAM_OK)
        return rc;
    if (!known && u->result.closed && !may_be_closed(w))
        return fail_here(u, DSTREAM_ERR_CLOSED, "the stream is closed");
    strcpy(w->type, known ? o->type : u->result.content_type);
    return check_journal_type(w);
}

enum dstream_code ds_write_check_kind(struct ds_write *w, const char *type, const char *what)
{
    if (ds_type_is_json(w->type) == ds_type_is_json(type))
        return DSTREAM_OK;
    ds_error_set_url(&w->u->error, w->u->url.data);
    return ds_error_set(&w->u->error, DSTREAM_ERR_CONFLICT,
                        "the stream is of type %.200s, and the %s of type %.200s: the one has "
                        "messages, the other bytes",
                        w->type, what, type);
}

/* --- the command ------------------------------------------------------------------------------ */

/* All of them, before anything is sent. */
static int check_files(struct ds_cli *c, const char *const *files, size_t n)
{
    bool standard = false;
    for (size_t i = 0; i < n; i++) {
        bool again = standard;
        standard |= strcmp(files[i], "-") == 0;
        if (standard && again && strcmp(files[i], "-") == 0)
            return ds_cli_usage(c, "standard input can be read once only");
        if (strcmp(files[i], "-") == 0 || access(files[i], R_OK) == 0)
            continue;
        struct dstream_error e = {0};
        ds_error_set(&e, DSTREAM_ERR_NOT_FOUND, "%.200s: cannot read: %s", files[i],
                     strerror(errno));
        return ds_cli_fail(c, &e);
    }
    return DS_EXIT_OK;
}

static bool is_regular(const char *file)
{
    struct stat st;
    int rc = strcmp(file, "-") == 0 ? fstat(STDIN_FILENO, &st) : stat(file, &st);
    return rc == 0 && S_ISREG(st.st_mode);
}

/* Where an input was taken in up to a byte, it is to be known which one that is. */
static int check_inputs(struct ds_cli *c, const char *const *files, size_t n)
{
    for (size_t i = 0; c->opt.state && n > 1 && i < n; i++) {
        if (!is_regular(files[i]))
            return ds_cli_usage(c, "with --state, a pipe has to be the only input");
    }
    return DS_EXIT_OK;
}

/* One that only a producer has a use for; NULL: none was given. */
static const char *once_only(const struct ds_cli_options *o)
{
    return o->state                   ? "state"
           : o->epoch_given           ? "epoch"
           : o->in_flight > 0         ? "in-flight"
           : o->lines                 ? "split"
           : o->tee                   ? "tee"
           : o->delivery_timeout >= 0 ? "delivery-timeout"
                                      : NULL;
}

int ds_write_check_options(struct ds_cli *c)
{
    const struct ds_cli_options *o = &c->opt;
    struct ds_buf ttl;
    ds_buf_init(&ttl, 32);
    bool whole = ds_unary_ttl(o->ttl, &ttl);
    ds_buf_free(&ttl);
    if (o->type && o->create_type && strcmp(o->type, o->create_type) != 0)
        return ds_cli_usage(c, "--type and --create name different types");
    if (o->ttl && !o->create)
        return ds_cli_usage(c, "--ttl is for --create");
    if (!whole)
        return ds_cli_usage(c, DS_UNARY_TTL);
    if (o->command == DS_CMD_WRITE && !o->producer && once_only(o))
        return ds_cli_usage(c, "--%s is for --producer", once_only(o));
    if (!o->state && (o->force || o->journal_max_age >= 0))
        return ds_cli_usage(c, "--force and --journal-max-age are for --state");
    if (o->batch_bytes > (o->state ? DS_JOURNAL_BODY_MAX : DS_BATCH_MAX))
        return ds_cli_usage(c, "--batch-bytes: at most %zu MiB%s",
                            (o->state ? DS_JOURNAL_BODY_MAX : DS_BATCH_MAX) >> 20,
                            o->state ? " with --state" : "");
    if (o->tee && o->print_offset)
        return ds_cli_usage(c, "--tee and --print-offset exclude each other: both print");
    return DS_EXIT_OK;
}

static int write_to(struct ds_unary *u, const char *const *files, size_t n)
{
    struct ds_write w = {.u = u, .files = files, .nfiles = n, .producer = u->cli->opt.producer};
    int status;
    if (ds_write_prepare(&w, NULL) != DSTREAM_OK)
        status = ds_cli_fail(u->cli, &u->error);
    else
        status = u->cli->opt.producer ? ds_write_once(&w) : ds_write_plain(&w);
    ds_journal_free(w.journal);
    return status;
}

int ds_cmd_write(struct ds_cli *c)
{
    static const char *const standard[] = {"-"};
    struct ds_unary u;
    if (c->nargs == 0)
        return ds_cli_usage(c, "no stream is named");
    const char *const *files = c->nargs > 1 ? c->args + 1 : standard;
    size_t n = c->nargs > 1 ? c->nargs - 1 : 1;
    int status = ds_write_check_options(c);
    if (status == DS_EXIT_OK)
        status = check_inputs(c, files, n);
    if (status == DS_EXIT_OK)
        status = check_files(c, files, n);
    if (status != DS_EXIT_OK)
        return status;
    enum dstream_code rc = ds_unary_begin(&u, c);
    return ds_unary_end(&u, rc == DSTREAM_OK ? write_to(&u, files, n) : ds_cli_fail(c, &u.error));
}
