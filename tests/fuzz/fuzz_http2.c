/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A governed HTTP/2 connection, both sides, fed by a script: the first byte chooses sizes and
 * verdicts, whether streams are made to tell their usage, and whether answers are cut; then pieces,
 * each with a byte before it: a bit for its side, the rest its length. Whatever comes: what is
 * withheld does not leave before its verdict, the accounts add up, and each call is owned by
 * exactly one.
 */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "shim/call.h"
#include "shim/counters.h"
#include "shim/http2_connection.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

uint64_t ns_counters[NS_COUNTER_COUNT]; /* of the library, which is not here */

static void
demand(bool truth)
{
    if (!truth) {
        abort();
    }
}

static void
take_out(struct ns_http2 *http2)
{
    bool cut;
    ns_bytes_free(ns_http2_to_server(http2));
    ns_bytes_free(ns_http2_to_program(http2));
    if (!ns_http2_has_failed(http2)) {
        ns_http2_flushed(http2);
    }
    for (struct ns_wire_call *call; (call = ns_http2_take_ended(http2, &cut)) != NULL;) {
        ns_wire_call_free(call);
    }
}

static void
check_accounts(const struct ns_http2 *http2)
{
    int64_t pending = 0;
    uint32_t over = 0;
    uint32_t released = 0;
    for (uint32_t i = 0; i < http2->stream_count; i++) {
        const struct ns_http2_stream *stream = http2->streams[i];
        demand(i == 0 || http2->streams[i - 1]->id < stream->id);
        demand(!stream->withheld || stream->call != NULL);
        demand(!stream->dropped || ns_bytes_count(&stream->queue) == 0);
        pending += (int64_t)ns_bytes_count(&stream->queue);
        over += stream->over;
        released += stream->released;
    }
    demand(http2->failed || pending == http2->pending);
    demand(over == http2->over_count && released == http2->released_count);
}

static void
write_side(struct ns_http2 *http2, const uint8_t *bytes, size_t count, uint8_t mode)
{
    static const char denial[] = "HTTP/1.1 402 Payment Required\r\ncontent-length: 2\r\n\r\n{}";
    for (size_t i = 0; i < count;) {
        struct ns_http2_stream *asks;
        size_t taken = ns_http2_write(http2, bytes + i, count - i, (mode & 32) != 0, &asks);
        demand(taken <= count - i && (taken > 0 || asks != NULL));
        i += taken;
        if (asks == NULL) {
            demand(i == count);
            return;
        }
        const uint8_t *head;
        size_t head_bytes;
        struct ns_wire_call *call = ns_http2_asking(asks, &head, &head_bytes);
        static struct ns_ticket ticket;
        call->user = &ticket;
        demand((uint64_t)call->request.credential_range.offset +
                   call->request.credential_range.bytes <=
               head_bytes);
        if (ns_http2_unjudged(asks) == NS_WIRE_CLEAR && ((asks->id >> 1) & 1) == (mode & 1)) {
            ns_http2_allow(http2, asks);
        } else {
            ns_wire_call_free(
                ns_http2_deny(http2, asks, (const uint8_t *)denial, sizeof denial - 1));
        }
    }
}

static void
read_side(struct ns_http2 *http2, const uint8_t *bytes, size_t count)
{
    bool idle = false;
    for (size_t i = 0; i < count;) {
        bool pass;
        size_t taken = ns_http2_read(http2, bytes + i, count - i, &pass);
        demand(taken <= count - i && (taken > 0 || !idle)); /* the end of a frame needs none */
        idle = taken == 0;
        i += taken;
        ns_bytes_free(ns_http2_to_program(http2));
    }
}

static void
look_at_growth(struct ns_http2 *http2, bool cuts)
{
    static const struct ns_gate_verdict verdict = {.message = "no more"};
    uint32_t stream;
    while (ns_http2_take_grown(http2, &stream) != NULL) {
        demand(ns_http2_call(http2, stream) != NULL);
        if (cuts) {
            ns_http2_cut(http2, stream, &verdict);
        }
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct ns_wire_hosts hosts;
    if (size < 1) {
        return 0;
    }
    uint8_t mode = data[0];
    struct ns_http2 *http2 =
        ns_http2_new(&hosts, "api.openai.com", mode & 2 ? 64 : 1 << 20, (mode & 8) != 0);
    demand(http2 != NULL);
    ns_http2_read_by_record(http2, (mode & 64) != 0);
    if ((mode & 128) != 0) {
        ns_http2_judge_by_length(http2);
    }
    http2->ping_base = 0;  /* so that a script can answer */
    if ((mode & 4) != 0) { /* most scripts are about what follows */
        write_side(http2, (const uint8_t *)ns_http2_preface, NS_HTTP2_PREFACE_BYTES, mode);
    }
    for (size_t i = 1; i < size;) {
        bool reads = (data[i] & 0x80) != 0;
        size_t count = (data[i] & 0x7f) == 0x7f ? size : data[i] & 0x7fU;
        i++;
        count = count < size - i ? count : size - i;
        if (count > 0 && reads) {
            look_at_growth(http2, (mode & 16) != 0);
            read_side(http2, data + i, count);
        } else if (count > 0) {
            write_side(http2, data + i, count, mode);
        }
        i += count;
        check_accounts(http2);
        take_out(http2);
    }
    ns_http2_close_reading(http2);
    take_out(http2);
    for (struct ns_wire_call *call; (call = ns_http2_take(http2)) != NULL;) {
        ns_wire_call_free(call);
    }
    ns_http2_free(http2);
    return 0;
}
