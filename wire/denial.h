/* SPDX-License-Identifier: Apache-2.0 */
/* The shapes of denials, as a table that docs/denials.md repeats. */
#ifndef NS_WIRE_DENIAL_H
#define NS_WIRE_DENIAL_H

#include <stddef.h>
#include <stdint.h>

/*
 * The first row that fits a request is its shape. In bodies these stand for something:
 *   %m the message, %s the status, %i the denial's id, %t the row's word for the status.
 */
struct ns_denial_shape {
    const char *family;
    const char *provider;  /* NULL: any */
    const char *operation; /* NULL: any */
    int status;            /* for a budget that is spent */
    const char *request_id_header;
    const char *body;
    const struct ns_denial_word *words; /* of %t: by status, the last one (0) for any other */
    const char *word_header;            /* says the same; NULL: none does */
};

struct ns_denial_word {
    int status;
    const char *word;
};

const struct ns_denial_shape *ns_denial_shapes(size_t *count);

#endif
