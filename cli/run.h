/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a run of read, tail and export is made of: a loop with its time limits, signals and status
 * line, and streams that are read on it.
 *
 *   begin    a loop, and signals that are flags from now on
 *   name     each stream by its operand
 *   arm      the time limits count, the status line is drawn
 *   start    a stream is read; its batches are taken by the command
 *   turn     again and again
 *   end
 */
#ifndef DS_CLI_RUN_H
#define DS_CLI_RUN_H

#include "cli/cli.h"
#include "cli/span.h"
#include "cli/status.h"
#include "client/reader.h"

struct ds_run {
    struct ds_cli *cli;
    dstream_loop *loop;
    bool borrowed; /* the loop and the signals are somebody else's */
    bool stop;     /* nothing more is wanted of any stream */
    struct ds_timer max_time, idle;
    struct ds_status status;
};

/* ERR_NOMEM. It must stay where it is. */
enum dstream_code ds_run_begin(struct ds_run *r, struct ds_cli *c, struct dstream_error *err);
/* The same on a loop that is there, of who catches signals. It can be moved until it is armed. */
void ds_run_begin_on(struct ds_run *r, struct ds_cli *c, dstream_loop *loop);
/* What --count and --bytes ask for. */
struct ds_left ds_run_left(const struct ds_cli_options *o);
/* Makes sure that `streams` can have so many open files `each`. ERR_IO. */
enum dstream_code ds_run_files(size_t streams, unsigned each, struct dstream_error *err);
/* `tell` says what the status line shows; NULL: there is none. */
void ds_run_arm(struct ds_run *r, ds_status_ask tell, void *ctx);
/* Data came: --idle counts anew. */
void ds_run_took_data(struct ds_run *r);
/* One turn of the loop. INT and TERM set `stop`, USR1 prints a status line; *hup says that HUP
 * came. ERR_NOMEM. */
enum dstream_code ds_run_turn(struct ds_run *r, bool *hup, struct dstream_error *err);
/* Lets go of everything but the fact that a signal came. The readers must be gone. */
void ds_run_end(struct ds_run *r);

/* --- streams ---------------------------------------------------------------------------------- */

struct ds_source;
/* Takes a batch, all of it or as much as is wanted. What it returns but DSTREAM_OK ends the stream;
 * the reason is in s->error, or known to the command. */
typedef enum dstream_code (*ds_source_take)(void *ctx, struct ds_source *s, const dstream_batch *b);

struct ds_source {
    struct ds_run *run;
    char name[256]; /* as it was given, without secrets */
    struct ds_buf url;
    dstream_reader *reader; /* NULL before and after it is read */
    ds_source_take take;
    void *ctx;
    ds_on_head on_head; /* before it is started; NULL: nobody wants to know */
    void *head_ctx;
    bool hold; /* for who takes the batches to set: nothing was taken, the same one is to be offered
                  again after dstream_reader_resume() */
    bool witness_gone; /* nothing shows any more that it is the stream that an earlier run knew */
    bool gap;          /* what came next was no longer kept, and it goes on elsewhere */
    bool up_to_date;   /* for who takes the batches to set: all that was there is taken */
    bool closed;       /* the same: the closed end was reached, in this run or before */
    bool whole;        /* it was read to its proper end */
    bool done;         /* it is over */
    int64_t retry_at;  /* DS_NEVER: no retry is waited for */
    struct dstream_error error; /* why it failed */
};

/* Where to start, and what an earlier run knew of the stream. */
struct ds_source_start {
    const char *offset;
    uint64_t skip;
    bool seen; /* there was an earlier run: */
    const char *content_type;
    struct ds_witness witness; /* units 0: none */
    /* The witness, kept current by ds_client_set_witness(), is looked for again after each end of
     * an SSE connection and each error. */
    bool recheck;
};

/* Sets it up for an operand, with the complete URL. ERR_ARGUMENT, ERR_NOMEM. */
enum dstream_code ds_source_name(struct ds_source *s, struct ds_run *r, const char *operand,
                                 struct dstream_error *err);
/* Reads it, as the command's options have it, and hands its batches to `take`. On failure it is
 * done, with its error set. */
enum dstream_code ds_source_start(struct ds_source *s, const struct ds_source_start *at,
                                  ds_source_take take, void *ctx);
/* Ends the reading. Not from inside `take`. */
void ds_source_stop(struct ds_source *s);
/* Stops it and frees what it has. */
void ds_source_free(struct ds_source *s);

/* Its first request was answered, waits to be made again, or will not be made. */
bool ds_source_answered(const struct ds_source *s);
/* Fills in what the status line says it is doing. */
void ds_source_tell(const struct ds_source *s, struct ds_status_now *out);
/* Then, where there are `n`, for each of them. */
void ds_source_count(const struct ds_source *s, size_t n, struct ds_status_now *out);
/* Where it got to, as a shell takes it: on a terminal, or under -v. `go_on` is what stands before
 * the position of a stream that is not closed. */
void ds_source_say_position(const struct ds_source *s, const char *offset, uint64_t skip,
                            bool closed, const char *go_on);
/* Whether what --require asks for holds for it; `closed`: its closed end was reached. */
bool ds_source_satisfies(const struct ds_source *s, bool closed);
/* Says that it does not. Returns DS_EXIT_REQUIRE. */
int ds_run_unsatisfied(const struct ds_run *r);
/* The end of a run of `n` of them, which are `stride` bytes apart: names each that has failed,
 * which was said before and may have scrolled away, and how many there are of what. `all` is why
 * everything failed. Returns the exit code. */
int ds_run_summary(const struct ds_run *r, const struct ds_source *s, size_t stride, size_t n,
                   const struct dstream_error *all);

#endif
