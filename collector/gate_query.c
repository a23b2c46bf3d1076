/* SPDX-License-Identifier: Apache-2.0 */
/* Who may speak, and what the command line asks. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "collector/gate.h"
#include "collector/service.h"
#include "collector/status.h"
#include "protocol/zmtp.h"

/* --- HELLO -------------------------------------------------------------------------------------
 */

void
ns_gate_refuse(struct ns_gate *gate, const struct ns_gate_from *from, uint8_t why)
{
    gate->counters.hellos_refused++;
    gate->out.kind = NS_MESSAGE_WELCOME;
    gate->out.as.welcome = (struct ns_welcome){.protocol = NS_PROTOCOL_VERSION,
                                               .collector = ns_text_of(NS_VERSION),
                                               .refused = why,
                                               .instance = gate->instance};
    ns_gate_reply(gate, from->socket, from->routing);
}

/* In a time that does not tell how much of a key was right. */
static bool
is_known_key(const struct ns_gate *gate, struct ns_text key)
{
    bool known = false;
    for (int i = 0; i < gate->api_key_count; i++) {
        const char *good = gate->api_key[i].text;
        size_t bytes = strlen(good);
        unsigned differ = bytes == key.bytes ? 0 : 1;
        for (size_t at = 0; at < key.bytes; at++) {
            differ |= (unsigned)(key.text[at] ^ good[bytes > 0 ? at % bytes : 0]);
        }
        known = known || (differ == 0 && bytes > 0);
    }
    return known;
}

void
ns_gate_hello(struct ns_gate *gate, const struct ns_gate_from *from,
              const struct ns_peer_address *address)
{
    const struct ns_hello *hello = &gate->message.as.hello;
    uint8_t refused = gate->stopping                              ? 3
                      : hello->protocol_max < NS_PROTOCOL_VERSION ? 1
                      : !address->local && !address->loopback && !is_known_key(gate, hello->api_key)
                          ? 2
                          : 0;
    struct ns_peer *peer = NULL;
    if (refused == 0 &&
        ns_peers_hello(gate->peers, address, hello, ns_monotonic_ns(), &peer) != 0) {
        refused = 3; /* no room for it now */
    }
    if (refused != 0) {
        ns_gate_refuse(gate, from, refused);
        return;
    }
    gate->out.kind = NS_MESSAGE_WELCOME;
    gate->out.as.welcome = (struct ns_welcome){
        .protocol = NS_PROTOCOL_VERSION,
        .collector = ns_text_of(NS_VERSION),
        .deny_unreachable = ns_ledger_denies_unreachable(gate->state.ledger),
        .instance = gate->instance,
        .takes_counters = true,
        .takes_coverage = true,
    };
    memcpy(gate->out.as.welcome.hash_key.bytes, gate->hash_key, sizeof gate->hash_key);
    ns_gate_reply(gate, from->socket, from->routing);
}

/* --- QUERY -------------------------------------------------------------------------------------
 */

static void
answer(struct ns_gate *gate, uint8_t socket, uint32_t routing, uint64_t id, bool failed,
       struct ns_buffer *json)
{
    struct ns_text text = {(const char *)json->bytes, (uint32_t)json->count};
    if (json->failed || json->count > NS_ANSWER_BYTES_MAX - 1024) {
        text = ns_text_of("{\"error\":\"the answer is too large\"}");
        failed = true;
    }
    gate->out.kind = NS_MESSAGE_ANSWER;
    gate->out.as.answer = (struct ns_answer){.id = id, .failed = failed, .json = text};
    size_t room = text.bytes + (size_t)1024;
    uint8_t *bytes = malloc(room);
    int count = bytes == NULL ? -1 : ns_message_encode(&gate->out, bytes, room);
    if (count > 0) {
        ns_gate_send(gate, socket, routing, bytes, (size_t)count);
    }
    free(bytes);
    ns_buffer_free(json);
}

static void
answer_error(struct ns_gate *gate, uint8_t socket, uint32_t routing, uint64_t id, const char *why)
{
    struct ns_buffer json = {0};
    ns_buffer_print(&json, "{\"error\":");
    ns_buffer_json(&json, why);
    ns_buffer_print(&json, "}");
    answer(gate, socket, routing, id, true, &json);
}

static void
query_ping(struct ns_gate *gate, const struct ns_gate_from *from, uint64_t id)
{
    struct ns_buffer json = {0};
    ns_buffer_print(&json, "{\"pong\":true}");
    answer(gate, from->socket, from->routing, id, false, &json);
}

static void
query_status(struct ns_gate *gate, const struct ns_gate_from *from, uint64_t id)
{
    struct ns_buffer json = {0};
    ns_status_json(gate, &json);
    answer(gate, from->socket, from->routing, id, false, &json);
}

static void
query_budgets(struct ns_gate *gate, const struct ns_gate_from *from, uint64_t id)
{
    struct ns_buffer json = {0};
    ns_status_budgets_json(gate, &json);
    answer(gate, from->socket, from->routing, id, false, &json);
}

static void
query_sync(struct ns_gate *gate, const struct ns_gate_from *from, uint64_t id)
{
    if (gate->sync_count == NS_GATE_SYNCS_MAX) {
        answer_error(gate, from->socket, from->routing, id, "too many wait already");
        return;
    }
    ns_gate_flush(gate);
    ns_gate_counters(gate);
    ns_gate_coverage_write(gate);
    gate->sync[gate->sync_count++] =
        (struct ns_gate_sync){.id = id,
                              .target = ns_journal_last(gate->journal),
                              .deadline_ns = ns_monotonic_ns() + NS_GATE_SYNC_WAIT_NS,
                              .routing = from->routing,
                              .socket = from->socket};
    ns_syncer_want(gate->syncer, ns_journal_written(gate->journal), true);
}

static const struct {
    const char *what;
    bool anyone; /* else only root and the collector's own user, over ipc */
    void (*ask)(struct ns_gate *gate, const struct ns_gate_from *from, uint64_t id);
} queries[] = {
    {"ping", true, query_ping},
    {"status", false, query_status},
    {"budgets", false, query_budgets},
    {"sync", false, query_sync},
};

void
ns_gate_query(struct ns_gate *gate, const struct ns_gate_from *from,
              const struct ns_peer_address *address)
{
    const struct ns_query *query = &gate->message.as.query;
    uint64_t id = query->id;
    bool trusted = address->local && (address->uid == 0 || address->uid == geteuid());
    gate->counters.queries++;
    for (size_t i = 0; i < sizeof queries / sizeof queries[0]; i++) {
        if (strlen(queries[i].what) != query->what.bytes ||
            memcmp(queries[i].what, query->what.text, query->what.bytes) != 0) {
            continue;
        }
        if (!trusted && !queries[i].anyone) {
            answer_error(
                gate, from->socket, from->routing, id,
                "only root and the collector's own user may ask this, over its ipc socket");
            return;
        }
        queries[i].ask(gate, from, id);
        return;
    }
    answer_error(gate, from->socket, from->routing, id, "unknown question");
}

/* --- sync --------------------------------------------------------------------------------------
 */

static bool
answer_sync(struct ns_gate *gate, const struct ns_gate_sync *sync,
            const struct ns_store_state *state, bool counters_written, int64_t now)
{
    struct ns_buffer json = {0};
    if (counters_written && state->position >= sync->target) {
        ns_buffer_print(&json, "{\"synced\":true,\"position\":%llu}",
                        (unsigned long long)state->position);
        answer(gate, sync->socket, sync->routing, sync->id, false, &json);
        return true;
    }
    if (now < sync->deadline_ns) {
        return false;
    }
    const char *why = state->last_error[0] != '\0' ? state->last_error : "it is behind";
    ns_buffer_print(&json, "{\"error\":");
    char text[400] = "Postgres has not everything yet: ";
    strncpy(text + strlen(text), why, sizeof text - strlen(text) - 1);
    ns_buffer_json(&json, text);
    ns_buffer_print(&json, "}");
    answer(gate, sync->socket, sync->routing, sync->id, true, &json);
    return true;
}

void
ns_gate_answer_syncs(struct ns_gate *gate)
{
    if (gate->sync_count == 0) {
        return;
    }
    struct ns_store_state state = {.last_error = "it is not started yet"};
    bool counters_written = false;
    if (gate->store != NULL) {
        ns_store_state(gate->store, &state);
        counters_written = ns_gate_coverage_write(gate) && ns_store_counters_written(gate->store);
    }
    int64_t now = ns_monotonic_ns();
    uint32_t kept = 0;
    for (uint32_t i = 0; i < gate->sync_count; i++) {
        if (!answer_sync(gate, &gate->sync[i], &state, counters_written, now)) {
            gate->sync[kept++] = gate->sync[i];
        }
    }
    gate->sync_count = kept;
}
