/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Streams that were deleted and made anew with other content: shorter, as long, or longer; between
 * two runs, while the connection was down, or between two SSE connections; exported into a file or
 * a directory, in segments or not. The export ends with 13, or with 10 where it meets the moment
 * in between, and has touched nothing.
 *
 * Of single files some of the cases are taken; with DSTREAM_SOAK=N all are.
 */
#include "config.h"

#include "tests/e2e/killing.h"
#include "tests/e2e/proxy.h"
#include "tests/e2e/reading.h"

#include <criterion/criterion.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

enum when { BETWEEN_RUNS, WHILE_DOWN, BETWEEN_SSE, WHENS };
static const char *const when_names[] = {"between two runs", "while the connection was down",
                                         "between two SSE connections"};
enum length { SHORTER, AS_LONG, LONGER, LENGTHS };

/* Numbers of two digits each, so that what is made anew is as long. */
static void fill(struct written *w, unsigned first, size_t appends)
{
    static const size_t sizes[] = {300, 300, 200, 500};
    w->n = first;
    for (size_t i = 0; i < appends; i++)
        written_add(w, sizes[i]);
}

/* What is exported by way of a proxy is written without it. */
static char *direct(const struct written *w)
{
    return e2e_url(strrchr(w->url, '/') + 1);
}

static void make_anew(const struct written *w, enum length length)
{
    static const size_t appends[] = {[SHORTER] = 1, [AS_LONG] = 3, [LONGER] = 4};
    struct written other = {.url = direct(w), .type = w->type};
    e2e_delete(other.url);
    e2e_create(other.url, w->type);
    fill(&other, 50, appends[length]);
}

/* --- connections that go ---------------------------------------------------------------------- */

struct trouble {
    enum when when;
    _Atomic bool over;
};

/* Of each live request. */
static struct proxy_plan befall(void *ctx, unsigned k)
{
    (void)k;
    const struct trouble *t = ctx;
    if (t->over)
        return (struct proxy_plan){.how = PROXY_WHOLE};
    return t->when == WHILE_DOWN ? (struct proxy_plan){.how = PROXY_MUTE}
                                 : (struct proxy_plan){.how = PROXY_CLEAN, .at = 1};
}

#define IMPATIENT                                                                                  \
    "backoff_base=5,backoff_max=20,header_long_poll=100,header_sse=100,silence_sse=300,"           \
    "short_base=5,short_max=20,replica_lag=20"

/* --- the cases -------------------------------------------------------------------------------- */

struct anew {
    enum when when;
    struct subject s;
    enum length lengths[FORM_STREAMS];
    const char *what;
    unsigned refused, gone; /* how it ended, over all cases */
};

static struct e2e_process *export_as(const struct anew *a, const char *limits, const char *follow)
{
    return e2e_finished(subject_export(&a->s, limits, "1s", follow));
}

static void replace_all(const struct anew *a)
{
    for (size_t i = 0; i < a->s.f->streams; i++)
        make_anew(&a->s.w[i], a->lengths[i]);
}

static struct e2e_process *replaced_between_runs(const struct anew *a)
{
    replace_all(a);
    return export_as(a, "replica_lag=20", NULL);
}

static struct e2e_process *replaced_while_followed(struct anew *a, struct proxy *proxy)
{
    struct e2e_process *p = subject_export(&a->s, IMPATIENT, "1s", "-f");
    proxy_await(proxy, "live=", (unsigned)a->s.f->streams);
    replace_all(a);
    return e2e_finished(p);
}

static void ended_so(struct anew *a, struct e2e_process *p)
{
    if (p->status != 13 && p->status != 10)
        cr_assert_fail("%s: ended with %d: %s", a->what, p->status, p->err_data.p);
    a->refused += p->status == 13;
    a->gone += p->status == 10;
    for (size_t i = 0; i < a->s.f->streams; i++)
        e2e_says(p, e2e_printf("%s: ", strrchr(a->s.w[i].url, '/')));
    subject_same(&a->s, a->what);
}

/* The streams are there, and filled. */
static void made_anew(struct anew *a)
{
    struct trouble trouble = {.when = a->when};
    struct proxy *proxy = proxy_start(e2e_base(), "live=", befall, &trouble);
    for (size_t i = 0; i < a->s.f->streams; i++) {
        fill(&a->s.w[i], 10, 3);
        a->s.w[i].url = e2e_url_at(proxy_url(proxy), strrchr(a->s.w[i].url, '/') + 1);
    }
    a->s.base = proxy_url(proxy);
    e2e_status(export_as(a, "", NULL), 0);
    subject_same(&a->s, "before");
    ended_so(a, a->when == BETWEEN_RUNS ? replaced_between_runs(a)
                                        : replaced_while_followed(a, proxy));
    trouble.over = true;
    /* And it stays so, whoever asks. */
    struct e2e_bytes before = snapshot(a->s.f->streams > 1 ? e2e_path("d") : e2e_path(""));
    ended_so(a, export_as(a, "replica_lag=20", NULL));
    e2e_same(a->what, snapshot(a->s.f->streams > 1 ? e2e_path("d") : e2e_path("")), before);
    for (size_t i = 0; i < a->s.f->streams; i++)
        e2e_delete(direct(&a->s.w[i]));
    proxy_stop(proxy);
    subject_clear(&a->s);
}

static void all_at_once(const struct form *f)
{
    for (int when = 0; when < WHENS; when++) {
        struct anew a = {.when = (enum when)when,
                         .what = e2e_printf("%s, %s", f->name, when_names[when])};
        a.s = (struct subject){.f = f};
        for (size_t i = 0; i < f->streams; i++) {
            a.s.w[i] = written_begin(e2e_url(e2e_printf("s%zu", i)), subject_type(i));
            a.lengths[i] = (enum length)(i / 3);
        }
        made_anew(&a);
        fprintf(stderr, "%s: %u refused, %u gone\n", a.what, a.refused, a.gone);
    }
}

E2E_BOTH(anew, in_a_directory)
{
    all_at_once(&(struct form){"directory", 9, NULL, NULL, NULL});
}

E2E_BOTH(anew, in_a_rotated_directory)
{
    all_at_once(&(struct form){"rotated directory", 9, "250", NULL, NULL});
}

static void one_by_one(const struct form *f)
{
    unsigned cases = WHENS * LENGTHS * 3, by = e2e_soak() > 1 ? 1 : 8, refused = 0, gone = 0;
    for (unsigned i = 0; i < cases; i += by) {
        enum length length = (enum length)(i / WHENS % LENGTHS);
        const char *type = subject_type(i / WHENS / LENGTHS);
        struct anew a = {.when = (enum when)(i % WHENS), .lengths = {length}};
        a.what = e2e_printf("%s, %s, %s, length %d", f->name, when_names[a.when], type, length);
        a.s = (struct subject){.f = f};
        a.s.w[0] = written_begin(e2e_url(e2e_printf("c%u", i)), type);
        made_anew(&a);
        refused += a.refused;
        gone += a.gone;
    }
    fprintf(stderr, "%s: %u refused, %u gone\n", f->name, refused, gone);
}

E2E_BOTH(anew, in_a_file)
{
    one_by_one(&(struct form){"one file", 1, NULL, NULL, NULL});
}

E2E_BOTH(anew, in_segments)
{
    one_by_one(&(struct form){"rotated", 1, "250", NULL, NULL});
}
