/* SPDX-License-Identifier: Apache-2.0 */
/* Which server a TLS client names in its first message (RFC 8446, 4.1.2; RFC 6066, 3), out of bytes
 * that anybody may have sent. No memory of its own, no I/O. */
#ifndef NS_BPF_CLIENT_HELLO_H
#define NS_BPF_CLIENT_HELLO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* RFC 1035: the longest name of a host. */
#define NS_CLIENT_HELLO_NAME_BYTES_MAX 255

enum ns_client_hello_state {
    NS_CLIENT_HELLO_MORE, /* so far it is one, and more of it is to come */
    NS_CLIENT_HELLO_DONE, /* all of it was read */
    NS_CLIENT_HELLO_NOT   /* it is none */
};

struct ns_client_hello {
    char server_name[NS_CLIENT_HELLO_NAME_BYTES_MAX + 1]; /* "" where none was named so far */
    bool encrypted; /* it may carry another hello, encrypted (ECH), or make as if it did */
};

/* Reads a ClientHello from its handshake message (no TLS records: as QUIC carries it). Call again
 * with all bytes from the start when there are more. With MORE, *hello is what is known so far. */
enum ns_client_hello_state ns_client_hello_read(const uint8_t *message, size_t count,
                                                struct ns_client_hello *hello);

/* The same from TLS records, over which the message may be spread. message: room for what the
 * records hold, at least count bytes. */
enum ns_client_hello_state ns_client_hello_read_records(const uint8_t *records, size_t count,
                                                        uint8_t *message,
                                                        struct ns_client_hello *hello);

#endif
