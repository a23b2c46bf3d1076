/* SPDX-License-Identifier: Apache-2.0 */
/* How many tokens a picture, a recording, a film or a document can be: the data of estimate.c. */
#ifndef NS_PRICING_ATTACHMENTS_H
#define NS_PRICING_ATTACHMENTS_H

#include <stdint.h>

/* One kind of attachment, for one family. */
struct ns_price_attachment {
    uint32_t tokens_max;      /* one of them can not be more */
    uint32_t bytes_per_token; /* inline: a token stands for at least so many bytes; 0: its size says
                                 nothing */
    uint32_t tokens_likely;   /* one of them, where it is not inline or its size says nothing */
    uint32_t bytes_per_token_likely;
};

struct ns_price_attachments {
    const char *family; /* NULL: any other */
    const char *model;  /* how the row's name begins; "": any */
    struct ns_price_attachment image, audio, video, file;
};

/* The first row that fits. Never empty. */
const struct ns_price_attachments *ns_price_attachments_of(const char *family, const char *model);

#endif
