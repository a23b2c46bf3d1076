/* SPDX-License-Identifier: Apache-2.0 */
#include "bpf/coverage.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/utf8.h"
#include "bpf/client_hello.h"
#include "bpf/coverage_places.h"
#include "bpf/look.h"
#include "bpf/pieces.h"
#include "bpf/quic_initial.h"
#include "bpf/sights.h"
#include "shim/gate.h"
#include "shim/link.h"
#include "wire/hosts.h"

#define BUCKETS 4096
#define TLS_PORT 443

/* What changed is told so often; everything, so that a collector that began anew has it, so often.
 */
#define TELL_NS INT64_C(2000000000)
#define TELL_ALL_NS INT64_C(60000000000)

/* A socket that nobody wrote to, or whose hello did not end; and a QUIC one that nothing goes over,
 * for its end is not told. */
#define IDLE_NS INT64_C(60000000000)

/* Who has not been looked at by then is told without: its files may be where no read ends. */
#define LOOK_NS INT64_C(10000000000)

/* A place without sockets is told again so long, and then left to the collector. */
#define PLACE_NS INT64_C(600000000000)

struct socket {
    struct socket *next;
    uint64_t cookie;
    struct ns_place *place;   /* NULL: its server, or whose it is, is not known yet */
    struct ns_pieces *pieces; /* of what it said first; NULL: that is known */
    bool quic;
    bool encrypted; /* its hello may hide another */
    bool owned;
    uint32_t pid, uid;
    uint64_t start_ticks;
    uint64_t sent, received;
    int64_t active_ns; /* monotonic */
    char thread[16];
    char host[NS_HOST_BYTES_MAX + 1];
};

struct ns_sightings {
    struct ns_coverage_options options;
    struct ns_sights *sights;
    struct ns_looker *looker;
    struct ns_places *places;
    size_t count;
    int64_t since_ns; /* CLOCK_REALTIME */
    int64_t tell_at_ns, tell_all_at_ns;
    uint64_t lost;
    bool all;
    struct socket *bucket[BUCKETS];
};

/* --- sockets -----------------------------------------------------------------------------------
 */

static struct socket **
place_of(struct ns_sightings *s, uint64_t cookie)
{
    struct socket **link = &s->bucket[cookie % BUCKETS];
    while (*link != NULL && (*link)->cookie != cookie) {
        link = &(*link)->next;
    }
    return link;
}

static struct socket *
open_socket(struct ns_sightings *s, uint64_t cookie)
{
    struct socket **link = place_of(s, cookie);
    if (*link != NULL || s->count == NS_COVERAGE_SOCKETS_MAX) {
        return *link;
    }
    struct socket *socket = calloc(1, sizeof *socket);
    struct ns_pieces *pieces = calloc(1, sizeof *pieces);
    if (socket == NULL || pieces == NULL) {
        free(socket);
        free(pieces);
        return NULL;
    }
    socket->cookie = cookie;
    socket->pieces = pieces;
    socket->active_ns = ns_clock_ns(CLOCK_MONOTONIC);
    s->count++;
    *link = socket;
    return socket;
}

static void
drop(struct ns_sightings *s, struct socket **link)
{
    struct socket *socket = *link;
    if (socket == NULL) {
        return;
    }
    *link = socket->next;
    if (socket->place != NULL) {
        socket->place->sockets--;
    }
    free(socket->pieces);
    free(socket);
    s->count--;
}

static void
forget(struct ns_sightings *s, struct socket *socket)
{
    ns_sights_forget(s->sights, socket->cookie);
    drop(s, place_of(s, socket->cookie));
}

/* --- who talks to whom -------------------------------------------------------------------------
 */

static void
ask_for_look(struct ns_sightings *s, struct ns_place *place)
{
    if (place->look == NS_PLACE_UNSEEN && ns_looker_ask(s->looker, place->pid)) {
        place->look = NS_PLACE_ASKED;
        place->asked_ns = ns_clock_ns(CLOCK_MONOTONIC);
    }
}

static void
name_provider(struct ns_sightings *s, struct ns_place *place)
{
    struct ns_host found;
    if (place->provider[0] == '\0' &&
        ns_hosts_find(s->options.hosts, place->host, strlen(place->host), 0, &found)) {
        snprintf(place->provider, sizeof place->provider, "%s",
                 found.provider != NULL ? found.provider : place->host);
    }
}

static void
see(struct ns_place *place)
{
    place->last_seen_ns = ns_clock_ns(CLOCK_REALTIME);
    if (place->first_seen_ns == 0) {
        place->first_seen_ns = place->last_seen_ns;
    }
    place->changed = true;
}

/* Its server and whose it is are known: it counts. */
static void
settle(struct ns_sightings *s, struct socket *socket)
{
    struct ns_place *place =
        ns_places_take(s->places, socket->pid, socket->start_ticks, socket->host);
    if (place == NULL) {
        forget(s, socket);
        return;
    }
    socket->place = place;
    place->sockets++;
    place->connections++;
    place->uid = socket->uid;
    place->quic = place->quic || socket->quic;
    place->nameless = socket->encrypted ? NS_DARKNESS_ENCRYPTED_NAME : NS_DARKNESS_NO_NAME;
    if (place->process[0] == '\0' && ns_utf8_is_text(socket->thread, strlen(socket->thread))) {
        snprintf(place->process, sizeof place->process, "%s", socket->thread);
    }
    name_provider(s, place);
    see(place);
    ask_for_look(s, place);
}

/* Lower case, without the dot that may end it. */
static void
set_host(struct socket *socket, const char *name)
{
    size_t bytes = ns_hosts_bare(name, strlen(name));
    bytes = bytes <= NS_HOST_BYTES_MAX ? bytes : 0;
    for (size_t i = 0; i < bytes; i++) {
        socket->host[i] = (char)tolower((unsigned char)name[i]);
    }
    socket->host[bytes] = '\0';
}

/* All that a client says of its server is known. Only providers' sockets are kept, and those that
 * may be theirs. */
static void
decide(struct ns_sightings *s, struct socket *socket, const struct ns_client_hello *hello,
       uint32_t port)
{
    size_t bytes = strlen(hello->server_name);
    bool provider = bytes > 0 && ns_wire_host_known(s->options.hosts, hello->server_name,
                                                    ns_hosts_bare(hello->server_name, bytes));
    bool hidden = !provider && port == TLS_PORT && (bytes == 0 || hello->encrypted);
    if (!provider && !hidden) {
        forget(s, socket);
        return;
    }
    ns_sights_heard(s->sights, socket->cookie);
    free(socket->pieces);
    socket->pieces = NULL;
    socket->encrypted = hello->encrypted;
    if (provider) {
        set_host(socket, hello->server_name);
    }
    if (socket->owned) {
        settle(s, socket);
    }
}

static void
take_hello(struct ns_sightings *s, const struct ns_sight *sight, const uint8_t *bytes)
{
    struct socket *socket = open_socket(s, sight->cookie);
    struct ns_client_hello hello;
    enum ns_client_hello_state state;
    if (socket == NULL || socket->pieces == NULL) {
        ns_sights_heard(s->sights, sight->cookie);
        return;
    }
    if (sight->kind == NS_SIGHT_QUIC) {
        socket->quic = true;
        ns_quic_read_datagram(bytes, sight->bytes, socket->pieces);
    } else {
        ns_pieces_put(socket->pieces, sight->offset, bytes, sight->bytes);
    }
    size_t count = ns_pieces_count(socket->pieces);
    if (socket->quic) {
        state = ns_client_hello_read(socket->pieces->bytes, count, &hello);
    } else {
        uint8_t message[NS_PIECES_BYTES_MAX];
        state = ns_client_hello_read_records(socket->pieces->bytes, count, message, &hello);
    }
    if (state == NS_CLIENT_HELLO_NOT) {
        forget(s, socket);
    } else if (state == NS_CLIENT_HELLO_DONE || count == NS_PIECES_BYTES_MAX) {
        decide(s, socket, &hello, sight->port);
    }
}

static void
take_owner(struct ns_sightings *s, const struct ns_sight *sight)
{
    struct socket *socket = *place_of(s, sight->cookie);
    if (socket == NULL || socket->owned) {
        return;
    }
    if ((s->options.only_network != 0 && sight->network != s->options.only_network) ||
        sight->pid == (uint32_t)getpid()) {
        forget(s, socket);
        return;
    }
    socket->owned = true;
    socket->pid = sight->pid;
    socket->uid = sight->uid;
    socket->start_ticks = sight->start_ns / (UINT64_C(1000000000) / (uint64_t)sysconf(_SC_CLK_TCK));
    snprintf(socket->thread, sizeof socket->thread, "%s", sight->name);
    if (socket->pieces == NULL) {
        settle(s, socket);
    }
}

/* Adds what has come since. */
static void
count_bytes(struct socket *socket, uint64_t sent, uint64_t received)
{
    if (sent == socket->sent && received == socket->received) {
        return;
    }
    socket->active_ns = ns_clock_ns(CLOCK_MONOTONIC);
    if (socket->place != NULL) {
        socket->place->sent += sent - socket->sent;
        socket->place->received += received - socket->received;
        socket->sent = sent;
        socket->received = received;
        see(socket->place);
    }
}

static void
take(void *context, const struct ns_sight *sight, const uint8_t *bytes)
{
    struct ns_sightings *s = context;
    switch ((enum ns_sight_kind)sight->kind) {
    case NS_SIGHT_TLS:
    case NS_SIGHT_QUIC:
        take_hello(s, sight, bytes);
        break;
    case NS_SIGHT_OWNER:
        take_owner(s, sight);
        break;
    case NS_SIGHT_END: {
        struct socket **link = place_of(s, sight->cookie);
        if (*link != NULL) {
            count_bytes(*link, sight->sent, sight->received);
            drop(s, link);
        }
        break;
    }
    }
}

void
ns_sightings_governed(struct ns_sightings *sightings, uint32_t pid, const char *server_name)
{
    struct socket named = {0};
    if (sightings == NULL) {
        return;
    }
    set_host(&named, server_name);
    if (named.host[0] == '\0') {
        return;
    }
    struct ns_place *place =
        ns_places_take(sightings->places, pid, ns_look_start_ticks(pid), named.host);
    if (place != NULL && !place->governed) {
        place->governed = true;
        name_provider(sightings, place);
        see(place);
        ask_for_look(sightings, place);
    }
}

/* --- telling -----------------------------------------------------------------------------------
 */

static void
count_sockets(struct ns_sightings *s, int64_t now_ns)
{
    for (size_t i = 0; i < BUCKETS; i++) {
        for (struct socket **link = &s->bucket[i]; *link != NULL;) {
            struct socket *socket = *link;
            struct ns_traffic traffic;
            bool there = ns_sights_traffic(s->sights, socket->cookie, &traffic);
            if (there) {
                count_bytes(socket, traffic.sent, traffic.received);
            }
            bool idle = now_ns - socket->active_ns > IDLE_NS;
            if ((idle && (socket->quic || socket->place == NULL)) ||
                (!there && idle)) { /* its end found no room */
                ns_sights_forget(s->sights, socket->cookie);
                drop(s, link);
            } else {
                link = &socket->next;
            }
        }
    }
}

static void
tell_place(void *context, struct ns_place *place)
{
    struct ns_sightings *s = context;
    static struct ns_message message; /* large, and there is one thread */
    if (place->connections == 0 || place->start_ticks == 0) {
        return; /* its hello was not seen, and what is not known to talk is not told */
    }
    ask_for_look(s, place);
    bool looked =
        place->look == NS_PLACE_LOOKED ||
        (place->look == NS_PLACE_ASKED && ns_clock_ns(CLOCK_MONOTONIC) - place->asked_ns > LOOK_NS);
    if ((place->changed || s->all) && looked) {
        place->changed = false;
        ns_place_message(place, s->since_ns, s->options.attaches, &message);
        ns_gate_tell(&message);
    }
}

static void
tell(struct ns_sightings *s)
{
    if (!ns_link_takes_coverage()) {
        return;
    }
    ns_places_visit(s->places, tell_place, s);
    uint64_t lost = ns_sights_lost(s->sights);
    if (lost != s->lost) {
        fprintf(stderr,
                "nullspend-bpf: %llu connections or their ends were not looked at: too many began "
                "at once; what nullspend coverage shows is short of them\n",
                (unsigned long long)(lost - s->lost));
        s->lost = lost;
    }
}

static void
take_looks(struct ns_sightings *s)
{
    static struct ns_looked looked;
    while (ns_looker_take(s->looker, &looked)) {
        ns_places_looked(s->places, &looked);
    }
}

void
ns_sightings_turn(struct ns_sightings *sightings)
{
    if (sightings == NULL) {
        return;
    }
    ns_sights_take(sightings->sights);
    take_looks(sightings);
    int64_t now_ns = ns_clock_ns(CLOCK_MONOTONIC);
    if (now_ns < sightings->tell_at_ns) {
        return;
    }
    sightings->tell_at_ns = now_ns + TELL_NS;
    sightings->all = now_ns >= sightings->tell_all_at_ns;
    if (sightings->all) {
        sightings->tell_all_at_ns = now_ns + TELL_ALL_NS;
        ns_places_expire(sightings->places, ns_clock_ns(CLOCK_REALTIME) - PLACE_NS);
    }
    count_sockets(sightings, now_ns);
    tell(sightings);
}

/* --- life --------------------------------------------------------------------------------------
 */

int
ns_sightings_fd(const struct ns_sightings *sightings)
{
    return sightings == NULL ? -1 : ns_sights_fd(sightings->sights);
}

struct ns_sightings *
ns_sightings_new(const struct ns_coverage_options *options)
{
    const char *why = "no memory";
    struct ns_sightings *s = calloc(1, sizeof *s);
    if (s != NULL) {
        s->options = *options;
        s->since_ns = ns_clock_ns(CLOCK_REALTIME);
        s->places = ns_places_new();
        s->looker = ns_looker_start();
        s->sights = s->places == NULL || s->looker == NULL ? NULL : ns_sights_load(take, s, &why);
    }
    if (s == NULL || s->sights == NULL) {
        fprintf(stderr, "nullspend-bpf: what is dark is not looked for: %s\n", why);
        ns_sightings_free(s);
        return NULL;
    }
    return s;
}

void
ns_sightings_free(struct ns_sightings *sightings)
{
    if (sightings == NULL) {
        return;
    }
    if (sightings->sights != NULL) {
        sightings->tell_at_ns = 0;
        ns_sightings_turn(sightings);
    }
    ns_sights_free(sightings->sights);
    ns_looker_stop(sightings->looker);
    for (size_t i = 0; i < BUCKETS; i++) {
        while (sightings->bucket[i] != NULL) {
            drop(sightings, &sightings->bucket[i]);
        }
    }
    ns_places_free(sightings->places);
    free(sightings);
}
