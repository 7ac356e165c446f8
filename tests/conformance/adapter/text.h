/* SPDX-License-Identifier: Apache-2.0 */
/* Text that grows, and what bytes are. Without memory the program ends. */
#ifndef ADAPTER_TEXT_H
#define ADAPTER_TEXT_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

void *take_memory(size_t n);
char *copy_text(const char *s);

struct text {
    char *p; /* NULL: nothing was ever added; else a NUL follows the last byte */
    size_t n, cap;
};

void text_add(struct text *t, const char *p, size_t n);
void text_adds(struct text *t, const char *s);
void text_addf(struct text *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void text_addv(struct text *t, const char *fmt, va_list ap);
void text_free(struct text *t);

bool is_utf8(const char *p, size_t n);
/* Of a content type: whether what is before its parameters is application/json. */
bool is_json_type(const char *type);

/* With padding. */
void text_add_base64(struct text *t, const char *p, size_t n);
/* Standard alphabet, padded. False for anything else. */
bool text_add_decoded(struct text *t, const char *p, size_t n);

#endif
