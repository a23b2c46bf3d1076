/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Undoes content codings as a stream: identity, gzip (x-gzip), deflate (zlib, or raw as some
 * servers send it), br, zstd, and two of them stacked.
 *
 * The decoders' windows come from ns_mem_alloc when the first byte arrives and go when the body
 * ends. A body that grows beyond NS_CODING_GROWTH_MAX is refused as a bomb.
 *
 * gzip and zstd may go on with another member or frame, so a complete body ends in MORE there,
 * as a truncated one does; END comes where what follows is neither. zlib, raw deflate and br know
 * their end. What comes after END is not looked at.
 */
#ifndef NS_WIRE_CODING_H
#define NS_WIRE_CODING_H

#include <stddef.h>
#include <stdint.h>

enum ns_coding_status {
    NS_CODING_MORE,   /* wants input */
    NS_CODING_OUTPUT, /* gave output; call again with the rest of the input */
    NS_CODING_END,    /* the coded body is complete */
    NS_CODING_CORRUPT,
    NS_CODING_BOMB,
    NS_CODING_NO_MEMORY
};

struct ns_coding;

/*
 * A decoder for the value of a Content-Encoding header (NULL and 0 bytes: identity).
 * Returns 0 and *coding; -ENOTSUP for a coding that is not known or too many stacked;
 * -ENOMEM. Identity is a decoder too: there is one way to read a body.
 */
int ns_coding_new(const char *content_encoding, size_t bytes, struct ns_coding **coding);
void ns_coding_free(struct ns_coding *coding);

/*
 * Decodes from input. *consumed bytes of it were taken; on OUTPUT, *output points at
 * *output_bytes decoded bytes, valid until the next call. Statuses after OUTPUT are final but MORE.
 */
enum ns_coding_status ns_coding_feed(struct ns_coding *coding, const uint8_t *input,
                                     size_t input_bytes, size_t *consumed, const uint8_t **output,
                                     size_t *output_bytes);

#endif
