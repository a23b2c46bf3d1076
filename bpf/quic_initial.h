/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a QUIC client says first. Its Initial packets are encrypted with keys that everybody can
 * derive from them (RFC 9001, 5.2), so that the ClientHello in them can be read. Version 1 alone.
 */
#ifndef NS_BPF_QUIC_INITIAL_H
#define NS_BPF_QUIC_INITIAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bpf/pieces.h"

/* Adds what the Initial packets of a datagram carry. Returns false where there was none that could
 * be decrypted. */
bool ns_quic_read_datagram(const uint8_t *datagram, size_t count, struct ns_pieces *crypto);

#endif
