/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dstream.h - read, tail, export and write Durable Streams.
 *
 * Conventions that hold for every call
 *   Text      is NUL-terminated UTF-8 unless a length is given. Stream data is bytes: NUL is data.
 *   Handles   are opaque. A function that makes one publishes it last, so that on failure the
 *             caller's pointer is NULL. free(NULL) is fine for every *_free.
 *   Errors    are `enum dstream_code`, 0 for success. An error sticks to its handle: once a reader
 *             has failed, each later call on it returns the same code.
 *   Threads   a loop and the handles on it belong to one thread. Only dstream_loop_wake() and the
 *             *_cancel() of a reader, a producer or a stream may be called from others. The library
 *             makes no thread of its own; libcurl resolves names in one, which nothing here ever
 *             waits for.
 *   Time      is in milliseconds. A time limit of -1 means no limit.
 */
#ifndef DSTREAM_H
#define DSTREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define DSTREAM_API __attribute__((visibility("default")))
#else
#define DSTREAM_API
#endif

/* --- errors ----------------------------------------------------------------------------------- */

/* What went wrong. The ranges are fixed: 1xx use, 2xx network, 3xx HTTP, 4xx protocol and decoding,
 * 5xx files, 6xx limits of our own. Numbers never change their meaning. */
enum dstream_code {
    DSTREAM_OK = 0,

    DSTREAM_ERR_ARGUMENT = 100,  /* an argument or option is out of its documented range */
    DSTREAM_ERR_STATE = 101,     /* the call does not fit what the handle is doing */
    DSTREAM_ERR_NOMEM = 102,     /* no memory */
    DSTREAM_ERR_CANCELLED = 103, /* cancelled by the caller */
    DSTREAM_ERR_INTERNAL = 104,  /* a bug in dstream */

    DSTREAM_ERR_RESOLVE = 200,  /* the host's name does not resolve */
    DSTREAM_ERR_CONNECT = 201,  /* the connection was refused or could not be made */
    DSTREAM_ERR_TLS = 202,      /* the certificate or the TLS set-up is not acceptable */
    DSTREAM_ERR_NETWORK = 203,  /* reset, cut short, or otherwise broken in the middle */
    DSTREAM_ERR_TIMEOUT = 204,  /* a time limit of ours, or HTTP 408 */
    DSTREAM_ERR_REDIRECT = 205, /* a redirect that must not or can no longer be followed */

    DSTREAM_ERR_BAD_REQUEST = 300,     /* 400, 405, 415, 501 and the like: request refused */
    DSTREAM_ERR_AUTH = 301,            /* 401 or 403 */
    DSTREAM_ERR_NOT_FOUND = 302,       /* 404: there is no such stream */
    DSTREAM_ERR_GONE = 303,            /* 410: the offset is no longer kept; on a call that is not
                                          a read: soft-deleted */
    DSTREAM_ERR_DELETED = 304,         /* 404 on a stream that was there before, or soft-deleted */
    DSTREAM_ERR_CONFLICT = 305,        /* 409: exists with another configuration or type */
    DSTREAM_ERR_CLOSED = 306,          /* 409: the stream is closed */
    DSTREAM_ERR_BUSY = 307,            /* 429 */
    DSTREAM_ERR_SERVER = 308,          /* 5xx */
    DSTREAM_ERR_OUTCOME_UNKNOWN = 309, /* the answer to a write was lost: it may be stored or not */
    DSTREAM_ERR_FENCED = 310,          /* another writer has taken over under this producer id */
    DSTREAM_ERR_SEQUENCE = 311,        /* 409: a Stream-Seq that is not above the last one; or a
                                          producer's number, where the server has seen later ones */
    DSTREAM_ERR_TOO_LARGE = 312,       /* 413: more at once than the server takes */

    DSTREAM_ERR_PROTOCOL = 400,     /* the server broke the protocol */
    DSTREAM_ERR_PARSE = 401,        /* malformed control event, base64 or JSON */
    DSTREAM_ERR_STREAM_RESET = 402, /* the stream was made anew under the same URL */
    DSTREAM_ERR_INPUT = 403,        /* input of the caller is not valid for the stream's type */
    DSTREAM_ERR_STATE_LOST = 404,   /* the server has forgotten what it had stored of a producer */
    DSTREAM_ERR_NO_PRODUCERS = 405, /* the server does not support producers */

    DSTREAM_ERR_IO = 500,             /* a file could not be read, written, synced or renamed */
    DSTREAM_ERR_LOCKED = 501,         /* somebody else has the file locked */
    DSTREAM_ERR_EXISTS = 502,         /* the file is there already */
    DSTREAM_ERR_STATE_CORRUPT = 503,  /* a state file is empty, damaged or of an unknown version */
    DSTREAM_ERR_STATE_MISMATCH = 504, /* state, file and stream do not fit each other */

    DSTREAM_ERR_LIMIT = 600 /* an event, body, header, line or token over one of our limits */
};

/* The code's name, as "DSTREAM_ERR_GONE". Static; never NULL. */
DSTREAM_API const char *dstream_code_name(enum dstream_code code);
/* The code in a few words, as "the stream is closed". Static; never NULL. */
DSTREAM_API const char *dstream_code_text(enum dstream_code code);
/* Whether the same call may succeed later without the caller changing anything. */
DSTREAM_API bool dstream_is_retryable(enum dstream_code code);

/* An error with its circumstances. Lent by the handle it came from and valid as long as that one.
 */
typedef struct dstream_error dstream_error;

DSTREAM_API enum dstream_code dstream_error_code(const dstream_error *e);
/* The HTTP status that caused it, or 0. */
DSTREAM_API int dstream_error_status(const dstream_error *e);
/* The stream's URL without credentials, "" where none is known. */
DSTREAM_API const char *dstream_error_url(const dstream_error *e);
/* The position that the failed request asked for, "" where none is known. */
DSTREAM_API const char *dstream_error_offset(const dstream_error *e);
/* What happened, in one line without control characters. */
DSTREAM_API const char *dstream_error_message(const dstream_error *e);

/* --- version ---------------------------------------------------------------------------------- */

/* The release, as "0.1.0". Static. */
DSTREAM_API const char *dstream_version(void);

/* --- loop ------------------------------------------------------------------------------------- */
/* One loop drives many streams on the thread that runs it: either it waits by itself, in
 * dstream_loop_turn(), or the caller's own event loop does the waiting (see below). Loops are
 * independent of each other. */

typedef struct dstream_loop dstream_loop;

/* A new loop, or NULL without memory or descriptors. */
DSTREAM_API dstream_loop *dstream_loop_new(void);
/* Frees it. Every handle on it must have been freed before. */
DSTREAM_API void dstream_loop_free(dstream_loop *loop);
/* One turn: waits at most `timeout_ms` (-1: as long as it takes) for something to do, does it, and
 * returns. DSTREAM_OK, or DSTREAM_ERR_NOMEM; ERR_STATE from inside a callback of this loop. A
 * signal that arrives ends the wait early. */
DSTREAM_API enum dstream_code dstream_loop_turn(dstream_loop *loop, int64_t timeout_ms);
/* Makes the turn under way, or else the next one, return at once. Callable from any thread and from
 * signal handlers. */
DSTREAM_API void dstream_loop_wake(dstream_loop *loop);

/* A loop inside the caller's own. dstream_loop_drive() names the descriptors to watch, now and
 * whenever that changes. The caller waits for them, for dstream_loop_timeout() at most, then calls
 *   dstream_loop_ready()   for each that is ready, and after these, in any case,
 *   dstream_loop_expire()  once.
 * All callbacks of the handles come from within these two. */

enum dstream_watch { DSTREAM_WATCH_READ = 1, DSTREAM_WATCH_WRITE = 2 };

/* Watch `fd` for `what` (enum dstream_watch, or-ed) from now on; 0: no longer. It replaces what was
 * said of this descriptor before. It is level-triggered, and may be called from within any call of
 * this library. The descriptor stays the library's: it is neither read nor closed by the caller,
 * and is named with 0 before it is closed. */
typedef void (*dstream_on_watch)(void *ctx, int fd, unsigned what);
/* Names all descriptors of now, and from then on each change; one of them is for
 * dstream_loop_wake(). NULL ends it. */
DSTREAM_API void dstream_loop_drive(dstream_loop *loop, dstream_on_watch on_watch, void *ctx);
/* Milliseconds until dstream_loop_expire() has something to do: 0: now, -1: nothing is waited for.
 * Ask anew before each wait. */
DSTREAM_API int64_t dstream_loop_timeout(dstream_loop *loop);
/* The descriptor is ready for `what` (a hang-up or error counts as both). One that is no longer
 * watched is ignored. Codes as of dstream_loop_turn(). */
DSTREAM_API enum dstream_code dstream_loop_ready(dstream_loop *loop, int fd, unsigned what);
/* Does what is due by now. */
DSTREAM_API enum dstream_code dstream_loop_expire(dstream_loop *loop);

/* --- batches ---------------------------------------------------------------------------------- */
/* What is delivered, together with the position after it: who stores both in one step has each byte
 * exactly once, over any cut, crash and restart. */

typedef struct dstream_batch dstream_batch;

enum dstream_batch_flags {
    DSTREAM_BATCH_UP_TO_DATE = 1, /* reaches the tail as of now. Not the end */
    DSTREAM_BATCH_CLOSED = 2,     /* the stream is closed and this is its end */
    DSTREAM_BATCH_PARTIAL = 4,    /* more of the same answer follows; `next` is empty */
    DSTREAM_BATCH_JSON = 8,       /* a JSON stream: the data are messages */
    DSTREAM_BATCH_LOSSY = 16 /* a text stream read by SSE: CR and non-UTF-8 bytes are changed */
};

/* The bytes. On a JSON stream: the messages, each followed by one LF, a message being the writer's
 * own bytes. Length in *len. Valid until the callback returns or the next call on the reader. */
DSTREAM_API const char *dstream_batch_data(const dstream_batch *b, size_t *len);
/* The number of messages of a JSON stream, else 0. */
DSTREAM_API size_t dstream_batch_count(const dstream_batch *b);
/* Message `i` (from 0, below the count) without its LF, length in *len. Same life as the data. */
DSTREAM_API const char *dstream_batch_message(const dstream_batch *b, size_t i, size_t *len);
/* The offset the answer began at, and how many of its messages (JSON) or bytes lie before this
 * data: (start, skip) names the exact position of the first one here. */
DSTREAM_API const char *dstream_batch_start(const dstream_batch *b);
DSTREAM_API uint64_t dstream_batch_skip(const dstream_batch *b);
/* The offset after this data: what to store, and to start from the next time. */
DSTREAM_API const char *dstream_batch_next(const dstream_batch *b);
/* The cursor that came with it, "" where there was none. */
DSTREAM_API const char *dstream_batch_cursor(const dstream_batch *b);
/* enum dstream_batch_flags, or-ed. */
DSTREAM_API unsigned dstream_batch_flags(const dstream_batch *b);

/* --- reading ---------------------------------------------------------------------------------- */

typedef struct dstream_options dstream_options;
typedef struct dstream_reader dstream_reader;

/* How to go on once the reader is up to date. */
enum dstream_live {
    DSTREAM_LIVE_OFF = 0, /* do not: end there */
    DSTREAM_LIVE_AUTO,    /* SSE for JSON and binary streams, long-poll for text (SSE changes it) */
    DSTREAM_LIVE_SSE,     /* Server-Sent Events */
    DSTREAM_LIVE_LONG_POLL /* long-poll */
};

/* Options with their defaults (from the beginning, live off), or NULL without memory. A reader
 * copies them, so they can be changed or freed once it is open. */
DSTREAM_API dstream_options *dstream_options_new(void);
DSTREAM_API void dstream_options_free(dstream_options *o);
/* Where to start: "-1" (beginning), "now", or an offset got from a batch, and how many messages
 * (JSON) or bytes after it to leave out. ERR_ARGUMENT for a malformed offset (empty, over 1024
 * bytes, control characters or white space), or a skip with "now". */
DSTREAM_API enum dstream_code dstream_options_set_start(dstream_options *o, const char *offset,
                                                        uint64_t skip);
DSTREAM_API enum dstream_code dstream_options_set_live(dstream_options *o, enum dstream_live live);
/* Whether large answers are handed out in parts, as they come (DSTREAM_BATCH_PARTIAL), so that
 * memory stays bounded whatever a server sends at once: near 1 MiB, or the largest message of a
 * JSON stream (64 MiB at most). Off by default: each batch then has a `next`, and an answer of over
 * 64 MiB is ERR_LIMIT. Of a part (start, skip) says where it is; what to store behind it is
 * (start, skip + what it holds). */
DSTREAM_API enum dstream_code dstream_options_set_parts(dstream_options *o, bool on);
/* Whether to make the live request at the start at once, without catching up by plain GETs, which
 * caches can answer. Off by default. The content is the same. */
DSTREAM_API enum dstream_code dstream_options_set_live_at_once(dstream_options *o, bool on);
/* What to do where the server no longer keeps what comes next, though the stream is still there
 * (410): end with ERR_GONE (the default), or go on at the earliest data that is left, or at the
 * tail. The batch that follows such a gap has "-1" or "now" as its start. */
enum dstream_gone { DSTREAM_GONE_FAIL = 0, DSTREAM_GONE_EARLIEST, DSTREAM_GONE_NOW };
DSTREAM_API enum dstream_code dstream_options_set_on_gone(dstream_options *o,
                                                          enum dstream_gone what);
/* The stream's content type, where the caller knows it from before. To go live at once takes no
 * HEAD then. A stream of another one is another stream (ERR_STREAM_RESET). NULL (the default): not
 * known. */
DSTREAM_API enum dstream_code dstream_options_set_type(dstream_options *o,
                                                       const char *content_type);
/* How often what fails in a way that may pass (the network, 408, 425, 429, 5xx) is repeated: 0 or
 * more. Default: 5. Readers that follow a stream, and have had an answer, go on for ever; so do
 * producers up to their delivery time-out. All else ends after 20 s without progress in any case.
 */
DSTREAM_API enum dstream_code dstream_options_set_retries(dstream_options *o, int retries);
/* The waits between these tries, milliseconds: the first (1 or more), the longest (not below the
 * first), and by how much each is longer than the one before (1 to 1000). Half of each is drawn at
 * random. What a server asks for (Retry-After) is kept to beside this. Default: 100, 30000, 2. */
DSTREAM_API enum dstream_code dstream_options_set_backoff(dstream_options *o, int64_t first_ms,
                                                          int64_t most_ms, double growth);
/* Other limits. A time over its limit is a failure of the request (ERR_TIMEOUT), which is repeated
 * as above; a size over its limit ends the reading (ERR_LIMIT). */
enum dstream_limit {
    /* Milliseconds, 1 or more; -1: no limit. */
    DSTREAM_LIMIT_CONNECT = 1,      /* making a connection, TLS included. Default: 10000 */
    DSTREAM_LIMIT_HEADER,           /* from there to the head of an answer. 10000 */
    DSTREAM_LIMIT_HEADER_SSE,       /* the same where SSE is asked for. 30000 */
    DSTREAM_LIMIT_HEADER_LONG_POLL, /* the same of a long-poll, which servers hold. 90000 */
    DSTREAM_LIMIT_SILENCE,          /* between two pieces of a body. 30000 */
    DSTREAM_LIMIT_SILENCE_SSE,      /* between two bytes of an event stream. 90000 */
    DSTREAM_LIMIT_FIRST_BYTE_SSE,   /* from its head to its first byte. 10000 */
    DSTREAM_LIMIT_RETRY_TIME,       /* without progress, where retrying ends. 20000 */
    DSTREAM_LIMIT_RETRY_AFTER,      /* the longest wait that a server can ask for. 300000 */
    DSTREAM_LIMIT_REPLICA_LAG,      /* how long what looks like another stream may come from a
                                       replica that is behind; also 0. 10000 */
    DSTREAM_LIMIT_PROBE,            /* until SSE is tried again that did not work, doubled each time
                                       up to an hour. 300000 */
    /* Bytes, 1 or more. */
    DSTREAM_LIMIT_EVENT_BYTES, /* data of SSE up to its position: more is fetched by plain GETs.
                                  64 MiB */
    DSTREAM_LIMIT_BODY_BYTES,  /* one answer; where it comes in parts, one message. 64 MiB */
    DSTREAM_LIMIT_PART_BYTES   /* a part, see dstream_options_set_parts(). 1 MiB */
};
/* ERR_ARGUMENT for a limit that there is not, or a value out of its range. */
DSTREAM_API enum dstream_code dstream_options_set_limit(dstream_options *o, enum dstream_limit what,
                                                        int64_t value);
/* Whether a stream that is not there yet is waited for, for as long as it takes. Off by default: a
 * 404 is ERR_NOT_FOUND. */
DSTREAM_API enum dstream_code dstream_options_set_wait_create(dstream_options *o, bool on);
/* What a reader meets and goes on from, said as it happens. */
enum dstream_notice {
    DSTREAM_NOTICE_RETRY = 0,   /* a failure: it asks again in `delay_ms` */
    DSTREAM_NOTICE_RECONNECT,   /* a live connection came to its regular end: it asks again */
    DSTREAM_NOTICE_FALLBACK,    /* SSE does not work here: long-poll. Said once */
    DSTREAM_NOTICE_PACED,       /* answers without progress come fast: it asks less often. Once */
    DSTREAM_NOTICE_LOSSY,       /* SSE on a text stream, as asked for, changes bytes. Once */
    DSTREAM_NOTICE_GAP,         /* what was due is no longer kept: it goes on as
                                   dstream_options_set_on_gone() says. Comes before the data */
    DSTREAM_NOTICE_SUSPECT,     /* it looks like another stream: it asks again in `delay_ms`, since
                                   a replica may be behind */
    DSTREAM_NOTICE_WITNESS_GONE /* only of the command's exports */
};
/* `why`: the failure behind RETRY and SUSPECT, else NULL; lent for the call. Called on the loop's
 * thread, from within its turn. It may call all that on_batch may. NULL ends it. */
typedef void (*dstream_on_notice)(void *ctx, dstream_reader *r, enum dstream_notice what,
                                  int64_t delay_ms, const dstream_error *why);
DSTREAM_API enum dstream_code dstream_options_set_on_notice(dstream_options *o,
                                                            dstream_on_notice on_notice, void *ctx);
/* For how long an answer that looks like that of another stream (or of none: 404 on one that was
 * there) may be a replica's that lags behind, milliseconds: until then it is asked again. 0: not at
 * all. Default: 10000. */
DSTREAM_API enum dstream_code dstream_options_set_replica_lag(dstream_options *o, int64_t ms);
/* A request header, "Name: value". May be called repeatedly. ERR_ARGUMENT for a line break, a
 * missing colon, or a name that the library sets itself. */
DSTREAM_API enum dstream_code dstream_options_add_header(dstream_options *o, const char *header);
/* Headers and query parameters that are made anew for each request, as credentials that expire. The
 * callback is called on the loop's thread before each request to the stream's own origin, and adds
 * what it has; what it returns other than DSTREAM_OK ends the reading with that code. `refused`
 * says that the server refused the last request (401 or 403): the callback is asked once more then,
 * for other credentials, and the request is repeated; another refusal ends the reading, and only a
 * success makes it ask again. Where there are no others it returns DSTREAM_ERR_AUTH, and the
 * reading ends with what the server said. Give no header both here and by
 * dstream_options_add_header(). */
typedef struct dstream_request dstream_request;
typedef enum dstream_code (*dstream_on_request)(void *ctx, dstream_request *q, bool refused);
DSTREAM_API enum dstream_code
dstream_options_set_on_request(dstream_options *o, dstream_on_request on_request, void *ctx);
/* Within the callback. The texts are copied. ERR_ARGUMENT as of dstream_options_add_header(), and
 * for a parameter named offset, live or cursor; ERR_LIMIT; ERR_NOMEM. A failure ends the reading
 * even where the callback does not pass it on. */
DSTREAM_API enum dstream_code dstream_request_add_header(dstream_request *q, const char *header);
DSTREAM_API enum dstream_code dstream_request_add_param(dstream_request *q, const char *key,
                                                        const char *value);
/* A file of CA certificates (PEM) to trust instead of the system's. */
DSTREAM_API enum dstream_code dstream_options_set_cacert(dstream_options *o, const char *path);
/* Whether to accept any certificate. Off by default, and meant for tests. */
DSTREAM_API enum dstream_code dstream_options_set_insecure(dstream_options *o, bool insecure);
/* Files (PEM) of a certificate of our own, for servers that ask for one, and of its key. `key`
 * NULL: it is in the file of the certificate. `cert` NULL: none. A key that needs a pass phrase
 * cannot be used. Like the headers and what netrc has, it is for the origin of the reader's URL
 * alone: a request that was redirected elsewhere goes without. ERR_ARGUMENT for a key alone. */
DSTREAM_API enum dstream_code dstream_options_set_cert(dstream_options *o, const char *cert,
                                                       const char *key);
/* A file like ~/.netrc: names and passwords by host, for "Authorization: Basic". What is in the
 * URL, or an Authorization header that was added, goes first. NULL (the default): none. */
DSTREAM_API enum dstream_code dstream_options_set_netrc(dstream_options *o, const char *path);
/* The proxy to connect by: [SCHEME://][USER:PASSWORD@]HOST[:PORT] with a scheme of http (the
 * default), https, socks4, socks4a, socks5 or socks5h (the proxy resolves names). NULL (the
 * default): that of the environment (http_proxy for http, https_proxy, all_proxy); "": none. Either
 * way hosts that are in the environment's no_proxy are connected to directly. A https proxy is
 * trusted as a server is, but always checked. ERR_ARGUMENT for another form. */
DSTREAM_API enum dstream_code dstream_options_set_proxy(dstream_options *o, const char *url);
/* "HOST:PORT:ADDRESS[,ADDRESS]...": connect to these addresses for HOST and PORT instead of
 * resolving the name. May be called repeatedly. What is resolved, in whatever way, holds for all
 * readers of a loop. Not where a proxy resolves. ERR_ARGUMENT for another form. */
DSTREAM_API enum dstream_code dstream_options_add_resolve(dstream_options *o, const char *entry);
/* Whether to use HTTP/1.1 alone. Off by default: over TLS it is HTTP/2 where the server agrees,
 * with one connection for all readers of a loop that read from that server. A reader whose consumer
 * is slow may then take up to 32 MiB; one that holds a batch for a second is disconnected until it
 * goes on, which is seen by the server alone. On HTTP/1.1 each has a connection of its own, and a
 * slow one costs nothing. */
DSTREAM_API enum dstream_code dstream_options_set_http1(dstream_options *o, bool only);
/* Answers may come compressed by gzip (RFC 9110, 8.4.1). Never asked for by default. All limits
 * are for what they are decompressed to. */
DSTREAM_API enum dstream_code dstream_options_set_compressed(dstream_options *o, bool on);

/* Opens a reader for the stream at `url` (http or https; its own query parameters are kept). Sends
 * nothing yet. `loop` may be NULL: the reader then has one of its own, for the blocking way. On
 * failure *out is NULL. ERR_ARGUMENT (no such scheme, a query parameter named offset, live or
 * cursor), ERR_NOMEM. */
DSTREAM_API enum dstream_code dstream_reader_open(dstream_reader **out, dstream_loop *loop,
                                                  const char *url, const dstream_options *o);
/* Cancels what is under way, and frees it. Nothing is called back afterwards. Not from inside its
 * own callbacks. */
DSTREAM_API void dstream_reader_free(dstream_reader *r);

/* The blocking way: what dstream_reader_next() found. */
enum dstream_next {
    DSTREAM_NEXT_BATCH = 1,   /* *batch is the next batch */
    DSTREAM_NEXT_END = 2,     /* the end: closed, or up to date where live is off */
    DSTREAM_NEXT_TIMEOUT = 3, /* nothing came within the time; call again */
    DSTREAM_NEXT_ERROR = 4    /* failed: dstream_reader_error() */
};
/* Waits for the next batch, at most `timeout_ms` (-1: no limit). Asking for the next batch is the
 * acknowledgement of the last one, whose data are no longer valid then. A reader that was started
 * with callbacks is not read this way: DSTREAM_NEXT_ERROR, without an error of its own. */
DSTREAM_API enum dstream_next dstream_reader_next(dstream_reader *r, int64_t timeout_ms,
                                                  const dstream_batch **batch);

/* The callback way. What the callback answers to a batch. */
enum dstream_flow {
    DSTREAM_FLOW_NEXT = 0, /* taken: it is acknowledged */
    DSTREAM_FLOW_HOLD = 1, /* not taken: offer it again after dstream_reader_resume() */
    DSTREAM_FLOW_STOP = 2  /* taken, and stop reading: the end is called with DSTREAM_OK */
};
typedef enum dstream_flow (*dstream_on_batch)(void *ctx, dstream_reader *r, const dstream_batch *b);
/* Called once, after the last batch: DSTREAM_OK for a regular end, else as dstream_reader_error().
 */
typedef void (*dstream_on_end)(void *ctx, dstream_reader *r, enum dstream_code code);
/* Starts reading on the loop that the reader was opened with; the callbacks are called by
 * dstream_loop_turn(). ERR_STATE when it was started before. */
DSTREAM_API enum dstream_code dstream_reader_start(dstream_reader *r, dstream_on_batch on_batch,
                                                   dstream_on_end on_end, void *ctx);
/* Goes on after DSTREAM_FLOW_HOLD: the same batch is offered again. Also ends a pause. */
DSTREAM_API void dstream_reader_resume(dstream_reader *r);

/* Both ways of use. Closes the request that is under way, and delivers nothing more until
 * dstream_reader_resume(); then reading goes on from dstream_reader_offset() by a plain GET, and
 * live again from there. A batch on offer stays on offer. For a wait that is to last: a HOLD keeps
 * its connection (not for long where that is shared, see dstream_options_set_http1()). */
DSTREAM_API void dstream_reader_pause(dstream_reader *r);
/* Ends it, from any thread. No callback, not even the one for the end, begins after this has
 * returned: one that is under way on the loop's thread may still be running. The loop closes the
 * connection in its next turn at the latest. dstream_reader_next() that waits, or is called later,
 * returns DSTREAM_NEXT_ERROR; the error is then ERR_CANCELLED. One that is cancelled before it was
 * started sends nothing. The reader is still to be freed, by the loop's thread. */
DSTREAM_API void dstream_reader_cancel(dstream_reader *r);

/* The position after the last acknowledged batch: "-1" or "now" until there is a real one. Valid
 * until the next call on the reader or turn of its loop. */
DSTREAM_API const char *dstream_reader_offset(const dstream_reader *r);
/* The stream's content type, "" until the first answer. Same life. */
DSTREAM_API const char *dstream_reader_content_type(const dstream_reader *r);
/* What the server said last, whether or not a batch came of it: the HTTP status of the last whole
 * answer, 200, or 204 where nothing new came to a long-poll (200 for each control event of SSE; 0:
 * there was none yet), and the offset that it named, "" before that. For who watches. To go on
 * from is what a batch says, or dstream_reader_offset(): a server may name an offset before it
 * sends the data up to there. Same life. */
DSTREAM_API int dstream_reader_last_status(const dstream_reader *r);
DSTREAM_API const char *dstream_reader_last_offset(const dstream_reader *r);
/* The ETag of the last answer to a plain GET or a long-poll (RFC 9110, 8.8.3), as it was sent, with
 * its quotes; "" where it had none, or one over 255 bytes. It tells answers apart, but not streams:
 * one made anew under the same URL may have the same. Same life. */
DSTREAM_API const char *dstream_reader_etag(const dstream_reader *r);
/* The error it failed with; its code is DSTREAM_OK where it did not. */
DSTREAM_API const dstream_error *dstream_reader_error(const dstream_reader *r);

/* --- writing: options ------------------------------------------------------------------------- */
/* The headers, the request callback and the TLS settings above hold for writing as for reading;
 * what is said of where and how to read does not matter here, and what follows does not matter to
 * a reader. Each returns ERR_ARGUMENT for what is out of the bounds said here, and changes nothing
 * then. */

/* The epoch of a producer. A server keeps, for each stream and producer id, one epoch and the last
 * sequence number under it, and stores a number once. It refuses who comes with a lower epoch
 * (fenced); a higher one takes over, from number 0 on (the Durable Streams protocol, "Idempotent
 * producers"). From 0 to 2^53-1.
 *
 * By default the epoch is drawn from the clock (milliseconds * 1024 + random bits): it lies above
 * that of every earlier run, whatever became of it, and meets nobody. `highest` is the highest that
 * the caller knows of (0: none), in case the clock was set back. */
DSTREAM_API enum dstream_code dstream_options_set_epoch_auto(dstream_options *o, uint64_t highest);
/* An epoch of the caller's own, who keeps account of what was used, and takes another one for each
 * run. `flags` (or-ed) say more; RESUBMIT does not go with CLAIM. */
enum dstream_epoch_flags {
    /* (id, epoch) was never used on this stream: a number that turns out to be stored already can
     * only have been stored by this producer. Without it such an answer to a repeated batch leaves
     * the fate of that one unknown, until one has been stored. */
    DSTREAM_EPOCH_FRESH = 1,
    /* Where the server has a higher one, claim one above that, as long as nothing was acknowledged:
     * afterwards it is fenced as any other. The epoch in use is DSTREAM_COUNT_EPOCH. */
    DSTREAM_EPOCH_CLAIM = 2,
    /* The messages are those of an earlier run under this epoch, from its first one on, and make
     * the same batches: a number that is stored already is a success, reported as a duplicate. */
    DSTREAM_EPOCH_RESUBMIT = 4
};
DSTREAM_API enum dstream_code dstream_options_set_epoch(dstream_options *o, uint64_t epoch,
                                                        unsigned flags);
/* How long a message waits for others to share a request with it, milliseconds, from 0 on. It does
 * not where the batch is full, on flush, detach and close, and when an append found no room.
 * Default: 5. */
DSTREAM_API enum dstream_code dstream_options_set_linger(dstream_options *o, int64_t ms);
/* The most that goes into one request: bytes of its body, brackets and commas of JSON included, and
 * messages (SIZE_MAX: any number). 1 each at the least, and 1 GiB at the most. Default: 1 MiB, any
 * number. A message that is larger is refused. */
DSTREAM_API enum dstream_code dstream_options_set_batch(dstream_options *o, size_t bytes,
                                                        size_t messages);
/* How many requests are under way at once at the most, from 1 to 64. Default: 5. One that overtakes
 * an earlier one on its way is refused and sent again, so where that happens there are fewer for a
 * while. */
DSTREAM_API enum dstream_code dstream_options_set_in_flight(dstream_options *o, unsigned requests);
/* How much memory messages may take that have no fate yet, bytes, from 1 on: over this an append
 * has to wait. Each counts with its bytes and a few more. A message that is larger is taken where
 * there is no other. Default: 32 MiB. */
DSTREAM_API enum dstream_code dstream_options_set_buffer(dstream_options *o, size_t bytes);
/* After how many milliseconds without progress the producer gives up (-1: never): the time since
 * the first message without a fate was ready to be sent, or since the last acknowledgement, and
 * what a slow upload takes. Failures of the network and the server are retried until then. What may
 * have been stored is unknown then, the rest not written. Default: 120000. */
DSTREAM_API enum dstream_code dstream_options_set_delivery_timeout(dstream_options *o, int64_t ms);
/* What to do where the server refuses a batch as it is (400, or 413 to a single message): end (the
 * default), or report it and go on behind it. */
enum dstream_refused { DSTREAM_REFUSED_STOP = 0, DSTREAM_REFUSED_SKIP };
DSTREAM_API enum dstream_code dstream_options_set_on_refused(dstream_options *o,
                                                             enum dstream_refused what);
/* Whether to go on where that could store a message twice (a server that has forgotten the producer
 * while an answer was lost, above all), instead of ending with its fate unknown. What it may have
 * befallen is marked (dstream_result_maybe_duplicate). Off by default. */
DSTREAM_API enum dstream_code dstream_options_set_allow_duplicates(dstream_options *o, bool on);
/* Whether the caller answers for JSON messages being one JSON value each, so that they are not
 * checked. Off by default. */
DSTREAM_API enum dstream_code dstream_options_set_trusted(dstream_options *o, bool on);
/* Whether a call that appends (dstream_call) carries a producer identity of its handle's own, so
 * that it can be repeated when its answer is lost. On by default; see there. */
DSTREAM_API enum dstream_code dstream_options_set_append_identity(dstream_options *o, bool on);
/* Whether the caller knows that the server has producers, so that such a call is repeated after a
 * lost answer from the first one on. Off by default: the server has to show it, by an answer to an
 * append on the same handle. */
DSTREAM_API enum dstream_code dstream_options_set_producers_known(dstream_options *o, bool known);

/* --- writing: producers ----------------------------------------------------------------------- */
/* Messages in, each of them stored once and in order, or its fate reported truly.
 *
 * Messages go out in batches, several requests at once. Failures of the network, 408, 425, 429 and
 * 5xx are retried, the same bytes under the same sequence number, so that a lost answer does no
 * harm; a batch that the server finds too large (413) is split. What cannot be known is said to be
 * unknown, and is never sent a second time under another number.
 *
 * Nothing happens by itself: requests and callbacks are the business of dstream_loop_turn(), or of
 * the calls that wait, which turn the loop. Where the producer has a loop of its own (it was opened
 * without one), appending turns it as well, now and then, without waiting: so callbacks may come
 * from within any of its calls.
 *
 * Limits that no client can lift: a server that forgets a producer (with its state, or after a
 * time) may store a late copy of a request once more; so may a proxy that repeats a POST on its own
 * account; and two writers under one id must not use the same epoch. */

typedef struct dstream_producer dstream_producer;

/* A producer for the stream at `url`, which exists and is of `content_type` (on
 * "application/json" each message is one JSON value; else messages are bytes, and no border is
 * left between them). `id` names it to the server, 1 to 1024 bytes without control characters, and
 * no space at an end; NULL draws one of 128 random bits. Options and loop as of
 * dstream_reader_open(). Sends nothing yet. On failure *out is NULL. ERR_ARGUMENT, ERR_LIMIT (no
 * epoch is left), ERR_NOMEM. */
DSTREAM_API enum dstream_code dstream_producer_open(dstream_producer **out, dstream_loop *loop,
                                                    const char *url, const char *content_type,
                                                    const char *id, const dstream_options *o);
/* Breaks off what is under way, and frees it. The stream stays open. Returns how many messages that
 * were taken had no fate yet, which are forgotten: 0 after a dstream_producer_detach(). Not from
 * inside its own callbacks. */
DSTREAM_API uint64_t dstream_producer_free(dstream_producer *p);

/* What became of the messages first, first + 1, ... first + count - 1. */
typedef struct dstream_result dstream_result;
enum dstream_fate {
    DSTREAM_FATE_STORED = 1,      /* stored, once */
    DSTREAM_FATE_NOT_WRITTEN = 2, /* not stored, and never will be */
    DSTREAM_FATE_UNKNOWN = 3      /* stored once, or not */
};
DSTREAM_API enum dstream_fate dstream_result_fate(const dstream_result *r);
/* The id of the first message, and their number: 0 where this is about the stream's close alone. */
DSTREAM_API uint64_t dstream_result_first(const dstream_result *r);
DSTREAM_API uint64_t dstream_result_count(const dstream_result *r);
/* STORED: the stream's offset behind them, "" where the server did not say. Valid, as the error is,
 * until the callback returns. */
DSTREAM_API const char *dstream_result_offset(const dstream_result *r);
/* Why they were not stored, or may not be; its code is DSTREAM_OK with STORED. */
DSTREAM_API const dstream_error *dstream_result_error(const dstream_result *r);
/* NOT_WRITTEN: appending the same again may help. */
DSTREAM_API bool dstream_result_retryable(const dstream_result *r);
/* Resubmitted, and stored by the earlier run already. */
DSTREAM_API bool dstream_result_duplicate(const dstream_result *r);
/* May be stored twice: only where that was allowed. */
DSTREAM_API bool dstream_result_maybe_duplicate(const dstream_result *r);
/* The stream's close went along with them. */
DSTREAM_API bool dstream_result_closes(const dstream_result *r);
/* The number they were sent under; of what was never sent it means nothing. */
DSTREAM_API uint64_t dstream_result_epoch(const dstream_result *r);
DSTREAM_API uint64_t dstream_result_sequence(const dstream_result *r);

/* Callbacks, all of them optional and called on the loop's thread, from within its turn. They may
 * call all that does not wait, but for dstream_producer_free(). NULL ends one. */
/* Results come in the order of the messages, each message in exactly one. */
typedef void (*dstream_on_result)(void *ctx, dstream_producer *p, const dstream_result *r);
DSTREAM_API void dstream_producer_on_result(dstream_producer *p, dstream_on_result call, void *ctx);
/* Only those that were not stored or may not be, so that appending can be left to itself. Called
 * before dstream_producer_on_result() would be. */
DSTREAM_API void dstream_producer_on_failure(dstream_producer *p, dstream_on_result call,
                                             void *ctx);
/* An append that was told AGAIN can be tried again. */
typedef void (*dstream_on_room)(void *ctx, dstream_producer *p);
DSTREAM_API void dstream_producer_on_room(dstream_producer *p, dstream_on_room call, void *ctx);
/* Once, after the last result: detached or closed (DSTREAM_OK, if all messages were stored), or
 * failed, as dstream_producer_error() says. */
typedef void (*dstream_on_producer_end)(void *ctx, dstream_producer *p, enum dstream_code code);
DSTREAM_API void dstream_producer_on_end(dstream_producer *p, dstream_on_producer_end call,
                                         void *ctx);

enum dstream_append {
    DSTREAM_APPEND_TAKEN = 1,  /* *id is its number: the first has 0, the next 1, ... */
    DSTREAM_APPEND_AGAIN = 2,  /* as much is buffered as may be, and was all the time */
    DSTREAM_APPEND_REFUSED = 3 /* dstream_producer_refusal() says why */
};
/* Takes a message, which is copied; waits for room for `timeout_ms` at most (0: not at all; -1: no
 * limit). `id` may be NULL. Refused: ERR_ARGUMENT (empty), ERR_INPUT (not one JSON value),
 * ERR_LIMIT (larger than a batch may be), ERR_STATE (detaching or closing; or it would have to wait
 * inside a callback), ERR_CLOSED, ERR_NOMEM, or what the producer failed of. After a refusal that
 * is not its own failure it goes on. */
DSTREAM_API enum dstream_append dstream_producer_append(dstream_producer *p, const void *message,
                                                        size_t len, int64_t timeout_ms,
                                                        uint64_t *id);
/* Why the last message, close or restart was refused. Valid until the next of these calls. */
DSTREAM_API const dstream_error *dstream_producer_refusal(const dstream_producer *p);

/* Sends what there is at once, and waits until everything that was appended before has its fate.
 * DSTREAM_OK where all of it is stored; else the first error, and in *failed (may be NULL) how many
 * messages are not, or may not be. What once failed stays failed: it counts again the next time.
 * ERR_TIMEOUT after `timeout_ms`, when nothing is lost and the call can be repeated; 0 only starts
 * it, and DSTREAM_COUNT_PENDING tells. ERR_STATE inside a callback, unless that is 0. */
DSTREAM_API enum dstream_code dstream_producer_flush(dstream_producer *p, int64_t timeout_ms,
                                                     uint64_t *failed);
/* Flushes, and ends the producer. The stream stays open for others. What has no fate after
 * `timeout_ms` (-1: no limit but the delivery time-out) is given up: not written, or unknown.
 * Waits for the end, and returns its code: DSTREAM_OK where every message was stored. */
DSTREAM_API enum dstream_code dstream_producer_detach(dstream_producer *p, int64_t timeout_ms);
/* The same without waiting: the end is called back. */
DSTREAM_API void dstream_producer_start_detach(dstream_producer *p, int64_t timeout_ms);
/* Flushes, closes the stream for good, and ends the producer. `message` (NULL: none) is the last
 * one, stored in the same step. Where a message was not written the stream is not closed (ERR_STATE
 * at once, or that message's error at the end), unless `force`. Refused as an append is. Waits for
 * `timeout_ms` at most (ERR_TIMEOUT: call it again to go on waiting). ERR_CLOSED where another
 * writer has closed the stream. */
DSTREAM_API enum dstream_code dstream_producer_close_stream(dstream_producer *p,
                                                            const void *message, size_t len,
                                                            bool force, int64_t timeout_ms);
/* The same without waiting: the end is called back. What it refuses, it returns. */
DSTREAM_API enum dstream_code dstream_producer_start_close_stream(dstream_producer *p,
                                                                  const void *message, size_t len,
                                                                  bool force);
/* What is appended from now on is written under a new epoch, once all before it has its fate.
 * Does not wait. ERR_STATE (detaching, closing, resubmitting), or what the producer failed of. */
DSTREAM_API enum dstream_code dstream_producer_restart(dstream_producer *p);
/* Ends it at once, from any thread, as dstream_reader_cancel() does: no callback begins after this
 * has returned, a call that waits returns, and the error is ERR_CANCELLED, or
 * ERR_OUTCOME_UNKNOWN where a message may be stored. What became of the messages is in the
 * counts. */
DSTREAM_API void dstream_producer_cancel(dstream_producer *p);

/* What it is doing. */
enum dstream_producer_phase {
    DSTREAM_PRODUCER_STARTING = 0,   /* nothing was acknowledged so far: one request at a time */
    DSTREAM_PRODUCER_RUNNING = 1,    /* acknowledged as it goes */
    DSTREAM_PRODUCER_RECOVERING = 2, /* after a failure: one request at a time */
    DSTREAM_PRODUCER_DETACHED = 3,   /* ended; the stream is open as far as is known */
    DSTREAM_PRODUCER_CLOSED = 4,     /* ended: the stream is closed, by this producer or another */
    DSTREAM_PRODUCER_FENCED = 5,     /* ended: another writer has taken over */
    DSTREAM_PRODUCER_FAILED = 6      /* ended by the error */
};
DSTREAM_API enum dstream_producer_phase dstream_producer_phase(const dstream_producer *p);
/* Its numbers, each from its beginning on. */
enum dstream_count {
    DSTREAM_COUNT_TAKEN = 0,    /* messages appended */
    DSTREAM_COUNT_TAKEN_BYTES,  /* and their bytes */
    DSTREAM_COUNT_STORED,       /* messages of that fate, as reported */
    DSTREAM_COUNT_STORED_BYTES, /* and their bytes */
    DSTREAM_COUNT_NOT_WRITTEN,  /* messages of that fate */
    DSTREAM_COUNT_UNKNOWN,      /* messages of that fate */
    DSTREAM_COUNT_PENDING,      /* messages without a fate, now */
    DSTREAM_COUNT_SETTLED,      /* the lowest id without a fate, or the next one */
    DSTREAM_COUNT_BUFFERED,     /* bytes of memory that those without a fate take, now */
    DSTREAM_COUNT_IN_FLIGHT,    /* requests under way, now */
    DSTREAM_COUNT_RETRIES,      /* requests that repeated an earlier one */
    DSTREAM_COUNT_EPOCH,        /* the epoch, now */
    DSTREAM_COUNT_SERVER_EPOCH  /* the highest epoch that the server named; 0: none */
};
/* 0 for one that does not exist. */
DSTREAM_API uint64_t dstream_producer_count(const dstream_producer *p, enum dstream_count what);
/* The producer id. Valid as long as the producer is. */
DSTREAM_API const char *dstream_producer_id(const dstream_producer *p);
/* The stream's offset behind the last batch that was acknowledged, "" where not known. Valid until
 * the next call on the producer or turn of its loop. */
DSTREAM_API const char *dstream_producer_offset(const dstream_producer *p);
/* Where the stream ended, once this producer has closed it ("" where the server did not say); else
 * NULL. Same life. */
DSTREAM_API const char *dstream_producer_final_offset(const dstream_producer *p);
/* How it ended: DSTREAM_OK while it has not, and where every message was stored.
 * ERR_OUTCOME_UNKNOWN where any may be stored or not: dstream_producer_cause() has what lies behind
 * that (else the same). ERR_FENCED, ERR_STATE_LOST, ERR_NO_PRODUCERS, ERR_CLOSED, ERR_CONFLICT
 * (another type), ERR_NOT_FOUND, ERR_GONE, ERR_AUTH, ERR_TIMEOUT and others. */
DSTREAM_API const dstream_error *dstream_producer_error(const dstream_producer *p);
DSTREAM_API const dstream_error *dstream_producer_cause(const dstream_producer *p);

/* --- writing: single calls -------------------------------------------------------------------- */
/* A stream is created, appended to, closed, looked at or deleted, each by one call, with the
 * redirects and retries that this takes: at most 5 retries within 20 s. Calls on one handle are
 * carried out one after another, in the order they were started. For many messages a producer is
 * faster.
 *
 * All but an append can be repeated, whatever became of an earlier try. So that an append can, it
 * carries a producer identity by default: an id of 128 random bits for each handle, which costs the
 * server a small record. It is repeated after 429 and 5xx; and after an answer that was lost, once
 * the server has shown that it has producers (or dstream_options_set_producers_known() says so).
 * Otherwise, and where the tries are used up, it ends as ERR_OUTCOME_UNKNOWN: the data is stored
 * once, or not. A server that has no producers, and stores data before it answers 5xx, may store it
 * twice: dstream_options_set_append_identity() turns all this off, and then nothing is repeated
 * that may have reached the server.
 *
 * A redirect is followed within the origin, or from http to https of the same host, and only by 307
 * and 308: a POST is never turned into a GET (ERR_REDIRECT). */

typedef struct dstream_stream dstream_stream;
typedef struct dstream_call dstream_call;

/* A handle for calls on the stream at `url`, which need not exist. Options and loop as of
 * dstream_reader_open(). Sends nothing yet. On failure *out is NULL. ERR_ARGUMENT, ERR_NOMEM. */
DSTREAM_API enum dstream_code dstream_stream_open(dstream_stream **out, dstream_loop *loop,
                                                  const char *url, const dstream_options *o);
/* Breaks off what is under way, and frees it. The calls stay their owner's; those that had not
 * ended are then ERR_CANCELLED, or ERR_OUTCOME_UNKNOWN. Nothing is called back. Not from inside a
 * callback of its own. */
DSTREAM_API void dstream_stream_free(dstream_stream *s);
/* Ends all calls on it and lets no more begin, from any thread, as dstream_reader_cancel() does. */
DSTREAM_API void dstream_stream_cancel(dstream_stream *s);

enum dstream_call_kind {
    DSTREAM_CALL_CREATE = 1, /* PUT */
    DSTREAM_CALL_APPEND = 2, /* POST */
    DSTREAM_CALL_CLOSE = 3,  /* POST: no more is appended ever after */
    DSTREAM_CALL_HEAD = 4,   /* HEAD: what is known of it. Does not prolong a TTL */
    DSTREAM_CALL_DELETE = 5  /* DELETE */
};
/* A call to be made, once. NULL without memory. */
DSTREAM_API dstream_call *dstream_call_new(enum dstream_call_kind kind);
/* One that has not ended is given up. Fine from inside its own callback. */
DSTREAM_API void dstream_call_free(dstream_call *c);

/* What it says, set before it is started. Texts and data are copied. ERR_ARGUMENT for what does not
 * go with its kind or cannot be sent, ERR_STATE once it was started, ERR_LIMIT, ERR_NOMEM. */
/* CREATE: the stream's content type; the server's choice where none is set. APPEND, CLOSE with a
 * message: the type that the stream is expected to have; where none is set, the stream is asked. */
DSTREAM_API enum dstream_code dstream_call_set_type(dstream_call *c, const char *content_type);
/* CREATE: it is deleted after so many seconds (1 or more), or at a time (RFC 3339). One of them. */
DSTREAM_API enum dstream_code dstream_call_set_ttl(dstream_call *c, uint64_t seconds);
DSTREAM_API enum dstream_code dstream_call_set_expires(dstream_call *c, const char *time);
/* The message to append, or to close with; CREATE: what it begins with. On a JSON stream one JSON
 * value; else bytes. At most 64 MiB, and not empty. */
DSTREAM_API enum dstream_code dstream_call_set_body(dstream_call *c, const void *data, size_t len);
/* CREATE: what it begins with, as it stands: on a JSON stream an array, each of whose elements is
 * a message (or one value of another kind); else bytes, as above. */
DSTREAM_API enum dstream_code dstream_call_set_content(dstream_call *c, const void *data,
                                                       size_t len);
/* CREATE: it is closed from the beginning. */
DSTREAM_API enum dstream_code dstream_call_set_closed(dstream_call *c, bool closed);
/* CREATE: it begins as the stream at the path `from` of the same server, up to `offset` (NULL: all
 * there is) and `skip` messages (JSON) or bytes more. */
DSTREAM_API enum dstream_code dstream_call_set_fork(dstream_call *c, const char *from,
                                                    const char *offset, uint64_t skip);
/* APPEND: the writer's own sequence, which has to grow, bytewise, from one append to the next
 * (Stream-Seq): otherwise ERR_SEQUENCE. */
DSTREAM_API enum dstream_code dstream_call_set_sequence(dstream_call *c, const char *sequence);

/* Makes the call, and waits for its end: its code (below), or after `timeout_ms` (-1: no limit)
 * that of a call that was given up: ERR_TIMEOUT, or ERR_OUTCOME_UNKNOWN for an append that may be
 * stored. ERR_STATE for one that was started before, or inside a callback. */
DSTREAM_API enum dstream_code dstream_call_run(dstream_call *c, dstream_stream *s,
                                               int64_t timeout_ms);
/* The same without waiting: `on_done` (NULL: none) is called once, by the loop's turn. The call has
 * to stay until then. ERR_STATE, ERR_CANCELLED. */
typedef void (*dstream_on_done)(void *ctx, dstream_call *c);
DSTREAM_API enum dstream_code dstream_call_start(dstream_call *c, dstream_stream *s,
                                                 dstream_on_done on_done, void *ctx);

/* What came of it, valid as long as the call. */
/* How it ended; ERR_STATE before that.
 *   CREATE   OK: it is there, new or with this very configuration (dstream_call_created()).
 *            ERR_CONFLICT: it is there with another type, expiry or state; or it was there, alike,
 *            and what it was to begin with was not written (ERR_OUTCOME_UNKNOWN: or was, by a try
 *            whose answer was lost). ERR_NOT_FOUND: there is nothing to fork from.
 *   APPEND   ERR_CLOSED (the offset is the final one), ERR_CONFLICT (of another type),
 *            ERR_SEQUENCE, ERR_STATE_LOST (the server forgets producers as they come),
 *            ERR_NOT_FOUND, ERR_GONE (deleted, with forks), ERR_TOO_LARGE, ERR_INPUT (not JSON),
 *            ERR_OUTCOME_UNKNOWN
 *   CLOSE    the same. Without a message it is a success that the stream was closed before
 *   HEAD     ERR_NOT_FOUND, ERR_GONE
 *   DELETE   the same
 * and ERR_ARGUMENT (what was set makes no request: a TTL beside an expiry, an append of nothing),
 * ERR_BAD_REQUEST, ERR_AUTH, ERR_REDIRECT, ERR_PROTOCOL, those of the network, and ERR_BUSY,
 * ERR_SERVER and ERR_TIMEOUT where retrying was in vain. */
DSTREAM_API const dstream_error *dstream_call_error(const dstream_call *c);
/* What lies behind an ERR_OUTCOME_UNKNOWN; else the same. */
DSTREAM_API const dstream_error *dstream_call_cause(const dstream_call *c);
/* The offset behind what was written; the tail (HEAD); where a closed stream ends. "": not said. */
DSTREAM_API const char *dstream_call_offset(const dstream_call *c);
/* The stream's content type, "": not said. */
DSTREAM_API const char *dstream_call_content_type(const dstream_call *c);
/* The answer's ETag, as for dstream_reader_etag(). */
DSTREAM_API const char *dstream_call_etag(const dstream_call *c);
/* Seconds, -1: none; when it expires (RFC 3339), "": never. */
DSTREAM_API int64_t dstream_call_ttl(const dstream_call *c);
DSTREAM_API const char *dstream_call_expires(const dstream_call *c);
/* The stream is closed. */
DSTREAM_API bool dstream_call_closed(const dstream_call *c);
/* CREATE: this call has made it. False for one that was there before, and where that cannot be told
 * (dstream_call_ambiguous()). */
DSTREAM_API bool dstream_call_created(const dstream_call *c);
/* A try whose answer was lost may have been carried out. After success: CREATE may have made the
 * stream, and what APPEND wrote may be there twice (only on a server without producers). After an
 * error: it may have been done all the same. */
DSTREAM_API bool dstream_call_ambiguous(const dstream_call *c);

#ifdef __cplusplus
}
#endif
#endif
