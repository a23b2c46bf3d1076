/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as what a client says first: never past their end, a name is one, and more bytes never
 * take back what fewer said for certain. The same bytes as a QUIC datagram. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "bpf/client_hello.h"
#include "bpf/quic_initial.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum ns_client_hello_state
read_copy(const uint8_t *data, size_t size, struct ns_client_hello *hello)
{
    uint8_t *records = malloc(size + 1), *message = malloc(size + 1);
    memcpy(records, data, size);
    enum ns_client_hello_state state = ns_client_hello_read_records(records, size, message, hello);
    free(records);
    free(message);
    return state;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct ns_pieces pieces;
    struct ns_client_hello all, half;
    size = size < NS_PIECES_BYTES_MAX ? size : NS_PIECES_BYTES_MAX;
    enum ns_client_hello_state state = read_copy(data, size, &all);
    for (const char *at = all.server_name; *at != '\0'; at++) {
        if (*at <= ' ' || *at >= 0x7f) {
            abort();
        }
    }
    if (state == NS_CLIENT_HELLO_NOT && (all.server_name[0] != '\0' || all.encrypted)) {
        abort();
    }
    enum ns_client_hello_state earlier = read_copy(data, size / 2, &half);
    if (earlier != NS_CLIENT_HELLO_MORE &&
        (earlier != state || strcmp(half.server_name, all.server_name) != 0)) {
        abort();
    }
    memset(&pieces, 0, sizeof pieces);
    ns_quic_read_datagram(data, size, &pieces);
    return 0;
}
