/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A number that tells whether two texts are the same, however they are cut into pieces. Texts of
 * one length that differ have different sums until their last step folds them, so by chance two are
 * taken for the same once in 2^64; somebody who wants to can make such two. It says something of
 * its text: what leaves the process is a keyed hash of it.
 */
#ifndef NS_WIRE_FINGERPRINT_H
#define NS_WIRE_FINGERPRINT_H

#include <stddef.h>
#include <stdint.h>

struct ns_fingerprint { /* of nothing: all zeros */
    uint64_t sum;
    uint64_t bytes;
    uint8_t rest[8]; /* the last bytes % 8 bytes: no whole word yet */
};

void ns_fingerprint_add(struct ns_fingerprint *fingerprint, const void *bytes, size_t count);

/* Of what was added until now; never 0. */
uint64_t ns_fingerprint_end(const struct ns_fingerprint *fingerprint);

#endif
