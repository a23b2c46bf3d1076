/* SPDX-License-Identifier: Apache-2.0 */
#include "base/hash.h"

#include <string.h>
#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

struct sip {
    uint64_t v0, v1, v2, v3;
};

static uint64_t
rotate_left(uint64_t x, int bits)
{
    return x << bits | x >> (64 - bits);
}

static uint64_t
load64(const uint8_t *p)
{
    uint64_t x = 0;
    for (int i = 7; i >= 0; i--) {
        x = x << 8 | p[i];
    }
    return x;
}

static void
store64(uint8_t *p, uint64_t x)
{
    for (int i = 0; i < 8; i++) {
        p[i] = (uint8_t)(x >> (8 * i));
    }
}

static void
sip_rounds(struct sip *s, int rounds)
{
    for (int i = 0; i < rounds; i++) {
        s->v0 += s->v1;
        s->v1 = rotate_left(s->v1, 13) ^ s->v0;
        s->v0 = rotate_left(s->v0, 32);
        s->v2 += s->v3;
        s->v3 = rotate_left(s->v3, 16) ^ s->v2;
        s->v0 += s->v3;
        s->v3 = rotate_left(s->v3, 21) ^ s->v0;
        s->v2 += s->v1;
        s->v1 = rotate_left(s->v1, 17) ^ s->v2;
        s->v2 = rotate_left(s->v2, 32);
    }
}

static void
sip_absorb(struct sip *s, uint64_t word)
{
    s->v3 ^= word;
    sip_rounds(s, 2);
    s->v0 ^= word;
}

static uint64_t
sip_fold(struct sip *s)
{
    sip_rounds(s, 4);
    return s->v0 ^ s->v1 ^ s->v2 ^ s->v3;
}

static struct sip
sip_input(const uint8_t key[static 16], const void *data, size_t data_bytes, int wide)
{
    uint64_t k0 = load64(key);
    uint64_t k1 = load64(key + 8);
    struct sip s = {
        k0 ^ UINT64_C(0x736f6d6570736575),
        k1 ^ UINT64_C(0x646f72616e646f6d) ^ (wide ? UINT64_C(0xee) : 0),
        k0 ^ UINT64_C(0x6c7967656e657261),
        k1 ^ UINT64_C(0x7465646279746573),
    };
    const uint8_t *p = data;
    size_t left = data_bytes;
    for (; left >= 8; p += 8, left -= 8) {
        sip_absorb(&s, load64(p));
    }
    uint8_t last[8] = {0};
    if (left > 0) {
        memcpy(last, p, left);
    }
    last[7] = (uint8_t)data_bytes;
    sip_absorb(&s, load64(last));
    s.v2 ^= wide ? UINT64_C(0xee) : UINT64_C(0xff);
    return s;
}

void
ns_siphash128(const uint8_t key[static 16], const void *data, size_t data_bytes,
              uint8_t digest[static 16])
{
    struct sip s = sip_input(key, data, data_bytes, 1);
    store64(digest, sip_fold(&s));
    s.v1 ^= UINT64_C(0xdd);
    store64(digest + 8, sip_fold(&s));
}

uint64_t
ns_siphash64(const uint8_t key[static 16], const void *data, size_t data_bytes)
{
    struct sip s = sip_input(key, data, data_bytes, 0);
    return sip_fold(&s);
}

static uint32_t
crc32c_plain(uint32_t crc, const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        crc ^= p[i];
        for (int bit = 0; bit < 8; bit++) {
            crc = crc >> 1 ^ (UINT32_C(0x82f63b78) & (0 - (crc & 1)));
        }
    }
    return crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t
crc32c_sse(uint32_t crc, const uint8_t *p, size_t n)
{
    uint64_t wide = crc;
    for (; n >= 8; p += 8, n -= 8) {
        wide = _mm_crc32_u64(wide, load64(p));
    }
    crc = (uint32_t)wide;
    for (; n > 0; p++, n--) {
        crc = _mm_crc32_u8(crc, *p);
    }
    return crc;
}
#endif

uint32_t
ns_crc32c(uint32_t crc, const void *data, size_t data_bytes)
{
    crc = ~crc;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("sse4.2")) {
        return ~crc32c_sse(crc, data, data_bytes);
    }
#endif
    return ~crc32c_plain(crc, data, data_bytes);
}
