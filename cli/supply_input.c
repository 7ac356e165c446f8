/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/supply_input.h"

/* What was whole before is still written. */
static void fail(struct ds_supply_input *f, const struct dstream_error *why)
{
    if (f->input.error.code == DSTREAM_OK)
        ds_input_fail(&f->input, why);
}

/* Bytes that were skipped count as looked at. */
static void pass_skipped(struct ds_supply_input *f)
{
    f->messages.taken += f->input.skipped - f->skipped;
    f->skipped = f->input.skipped;
}

static enum ds_supplied read_piece(struct ds_supply_input *f)
{
    size_t got = 0;
    enum ds_input_got what =
        ds_input_read(&f->input, ds_messages_room(&f->messages), DS_MESSAGES_PIECE, &got);
    pass_skipped(f);
    if (what == DS_INPUT_DATA)
        ds_messages_add(&f->messages, got);
    else if (what == DS_INPUT_FILE_END)
        ds_messages_end_file(&f->messages);
    else
        return what == DS_INPUT_WAIT ? DS_SUPPLY_WAIT : DS_SUPPLY_END;
    return DS_SUPPLY_AGAIN;
}

static enum ds_supplied next(void *ctx, const char **p, size_t *n, uint64_t *mark)
{
    struct ds_supply_input *f = ctx;
    if (ds_messages_next(&f->messages, p, n, mark))
        return DS_SUPPLY_MESSAGE;
    if (f->messages.error.code != DSTREAM_OK)
        fail(f, &f->messages.error);
    return f->input.ended ? DS_SUPPLY_END : read_piece(f);
}

static void drop(void *ctx)
{
    struct ds_supply_input *f = ctx;
    ds_messages_drop(&f->messages);
}

static void hold(void *ctx)
{
    struct ds_supply_input *f = ctx;
    ds_input_hold(&f->input);
}

static void stop(void *ctx, const struct dstream_error *why)
{
    struct ds_supply_input *f = ctx;
    if (why)
        fail(f, why);
    else
        ds_input_stop(&f->input);
}

static const struct dstream_error *error(void *ctx)
{
    const struct ds_supply_input *f = ctx;
    return &f->input.error;
}

static void witness_of(void *ctx, uint64_t mark, char out[DS_JOURNAL_WITNESS])
{
    const struct ds_supply_input *f = ctx;
    _Static_assert(DS_JOURNAL_WITNESS >= DS_INPUT_WITNESS, "a journal keeps it whole");
    ds_input_witness(&f->input, mark, out);
}

static uint64_t end(void *ctx, bool *closes)
{
    const struct ds_supply_input *f = ctx;
    *closes = true;
    return f->messages.taken;
}

enum dstream_code ds_supply_input_init(struct ds_supply_input *f, dstream_loop *loop,
                                       const char *const *files, size_t nfiles,
                                       enum ds_messages_how how, uint64_t mark, const char *witness,
                                       size_t max, unsigned json_depth, struct ds_supply *out)
{
    static const struct ds_supply_ops ops = {.next = next,
                                             .drop = drop,
                                             .hold = hold,
                                             .stop = stop,
                                             .error = error,
                                             .witness = witness_of,
                                             .end = end};
    f->skipped = 0;
    ds_input_init(&f->input, loop, files, nfiles);
    *out = (struct ds_supply){.ops = &ops,
                              .ctx = f,
                              .counted = how != DS_MESSAGES_BYTES,
                              .bytes_of = "the input",
                              .lf_behind = how == DS_MESSAGES_JSON};
    enum dstream_code rc = ds_messages_init(&f->messages, how, max, json_depth);
    return rc == DSTREAM_OK ? ds_input_go_on(&f->input, mark, witness) : rc;
}

void ds_supply_input_free(struct ds_supply_input *f)
{
    ds_input_free(&f->input);
    ds_messages_free(&f->messages);
}
