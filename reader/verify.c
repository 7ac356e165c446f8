/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finding a witness again: a stream that was deleted and made anew under the same URL looks the
 * same by its headers, so what was delivered last is read once more and compared by its hash.
 *
 * It is read by plain GETs from where it began. Answers may end anywhere, so that several may be
 * needed; of one that goes on behind the witness the rest is not waited for.
 */
#include <string.h>

#include "base/url.h"
#include "reader/session.h"

bool ds_verify_begin(struct ds_reader *r)
{
    struct ds_verify *v = &r->verify;
    if (v->running)
        return true;
    if (!v->hash)
        v->hash = ds_hash_new();
    if (!v->hash)
        return false;
    ds_hash_reset(v->hash);
    strcpy(v->at, r->witness.start);
    v->left = r->witness.units;
    v->running = true;
    return true;
}

static void found_or_not(struct ds_reader *r, bool found)
{
    r->verify.running = r->verify_due = false;
    if (found)
        r->a.outcome = DS_OUT_DONE;
    else if (strcmp(r->witness.start, "-1") == 0)
        ds_reader_suspect(r, DSTREAM_ERR_STREAM_RESET,
                          "the stream was made anew, or its beginning is no longer kept: what was "
                          "read of it is not there");
    else
        ds_reader_suspect(r, DSTREAM_ERR_STREAM_RESET,
                          "the stream was made anew: what was read of it last is not there");
}

static uint64_t units_at_hand(const struct ds_reader *r)
{
    return r->json ? r->items.count : r->items.bytes.len;
}

static void hash_units(struct ds_reader *r, uint64_t units)
{
    if (r->json)
        ds_hash_messages(r->verify.hash, r->items.bytes.data, r->items.ends, (size_t)units);
    else
        ds_hash_add(r->verify.hash, r->items.bytes.data, (size_t)units);
    r->verify.left -= units;
}

void ds_verify_more(struct ds_reader *r)
{
    char got[DS_HASH_HEX];
    if (units_at_hand(r) < r->verify.left)
        return;
    hash_units(r, r->verify.left);
    ds_hash_hex(r->verify.hash, got);
    found_or_not(r, strcmp(got, r->witness.hash) == 0);
}

void ds_verify_complete(struct ds_reader *r)
{
    struct ds_attempt *a = &r->a;
    uint64_t units = units_at_hand(r);
    bool before = !ds_token_is_sentinel(a->start) && strcmp(a->next, a->start) < 0;
    if (a->up_to_date || before) {
        found_or_not(r, false);
        return;
    }
    if (units == 0 || strcmp(a->next, a->start) == 0) {
        ds_reader_bad_answer(r, "the answer has no data, and does not say that it is up to date");
        return;
    }
    hash_units(r, units);
    strcpy(r->verify.at, a->next);
}

void ds_verify_gone(struct ds_reader *r)
{
    r->verify.running = r->verify_due = false;
    r->witness.units = 0;
    r->a.outcome = DS_OUT_DONE;
    ds_reader_notice(r, DS_NOTICE_WITNESS_GONE, 0);
}
