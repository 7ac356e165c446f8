/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "cli/fates.h"

#define TEXT_MAX ((size_t)1 << 14)

void ds_fates_init(struct ds_fates *f, struct ds_cli *cli, const struct ds_supply *supply,
                   bool journal, bool whole)
{
    *f = (struct ds_fates){.cli = cli, .supply = supply, .journal = journal, .mark_known = whole};
}

/* --- results ---------------------------------------------------------------------------------- */

static enum ds_told told_of(const struct ds_fates *f, const struct ds_producer_result *r)
{
    switch (r->fate) {
    case DS_FATE_ACKED:
        return DS_TOLD_STORED;
    case DS_FATE_KEPT:
        return r->unsure ? DS_TOLD_HELD : DS_TOLD_KEPT;
    case DS_FATE_NOT_WRITTEN:
        return f->journal && !r->journalled ? DS_TOLD_LEFT : DS_TOLD_NOT_STORED;
    case DS_FATE_NONE:
    case DS_FATE_UNKNOWN:
        break;
    }
    return DS_TOLD_UNKNOWN;
}

void ds_fates_add(struct ds_fates *f, const struct ds_producer_result *r)
{
    struct ds_fate_range x = {told_of(f, r), r->earlier, r->first, r->count,
                              f->mark_known, f->mark,    r->mark};
    struct ds_fate_range *last = f->n > 0 ? &f->ranges[f->n - 1] : NULL;
    f->mark_known = r->mark > 0;
    f->mark = r->mark;
    if (last && last->told == x.told && last->earlier == x.earlier &&
        last->first + last->count == x.first) {
        last->count += x.count;
        last->to = x.to;
        return;
    }
    if (f->n == DS_FATE_RANGES)
        ds_fates_say(f);
    f->ranges[f->n++] = x;
}

bool ds_fates_failed(const struct ds_fates *f)
{
    for (size_t i = 0; i < f->n; i++) {
        if (f->ranges[i].told != DS_TOLD_STORED)
            return true;
    }
    return false;
}

/* --- words ------------------------------------------------------------------------------------ */

static void add_number(struct ds_buf *b, const char *before, uint64_t n)
{
    ds_buf_addf(b, "%s%llu", before, (unsigned long long)n);
}

/* "messages 3 to 9, bytes 20 to 99 of the input". Bytes that were not cut into messages have no
 * numbers. */
static void add_range(struct ds_buf *b, const struct ds_fates *f, const struct ds_fate_range *r)
{
    bool counted = f->supply->counted || r->to == 0;
    if (r->count == 0) {
        ds_buf_adds(b, "the closing of the stream");
        return;
    }
    if (counted)
        add_number(b, r->count == 1 ? "message " : "messages ", r->first + 1);
    if (counted && r->count > 1)
        add_number(b, " to ", r->first + r->count);
    if (r->to == 0 || !f->supply->bytes_of)
        return;
    if (counted)
        ds_buf_adds(b, ", ");
    if (r->from_known && r->from < r->to) {
        add_number(b, "bytes ", r->from);
        add_number(b, " to ", r->to - 1);
    } else {
        add_number(b, "up to byte ", r->to - 1);
    }
    ds_buf_addf(b, " of %s", f->supply->bytes_of);
}

/* What a journal has taken in, and could not bring about, is nothing that the next run begins with.
 */
static bool is_passed(const struct ds_fates *f, const struct ds_fate_range *r)
{
    return f->journal && r->count > 0 &&
           (r->told == DS_TOLD_NOT_STORED || r->told == DS_TOLD_UNKNOWN);
}

/* One line for all of this kind. */
static void say(const struct ds_fates *f, enum ds_told told, bool earlier)
{
    static const char *const names[DS_TOLDS] = {
        [DS_TOLD_STORED] = "stored",
        [DS_TOLD_UNKNOWN] = "may be stored or not",
        [DS_TOLD_NOT_STORED] = "not stored",
        [DS_TOLD_KEPT] = "kept for the next run in ",
        [DS_TOLD_HELD] = "not stored, and in the journal or not, which dstream state show tells",
        [DS_TOLD_LEFT] = "not taken in, so that the next run begins with it",
    };
    const char *between = "";
    bool passed = false;
    struct ds_buf b;
    ds_buf_init(&b, TEXT_MAX);
    for (size_t i = 0; i < f->n; i++) {
        const struct ds_fate_range *r = &f->ranges[i];
        if (r->told != told || r->earlier != earlier)
            continue;
        ds_buf_adds(&b, between);
        add_range(&b, f, r);
        passed |= is_passed(f, r);
        between = "; ";
    }
    if (passed)
        ds_buf_adds(&b, ": the next run goes on behind");
    const char *text = b.len > 0 ? ds_buf_str(&b) : NULL;
    bool kept = told == DS_TOLD_KEPT;
    if (text)
        ds_cli_tell(f->cli, "%s%s%s: %s", earlier && !kept ? "by an earlier run, " : "",
                    names[told], kept ? f->cli->opt.state : "", text);
    ds_buf_free(&b);
}

void ds_fates_say(struct ds_fates *f)
{
    for (int earlier = 1; earlier >= 0; earlier--) {
        for (enum ds_told told = 0; told < DS_TOLDS; told++)
            say(f, told, earlier);
    }
    if (f->n == 0 && !f->said)
        ds_cli_tell(f->cli, "nothing was stored");
    f->said = true;
    f->n = 0;
}
