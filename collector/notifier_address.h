/* SPDX-License-Identifier: Apache-2.0 */
/* Which addresses are of the public internet: a webhook must not become a way into the network that
 * the collector stands in. */
#ifndef NS_COLLECTOR_NOTIFIER_ADDRESS_H
#define NS_COLLECTOR_NOTIFIER_ADDRESS_H

#include <stdbool.h>
#include <sys/socket.h>

/*
 * True for an address that anybody on the internet may have: not one of IANA's registries of
 * special-purpose addresses (RFC 6890 and its successors: private, loopback, link-local, shared,
 * documentation, benchmarks, multicast, reserved), not a cloud's metadata service; IPv4 inside
 * IPv6 (mapped, NAT64, 6to4) is judged as what it is. Any other family is not public. Pure.
 */
bool ns_address_is_public(const struct sockaddr *address);

/* The address in words, "10.0.0.1" or "fe80::1". */
#define NS_ADDRESS_TEXT_BYTES 46
void ns_address_format(const struct sockaddr *address, char text[static NS_ADDRESS_TEXT_BYTES]);

#endif
