/* SPDX-License-Identifier: Apache-2.0 */
/* Processes and the servers that they talk to: what is known of each pair, and what it comes to. No
 * I/O. */
#ifndef NS_BPF_COVERAGE_PLACES_H
#define NS_BPF_COVERAGE_PLACES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/coverage.h"
#include "bpf/look.h"
#include "protocol/protocol.h"
#include "wire/wire.h"

enum ns_place_look { NS_PLACE_UNSEEN, NS_PLACE_ASKED, NS_PLACE_LOOKED };

struct ns_place {
    struct ns_place *next; /* of the same pid */
    uint32_t pid;
    uint32_t uid;
    uint64_t start_ticks;
    uint32_t sockets; /* that are open */
    bool changed;     /* since it was told */
    bool governed;    /* the agent follows it */
    bool quic;
    uint8_t look;     /* enum ns_place_look */
    int64_t asked_ns; /* for a look; monotonic */
    uint8_t nameless; /* enum ns_darkness of a place without a host */
    struct ns_tls_evidence evidence;
    uint64_t connections, sent, received;
    int64_t first_seen_ns, last_seen_ns; /* CLOCK_REALTIME */
    char host[NS_HOST_BYTES_MAX + 1];
    char provider[NS_HOST_BYTES_MAX + 1];
    char process[NS_LOOK_NAME_BYTES];
    char executable[512];
};

struct ns_places;

struct ns_places *ns_places_new(void);
void ns_places_free(struct ns_places *places);

/* The place of a process and a host ("": not known), made where it is new. start_ticks 0 fits any.
 * NULL without memory, or where NS_COVERAGE_PLACES_MAX have sockets. */
struct ns_place *ns_places_take(struct ns_places *places, uint32_t pid, uint64_t start_ticks,
                                const char *host);

void ns_places_visit(struct ns_places *places, void (*visit)(void *context, struct ns_place *place),
                     void *context);

/* What a look at its process found, for all places of that. */
void ns_places_looked(struct ns_places *places, const struct ns_looked *looked);

/* Takes out what has no sockets and was seen last before this. */
void ns_places_expire(struct ns_places *places, int64_t before_ns);

/* What governs it, and why nothing does. attaches: an agent attaches to what is in its reach. */
enum ns_governor ns_place_governor(const struct ns_place *place, bool attaches,
                                   enum ns_darkness *darkness);

/* Fills a COVERAGE; its texts are the place's. */
void ns_place_message(const struct ns_place *place, int64_t since_ns, bool attaches,
                      struct ns_message *message);

#endif
