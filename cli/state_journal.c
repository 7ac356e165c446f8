/* SPDX-License-Identifier: Apache-2.0 */
/* dstream state show of a producer's journal. Takes no lock, so it works beside a write. */
#include "config.h"

#include "cli/cli.h"

#include <string.h>

#include "base/text.h"
#include "cli/wall.h"
#include "client/journal.h"

/* More than all fields can take, each byte of them escaped. */
#define SHOWN_MAX ((size_t)64 * 1024)

static void when(uint64_t unix_ms, char out[DS_TIME_SIZE])
{
    out[0] = '\0';
    if (unix_ms > 0)
        ds_print_time((int64_t)unix_ms, out);
}

static void text(struct ds_buf *b, const char *name, const char *value)
{
    ds_buf_addf(b, "%s: ", name);
    ds_terminal_escape(b, value, strlen(value));
    ds_buf_addc(b, '\n');
}

static void number(struct ds_buf *b, const char *name, uint64_t v, const char *unit)
{
    ds_buf_addf(b, "%s: %llu%s\n", name, (unsigned long long)v, unit);
}

static void show_words(struct ds_buf *b, const char *path, const struct ds_journal_summary *s)
{
    char since[DS_TIME_SIZE];
    when(s->oldest, since);
    text(b, "journal", path);
    text(b, "url", s->url);
    text(b, "producer", s->id);
    text(b, "content type", s->content_type[0] ? s->content_type : "not known yet");
    number(b, "epoch", s->epoch, "");
    number(b, "input taken in", s->mark, " bytes (a pipe is fed from there on)");
    number(b, "batches not acknowledged", s->batches, "");
    number(b, "messages in them", s->messages, "");
    number(b, "bytes in them", s->bytes, "");
    if (since[0])
        text(b, "since", since);
    number(b, "messages stored and not told", s->untold_stored, "");
    number(b, "messages not stored and not told", s->untold_not_written, "");
    number(b, "messages maybe stored and not told", s->untold_unknown, "");
}

/* A text as JSON; what is not UTF-8 is replaced. */
static void json_text(struct ds_buf *b, const char *name, const char *value)
{
    struct ds_buf clean;
    ds_buf_init(&clean, SHOWN_MAX);
    (void)ds_utf8_replace(&clean, value, strlen(value));
    ds_buf_addf(b, "\"%s\":\"", name);
    (void)ds_json_escape(b, clean.data, clean.len);
    ds_buf_adds(b, "\",");
    ds_buf_free(&clean);
}

static void show_json(struct ds_buf *b, const char *path, const struct ds_journal_summary *s)
{
    char since[DS_TIME_SIZE];
    when(s->oldest, since);
    ds_buf_addc(b, '{');
    json_text(b, "journal", path);
    json_text(b, "url", s->url);
    json_text(b, "producer", s->id);
    json_text(b, "contentType", s->content_type);
    ds_buf_addf(b, "\"epoch\":%llu,\"inputBytes\":%llu,", (unsigned long long)s->epoch,
                (unsigned long long)s->mark);
    ds_buf_addf(b, "\"unacknowledged\":{\"batches\":%llu,\"messages\":%llu,\"bytes\":%llu,",
                (unsigned long long)s->batches, (unsigned long long)s->messages,
                (unsigned long long)s->bytes);
    ds_buf_addf(b, since[0] ? "\"since\":\"%s\"}," : "\"since\":null},", since);
    ds_buf_addf(b, "\"untold\":{\"stored\":%llu,\"notStored\":%llu,\"unknown\":%llu}}\n",
                (unsigned long long)s->untold_stored, (unsigned long long)s->untold_not_written,
                (unsigned long long)s->untold_unknown);
}

int ds_state_show_journal(struct ds_cli *c, const char *path)
{
    struct ds_journal_summary s;
    struct dstream_error err = {0};
    struct ds_buf b;
    bool missing;
    if (ds_journal_show(c->fileops, path, &s, &missing, &err) != DSTREAM_OK)
        return ds_cli_fail(c, &err);
    ds_buf_init(&b, SHOWN_MAX);
    if (c->opt.json)
        show_json(&b, path, &s);
    else
        show_words(&b, path, &s);
    (void)fwrite(b.data, 1, b.len, stdout);
    ds_buf_free(&b);
    return ds_cli_flush(c);
}
