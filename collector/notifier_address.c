/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/notifier_address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* https://www.iana.org/assignments/iana-ipv4-special-registry */
static const struct {
    uint32_t network;
    int bits;
} special4[] = {
    {0x00000000, 8},  /* this host */
    {0x0a000000, 8},  /* private */
    {0x64400000, 10}, /* shared: carriers' NAT, and a cloud's metadata */
    {0x7f000000, 8},  /* loopback */
    {0xa83f8110, 32}, /* 168.63.129.16: a cloud's host, public in form only */
    {0xa9fe0000, 16}, /* link-local, and most clouds' metadata */
    {0xac100000, 12}, /* private */
    {0xc0000000, 24}, /* IETF's protocols, and a cloud's metadata */
    {0xc0000200, 24}, /* documentation */
    {0xc0586300, 24}, /* relays of 6to4 */
    {0xc0a80000, 16}, /* private */
    {0xc6120000, 15}, /* benchmarks */
    {0xc6336400, 24}, /* documentation */
    {0xcb007100, 24}, /* documentation */
    {0xe0000000, 4},  /* multicast */
    {0xf0000000, 4},  /* reserved, and broadcast */
};

/* https://www.iana.org/assignments/iana-ipv6-special-registry: within 2000::/3, the only part that
 * is given out. */
static const struct {
    uint8_t network[6];
    int bits;
} special6[] = {
    {{0x20, 0x01, 0x00, 0x00}, 23}, /* IETF's protocols, Teredo among them */
    {{0x20, 0x01, 0x0d, 0xb8}, 32}, /* documentation */
    {{0x3f, 0xff, 0x00, 0x00}, 20}, /* documentation */
};

static bool
is_public4(uint32_t address)
{
    for (size_t i = 0; i < sizeof special4 / sizeof special4[0]; i++) {
        uint32_t mask = UINT32_MAX << (32 - special4[i].bits);
        if ((address & mask) == special4[i].network) {
            return false;
        }
    }
    return true;
}

static bool
begins(const uint8_t *address, const uint8_t *network, int bits)
{
    size_t whole = (size_t)bits / 8;
    uint8_t mask = (uint8_t)(0xff00 >> (bits % 8));
    return memcmp(address, network, whole) == 0 &&
           (bits % 8 == 0 || (address[whole] & mask) == (network[whole] & mask));
}

static uint32_t
ipv4_at(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

static bool
is_public6(const uint8_t *address)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    static const uint8_t nat64[12] = {0x00, 0x64, 0xff, 0x9b};
    if (memcmp(address, mapped, sizeof mapped) == 0 || memcmp(address, nat64, sizeof nat64) == 0) {
        return is_public4(ipv4_at(address + 12));
    }
    if ((address[0] & 0xe0) != 0x20) {
        return false;
    }
    if (address[0] == 0x20 && address[1] == 0x02) { /* 6to4 */
        return is_public4(ipv4_at(address + 2));
    }
    for (size_t i = 0; i < sizeof special6 / sizeof special6[0]; i++) {
        if (begins(address, special6[i].network, special6[i].bits)) {
            return false;
        }
    }
    return true;
}

bool
ns_address_is_public(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, address, sizeof in);
        return is_public4(ntohl(in.sin_addr.s_addr));
    }
    if (address->sa_family == AF_INET6) {
        struct sockaddr_in6 in6;
        memcpy(&in6, address, sizeof in6);
        return is_public6(in6.sin6_addr.s6_addr);
    }
    return false;
}

void
ns_address_format(const struct sockaddr *address, char text[static NS_ADDRESS_TEXT_BYTES])
{
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
    snprintf(text, NS_ADDRESS_TEXT_BYTES, "?");
    if (address->sa_family == AF_INET) {
        memcpy(&in, address, sizeof in);
        inet_ntop(AF_INET, &in.sin_addr, text, NS_ADDRESS_TEXT_BYTES);
    } else if (address->sa_family == AF_INET6) {
        memcpy(&in6, address, sizeof in6);
        inet_ntop(AF_INET6, &in6.sin6_addr, text, NS_ADDRESS_TEXT_BYTES);
    }
}
