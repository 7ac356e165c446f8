/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The adapter by which the protocol's official client suite drives this library: commands in, one
 * JSON object a line, and for each of them one such line out.
 *
 *   main.c        lines, and the table of the commands
 *   reply.c       answers, and what an error of the library is called
 *   state.c       what is known between commands: streams by their paths, values by callback
 *   streams.c     create, connect, append, head, delete, close
 *   read.c        read
 *   producers.c   idempotent-*
 *   validate.c    validate
 *   bench.c       benchmark
 *   json.c        the lines' JSON
 *   text.c        bytes
 *
 * What is asked of the library is asked by its public header alone.
 */
#ifndef ADAPTER_H
#define ADAPTER_H

#include "dstream.h"
#include "tests/conformance/adapter/json.h"

/* Any answer has to come within 30 s of its command, and a benchmark's within 60. */
#define ANSWER_MS 24000
#define LIVE_MS   28000 /* the longest live read */
#define BENCH_MS  55000

#define TYPE_DEFAULT "application/octet-stream"

/* What is known of a path. */
struct path {
    char *name;
    char *type;             /* NULL: not known */
    dstream_stream *stream; /* NULL: not made yet */
    struct path *next;
};

/* A producer that lives on between commands. */
struct cached {
    char *path, *id;
    int64_t epoch; /* as the commands name it */
    dstream_producer *producer;
    struct cached *next;
};

enum source { SOURCE_COUNTER, SOURCE_TIMESTAMP, SOURCE_TOKEN };

/* A header or parameter whose value is made for each command. */
struct dynamic {
    char *name;
    enum source source;
    uint64_t counter;
    char *token;
    char *value; /* of the command under way; NULL: not made yet */
    struct dynamic *next;
};

struct command;

struct adapter {
    char *server; /* NULL: before init */
    dstream_loop *loop;
    struct path *paths;
    struct cached *producers;
    struct dynamic *headers, *params;
    const struct command *command; /* the one under way, for the callback of requests */
};

struct command {
    struct adapter *a;
    const char *type;
    const struct json *in;
    int64_t deadline; /* to have answered by */
    bool dynamic;     /* dynamic headers and parameters go along */
    struct text out;  /* the answer; empty: none yet */
    struct text url;
};

int64_t now_ms(void);
/* Until the deadline; never less than 0. */
int64_t time_left(const struct command *c);

/* --- what a command says: of the kind that the table promises, or absent --------------------- */

bool has(const struct command *c, const char *name);
/* `absent` where there is none. */
const char *get_text(const struct command *c, const char *name, const char *absent);
int64_t get_int(const struct command *c, const char *name, int64_t absent);
bool get_bool(const struct command *c, const char *name);

/* --- reply.c ---------------------------------------------------------------------------------- */

/* A success, to be continued, and at last ended. */
void reply(struct command *c);
void reply_text(struct command *c, const char *name, const char *value);
void reply_bytes(struct command *c, const char *name, const char *p, size_t n);
void reply_int(struct command *c, const char *name, int64_t value);
void reply_bool(struct command *c, const char *name, bool value);
/* The member's value is added by the caller. */
struct text *reply_member(struct command *c, const char *name);
void reply_end(struct command *c);

/* The one that the library refuses something with before any request. */
#define INVALID_ARGUMENT "INVALID_ARGUMENT"
/* `status` 0: none. */
void fail(struct command *c, const char *code, int status, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* An error of the library, by its circumstances. `more` (NULL: none) is an object. */
void fail_with(struct command *c, const dstream_error *e, const char *more);
/* One that has no circumstances. */
void fail_code(struct command *c, enum dstream_code code, const char *what);

/* --- state.c ---------------------------------------------------------------------------------- */

void state_reset(struct adapter *a);
struct path *find_path(struct adapter *a, const char *name);
/* Made where there is none. */
struct path *want_path(struct adapter *a, const char *name);
void set_path_type(struct adapter *a, const char *name, const char *type);
/* Also forgets its producers. */
void forget_path(struct adapter *a, const char *name);
/* As the command or what is known of its path has it. */
const char *type_of(const struct command *c);
/* The handle for single calls on the command's path. NULL: it has failed. */
dstream_stream *stream_of(struct command *c);
/* Options with the headers of whatever command is under way. */
dstream_options *new_options(struct adapter *a);
void forget_producer(struct adapter *a, struct cached *which);
void reply_dynamic(struct command *c);
void end_dynamic(struct adapter *a);

/* --- commands --------------------------------------------------------------------------------- */

void run_init(struct command *c);
void run_create(struct command *c);
void run_connect(struct command *c);
void run_append(struct command *c);
void run_head(struct command *c);
void run_delete(struct command *c);
void run_close(struct command *c);
void run_read(struct command *c);
void run_set_header(struct command *c);
void run_set_param(struct command *c);
void run_clear_dynamic(struct command *c);
void run_producer_append(struct command *c);
void run_producer_batch(struct command *c);
void run_producer_close(struct command *c);
void run_producer_detach(struct command *c);
void run_validate(struct command *c);
void run_benchmark(struct command *c);

#endif
