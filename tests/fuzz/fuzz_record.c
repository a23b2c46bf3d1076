/* SPDX-License-Identifier: Apache-2.0 */
/* A record that decodes encodes to the same bytes. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "collector/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t again[NS_RECORD_BYTES_MAX];
    struct ns_record record;
    struct ns_ledger_event_room room;
    if (ns_record_decode(data, size, &record, &room) == 0) {
        int n = ns_record_encode(&record, again, sizeof(again));
        if (n < 0 || (size_t)n != size || memcmp(data, again, size) != 0) {
            abort();
        }
    }
    return 0;
}
