/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Streams in memory. Message bytes are kept as they came. Nothing here does I/O or asks a clock:
 * times are milliseconds since 1970, and given.
 */
#ifndef DS_DEVSERVER_STORE_H
#define DS_DEVSERVER_STORE_H

#include "base/items.h"

#define DS_FORKS_MAX   100 /* sources behind one another */
#define DS_OFFSET_SIZE 34  /* of an offset's text, with its NUL */

/* Everything but the list links is for reading only outside of the store. */
struct ds_stream {
    char *path; /* the key: an absolute path, percent-encoded in one way only */
    char *type; /* content type, as it was given */
    bool json;
    /* JSON: messages, each followed by one comma, which makes any run of them the inside of an
     * array; else: plain bytes. */
    struct ds_items data;
    struct ds_buf appends; /* where each append to it ends, as size_t: positions of the stream */
    /* A fork: what lies before `from` is the source's, which is held; `data` begins there. */
    struct ds_stream *source; /* NULL: no fork */
    size_t from;
    char *fork_of;    /* the source's path as it was given */
    uint64_t fork_at; /* the position that was asked for, and what was asked for behind it */
    uint64_t fork_sub;
    unsigned depth; /* how many sources are behind it */
    unsigned forks; /* of it, that are in the store */
    bool deleted;   /* or expired, but forks need it: kept in the store, and only for them */
    uint64_t id;    /* no other stream of this store ever has it */
    bool closed;
    bool gone; /* deleted or expired: no longer in the store, kept for who still holds it */
    bool has_ttl;
    uint64_t ttl;  /* seconds without access */
    char *expires; /* as it was given; NULL: never */
    int64_t expires_at;
    int64_t touched;                /* last access, for the TTL */
    char *seq;                      /* the last Stream-Seq; NULL: none */
    struct ds_producers *producers; /* while it is open; NULL: none yet */
    struct ds_writer *closer;       /* the producer's batch that closed it, or NULL */
    unsigned refs;
    struct ds_stream *next;
};

/* What a stream is created as. Strings are lent during the call. */
struct ds_stream_spec {
    const char *path, *type;
    bool has_ttl;
    uint64_t ttl;
    const char *expires; /* an RFC 3339 time that ds_time_parse() takes, or NULL */
    bool closed;
    const char *body;
    size_t body_len;
    const char *fork_of; /* the path of the stream that it continues, or NULL */
    const char *fork_at; /* an offset's text; NULL: the source's tail */
    uint64_t fork_sub;   /* bytes, or messages, of the append that begins there */
};

enum ds_stored {
    DS_STORED_OK,
    DS_STORED_EXISTS,  /* creating: it is there, the same */
    DS_STORED_DIFFERS, /* creating: it is there, another one */
    DS_STORED_TAKEN,   /* creating: forks still need what was there */
    DS_STORED_SOURCE,  /* forking: no such source */
    DS_STORED_DELETED, /* forking: the source was deleted, and is kept for other forks only */
    DS_STORED_SOURCE_TYPE,
    DS_STORED_FORK_AT,  /* forking: behind the source's tail */
    DS_STORED_FORK_SUB, /* forking: behind the end of the append */
    DS_STORED_DEEP,     /* forking: forks of forks, DS_FORKS_MAX deep */
    DS_STORED_CLOSED,
    DS_STORED_TYPE,      /* the content type is not the stream's */
    DS_STORED_DUPLICATE, /* the producer's batch was stored before */
    DS_STORED_FENCED,    /* the producer's epoch is over */
    DS_STORED_EPOCH,     /* a new epoch that does not begin at 0 */
    DS_STORED_GAP,       /* batches before this one are missing */
    DS_STORED_SEQ,       /* Stream-Seq does not grow */
    DS_STORED_JSON,      /* not JSON, or nested too deeply */
    DS_STORED_EMPTY,     /* an array without elements */
    DS_STORED_FULL,
    DS_STORED_NOMEM
};

struct ds_store;

/* Called when a stream has grown, was closed or is gone. It must not call the store. */
typedef void (*ds_stream_changed)(void *ctx, struct ds_stream *s);

/* `max` bounds the bytes of all streams together. NULL without memory. */
struct ds_store *ds_store_new(size_t max, ds_stream_changed changed, void *ctx);
void ds_store_free(struct ds_store *st);
/* The stream, valid until the next change of the store; NULL where there is none. One that has
 * expired goes, unless forks need it; one that is `deleted` is not there for anybody else. */
struct ds_stream *ds_store_find(struct ds_store *st, const char *path, int64_t now);
/* OK, EXISTS and DIFFERS set *out. A body is stored in the same step. */
enum ds_stored ds_store_create(struct ds_store *st, const struct ds_stream_spec *spec, int64_t now,
                               struct ds_stream **out);
/* Forks of it go on, and it goes with the last one. */
void ds_store_delete(struct ds_store *st, struct ds_stream *s);

/* A batch as its producer numbers it. */
struct ds_producer {
    const char *id;
    uint64_t epoch, seq;
    /* Set by an answer. FENCED: the epoch that holds. GAP: the number that is due. DUPLICATE: the
     * last one that was stored. */
    uint64_t known;
};

struct ds_append {
    const char *type; /* the request's content type */
    const char *seq;  /* Stream-Seq, or NULL */
    const char *body;
    size_t body_len;
    bool close;
    struct ds_producer *producer; /* NULL: none */
};
/* All or nothing: the producer's state changes with the data only. */
enum ds_stored ds_store_append(struct ds_store *st, struct ds_stream *s, const struct ds_append *a,
                               int64_t now);
/* Without a producer (NULL) it can be repeated. */
enum ds_stored ds_store_close(struct ds_store *st, struct ds_stream *s, struct ds_producer *p,
                              int64_t now);

/* Keeps the stream's memory for who answers from it, whatever happens to it in the store. */
struct ds_stream *ds_stream_hold(struct ds_stream *s);
void ds_stream_release(struct ds_stream *s);
/* An access, which prolongs a TTL. */
void ds_stream_touch(struct ds_stream *s, int64_t now);
/* Whether its time is over. */
bool ds_stream_expired(const struct ds_stream *s, int64_t now);
/* When that will be, as things are; DS_NEVER. */
int64_t ds_stream_expiry(const struct ds_stream *s);
/* The position behind the last byte. The first one is 0. */
size_t ds_stream_tail(const struct ds_stream *s);
/* Where reading begins for a position that a client named: the same, but for one inside a message
 * of a JSON stream, which begins with that message, and for one behind the tail. */
size_t ds_stream_begin(const struct ds_stream *s, uint64_t pos);
/* The end of a page of at most `max` (> 0) bytes from `pos` on, at which a reading may begin. A
 * message larger than that is a page of its own. */
size_t ds_stream_page(const struct ds_stream *s, size_t pos, size_t max);

/* The bytes from `pos` (before the tail) on that lie together, and how many those are. They are not
 * moved until the next change of the store. */
const char *ds_stream_bytes(const struct ds_stream *s, size_t pos, size_t *n);
/* Copies the bytes [pos, pos + n) of a stream. */
void ds_stream_copy(const struct ds_stream *s, size_t pos, size_t n, char *to);

/* Offsets as text: fixed width, so that bytewise order is the order of positions. */
void ds_offset_print(size_t pos, char out[DS_OFFSET_SIZE]);
/* False for what ds_offset_print() cannot have printed. */
bool ds_offset_parse(const char *s, uint64_t *pos);

/* An RFC 3339 time, as milliseconds since 1970. */
bool ds_time_parse(const char *s, int64_t *ms);

#endif
