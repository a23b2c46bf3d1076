/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/fingerprint.h"

#include <string.h>

/* Odd, so that multiplying by it loses nothing; half of its bits are set. */
#define FACTOR UINT64_C(0x9e3779b97f4a7c15)

static uint64_t
step(uint64_t sum, const uint8_t *word_bytes)
{
    uint64_t word;
    memcpy(&word, word_bytes, sizeof word);
    sum = (sum ^ word) * FACTOR;
    return sum << 23 | sum >> 41;
}

void
ns_fingerprint_add(struct ns_fingerprint *fingerprint, const void *bytes, size_t count)
{
    const uint8_t *at = bytes;
    size_t have = fingerprint->bytes % 8;
    fingerprint->bytes += count;
    if (have > 0) {
        size_t taken = count < 8 - have ? count : 8 - have;
        memcpy(fingerprint->rest + have, at, taken);
        if (have + taken < 8) {
            return;
        }
        fingerprint->sum = step(fingerprint->sum, fingerprint->rest);
        at += taken;
        count -= taken;
    }
    for (; count >= 8; at += 8, count -= 8) {
        fingerprint->sum = step(fingerprint->sum, at);
    }
    if (count > 0) {
        memcpy(fingerprint->rest, at, count);
    }
}

uint64_t
ns_fingerprint_end(const struct ns_fingerprint *fingerprint)
{
    uint8_t last[8] = {0};
    memcpy(last, fingerprint->rest, fingerprint->bytes % 8);
    uint64_t sum = step(step(fingerprint->sum, last) ^ fingerprint->bytes, last);
    sum ^= sum >> 29;
    sum *= FACTOR;
    sum ^= sum >> 32;
    return sum != 0 ? sum : 1;
}
