/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/hosts.h"

#include <errno.h>
#include <string.h>

#include "wire/text.h"

#define OPENAI NS_SPEAKS_OPENAI
#define ANTHROPIC NS_SPEAKS_ANTHROPIC
#define GEMINI NS_SPEAKS_GEMINI
#define BEDROCK NS_SPEAKS_BEDROCK
#define COHERE NS_SPEAKS_COHERE
#define OLLAMA NS_SPEAKS_OLLAMA

/* Names of the contract, and what is particular about each. Whose documentation does not name
 * stream_options is not asked: a server may refuse what it does not know. */
static const struct {
    const char *provider;
    uint8_t quirks;
} providers[] = {
    {"openai", NS_QUIRK_USAGE_ASKABLE},
    {"azure", NS_QUIRK_USAGE_ASKABLE},
    {"anthropic", 0},
    {"gemini", NS_QUIRK_HIDDEN_OUTPUT | NS_QUIRK_USAGE_ASKABLE},
    {"vertex", NS_QUIRK_HIDDEN_OUTPUT},
    {"bedrock", 0},
    {"mistral", NS_QUIRK_USAGE_UNASKED},
    {"cohere", 0},
    {"xai", NS_QUIRK_USAGE_UNASKED | NS_QUIRK_COST_TICKS | NS_QUIRK_CODE_FEE},
    {"groq", NS_QUIRK_USAGE_UNASKED},
    {"deepseek", NS_QUIRK_USAGE_UNASKED},
    {"openrouter", NS_QUIRK_USAGE_UNASKED | NS_QUIRK_COST},
    {"perplexity", NS_QUIRK_USAGE_UNASKED | NS_QUIRK_COST},
    {"together", NS_QUIRK_USAGE_UNASKED},
    {"fireworks", NS_QUIRK_USAGE_UNASKED},
    {"cerebras", NS_QUIRK_USAGE_UNASKED},
    {"moonshot", NS_QUIRK_USAGE_ASKABLE},
    {"zai", NS_QUIRK_USAGE_UNASKED},
    {"ollama", NS_QUIRK_USAGE_ASKABLE},
    {"voyage", 0},
    {"huggingface", NS_QUIRK_UPSTREAM},
    {"writer", 0},
    {"alibaba", NS_QUIRK_USAGE_ASKABLE},
    {"snowflake", 0},
};

/* A pattern has at most one '*', which stands for at least one byte. */
static const struct {
    const char *pattern;
    const char *provider; /* NULL: the host itself */
    uint8_t speaks;
} known_hosts[] = {
    {"api.openai.com", "openai", OPENAI},
    {"*.api.openai.com", "openai", OPENAI}, /* data residency */
    {"*.openai.azure.com", "azure", OPENAI},
    {"*.openai.azure.us", "azure", OPENAI},
    {"*.openai.azure.cn", "azure", OPENAI},
    {"*.azure-api.net", "azure", OPENAI | ANTHROPIC},
    {"*.cognitiveservices.azure.com", "azure", OPENAI | ANTHROPIC},
    {"*.services.ai.azure.com", "azure", OPENAI | ANTHROPIC},
    {"models.inference.ai.azure.com", "azure", OPENAI},
    {"*.models.ai.azure.com", "azure", OPENAI},
    {"api.anthropic.com", "anthropic", ANTHROPIC | OPENAI},
    {"aws-external-anthropic.*.api.aws", "anthropic", ANTHROPIC},
    {"generativelanguage.googleapis.com", "gemini", GEMINI | OPENAI},
    {"aiplatform.googleapis.com", "vertex", GEMINI | ANTHROPIC | OPENAI},
    {"*-aiplatform.googleapis.com", "vertex", GEMINI | ANTHROPIC | OPENAI},
    {"aiplatform.*.rep.googleapis.com", "vertex", GEMINI | ANTHROPIC | OPENAI},
    {"claude.googleapis.com", "vertex", ANTHROPIC},
    {"bedrock-runtime.*.amazonaws.com", "bedrock", BEDROCK},
    {"bedrock-runtime-fips.*.amazonaws.com", "bedrock", BEDROCK},
    {"bedrock-runtime.*.amazonaws.com.cn", "bedrock", BEDROCK},
    {"bedrock-runtime.*.api.aws", "bedrock", BEDROCK},
    {"bedrock-runtime-fips.*.api.aws", "bedrock", BEDROCK},
    {"bedrock-mantle.*.api.aws", "bedrock", OPENAI | ANTHROPIC},
    {"api.mistral.ai", "mistral", OPENAI},
    {"codestral.mistral.ai", "mistral", OPENAI},
    {"api.cohere.com", "cohere", COHERE | OPENAI},
    {"api.cohere.ai", "cohere", COHERE | OPENAI},
    {"api.deepseek.com", "deepseek", OPENAI | ANTHROPIC},
    {"api.x.ai", "xai", OPENAI | ANTHROPIC},
    {"*.api.x.ai", "xai", OPENAI | ANTHROPIC},
    {"api.groq.com", "groq", OPENAI},
    {"api.together.xyz", "together", OPENAI},
    {"api.together.ai", "together", OPENAI},
    {"api.fireworks.ai", "fireworks", OPENAI | ANTHROPIC},
    {"openrouter.ai", "openrouter", OPENAI | ANTHROPIC},
    {"api.perplexity.ai", "perplexity", OPENAI},
    {"api.cerebras.ai", "cerebras", OPENAI},
    {"api.moonshot.ai", "moonshot", OPENAI | ANTHROPIC},
    {"api.moonshot.cn", "moonshot", OPENAI | ANTHROPIC},
    {"api.z.ai", "zai", OPENAI | ANTHROPIC},
    {"open.bigmodel.cn", "zai", OPENAI | ANTHROPIC},
    {"ollama.com", "ollama", OPENAI | OLLAMA},
    {"api.voyageai.com", "voyage", OPENAI},
    {"router.huggingface.co", "huggingface", OPENAI},
    {"*.endpoints.huggingface.cloud", "huggingface", OPENAI},
    {"api.writer.com", "writer", OPENAI},
    {"dashscope*.aliyuncs.com", "alibaba", OPENAI},
    {"dashscope.aliyuncs.com", "alibaba", OPENAI},
    {"*.snowflakecomputing.com", "snowflake", OPENAI | ANTHROPIC},
    {"inference.baseten.co", NULL, OPENAI},
    {"api.inference.crusoecloud.com", NULL, OPENAI},
    {"api.portkey.ai", NULL, OPENAI | ANTHROPIC},
    {"models.github.ai", NULL, OPENAI},
    {"api.githubcopilot.com", NULL, OPENAI | ANTHROPIC},
    {"*.inference.heroku.com", NULL, OPENAI},
    {"api.arcee.ai", NULL, OPENAI},
    {"api.avian.io", NULL, OPENAI},
    {"api.cloudflare.com", NULL, OPENAI},
    {"api.doubleword.ai", NULL, OPENAI},
    {"api.minimax.io", NULL, OPENAI | ANTHROPIC},
    {"api.minimaxi.com", NULL, OPENAI | ANTHROPIC},
    {"api.novita.ai", NULL, OPENAI | ANTHROPIC},
    {"api.quicksilverpro.io", NULL, OPENAI},
    {"api.typesafe.ai", NULL, OPENAI},
    {"oai.endpoints.kepler.ai.cloud.ovh.net", NULL, OPENAI},
    {"*.modal.run", NULL, OPENAI},
    {"*.modal.direct", NULL, OPENAI},
};

static const struct {
    const char *name;
    uint8_t speaks;
} dialects[] = {
    {"openai", OPENAI},   {"anthropic", ANTHROPIC}, {"gemini", GEMINI},
    {"bedrock", BEDROCK}, {"cohere", COHERE},       {"ollama", OLLAMA},
};

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

const char *
ns_hosts_dialect_name(uint8_t speaks)
{
    for (size_t i = 0; i < LENGTH(dialects); i++) {
        if (dialects[i].speaks == speaks) {
            return dialects[i].name;
        }
    }
    return NULL;
}

const char *
ns_hosts_native(const struct ns_host *host)
{
    const char *first = NULL;
    for (size_t i = 0; i < LENGTH(dialects); i++) {
        bool speaks = (host->speaks & dialects[i].speaks) != 0;
        if (speaks && host->provider != NULL && strcmp(host->provider, dialects[i].name) == 0) {
            return dialects[i].name;
        }
        first = speaks && first == NULL ? dialects[i].name : first;
    }
    return first != NULL ? first : dialects[0].name;
}

uint8_t
ns_hosts_dialect(const char *name, size_t bytes)
{
    for (size_t i = 0; i < LENGTH(dialects); i++) {
        if (ns_wire_text_is(name, bytes, dialects[i].name)) {
            return dialects[i].speaks;
        }
    }
    return 0;
}

const char *
ns_hosts_split(const char *text, size_t bytes, size_t *host_bytes, uint16_t *port)
{
    const char *close = bytes > 0 && text[0] == '[' ? memchr(text, ']', bytes) : NULL;
    const char *host = close ? text + 1 : text;
    const char *from = close ? close + 1 : text;
    size_t rest = bytes - (size_t)(from - text);
    const char *colon = memchr(from, ':', rest);
    uint64_t number = 0;
    if (close != NULL) {
        *host_bytes = (size_t)(close - host);
    } else {
        *host_bytes = colon ? (size_t)(colon - text) : bytes;
    }
    *port = 0;
    if (colon != NULL &&
        ns_wire_text_number(colon + 1, bytes - (size_t)(colon + 1 - text), 65535, &number) == 0) {
        *port = (uint16_t)number;
    }
    return host;
}

static bool
pattern_matches(const char *pattern, const char *host, size_t bytes)
{
    const char *star = strchr(pattern, '*');
    if (star == NULL) {
        return ns_wire_text_is_nocase(host, bytes, pattern);
    }
    size_t before = (size_t)(star - pattern);
    size_t after = strlen(star + 1);
    if (bytes < before + after + 1) {
        return false;
    }
    for (size_t i = 0; i < before; i++) {
        if ((host[i] | 0x20) != (pattern[i] | 0x20)) {
            return false;
        }
    }
    return ns_wire_text_is_nocase(host + bytes - after, after, star + 1);
}

static uint8_t
quirks_of(const char *provider)
{
    for (size_t i = 0; provider != NULL && i < LENGTH(providers); i++) {
        if (strcmp(providers[i].provider, provider) == 0) {
            return providers[i].quirks;
        }
    }
    return 0;
}

/* A Host header without a port means the scheme's own, and an SNI has none at all. */
static bool
port_fits(uint16_t wanted, uint16_t port)
{
    return wanted == 0 || wanted == port || (port == 0 && (wanted == 443 || wanted == 80));
}

size_t
ns_hosts_bare(const char *host, size_t host_bytes)
{
    return host_bytes > 1 && host[host_bytes - 1] == '.' ? host_bytes - 1 : host_bytes;
}

bool
ns_hosts_find(const struct ns_wire_hosts *hosts, const char *host, size_t host_bytes, uint16_t port,
              struct ns_host *found)
{
    host_bytes = ns_hosts_bare(host, host_bytes);
    *found = (struct ns_host){.provider = NULL};
    for (size_t i = 0; hosts != NULL && i < hosts->count; i++) {
        if (port_fits(hosts->extra[i].port, port) &&
            ns_wire_text_is_nocase(host, host_bytes, hosts->extra[i].host)) {
            const char *family = hosts->extra[i].family;
            found->speaks |= ns_hosts_dialect(family, strlen(family));
            /* vLLM, gateways and their like; whoever adds a host knows what it takes. */
            found->quirks |= NS_QUIRK_USAGE_ASKABLE;
        }
    }
    for (size_t i = 0; i < LENGTH(known_hosts); i++) {
        if (pattern_matches(known_hosts[i].pattern, host, host_bytes)) {
            found->provider = known_hosts[i].provider;
            found->speaks |= known_hosts[i].speaks;
            found->quirks = quirks_of(found->provider);
            break;
        }
    }
    return found->speaks != 0;
}

bool
ns_wire_host_known(const struct ns_wire_hosts *hosts, const char *host, size_t host_bytes)
{
    struct ns_host found;
    size_t bare_bytes = ns_hosts_bare(host, host_bytes);
    for (size_t i = 0; hosts != NULL && i < hosts->count; i++) {
        if (ns_wire_text_is_nocase(host, bare_bytes, hosts->extra[i].host)) {
            return true;
        }
    }
    return ns_hosts_find(NULL, host, host_bytes, 0, &found);
}

/* --- NULLSPEND_PROVIDERS ------------------------------------------------------------------- */

static bool
is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n';
}

static size_t
trim(const char **text, size_t bytes)
{
    for (; bytes > 0 && is_blank(**text); bytes--) {
        (*text)++;
    }
    while (bytes > 0 && is_blank((*text)[bytes - 1])) {
        bytes--;
    }
    return bytes;
}

static bool
host_is_plain(const char *host, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        char c = (char)(host[i] | 0x20);
        bool good = (c >= 'a' && c <= 'z') || (host[i] >= '0' && host[i] <= '9') ||
                    strchr(".-_:", host[i]) != NULL;
        if (!good || host[i] == '\0') {
            return false;
        }
    }
    return bytes > 0 && bytes <= NS_HOST_BYTES_MAX && host[bytes - 1] != '.';
}

/* One "host[:port]=family". */
static int
parse_entry(struct ns_wire_hosts *hosts, const char *text, size_t bytes)
{
    const char *equals = memchr(text, '=', bytes);
    if (equals == NULL) {
        return -EINVAL;
    }
    const char *name = equals + 1;
    size_t name_bytes = trim(&name, bytes - (size_t)(name - text));
    size_t address_bytes = trim(&text, (size_t)(equals - text));
    uint8_t dialect = ns_hosts_dialect(name, name_bytes);
    size_t host_bytes;
    uint16_t port;
    const char *host = ns_hosts_split(text, address_bytes, &host_bytes, &port);
    const char *host_end = host + host_bytes + (host != text); /* past the bracket */
    bool port_missing = host_end < text + address_bytes && port == 0;
    host_bytes = ns_hosts_bare(host, host_bytes);
    if (dialect == 0 || port_missing || !host_is_plain(host, host_bytes)) {
        return -EINVAL;
    }
    if (hosts->count == NS_EXTRA_HOSTS_MAX) {
        return -E2BIG;
    }
    char *kept = hosts->extra[hosts->count].host;
    for (size_t i = 0; i < host_bytes; i++) {
        kept[i] = host[i] >= 'A' && host[i] <= 'Z' ? (char)(host[i] | 0x20) : host[i];
    }
    kept[host_bytes] = '\0';
    hosts->extra[hosts->count].port = port;
    hosts->extra[hosts->count].family = ns_hosts_dialect_name(dialect);
    hosts->count++;
    return 0;
}

int
ns_wire_hosts_parse(struct ns_wire_hosts *hosts, const char *text, size_t *bad_offset)
{
    const char *start = text;
    hosts->count = 0;
    while (*text != '\0') {
        size_t bytes = strcspn(text, ",");
        const char *entry = text;
        size_t entry_bytes = trim(&entry, bytes);
        int result = entry_bytes > 0 ? parse_entry(hosts, entry, entry_bytes) : 0;
        if (result != 0) {
            *bad_offset = (size_t)(entry - start);
            return result;
        }
        text += bytes;
        text += *text == ',';
    }
    return 0;
}
