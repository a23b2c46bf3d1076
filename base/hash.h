/* SPDX-License-Identifier: Apache-2.0 */
/* Hashes: a keyed one for secrets and for tables that strangers can fill, and a checksum. */
#ifndef NS_BASE_HASH_H
#define NS_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

/* SipHash-2-4 with 128 bits of output (J.-P. Aumasson, D. J. Bernstein: "SipHash: a fast
 * short-input PRF", 2012; reference vectors in tests/unit/base_test.c). Any thread. */
void ns_siphash128(const uint8_t key[static 16], const void *data, size_t data_bytes,
                   uint8_t digest[static 16]);

/* SipHash-2-4 with 64 bits of output. */
uint64_t ns_siphash64(const uint8_t key[static 16], const void *data, size_t data_bytes);

/* CRC-32C (Castagnoli, RFC 3720 B.4), continued from crc (0 to start). */
uint32_t ns_crc32c(uint32_t crc, const void *data, size_t data_bytes);

#endif
