/* SPDX-License-Identifier: Apache-2.0 */
#include "bpf/coverage_places.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bpf/coverage.h"

#define BUCKETS 1024

struct ns_places {
    size_t count;
    struct ns_place *bucket[BUCKETS];
};

struct ns_places *
ns_places_new(void)
{
    return calloc(1, sizeof(struct ns_places));
}

static void
take_out(struct ns_places *places, struct ns_place **link)
{
    struct ns_place *place = *link;
    *link = place->next;
    places->count--;
    free(place);
}

void
ns_places_free(struct ns_places *places)
{
    for (size_t i = 0; places != NULL && i < BUCKETS; i++) {
        while (places->bucket[i] != NULL) {
            take_out(places, &places->bucket[i]);
        }
    }
    free(places);
}

/* Makes room by the place that was seen least lately and has no socket. */
static bool
make_room(struct ns_places *places)
{
    if (places->count < NS_COVERAGE_PLACES_MAX) {
        return true;
    }
    struct ns_place **oldest = NULL;
    for (size_t i = 0; i < BUCKETS; i++) {
        for (struct ns_place **link = &places->bucket[i]; *link != NULL; link = &(*link)->next) {
            if ((*link)->sockets == 0 &&
                (oldest == NULL || (*link)->last_seen_ns < (*oldest)->last_seen_ns)) {
                oldest = link;
            }
        }
    }
    if (oldest != NULL) {
        take_out(places, oldest);
    }
    return oldest != NULL;
}

struct ns_place *
ns_places_take(struct ns_places *places, uint32_t pid, uint64_t start_ticks, const char *host)
{
    struct ns_place **bucket = &places->bucket[pid % BUCKETS];
    for (struct ns_place *place = *bucket; place != NULL; place = place->next) {
        bool same_start =
            start_ticks == 0 || place->start_ticks == 0 || place->start_ticks == start_ticks;
        if (place->pid == pid && same_start && strcmp(place->host, host) == 0) {
            place->start_ticks = place->start_ticks == 0 ? start_ticks : place->start_ticks;
            return place;
        }
    }
    struct ns_place *place = make_room(places) ? calloc(1, sizeof *place) : NULL;
    if (place != NULL) {
        place->pid = pid;
        place->start_ticks = start_ticks;
        snprintf(place->host, sizeof place->host, "%s", host);
        place->next = *bucket;
        *bucket = place;
        places->count++;
    }
    return place;
}

void
ns_places_visit(struct ns_places *places, void (*visit)(void *context, struct ns_place *place),
                void *context)
{
    for (size_t i = 0; i < BUCKETS; i++) {
        for (struct ns_place *place = places->bucket[i]; place != NULL; place = place->next) {
            visit(context, place);
        }
    }
}

void
ns_places_looked(struct ns_places *places, const struct ns_looked *looked)
{
    for (struct ns_place *place = places->bucket[looked->pid % BUCKETS]; place != NULL;
         place = place->next) {
        if (place->pid != looked->pid || place->look == NS_PLACE_LOOKED) {
            continue;
        }
        place->look = NS_PLACE_LOOKED;
        place->changed = true;
        if (looked->start_ticks == place->start_ticks) { /* else that process is gone */
            place->evidence = looked->evidence;
            const char *path = looked->executable;
            size_t bytes = strlen(path);
            if (bytes < sizeof place->executable) {
                memcpy(place->executable, path, bytes + 1);
            }
            const char *slash = strrchr(path, '/');
            if (slash != NULL && strlen(slash + 1) < sizeof place->process) {
                snprintf(place->process, sizeof place->process, "%s", slash + 1);
            }
        }
    }
}

void
ns_places_expire(struct ns_places *places, int64_t before_ns)
{
    for (size_t i = 0; i < BUCKETS; i++) {
        for (struct ns_place **link = &places->bucket[i]; *link != NULL;) {
            struct ns_place *place = *link;
            if (place->sockets == 0 && !place->changed && place->last_seen_ns < before_ns) {
                take_out(places, link);
            } else {
                link = &place->next;
            }
        }
    }
}

enum ns_governor
ns_place_governor(const struct ns_place *place, bool attaches, enum ns_darkness *darkness)
{
    const struct ns_tls_evidence *evidence = &place->evidence;
    *darkness = NS_DARKNESS_NONE;
    if (place->host[0] == '\0') {
        *darkness = (enum ns_darkness)place->nameless;
        return NS_GOVERNOR_UNKNOWN;
    }
    if (place->quic) { /* whatever governs its TLS does not govern that */
        *darkness = NS_DARKNESS_QUIC;
        return NS_GOVERNOR_DARK;
    }
    if (place->governed) {
        return NS_GOVERNOR_EBPF;
    }
    if (evidence->library && evidence->openssl) {
        return NS_GOVERNOR_PRELOAD;
    }
    if (evidence->library && evidence->shows_openssl) {
        return NS_GOVERNOR_DETOUR;
    }
    *darkness = ns_evidence_darkness(evidence, attaches);
    return NS_GOVERNOR_DARK;
}

void
ns_place_message(const struct ns_place *place, int64_t since_ns, bool attaches,
                 struct ns_message *message)
{
    enum ns_darkness darkness;
    enum ns_governor governor = ns_place_governor(place, attaches, &darkness);
    memset(message, 0, sizeof *message);
    message->kind = NS_MESSAGE_COVERAGE;
    message->as.coverage = (struct ns_coverage){
        .since_ns = since_ns,
        .pid = place->pid,
        .start_ticks = place->start_ticks,
        .uid = place->uid,
        .process = ns_text_of(place->process),
        .executable = ns_text_of(place->executable),
        .provider = ns_text_of(place->provider),
        .host = ns_text_of(place->host),
        .governed_by = ns_text_of(ns_governor_name(governor)),
        .reason = ns_text_of(ns_darkness_name(darkness)),
        .connections = place->connections,
        .bytes_sent = place->sent,
        .bytes_received = place->received,
        .first_seen_ns = place->first_seen_ns,
        .last_seen_ns = place->last_seen_ns,
    };
}
