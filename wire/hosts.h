/* SPDX-License-Identifier: Apache-2.0 */
/* Which host is whose, and which dialects it speaks. */
#ifndef NS_WIRE_HOSTS_H
#define NS_WIRE_HOSTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/wire.h"

/* Dialects, as a set. */
enum {
    NS_SPEAKS_OPENAI = 1,
    NS_SPEAKS_ANTHROPIC = 2,
    NS_SPEAKS_GEMINI = 4,
    NS_SPEAKS_COHERE = 8,
    NS_SPEAKS_OLLAMA = 16,
    NS_SPEAKS_BEDROCK = 32,
};

/* What is particular about a provider within its dialect. */
enum {
    NS_QUIRK_USAGE_UNASKED = 1, /* a chat stream carries its usage whether asked for or not */
    NS_QUIRK_COST = 2,          /* usage.cost (or .total_cost in it), in dollars, is its own bill */
    NS_QUIRK_COST_TICKS = 4,    /* usage.cost_in_usd_ticks is: 10^10 ticks a dollar */
    NS_QUIRK_CODE_FEE = 16,     /* bills every execution of code */
    NS_QUIRK_UPSTREAM = 32, /* a router: the path, or the model after its colon, names a provider */
    NS_QUIRK_USAGE_ASKABLE = 64, /* a chat stream can be asked for its usage: stream_options */
    NS_QUIRK_HIDDEN_OUTPUT = 8   /* what total exceeds its parts by is output (Gemini's thinking) */
};

struct ns_host {
    const char *provider; /* NULL: the host's own name is the provider's */
    uint8_t speaks;
    uint8_t quirks;
};

/* The length of a host's name without the dot that may end it: "api.openai.com." is the same host
 * (RFC 1034, 3.1). */
size_t ns_hosts_bare(const char *host, size_t host_bytes);

/* Finds a host (any case, no port) and the port it was named with (0: none). False: not ours. */
bool ns_hosts_find(const struct ns_wire_hosts *hosts, const char *host, size_t host_bytes,
                   uint16_t port, struct ns_host *found);

/* Splits "host[:port]", "[v6]:port". Returns the host within text; *port is 0 where none is. */
const char *ns_hosts_split(const char *text, size_t bytes, size_t *host_bytes, uint16_t *port);

/* The dialect that a host is asked in where its path does not tell: its own, where it has one.
 * Never NULL. */
const char *ns_hosts_native(const struct ns_host *host);

/* The name of one dialect, NULL if unknown, and back (0 if unknown). */
const char *ns_hosts_dialect_name(uint8_t speaks);
uint8_t ns_hosts_dialect(const char *name, size_t bytes);

#endif
