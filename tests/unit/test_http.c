/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>

#include <string.h>

#include "base/alloc.h"
#include "base/http.h"

static enum dstream_code add(struct ds_head *h, const char *name, const char *value)
{
    return ds_head_add(h, name, strlen(name), value, strlen(value));
}

Test(http, a_field_is_found_by_its_lower_case_name_and_its_value_is_trimmed)
{
    struct ds_head h = {.status = 200};
    ds_buf_init(&h.fields, 4096);
    cr_expect_null(ds_head_get(&h, "content-type"));
    cr_assert_eq(add(&h, "Content-Type", " \ttext/Plain; a=B \r\n"), DSTREAM_OK);
    cr_assert_eq(add(&h, "X-Empty", " "), DSTREAM_OK);
    cr_assert_eq(add(&h, "ETag", "\"a b\""), DSTREAM_OK);
    cr_assert_eq(add(&h, "etag", "second"), DSTREAM_OK);
    cr_assert_eq(ds_head_add(&h, "name-and-more", 4, "value-and-more", 5), DSTREAM_OK);
    cr_expect_str_eq(ds_head_get(&h, "content-type"), "text/Plain; a=B");
    cr_expect_str_eq(ds_head_get(&h, "x-empty"), "");
    cr_expect_str_eq(ds_head_get(&h, "etag"), "\"a b\"");
    cr_expect_str_eq(ds_head_get(&h, "name"), "value");
    cr_expect_null(ds_head_get(&h, "Content-Type"));
    cr_expect_null(ds_head_get(&h, "content"));
    cr_expect_null(ds_head_get(&h, "second")); /* a value is no name */
    cr_expect_null(ds_head_get(&h, ""));
    ds_head_free(&h);
    cr_expect_null(ds_head_get(&h, "etag"));
}

Test(http, a_field_that_cannot_be_kept_leaves_the_others)
{
    struct ds_head h = {.status = 200};
    ds_buf_init(&h.fields, 8);
    cr_assert_eq(add(&h, "a", "1"), DSTREAM_OK); /* 4 bytes */
    cr_expect_eq(add(&h, "bb", "2"), DSTREAM_ERR_LIMIT);

    cr_assert_eq(add(&h, "b", "2"), DSTREAM_OK);
    cr_expect_eq(add(&h, "", ""), DSTREAM_ERR_PROTOCOL);
    cr_expect_eq(h.fields.len, 8);
    cr_expect_str_eq(ds_head_get(&h, "a"), "1");
    cr_expect_str_eq(ds_head_get(&h, "b"), "2");
    ds_head_free(&h);

    ds_buf_init(&h.fields, 4096);
    cr_expect_eq(ds_head_add(&h, "a\0b", 3, "1", 1), DSTREAM_ERR_PROTOCOL);
    cr_expect_eq(ds_head_add(&h, "ab", 2, "1\0002", 3), DSTREAM_ERR_PROTOCOL);
    cr_expect_eq(add(&h, "", "1"), DSTREAM_ERR_PROTOCOL);
    ds_alloc_fail_after(0);
    cr_expect_eq(add(&h, "a", "1"), DSTREAM_ERR_NOMEM);
    ds_alloc_fail_after(-1);
    cr_expect_eq(h.fields.len, 0);
    ds_head_free(&h);
}

Test(http, an_etag_is_kept_whole_or_not_at_all)
{
    char tag[DS_ETAG_MAX + 2], out[DS_ETAG_MAX + 1] = "before";
    struct ds_head h = {.status = 200};
    ds_buf_init(&h.fields, 4096);
    ds_head_etag(&h, out);
    cr_expect_str_eq(out, "");
    for (size_t n = DS_ETAG_MAX; n <= DS_ETAG_MAX + 1; n++) {
        memset(tag, 'x', n);
        h.fields.len = 0;
        cr_assert_eq(ds_head_add(&h, "ETag", 4, tag, n), DSTREAM_OK);
        ds_head_etag(&h, out);
        cr_expect_eq(strlen(out), n <= DS_ETAG_MAX ? n : 0);
    }
    ds_head_free(&h);
}

Test(http, only_the_word_true_is_true)
{
    static const struct {
        const char *value;
        bool is;
    } row[] = {
        {"true", true}, {"TRUE", true}, {" True ", true}, {"", false},      {"1", false},
        {"yes", false}, {"tru", false}, {"truee", false}, {"true,", false},
    };
    struct ds_head h = {.status = 200};
    ds_buf_init(&h.fields, 4096);
    cr_expect_not(ds_head_is_true(&h, "stream-closed"));
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        h.fields.len = 0;
        cr_assert_eq(add(&h, "Stream-Closed", row[i].value), DSTREAM_OK);
        cr_expect_eq(ds_head_is_true(&h, "stream-closed"), row[i].is, "%s", row[i].value);
    }
    ds_head_free(&h);
}

Test(http, the_media_type_is_what_stands_before_the_parameters)
{
    static const struct {
        const char *type, *media;
        bool json, text;
    } row[] = {
        {"application/json", "application/json", true, false},
        {" Application/JSON ; charset=utf-8", "application/json", true, false},
        {"application/json;", "application/json", true, false},
        {"application/jsonl", "application/jsonl", false, false},
        {"application/json-seq", "application/json-seq", false, false},
        {"application/ld+json", "application/ld+json", false, false},
        {"text/plain", "text/plain", false, true},
        {"TEXT/Event-Stream; a=\"b;c\"", "text/event-stream", false, true},
        {"text/", "text/", false, false},
        {"text", "text", false, false},
        {"textual/x", "textual/x", false, false},
        {"application/octet-stream", "application/octet-stream", false, false},
        {"; application/json", "", false, false},
        {"", "", false, false},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        char media[64];
        ds_media_type(row[i].type, media, sizeof media);
        cr_expect_str_eq(media, row[i].media);
        cr_expect_eq(ds_type_is_json(row[i].type), row[i].json, "%s", row[i].type);
        cr_expect_eq(ds_type_is_text(row[i].type), row[i].text, "%s", row[i].type);
    }
}

Test(http, the_media_type_is_cut_at_the_end_of_the_array)
{
    char media[5] = "xxxx";
    ds_media_type("text/plain", media, 0);
    cr_expect_str_eq(media, "xxxx");
    ds_media_type("Text/plain", media, 4);
    cr_expect_str_eq(media, "tex");
    ds_media_type("Text/plain", media, 1);
    cr_expect_str_eq(media, "");
}
