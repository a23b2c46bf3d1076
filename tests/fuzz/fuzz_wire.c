/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection, both sides, fed by a script: the first byte chooses sizes, then pieces alternate
 * between the program's side and the provider's at every 0xff. Whatever comes: every byte is
 * classified once, memory stays within bounds, calls are owned by exactly one.
 */
#include <stdlib.h>
#include <string.h>

#include "wire/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
demand(bool truth)
{
    if (!truth) {
        abort();
    }
}

static void
deny(const struct ns_wire_call *call)
{
    struct ns_wire_denial denial = {
        .message = call->request.model, .denial_id = "id", .reason = "loop", .entity = "org"};
    uint8_t answer[4096];
    int status;
    demand(ns_wire_denial_write(&call->request, &denial, answer, sizeof(answer), &status) > 0);
    demand(ns_wire_substitute_write(&call->request, call->request.closes, (char *)answer,
                                    sizeof(answer)) > 0);
}

static void
write_side(struct ns_wire *wire, const uint8_t *bytes, size_t count, uint8_t mode)
{
    for (size_t i = 0; i < count;) {
        struct ns_wire_written written;
        size_t left = count - i;
        size_t strips;
        size_t taken = ns_wire_write(wire, bytes + i, left, mode & 0x40 ? 64 : 65536, &written);
        demand(taken <= left && taken >= 1);
        demand(written.class != NS_WIRE_CALL || written.call != NULL);
        (void)ns_wire_strips(wire, &strips);
        demand(strips <= NS_STRIP_RANGES_MAX);
        i += taken;
        if (written.class == NS_WIRE_CALL) {
            deny(written.call);
        }
        if (written.class == NS_WIRE_CALL && (mode & 0x80) != 0) {
            struct ns_wire_call *call = written.call;
            if ((mode & 1) != 0) {
                ns_wire_substitute(wire, call);
            } else {
                ns_wire_forget(wire, call);
            }
            ns_wire_call_free(call);
        }
    }
}

static void
check_usage(const struct ns_wire_call *call)
{
    uint64_t mask = call->response.usage.present;
    for (unsigned m = 0; m < NS_METER_COUNT; m++) {
        demand((mask >> m & 1) != 0 || call->response.usage.count[m] == 0);
        demand(call->response.usage.count[m] <= UINT64_C(1) << 60);
    }
    demand(ns_wire_evidence(call) < NS_EVIDENCE_COUNT);
}

static void
read_side(struct ns_wire *wire, const uint8_t *bytes, size_t count)
{
    for (size_t i = 0; i < count;) {
        struct ns_wire_read read;
        size_t taken = ns_wire_read(wire, bytes + i, count - i, &read);
        demand(taken <= count - i && (taken > 0 || read.event != NS_WIRE_READ_MORE));
        i += taken;
        if (read.event == NS_WIRE_READ_END && read.call != NULL) {
            check_usage(read.call);
            ns_wire_call_free(read.call);
        }
    }
}

static const char *const families[] = {"openai",  "anthropic", "gemini", "anthropic",
                                       "bedrock", "cohere",    "ollama", "bedrock"};

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) {
        return 0;
    }
    uint8_t mode = data[0];
    struct ns_wire_hosts hosts = {.count = 1};
    memcpy(hosts.extra[0].host, "h", 2);
    hosts.extra[0].family = families[mode >> 1 & 7];
    struct ns_wire *wire = ns_wire_new(&hosts, "h");
    bool writing = true;
    for (size_t i = 1; i < size;) {
        const uint8_t *mark = memchr(data + i, 0xff, size - i);
        size_t count = mark ? (size_t)(mark - (data + i)) : size - i;
        if (writing) {
            write_side(wire, data + i, count, mode);
        } else {
            read_side(wire, data + i, count);
        }
        writing = !writing;
        i += count + 1;
    }
    struct ns_wire_read read;
    while (ns_wire_read_close(wire, &read) == NS_WIRE_READ_END) {
        ns_wire_call_free(read.call);
    }
    for (struct ns_wire_call *call = ns_wire_take(wire); call != NULL; call = ns_wire_take(wire)) {
        check_usage(call);
        ns_wire_call_free(call);
    }
    ns_wire_free(wire);
    return 0;
}
