/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first byte says what the rest is: 0 a snapshot, else events, each behind its length (2 bytes)
 * and the time that passes (4 bytes of seconds, signed). Whatever comes, the invariants hold, a
 * saved ledger loads, and it saves to the same bytes again (but for a snapshot of a former
 * format).
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/money.h"
#include "collector/ledger_state.h"

static const char former_formats[][8] = {"NSLEDG1", "NSLEDG2"};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check(const struct ns_ledger *l, const uint8_t *expected, size_t expected_bytes)
{
    if (ns_ledger_fault(l) != NULL) {
        abort();
    }
    uint8_t *bytes = NULL;
    size_t count = 0;
    if (ns_ledger_save(l, &bytes, &count) != 0) {
        abort();
    }
    if (expected != NULL && (count != expected_bytes || memcmp(bytes, expected, count) != 0)) {
        abort();
    }
    if (expected == NULL) {
        struct ns_ledger *again = NULL;
        if (ns_ledger_load(bytes, count, &again) != 0) {
            abort();
        }
        check(again, bytes, count);
        ns_ledger_free(again);
    }
    free(bytes);
}

static void
play(struct ns_ledger *l, const uint8_t *data, size_t size)
{
    int64_t now_ns = INT64_C(1795392000) * 1000000000;
    while (size >= 6) {
        size_t bytes = data[0] | (size_t)data[1] << 8;
        int32_t seconds;
        memcpy(&seconds, data + 2, sizeof(seconds));
        data += 6;
        size -= 6;
        bytes = bytes < size ? bytes : size;
        now_ns = ns_money_add(now_ns, (int64_t)seconds * 1000000000);
        struct ns_ledger_event event;
        struct ns_ledger_event_room room;
        if (ns_ledger_event_decode(data, bytes, &event, &room) == 0) {
            struct ns_ledger_effect effect;
            int status = ns_ledger_apply(l, &event, now_ns, &effect);
            if (ns_ledger_fault(l) != NULL || status == -ENOMEM) {
                abort();
            }
        }
        data += bytes;
        size -= bytes;
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    struct ns_ledger *l = NULL;
    if (data[0] == 0) {
        if (ns_ledger_load(data + 1, size - 1, &l) != 0) {
            return 0;
        }
        bool former = false;
        for (size_t i = 0; i < 2 && size > sizeof(former_formats[i]); i++) {
            former |= memcmp(data + 1, former_formats[i], sizeof(former_formats[i])) == 0;
        }
        check(l, former ? NULL : data + 1, size - 1);
    } else {
        l = ns_ledger_new();
        if (l == NULL) {
            return 0;
        }
        play(l, data + 1, size - 1);
        check(l, NULL, 0);
    }
    ns_ledger_free(l);
    return 0;
}
