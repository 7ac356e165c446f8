/* SPDX-License-Identifier: Apache-2.0 */
/* What became of the messages that a producer was given: kept as ranges, and said in words. */
#ifndef DS_CLI_FATES_H
#define DS_CLI_FATES_H

#include "cli/cli.h"
#include "cli/supply.h"
#include "producer/producer.h"

enum ds_told {
    DS_TOLD_STORED,
    DS_TOLD_UNKNOWN,
    DS_TOLD_NOT_STORED,
    DS_TOLD_KEPT, /* by the journal, */
    DS_TOLD_HELD, /* or not, since it could not be written */
    DS_TOLD_LEFT, /* not taken in by it: the next run reads it again */
    DS_TOLDS
};

/* Messages in a row with the same fate. */
struct ds_fate_range {
    enum ds_told told;
    bool earlier;          /* of an earlier run */
    uint64_t first, count; /* count 0: only the stream's close */
    bool from_known;
    uint64_t from, to; /* marks; to 0: not known */
};

#define DS_FATE_RANGES 64
struct ds_fates {
    struct ds_cli *cli;
    const struct ds_supply *supply; /* what the messages are of */
    bool journal;
    struct ds_fate_range ranges[DS_FATE_RANGES];
    size_t n;
    bool said;       /* some of them were */
    bool mark_known; /* where the last one ended */
    uint64_t mark;
};

/* `whole`: there was no earlier run, so that the first message begins at 0. */
void ds_fates_init(struct ds_fates *f, struct ds_cli *cli, const struct ds_supply *supply,
                   bool journal, bool whole);
/* The next result; in their order. */
void ds_fates_add(struct ds_fates *f, const struct ds_producer_result *r);
/* Whether there are any that were not said, but for those that are stored. */
bool ds_fates_failed(const struct ds_fates *f);
/* Says all that was not said, a line for each fate. Part of a failure, so -q does not hide it. */
void ds_fates_say(struct ds_fates *f);

#endif
