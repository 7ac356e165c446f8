/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Formats that the user writes, as "%o %s\n". It is used as it was written, so that a state can
 * keep and compare it.
 *
 *   %o  the offset where the answer began     %s  the payload
 *   %i  its units (messages, bytes) before    %S  its length in bytes
 *   %n  the offset behind the answer          %t  when it was received
 *   %u  the stream's URL without secrets      %%  a %
 *   \n \t \r \0 \\  characters
 */
#ifndef DS_CLI_TEMPLATE_H
#define DS_CLI_TEMPLATE_H

#include "cli/jsonout.h"

/* What is printed: a message, or bytes. */
struct ds_template_unit {
    const char *url, *offset;
    const char *next; /* "": not known yet */
    const char *received;
    uint64_t index;
    const char *p;
    size_t n;
    bool message; /* line breaks between its tokens are left out */
};

/* The first two characters that stand for nothing; NULL: there are none. A last one that stands
 * alone has nothing behind it. */
const char *ds_template_wrong(const char *text);
/* Prints one, by a template that is right. */
void ds_template_put(struct ds_json_out *o, const char *text, const struct ds_template_unit *u);

#endif
