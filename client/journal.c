/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "client/journal.h"

#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"

/* A record is: a letter, numbers of 8 bytes (little-endian) and texts of a 2-byte length, then for
 * a batch its body, to the end. */
enum { REC_ABOUT = 'O', REC_EPOCH = 'E', REC_BATCH = 'B', REC_FATES = 'F', REC_TOLD = 'T' };
enum { FLAG_CLOSE = 1, FLAG_DOUBT = 2, FLAG_ACKED = 4, FLAG_DUPLICATE = 8 };

#define FIELDS_MAX  ((size_t)1 << 20) /* bytes of a batch's record but for its body */
#define RECORD_MAX  (DS_JOURNAL_BODY_MAX + FIELDS_MAX)
#define RECORD_COST ((uint64_t)192) /* bytes of it, about, but for a body */
/* Below this a file is not written anew, and above it once most of it no longer matters. */
#define WASTE_MIN ((uint64_t)4 << 20)

struct batch {
    struct ds_record_batch b; /* body NULL: it is in the file */
    uint64_t at, time;
};

struct fate {
    struct ds_record_fate f;
    char *offset;
};

struct ds_journal {
    struct ds_log *log; /* NULL while reading */
    char *path;
    char *url, *id, *type; /* as in the file, or as asked; type "" while not known */
    bool exists;
    uint64_t epoch, mark, next_id;
    char witness[DS_JOURNAL_WITNESS]; /* of the mark */
    ds_journal_ask ask;               /* for one; NULL: there is none */
    void *ask_ctx;
    enum ds_epoch_kind kind;
    bool known;
    struct batch *batches; /* from `first` on those without a fate */
    size_t first, nbatches, batches_cap;
    struct fate *fates; /* from `fate_first` on those not told */
    size_t fate_first, nfates, fates_cap;
    uint64_t live; /* bytes of bodies without a fate */
    uint64_t waste_min;
    /* what the next producer goes on from */
    struct ds_producer_journal content;
    struct ds_record_batch *content_batches;
    struct ds_record_fate *content_fates;
    char **bodies;
    struct ds_buf b; /* of the record being written */
};

static enum dstream_code no_memory(struct dstream_error *err)
{
    return ds_error_set(err, DSTREAM_ERR_NOMEM, "no memory for a journal");
}

/* --- fields ----------------------------------------------------------------------------------- */

static enum dstream_code put_number(struct ds_buf *b, uint64_t v)
{
    unsigned char p[8];
    for (size_t i = 0; i < 8; i++)
        p[i] = (unsigned char)(v >> 8 * i);
    return ds_buf_add(b, p, 8);
}

static enum dstream_code put_text(struct ds_buf *b, const char *s)
{
    size_t n = strlen(s);
    unsigned char p[2] = {(unsigned char)n, (unsigned char)(n >> 8)};
    if (n > UINT16_MAX)
        return DSTREAM_ERR_LIMIT;
    enum dstream_code rc = ds_buf_add(b, p, 2);
    return rc == DSTREAM_OK ? ds_buf_add(b, s, n) : rc;
}

/* What is left of a record that is read. A field that is not there makes it bad. */
struct fields {
    const unsigned char *p;
    size_t n;
    bool bad;
};

static uint64_t get_number(struct fields *f)
{
    uint64_t v = 0;
    if (f->n < 8) {
        f->bad = true;
        return 0;
    }
    for (size_t i = 8; i-- > 0;)
        v = v << 8 | f->p[i];
    f->p += 8;
    f->n -= 8;
    return v;
}

/* Free it with ds_free(); NULL where it is not there (bad), or without memory. */
static char *get_text(struct fields *f)
{
    size_t n = f->n < 2 ? 0 : (size_t)f->p[0] | (size_t)f->p[1] << 8;
    if (f->n < 2 || f->n - 2 < n || (n > 0 && memchr(f->p + 2, '\0', n))) {
        f->bad = true;
        return NULL;
    }
    char *s = ds_strndup((const char *)f->p + 2, n);
    f->p += 2 + n;
    f->n -= 2 + n;
    return s;
}

/* --- what the records come to ----------------------------------------------------------------- */

static void forget_batches(struct ds_journal *j)
{
    j->first = j->nbatches = 0;
    j->live = 0;
}

static void drop_batch(struct ds_journal *j)
{
    j->live -= j->batches[j->first].b.len;
    if (++j->first == j->nbatches)
        forget_batches(j);
}

static void drop_fates(struct ds_journal *j, uint64_t n)
{
    while (n-- > 0 && j->fate_first < j->nfates)
        ds_free(j->fates[j->fate_first++].offset);
    if (j->fate_first == j->nfates)
        j->fate_first = j->nfates = 0;
}

/* Room that was given up at the front is used again. */
static void pack(struct ds_journal *j)
{
    if (j->first > 0 && j->nbatches == j->batches_cap) {
        memmove(j->batches, j->batches + j->first, (j->nbatches - j->first) * sizeof *j->batches);
        j->nbatches -= j->first;
        j->first = 0;
    }
    if (j->fate_first > 0 && j->nfates == j->fates_cap) {
        memmove(j->fates, j->fates + j->fate_first, (j->nfates - j->fate_first) * sizeof *j->fates);
        j->nfates -= j->fate_first;
        j->fate_first = 0;
    }
}

static enum dstream_code add_batch(struct ds_journal *j, const struct batch *b)
{
    pack(j);
    struct batch *all = ds_grown(j->batches, &j->batches_cap, j->nbatches, sizeof *all);
    if (!all)
        return DSTREAM_ERR_NOMEM;
    j->batches = all;
    all[j->nbatches++] = *b;
    j->live += b->b.len;
    if (b->b.first + b->b.count > j->next_id)
        j->next_id = b->b.first + b->b.count;
    return DSTREAM_OK;
}

static enum dstream_code add_fate(struct ds_journal *j, const struct ds_record_fate *f)
{
    pack(j);
    struct fate *all = ds_grown(j->fates, &j->fates_cap, j->nfates, sizeof *all);
    char *offset = ds_strdup(f->offset);
    if (all)
        j->fates = all;
    if (!all || !offset) {
        ds_free(offset);
        return DSTREAM_ERR_NOMEM;
    }
    all[j->nfates] = (struct fate){*f, offset};
    all[j->nfates++].f.offset = offset;
    if (f->first + f->count > j->next_id)
        j->next_id = f->first + f->count;
    return DSTREAM_OK;
}

/* --- reading ---------------------------------------------------------------------------------- */

static enum dstream_code bad_record(const struct ds_journal *j, struct dstream_error *err)
{
    return ds_error_set(err, DSTREAM_ERR_STATE_CORRUPT,
                        "%s: the journal holds a record that makes no sense: it is not gone on "
                        "with",
                        j->path);
}

static enum dstream_code differs(const struct ds_journal *j, const char *what, const char *has,
                                 const char *asked, struct dstream_error *err)
{
    return ds_error_set(err, DSTREAM_ERR_STATE_MISMATCH,
                        "%s: the journal is of %s %.128s, not %.128s: name another --state file",
                        j->path, what, has, asked);
}

/* While reading, url and id are what was asked for, or NULL for whatever it has. */
static enum dstream_code read_about(struct ds_journal *j, struct fields *f,
                                    struct dstream_error *err)
{
    char *url = get_text(f), *id = get_text(f), *type = get_text(f);
    enum dstream_code rc = DSTREAM_OK;
    if (f->bad || !url || !id || !type)
        rc = f->bad ? bad_record(j, err) : no_memory(err);
    else if (j->url && strcmp(j->url, url) != 0)
        rc = differs(j, "the stream", url, j->url, err);
    else if (j->id && strcmp(j->id, id) != 0)
        rc = differs(j, "the producer", id, j->id, err);
    if (rc != DSTREAM_OK) {
        ds_free(url);
        ds_free(id);
        ds_free(type);
        return rc;
    }
    ds_free(j->url);
    ds_free(j->id);
    ds_free(j->type);
    j->url = url;
    j->id = id;
    j->type = type;
    j->exists = true;
    return rc;
}

/* A mark never goes back. */
static void read_mark(struct ds_journal *j, uint64_t mark, struct fields *f)
{
    char *witness = get_text(f);
    f->bad |= witness && strlen(witness) >= sizeof j->witness;
    if (!f->bad && witness && mark >= j->mark) {
        j->mark = mark;
        strcpy(j->witness, witness);
    }
    ds_free(witness);
}

static void read_epoch(struct ds_journal *j, struct fields *f)
{
    j->epoch = get_number(f);
    uint64_t kind = get_number(f);
    j->kind = (enum ds_epoch_kind)kind;
    j->known = get_number(f) != 0;
    uint64_t mark = get_number(f), next = get_number(f);
    if (next > j->next_id)
        j->next_id = next;
    read_mark(j, mark, f);
    f->bad |= kind > DS_EPOCH_DRAWN || j->epoch > DS_EPOCH_MAX;
}

static enum dstream_code read_batch(struct ds_journal *j, struct fields *f,
                                    const struct ds_log_record *r)
{
    struct batch b = {.time = get_number(f)};
    j->known |= get_number(f) != 0;
    uint64_t mark = get_number(f);
    b.b.first = get_number(f);
    b.b.count = get_number(f);
    b.b.seq = get_number(f);
    b.b.mark = get_number(f);
    uint64_t flags = get_number(f);
    b.b.close = flags & FLAG_CLOSE;
    b.b.maybe_duplicate = flags & FLAG_DOUBT;
    b.b.acked = flags & FLAG_ACKED;
    read_mark(j, mark, f);
    b.b.len = f->n;
    b.at = r->at + (r->len - f->n);
    return f->bad ? DSTREAM_OK : add_batch(j, &b);
}

static enum dstream_code read_fates(struct ds_journal *j, struct fields *f)
{
    bool settle = get_number(f) != 0; /* they are those of the first batches */
    j->known |= get_number(f) != 0;
    uint64_t mark = get_number(f);
    if (mark > j->mark)
        j->mark = mark;
    enum dstream_code rc = DSTREAM_OK;
    while (f->n > 0 && !f->bad && rc == DSTREAM_OK) {
        struct ds_record_fate fate = {.first = get_number(f), .count = get_number(f)};
        fate.epoch = get_number(f);
        fate.seq = get_number(f);
        fate.mark = get_number(f);
        fate.fate = (enum ds_fate)get_number(f);
        uint64_t flags = get_number(f);
        fate.close = flags & FLAG_CLOSE;
        fate.duplicate = flags & FLAG_DUPLICATE;
        fate.maybe_duplicate = flags & FLAG_DOUBT;
        fate.code = (enum dstream_code)get_number(f);
        fate.status = (int)get_number(f);
        char *offset = get_text(f);
        f->bad |= settle && (j->first == j->nbatches || j->batches[j->first].b.first != fate.first);
        fate.offset = offset ? offset : "";
        if (!f->bad)
            rc = offset ? add_fate(j, &fate) : DSTREAM_ERR_NOMEM;
        if (!f->bad && rc == DSTREAM_OK && settle)
            drop_batch(j);
        ds_free(offset);
    }
    return rc;
}

static enum dstream_code take_record(void *ctx, const struct ds_log_record *r,
                                     struct dstream_error *err)
{
    struct ds_journal *j = ctx;
    struct fields f = {(const unsigned char *)r->data + 1, r->len > 0 ? r->len - 1 : 0,
                       r->len == 0};
    enum dstream_code rc = DSTREAM_OK;
    if (f.bad)
        return bad_record(j, err);
    switch (r->data[0]) {
    case REC_ABOUT:
        return read_about(j, &f, err);
    case REC_EPOCH:
        read_epoch(j, &f);
        break;
    case REC_BATCH:
        rc = read_batch(j, &f, r);
        break;
    case REC_FATES:
        rc = read_fates(j, &f);
        break;
    case REC_TOLD:
        drop_fates(j, get_number(&f));
        break;
    default:
        f.bad = true;
    }
    if (f.bad || !j->exists)
        return bad_record(j, err);
    return rc == DSTREAM_OK ? rc : no_memory(err);
}

/* --- what the next producer goes on from ------------------------------------------------------ */

static enum dstream_code load_body(struct ds_journal *j, size_t i, struct dstream_error *err)
{
    const struct batch *b = &j->batches[j->first + i];
    j->bodies[i] = ds_malloc(b->b.len + 1);
    if (!j->bodies[i])
        return no_memory(err);
    j->content_batches[i] = b->b;
    j->content_batches[i].body = j->bodies[i];
    return b->b.len > 0 ? ds_log_read(j->log, b->at, j->bodies[i], b->b.len, err) : DSTREAM_OK;
}

static enum dstream_code load_content(struct ds_journal *j, struct dstream_error *err)
{
    size_t nb = j->nbatches - j->first, nf = j->nfates - j->fate_first;
    j->content_batches = ds_calloc(nb + 1, sizeof *j->content_batches);
    j->content_fates = ds_calloc(nf + 1, sizeof *j->content_fates);
    j->bodies = ds_calloc(nb + 1, sizeof *j->bodies);
    if (!j->content_batches || !j->content_fates || !j->bodies)
        return no_memory(err);
    for (size_t i = 0; i < nf; i++)
        j->content_fates[i] = j->fates[j->fate_first + i].f;
    enum dstream_code rc = DSTREAM_OK;
    for (size_t i = 0; i < nb && rc == DSTREAM_OK; i++)
        rc = load_body(j, i, err);
    j->content = (struct ds_producer_journal){
        .epoch = j->epoch,
        .epoch_kind = j->kind,
        .known = j->known,
        .mark = j->mark,
        .batches = j->content_batches,
        .nbatches = nb,
        .fates = j->content_fates,
        .nfates = nf,
    };
    return rc;
}

const struct ds_producer_journal *ds_journal_content(const struct ds_journal *j)
{
    return j->content_batches ? &j->content : NULL;
}

void ds_journal_forget(struct ds_journal *j)
{
    for (size_t i = 0; j->bodies && i < j->content.nbatches; i++)
        ds_free(j->bodies[i]);
    ds_free(j->bodies);
    ds_free(j->content_batches);
    ds_free(j->content_fates);
    j->bodies = NULL;
    j->content_batches = NULL;
    j->content_fates = NULL;
}

/* --- opening ---------------------------------------------------------------------------------- */

static struct ds_journal *make(const char *path)
{
    struct ds_journal *j = ds_calloc(1, sizeof *j);
    if (!j)
        return NULL;
    ds_buf_init(&j->b, RECORD_MAX); /* the fates of all batches are one record */
    j->waste_min = WASTE_MIN;
    j->path = ds_strdup(path);
    if (j->path)
        return j;
    ds_journal_free(j);
    return NULL;
}

enum dstream_code ds_journal_open(struct ds_journal **out, const struct ds_fileops *ops,
                                  const char *path, const struct ds_journal_about *about,
                                  struct dstream_error *err)
{
    *out = NULL;
    struct ds_journal *j = make(path);
    if (!j)
        return no_memory(err);
    j->url = ds_strdup(about->url);
    j->id = ds_strdup(about->id);
    j->type = ds_strdup(about->content_type);
    enum dstream_code rc = DSTREAM_OK;
    if (!j->url || !j->id || !j->type)
        rc = no_memory(err);
    if (rc == DSTREAM_OK)
        rc = ds_log_open(&j->log, ops, path, RECORD_MAX, take_record, j, err);
    if (rc == DSTREAM_OK && j->exists)
        rc = load_content(j, err);
    if (rc == DSTREAM_OK)
        *out = j;
    else
        ds_journal_free(j);
    return rc;
}

void ds_journal_free(struct ds_journal *j)
{
    if (!j)
        return;
    ds_journal_forget(j);
    drop_fates(j, UINT64_MAX);
    ds_log_free(j->log);
    ds_free(j->fates);
    ds_free(j->batches);
    ds_free(j->url);
    ds_free(j->id);
    ds_free(j->type);
    ds_free(j->path);
    ds_buf_free(&j->b);
    ds_free(j);
}

uint64_t ds_journal_next_id(const struct ds_journal *j)
{
    return j->next_id;
}

uint64_t ds_journal_oldest(const struct ds_journal *j)
{
    return j->first < j->nbatches ? j->batches[j->first].time : 0;
}

void ds_journal_set_witness(struct ds_journal *j, ds_journal_ask ask, void *ctx)
{
    j->ask = ask;
    j->ask_ctx = ctx;
}

const char *ds_journal_witness(const struct ds_journal *j)
{
    return j->witness;
}

enum dstream_code ds_journal_set_type(struct ds_journal *j, const char *content_type,
                                      struct dstream_error *err)
{
    char *copy = j->exists ? NULL : ds_strdup(content_type);
    if (!copy)
        return j->exists ? DSTREAM_OK : no_memory(err);
    ds_free(j->type);
    j->type = copy;
    return DSTREAM_OK;
}

const char *ds_journal_type(const struct ds_journal *j)
{
    return j->exists ? j->type : "";
}

static void copy_text(char *out, size_t size, const char *s)
{
    size_t n = s ? strlen(s) : 0;
    n = n < size ? n : size - 1;
    if (n > 0)
        memcpy(out, s, n);
    out[n] = '\0';
}

enum dstream_code ds_journal_show(const struct ds_fileops *ops, const char *path,
                                  struct ds_journal_summary *out, bool *missing,
                                  struct dstream_error *err)
{
    struct ds_journal *j = make(path);
    *missing = false;
    if (!j)
        return no_memory(err);
    enum dstream_code rc = ds_log_show(ops, path, RECORD_MAX, take_record, j, missing, err);
    *out = (struct ds_journal_summary){.epoch = j->epoch,
                                       .mark = j->mark,
                                       .epoch_kind = j->kind,
                                       .batches = j->nbatches - j->first,
                                       .bytes = j->live,
                                       .oldest = ds_journal_oldest(j)};
    copy_text(out->url, sizeof out->url, j->url);
    copy_text(out->id, sizeof out->id, j->id);
    copy_text(out->content_type, sizeof out->content_type, j->type);
    for (size_t i = j->first; i < j->nbatches; i++)
        out->messages += j->batches[i].b.count;
    for (size_t i = j->fate_first; i < j->nfates; i++) {
        const struct ds_record_fate *f = &j->fates[i].f;
        uint64_t *sum = f->fate == DS_FATE_ACKED     ? &out->untold_stored
                        : f->fate == DS_FATE_UNKNOWN ? &out->untold_unknown
                                                     : &out->untold_not_written;
        *sum += f->count;
    }
    ds_journal_free(j);
    return rc;
}

/* --- writing ---------------------------------------------------------------------------------- */

/* Begins a record; numbers follow, as many as are given. */
static enum dstream_code begin(struct ds_journal *j, char kind, const uint64_t *numbers, size_t n)
{
    j->b.len = 0;
    enum dstream_code rc = ds_buf_addc(&j->b, kind);
    for (size_t i = 0; i < n && rc == DSTREAM_OK; i++)
        rc = put_number(&j->b, numbers[i]);
    return rc;
}

static enum dstream_code begin_with_witness(struct ds_journal *j, char kind,
                                            const uint64_t *numbers, size_t n)
{
    enum dstream_code rc = begin(j, kind, numbers, n);
    return rc == DSTREAM_OK ? put_text(&j->b, j->witness) : rc;
}

/* Adds the record that was begun, with a body behind it. */
static enum dstream_code add(struct ds_journal *j, enum dstream_code rc, const void *body, size_t n,
                             uint64_t *at, struct dstream_error *err)
{
    const struct ds_log_part parts[] = {{j->b.data, j->b.len}, {body, n}};
    if (rc != DSTREAM_OK)
        return ds_error_set(err, rc, "%s: cannot write a record: %s", j->path,
                            dstream_code_text(rc));
    rc = ds_log_add(j->log, parts, 2, at, err);
    if (rc == DSTREAM_OK && at)
        *at += j->b.len;
    return rc;
}

static enum dstream_code write_about(struct ds_journal *j, struct dstream_error *err)
{
    enum dstream_code rc = begin(j, REC_ABOUT, NULL, 0);
    const char *const texts[] = {j->url, j->id, j->type};
    for (size_t i = 0; i < 3 && rc == DSTREAM_OK; i++)
        rc = put_text(&j->b, texts[i]);
    return add(j, rc, "", 0, NULL, err);
}

static enum dstream_code write_epoch(struct ds_journal *j, struct dstream_error *err)
{
    const uint64_t n[] = {j->epoch, (uint64_t)j->kind, j->known, j->mark, j->next_id};
    return add(j, begin_with_witness(j, REC_EPOCH, n, 5), "", 0, NULL, err);
}

static enum dstream_code write_batch(struct ds_journal *j, struct batch *b, const void *body,
                                     struct dstream_error *err)
{
    const struct ds_record_batch *r = &b->b;
    uint64_t flags = (r->close ? FLAG_CLOSE : 0) | (r->maybe_duplicate ? FLAG_DOUBT : 0) |
                     (r->acked ? FLAG_ACKED : 0);
    const uint64_t n[] = {b->time, j->known, j->mark, r->first, r->count, r->seq, r->mark, flags};
    return add(j, begin_with_witness(j, REC_BATCH, n, 8), body, r->len, &b->at, err);
}

static enum dstream_code put_fate(struct ds_journal *j, const struct ds_record_fate *f)
{
    uint64_t flags = (f->close ? FLAG_CLOSE : 0) | (f->maybe_duplicate ? FLAG_DOUBT : 0) |
                     (f->duplicate ? FLAG_DUPLICATE : 0);
    const uint64_t n[] = {f->first, f->count,          f->epoch,
                          f->seq,   f->mark,           (uint64_t)f->fate,
                          flags,    (uint64_t)f->code, (uint64_t)f->status};
    enum dstream_code rc = DSTREAM_OK;
    for (size_t i = 0; i < 9 && rc == DSTREAM_OK; i++)
        rc = put_number(&j->b, n[i]);
    return rc == DSTREAM_OK ? put_text(&j->b, f->offset) : rc;
}

static enum dstream_code begin_fates(struct ds_journal *j, bool settle)
{
    const uint64_t n[] = {settle, j->known, j->mark};
    return begin(j, REC_FATES, n, 3);
}

/* Those not told yet. */
static enum dstream_code write_untold(struct ds_journal *j, struct dstream_error *err)
{
    enum dstream_code rc = DSTREAM_OK;
    for (size_t i = j->fate_first; i < j->nfates && rc == DSTREAM_OK; i++) {
        rc = begin_fates(j, false);
        if (rc == DSTREAM_OK)
            rc = put_fate(j, &j->fates[i].f);
        rc = add(j, rc, "", 0, NULL, err);
    }
    return rc;
}

/* --- a file begun anew ------------------------------------------------------------------------ */

/* A body out of the old file. */
static enum dstream_code read_body(struct ds_journal *j, const struct batch *b, char **out,
                                   struct dstream_error *err)
{
    *out = ds_malloc(b->b.len + 1);
    if (!*out)
        return no_memory(err);
    return b->b.len > 0 ? ds_log_read(j->log, b->at, *out, b->b.len, err) : DSTREAM_OK;
}

static enum dstream_code copy_batches(struct ds_journal *j, struct dstream_error *err)
{
    enum dstream_code rc = DSTREAM_OK;
    for (size_t i = j->first; i < j->nbatches && rc == DSTREAM_OK; i++) {
        char *body;
        rc = read_body(j, &j->batches[i], &body, err);
        if (rc == DSTREAM_OK)
            rc = write_batch(j, &j->batches[i], body, err);
        ds_free(body);
    }
    return rc;
}

/* Leaves behind what no longer matters. */
static enum dstream_code compact(struct ds_journal *j, struct dstream_error *err)
{
    enum dstream_code rc = ds_log_rewrite(j->log, err);
    if (rc == DSTREAM_OK)
        rc = write_about(j, err);
    if (rc == DSTREAM_OK)
        rc = write_epoch(j, err);
    if (rc == DSTREAM_OK)
        rc = copy_batches(j, err);
    if (rc == DSTREAM_OK)
        rc = write_untold(j, err);
    return rc == DSTREAM_OK ? ds_log_replace(j->log, err) : rc;
}

static enum dstream_code new_batches(struct ds_journal *j, struct ds_record *r, uint64_t now,
                                     struct dstream_error *err)
{
    struct ds_record_batch b;
    enum dstream_code rc = DSTREAM_OK;
    while (rc == DSTREAM_OK && ds_record_next_batch(r, &b)) {
        struct batch x = {.b = b, .time = now};
        rc = write_batch(j, &x, b.body, err);
        x.b.body = NULL;
        if (rc == DSTREAM_OK && add_batch(j, &x) != DSTREAM_OK)
            rc = no_memory(err);
    }
    return rc;
}

/* The time of a batch is that of its first sending: when it was first written down. */
static uint64_t oldest_or(const struct ds_journal *j, uint64_t now)
{
    uint64_t oldest = ds_journal_oldest(j);
    return oldest > 0 ? oldest : now;
}

static enum dstream_code open_epoch(struct ds_journal *j, struct ds_record *r, uint64_t now,
                                    struct dstream_error *err)
{
    struct ds_record_fate f;
    enum dstream_code rc = ds_log_rewrite(j->log, err);
    uint64_t time = oldest_or(j, now);
    forget_batches(j);
    j->epoch = r->epoch;
    j->kind = r->epoch_kind;
    j->known = r->known;
    while (rc == DSTREAM_OK && ds_record_next_fate(r, &f)) {
        if (add_fate(j, &f) != DSTREAM_OK)
            rc = no_memory(err);
    }
    if (rc == DSTREAM_OK)
        rc = write_about(j, err);
    if (rc == DSTREAM_OK)
        rc = write_epoch(j, err);
    if (rc == DSTREAM_OK)
        rc = new_batches(j, r, time, err);
    if (rc == DSTREAM_OK)
        rc = write_untold(j, err);
    if (rc == DSTREAM_OK)
        rc = ds_log_replace(j->log, err);
    j->exists |= rc == DSTREAM_OK;
    return rc;
}

/* --- records ---------------------------------------------------------------------------------- */

static enum dstream_code new_fates(struct ds_journal *j, struct ds_record *r,
                                   struct dstream_error *err)
{
    struct ds_record_fate f;
    enum dstream_code rc = begin_fates(j, true);
    while (rc == DSTREAM_OK && ds_record_next_fate(r, &f)) {
        rc = put_fate(j, &f);
        if (rc == DSTREAM_OK)
            rc = add_fate(j, &f);
        if (j->first < j->nbatches)
            drop_batch(j);
    }
    return add(j, rc, "", 0, NULL, err);
}

static enum dstream_code told(struct ds_journal *j, uint64_t n, struct dstream_error *err)
{
    drop_fates(j, n);
    return add(j, begin(j, REC_TOLD, &n, 1), "", 0, NULL, err);
}

/* Of many small batches the bodies are the least: were they alone to count, each record would have
 * all of it written anew. */
static uint64_t needed(const struct ds_journal *j)
{
    return j->live + RECORD_COST * (j->nbatches - j->first + j->nfates - j->fate_first);
}

static bool is_wasteful(const struct ds_journal *j)
{
    uint64_t size = ds_log_size(j->log);
    return size > j->waste_min && size / 2 > needed(j);
}

enum dstream_code ds_journal_write(struct ds_journal *j, struct ds_record *r, uint64_t unix_ms,
                                   struct dstream_error *err)
{
    enum dstream_code rc = DSTREAM_OK;
    ds_journal_forget(j);
    if (r->mark > j->mark) {
        j->mark = r->mark;
        j->witness[0] = '\0';
        if (j->ask)
            j->ask(j->ask_ctx, j->mark, j->witness);
    }
    if (r->kind != DS_RECORD_EPOCH)
        j->known |= r->known;
    switch (r->kind) {
    case DS_RECORD_EPOCH:
        return open_epoch(j, r, unix_ms, err);
    case DS_RECORD_BATCH:
        rc = new_batches(j, r, unix_ms, err);
        break;
    case DS_RECORD_FATE:
        rc = new_fates(j, r, err);
        break;
    case DS_RECORD_TOLD:
        rc = told(j, r->told, err);
        break;
    }
    if (rc == DSTREAM_OK && is_wasteful(j))
        rc = compact(j, err);
    return rc;
}

void ds_journal_set_waste(struct ds_journal *j, uint64_t bytes)
{
    j->waste_min = bytes;
}

enum dstream_code ds_journal_sync(struct ds_journal *j, struct dstream_error *err)
{
    return ds_log_sync(j->log, err);
}
