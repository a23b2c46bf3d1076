/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/mandates.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/utf8.h"
#include "base/words.h"
#include "collector/bytes.h"

/* Of a rule, what is shown of a call's own word. */
#define SHOWN_BYTES 96
#define ROOM_FIRST 16
#define REPEATS_WINDOW_S_MAX 86400

struct mandate {
    struct ns_mandate_terms terms; /* its text points into bytes */
    size_t count;
    uint8_t *bytes; /* from malloc */
};

/* By entity. */
struct ns_mandates {
    struct mandate *mandate; /* never NULL */
    size_t count, room;
};

const char *
ns_mandate_list_name(int list)
{
#define X(enumerator, name) name,
    static const char *const names[] = { NS_MANDATE_LISTS(X) };
#undef X
    return list >= 0 && list < NS_MANDATE_LIST_COUNT ? names[list] : "?";
}

int
ns_mandate_list_find(const char *name, size_t bytes)
{
    for (int list = 0; list < NS_MANDATE_LIST_COUNT; list++) {
        const char *known = ns_mandate_list_name(list);
        if (strlen(known) == bytes && memcmp(known, name, bytes) == 0) {
            return list;
        }
    }
    return -1;
}

/* --- as bytes -----------------------------------------------------------------------------------
 * id 8, policy 1, output_tokens_max 8, entity; then each word behind the number of its list. A text
 * is its length in 2 bytes, and its bytes.
 */

static void
add_text(struct ns_buffer *buffer, struct ns_text text)
{
    const uint8_t bytes[2] = {(uint8_t)text.bytes, (uint8_t)(text.bytes >> 8)};
    ns_buffer_add(buffer, bytes, sizeof bytes);
    ns_buffer_add(buffer, text.text, text.bytes);
}

void
ns_mandate_begin(struct ns_buffer *buffer, const struct ns_mandate_terms *terms)
{
    ns_buffer_add_u64(buffer, (uint64_t)terms->id);
    ns_buffer_add(buffer, &terms->policy, 1);
    ns_buffer_add_u64(buffer, terms->output_tokens_max);
    add_text(buffer, terms->entity);
}

void
ns_mandate_add(struct ns_buffer *buffer, int list, struct ns_text word)
{
    uint8_t number = (uint8_t)list;
    ns_buffer_add(buffer, &number, 1);
    add_text(buffer, word);
}

static struct ns_text
get_text(struct ns_bytes_reader *r)
{
    uint16_t bytes = ns_bytes_get_u16(r);
    const uint8_t *text = ns_bytes_get(r, bytes);
    return text == NULL ? (struct ns_text){"", 0} : (struct ns_text){(const char *)text, bytes};
}

/* The next word of a list; false at the end, or where the bytes are bad. */
static bool
next_word(struct ns_bytes_reader *r, uint8_t *list, struct ns_text *word)
{
    if (r->bad || r->at == r->end) {
        return false;
    }
    *list = ns_bytes_get_u8(r);
    *word = get_text(r);
    r->bad |= *list >= NS_MANDATE_LIST_COUNT || word->bytes == 0;
    return !r->bad;
}

static struct ns_bytes_reader
read_terms(const uint8_t *bytes, size_t count, struct ns_mandate_terms *terms)
{
    struct ns_bytes_reader r = {.at = bytes, .end = bytes + count};
    terms->id = ns_bytes_get_i64(&r);
    terms->policy = ns_bytes_get_u8(&r);
    terms->output_tokens_max = ns_bytes_get_u64(&r);
    terms->entity = get_text(&r);
    return r;
}

bool
ns_mandate_decode(const uint8_t *bytes, size_t count, struct ns_mandate_terms *terms)
{
    struct ns_bytes_reader r = read_terms(bytes, count, terms);
    const char *why;
    bool known = (terms->policy == NS_POLICY_HARD || terms->policy == NS_POLICY_SHADOW) &&
                 count <= NS_MANDATE_BYTES_MAX && !r.bad &&
                 terms->entity.bytes <= NS_ENTITY_BYTES_MAX &&
                 ns_entity_check(terms->entity.text, terms->entity.bytes, &why) == 0;
    uint8_t list;
    struct ns_text word;
    while (known && next_word(&r, &list, &word)) {
    }
    return known && !r.bad;
}

/* --- the set ------------------------------------------------------------------------------------
 */

struct ns_mandates *
ns_mandates_new(void)
{
    struct ns_mandates *mandates = malloc(sizeof *mandates);
    struct mandate *mandate = calloc(ROOM_FIRST, sizeof *mandate);
    if (mandates == NULL || mandate == NULL) {
        free(mandates);
        free(mandate);
        return NULL;
    }
    *mandates = (struct ns_mandates){.mandate = mandate, .room = ROOM_FIRST};
    return mandates;
}

void
ns_mandates_free(struct ns_mandates *mandates)
{
    if (mandates == NULL) {
        return;
    }
    for (size_t i = 0; i < mandates->count; i++) {
        free(mandates->mandate[i].bytes);
    }
    free(mandates->mandate);
    free(mandates);
}

static int
compare(struct ns_text a, const char *text, size_t bytes)
{
    size_t both = a.bytes < bytes ? a.bytes : bytes;
    int order = memcmp(a.text, text, both);
    return order != 0 ? order : (a.bytes > bytes) - (a.bytes < bytes);
}

/* The place of an entity's mandate, or where it would stand. */
static size_t
place_of(const struct ns_mandates *mandates, const char *text, size_t bytes, bool *found)
{
    size_t low = 0, high = mandates->count;
    *found = false;
    while (low < high && !*found) {
        size_t middle = low + (high - low) / 2;
        int order = compare(mandates->mandate[middle].terms.entity, text, bytes);
        *found = order == 0;
        low = order < 0 ? middle + 1 : low;
        high = order < 0 ? high : middle;
    }
    return high;
}

static bool
grow(struct ns_mandates *mandates)
{
    size_t room = mandates->room * 2;
    struct mandate *bigger = realloc(mandates->mandate, room * sizeof *bigger);
    if (bigger != NULL) {
        mandates->mandate = bigger;
        mandates->room = room;
    }
    return bigger != NULL;
}

static size_t
place_of_id(const struct ns_mandates *mandates, int64_t id)
{
    size_t place = 0;
    while (place < mandates->count && mandates->mandate[place].terms.id != id) {
        place++;
    }
    return place;
}

int
ns_mandates_check(const struct ns_mandates *mandates, const uint8_t *bytes, size_t count)
{
    struct ns_mandate_terms terms;
    if (!ns_mandate_decode(bytes, count, &terms)) {
        return -EBADMSG;
    }
    bool found;
    size_t place = place_of(mandates, terms.entity.text, terms.entity.bytes, &found);
    if (found) {
        return mandates->mandate[place].terms.id == terms.id ? 0 : -EEXIST;
    }
    bool full = mandates->count == NS_MANDATES_MAX;
    return full && place_of_id(mandates, terms.id) == mandates->count ? -ENOSPC : 0;
}

int
ns_mandates_put(struct ns_mandates *mandates, const uint8_t *bytes, size_t count)
{
    int error = ns_mandates_check(mandates, bytes, count);
    if (error != 0) {
        return error;
    }
    struct mandate mandate = {.count = count, .bytes = malloc(count)};
    if (mandate.bytes == NULL || (mandates->count == mandates->room && !grow(mandates))) {
        free(mandate.bytes);
        return -ENOMEM;
    }
    memcpy(mandate.bytes, bytes, count);
    (void)read_terms(mandate.bytes, count, &mandate.terms);
    ns_mandates_remove(mandates, mandate.terms.id);
    bool found;
    size_t place =
        place_of(mandates, mandate.terms.entity.text, mandate.terms.entity.bytes, &found);
    memmove(mandates->mandate + place + 1, mandates->mandate + place,
            (mandates->count - place) * sizeof mandate);
    mandates->mandate[place] = mandate;
    mandates->count++;
    return 0;
}

void
ns_mandates_remove(struct ns_mandates *mandates, int64_t id)
{
    size_t place = place_of_id(mandates, id);
    if (place == mandates->count) {
        return;
    }
    free(mandates->mandate[place].bytes);
    mandates->count--;
    memmove(mandates->mandate + place, mandates->mandate + place + 1,
            (mandates->count - place) * sizeof *mandates->mandate);
}

size_t
ns_mandates_count(const struct ns_mandates *mandates)
{
    return mandates->count;
}

const uint8_t *
ns_mandates_at(const struct ns_mandates *mandates, size_t place, size_t *count)
{
    *count = mandates->mandate[place].count;
    return mandates->mandate[place].bytes;
}

bool
ns_mandates_has(const struct ns_mandates *mandates, const uint8_t *bytes, size_t count)
{
    struct ns_mandate_terms terms;
    bool found = ns_mandate_decode(bytes, count, &terms);
    size_t place = 0;
    if (found) {
        place = place_of(mandates, terms.entity.text, terms.entity.bytes, &found);
    }
    return found && mandates->mandate[place].count == count &&
           memcmp(mandates->mandate[place].bytes, bytes, count) == 0;
}

/* --- what a call does ---------------------------------------------------------------------------
 */

static char
lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

/* A star takes as little as it can, and is come back to where that was not enough: the last one
 * alone, for what the ones before it took need not change. */
static bool
fits(struct ns_text pattern, struct ns_text text)
{
    uint32_t p = 0, t = 0, star = UINT32_MAX, from = 0;
    while (t < text.bytes) {
        if (p < pattern.bytes && pattern.text[p] == '*') {
            star = p++;
            from = t;
        } else if (p < pattern.bytes && lower(pattern.text[p]) == lower(text.text[t])) {
            p++;
            t++;
        } else if (star != UINT32_MAX) {
            p = star + 1;
            t = ++from;
        } else {
            return false;
        }
    }
    while (p < pattern.bytes && pattern.text[p] == '*') {
        p++;
    }
    return p == pattern.bytes;
}

/* The next word of a list with commas between; false at its end. */
static bool
next_listed(struct ns_text *list, struct ns_text *word)
{
    if (list->bytes == 0) {
        return false;
    }
    const char *comma = memchr(list->text, ',', list->bytes);
    uint32_t bytes = comma != NULL ? (uint32_t)(comma - list->text) : list->bytes;
    *word = (struct ns_text){list->text, bytes};
    bytes += comma != NULL ? 1 : 0;
    list->text += bytes;
    list->bytes -= bytes;
    return true;
}

bool
ns_words_fit(struct ns_text list, struct ns_text text)
{
    struct ns_text word;
    bool any = false;
    while (!any && next_listed(&list, &word)) {
        any = fits(word, text);
    }
    return any;
}

/* Whether the call has an entity of this kind: "customer", or "tag:env" for any tag:env=…. */
static bool
has(const char *const *entity, uint8_t count, struct ns_text kind)
{
    char after = memchr(kind.text, ':', kind.bytes) != NULL ? '=' : ':';
    for (uint8_t i = 0; i < count; i++) {
        if (strncmp(entity[i], kind.text, kind.bytes) == 0 && entity[i][kind.bytes] == after) {
            return true;
        }
    }
    return false;
}

/* Of a call, what the lists are about: the list that allows it, and behind that the one that denies
 * it. */
struct fact {
    const char *what;
    enum ns_mandate_list allow;
    struct ns_text word;
};
#define FACTS 5

static void
facts_of(const struct ns_check *call, struct fact fact[static FACTS])
{
    /* Where a request names no tier, providers serve by this one. */
    struct ns_text tier =
        call->requested_tier.bytes > 0 ? call->requested_tier : ns_text_of("default");
    fact[0] = (struct fact){"model", NS_MANDATE_ALLOW_MODELS, call->requested_model};
    fact[1] = (struct fact){"provider", NS_MANDATE_ALLOW_PROVIDERS, call->provider};
    fact[2] = (struct fact){"host", NS_MANDATE_ALLOW_HOSTS, call->host};
    fact[3] = (struct fact){"operation", NS_MANDATE_ALLOW_OPERATIONS, call->operation};
    fact[4] = (struct fact){"service tier", NS_MANDATE_ALLOW_TIERS, tier};
}

/* Where and when repeated calls are counted. */
struct repeating {
    struct ns_repeats *counts; /* NULL: nowhere */
    int64_t now_ns;
};

/* Of one mandate, what a call meets. */
struct met {
    uint32_t listed, allowed; /* bits of fact[]: the mandate allows some; this one is of them */
    uint32_t denied;
    struct ns_text missing; /* a kind of entity that is required */
    uint64_t repeats_max;   /* 0: any number */
    int64_t repeats_s;
};

static uint64_t
number_of(const char *text, uint32_t bytes, uint64_t most)
{
    uint64_t number = 0;
    for (uint32_t i = 0; i < bytes; i++) {
        if (text[i] < '0' || text[i] > '9' || number > most) {
            return 0;
        }
        number = number * 10 + (uint64_t)(text[i] - '0');
    }
    return number <= most ? number : 0;
}

/* "50/60"; what is not of that form limits nothing. */
static void
take_repeats(struct met *met, struct ns_text word)
{
    const char *slash = memchr(word.text, '/', word.bytes);
    if (slash == NULL) {
        return;
    }
    uint32_t before = (uint32_t)(slash - word.text);
    met->repeats_s = (int64_t)number_of(slash + 1, word.bytes - before - 1, REPEATS_WINDOW_S_MAX);
    met->repeats_max = met->repeats_s > 0 ? number_of(word.text, before, UINT32_MAX) : 0;
}

static struct met
meet(const struct mandate *mandate, const struct fact fact[static FACTS], const char *const *entity,
     uint8_t entity_count)
{
    struct met met = {0};
    struct ns_mandate_terms terms;
    struct ns_bytes_reader r = read_terms(mandate->bytes, mandate->count, &terms);
    uint8_t list;
    struct ns_text word;
    while (next_word(&r, &list, &word)) {
        if (list == NS_MANDATE_REQUIRE) {
            if (met.missing.bytes == 0 && !has(entity, entity_count, word)) {
                met.missing = word;
            }
            continue;
        }
        if (list == NS_MANDATE_REPEATS) {
            take_repeats(&met, word);
            continue;
        }
        for (uint32_t i = 0; i < FACTS; i++) {
            uint32_t bit = UINT32_C(1) << i;
            if (list == fact[i].allow) {
                met.listed |= bit;
                met.allowed |= fits(word, fact[i].word) ? bit : 0;
            } else if (list == fact[i].allow + 1) {
                met.denied |= fits(word, fact[i].word) ? bit : 0;
            }
        }
    }
    return met;
}

/* As much of it as is shown. */
static struct ns_text
shorten(struct ns_text text)
{
    text.bytes = (uint32_t)ns_utf8_cut(text.text, text.bytes, SHOWN_BYTES);
    return text.bytes > 0 ? text : ns_text_of("\"\"");
}

/* Whether the lists refuse a tool of a call. denied: by the one that denies. One that was not read
 * may be any: lists of tools refuse it. */
static bool
refuses_tool(const struct mandate *mandate, struct ns_text tool, bool *denied)
{
    bool unread = tool.bytes == 1 && tool.text[0] == '*';
    bool listed = false, allowed = false;
    struct ns_mandate_terms terms;
    struct ns_bytes_reader r = read_terms(mandate->bytes, mandate->count, &terms);
    uint8_t list;
    struct ns_text word;
    *denied = false;
    while (next_word(&r, &list, &word)) {
        if (list == NS_MANDATE_ALLOW_TOOLS) {
            listed = true;
            allowed |= fits(word, tool);
        } else if (list == NS_MANDATE_DENY_TOOLS) {
            *denied |= unread || fits(word, tool);
        }
    }
    return *denied || (listed && !allowed);
}

/* Fills rule. */
static bool
judge_tools(const struct mandate *mandate, const struct ns_check *call,
            struct ns_mandate_breach *breach)
{
    struct ns_text tools = call->tools, tool;
    bool denied;
    while (next_listed(&tools, &tool)) {
        if (refuses_tool(mandate, tool, &denied)) {
            bool unread = tool.bytes == 1 && tool.text[0] == '*';
            struct ns_text shown = unread ? ns_text_of("(unread)") : shorten(tool);
            snprintf(breach->rule, sizeof breach->rule, "tool %.*s is %s", (int)shown.bytes,
                     shown.text, denied ? "in deny_tools" : "not in allow_tools");
            return true;
        }
    }
    return false;
}

/* Those whose requests can limit an answer's tokens. */
static bool
answers_in_tokens(struct ns_text operation)
{
    static const char *const operations[] = {
        "chat",         "completions", "converse", "generate_content",
        "interactions", "invoke",      "messages", "responses"};
    for (size_t i = 0; i < sizeof operations / sizeof operations[0]; i++) {
        if (operation.bytes == strlen(operations[i]) &&
            memcmp(operation.text, operations[i], operation.bytes) == 0) {
            return true;
        }
    }
    return false;
}

static bool
is_known(const struct ns_hash16 *hash)
{
    static const struct ns_hash16 none;
    return memcmp(hash, &none, sizeof none) != 0;
}

/* Of a mandate's calls of one entity, those that say the same. what: in which way. */
static uint64_t
key_of(const struct mandate *mandate, const char *entity, char what, const struct ns_hash16 *same)
{
    uint8_t key[16];
    char text[9 + NS_ENTITY_BYTES_MAX + 1];
    memcpy(key, same, sizeof key);
    memcpy(text, &mandate->terms.id, 8);
    text[8] = what;
    size_t bytes = strnlen(entity, NS_ENTITY_BYTES_MAX);
    memcpy(text + 9, entity, bytes);
    uint64_t hash = ns_siphash64(key, text, 9 + bytes);
    return hash != 0 ? hash : 1;
}

/* Where calls may repeat each other only so often. Fills reason and rule. */
static bool
judge_repeats(const struct mandate *mandate, const struct met *met, const struct ns_check *call,
              const char *entity, const struct repeating *repeating,
              struct ns_mandate_breach *breach)
{
    const struct {
        uint64_t count;
        const char *what;
    } rows[] = {
        {!is_known(&call->fingerprint)
             ? 0
             : ns_repeats_count(repeating->counts, key_of(mandate, entity, 'w', &call->fingerprint),
                                repeating->now_ns, met->repeats_s * 1000000000),
         "is the same request"},
        {!is_known(&call->ending)
             ? 0
             : ns_repeats_count_growing(
                   repeating->counts, key_of(mandate, entity, 'e', &call->ending), call->text_bytes,
                   repeating->now_ns, met->repeats_s * 1000000000),
         "ends with the same text and is longer than the one before"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (rows[i].count > met->repeats_max) {
            breach->reason = NS_REASON_LOOP;
            snprintf(breach->rule, sizeof breach->rule,
                     "number %llu within %lld s that %s, and repeats is %llu/%lld",
                     (unsigned long long)rows[i].count, (long long)met->repeats_s, rows[i].what,
                     (unsigned long long)met->repeats_max, (long long)met->repeats_s);
            return true;
        }
    }
    return false;
}

/* Fills reason and rule. entity: whose mandate it is here. Returns whether the call does not keep
 * to it. */
static bool
judge(const struct mandate *mandate, const struct ns_check *call,
      const struct fact fact[static FACTS], const char *const *entities, uint8_t entity_count,
      const char *entity, const struct repeating *repeating, struct ns_mandate_breach *breach)
{
    struct met met = meet(mandate, fact, entities, entity_count);
    uint32_t refused = met.denied | (met.listed & ~met.allowed);
    uint64_t most = mandate->terms.output_tokens_max;
    breach->reason = NS_REASON_MANDATE;
    if (met.missing.bytes > 0) {
        bool customer = met.missing.bytes == 8 && memcmp(met.missing.text, "customer", 8) == 0;
        breach->reason = customer ? NS_REASON_CUSTOMER_REQUIRED : NS_REASON_MANDATE;
        snprintf(breach->rule, sizeof breach->rule, "it names no %.*s, which is required",
                 (int)met.missing.bytes, met.missing.text);
        return true;
    }
    if (refused != 0) {
        uint32_t i = (uint32_t)__builtin_ctz(refused);
        bool denied = met.denied >> i & 1;
        struct ns_text shown = shorten(fact[i].word);
        snprintf(breach->rule, sizeof breach->rule, "%s %.*s is %s %s", fact[i].what,
                 (int)shown.bytes, shown.text, denied ? "in" : "not in",
                 ns_mandate_list_name((int)fact[i].allow + (denied ? 1 : 0)));
        return true;
    }
    if (judge_tools(mandate, call, breach)) {
        return true;
    }
    if (most > 0 && answers_in_tokens(call->operation) &&
        (call->output_tokens_max == 0 || call->output_tokens_max > most)) {
        char asked[48] = "it does not limit its output";
        if (call->output_tokens_max > 0) {
            snprintf(asked, sizeof asked, "it asks for up to %llu tokens",
                     (unsigned long long)call->output_tokens_max);
        }
        snprintf(breach->rule, sizeof breach->rule, "%s, and output_tokens_max is %llu", asked,
                 (unsigned long long)most);
        return true;
    }
    return met.repeats_max > 0 && repeating->counts != NULL &&
           judge_repeats(mandate, &met, call, entity, repeating, breach);
}

/* The mandate that holds for an entity: its own, else that of all of its kind. */
static const struct mandate *
find(const struct ns_mandates *mandates, const char *entity)
{
    bool found;
    size_t place = place_of(mandates, entity, strlen(entity), &found);
    const char *colon = strchr(entity, ':');
    /* "customer:*", "tag:env=*", and "tag:*" behind that. */
    const char *ends[] = {colon != NULL ? strchr(colon, '=') : NULL, colon};
    for (size_t i = 0; i < 2 && !found; i++) {
        char pattern[NS_ENTITY_BYTES_MAX + 2];
        if (ends[i] != NULL && (i == 1 || strncmp(entity, "tag:", 4) == 0)) {
            int bytes =
                snprintf(pattern, sizeof pattern, "%.*s*", (int)(ends[i] - entity) + 1, entity);
            place = place_of(mandates, pattern, (size_t)bytes, &found);
        }
    }
    return found ? &mandates->mandate[place] : NULL;
}

bool
ns_mandates_breached(const struct ns_mandates *mandates, const struct ns_check *call,
                     const char *const *entity, uint8_t entity_count, struct ns_repeats *repeats,
                     int64_t now_ns, struct ns_mandate_breach *breach)
{
    const struct repeating repeating = {repeats, now_ns};
    bool any = false;
    if (mandates->count == 0) {
        return false;
    }
    struct fact fact[FACTS];
    facts_of(call, fact);
    for (uint8_t i = 0; i < entity_count; i++) {
        const struct mandate *mandate = find(mandates, entity[i]);
        struct ns_mandate_breach next;
        if (mandate == NULL || (any && mandate->terms.policy != NS_POLICY_HARD) ||
            !judge(mandate, call, fact, entity, entity_count, entity[i], &repeating, &next)) {
            continue;
        }
        *breach = next;
        breach->policy = mandate->terms.policy;
        ns_text_copy(mandate->terms.entity, breach->entity, sizeof breach->entity);
        any = true;
        if (breach->policy == NS_POLICY_HARD) {
            break;
        }
    }
    return any;
}

/* --- snapshots ---------------------------------------------------------------------------------
 */

void
ns_mandates_save(const struct ns_mandates *mandates, struct ns_buffer *buffer)
{
    ns_buffer_add_u32(buffer, (uint32_t)mandates->count);
    for (size_t i = 0; i < mandates->count; i++) {
        ns_buffer_add_u32(buffer, (uint32_t)mandates->mandate[i].count);
        ns_buffer_add(buffer, mandates->mandate[i].bytes, mandates->mandate[i].count);
    }
}

int
ns_mandates_load(struct ns_bytes *bytes, struct ns_mandates **mandates)
{
    struct ns_mandates *loaded = ns_mandates_new();
    uint32_t count = ns_bytes_u32(bytes);
    int error = loaded == NULL ? -ENOMEM : bytes->failed ? -EBADMSG : 0;
    for (uint32_t i = 0; i < count && error == 0; i++) {
        uint32_t mandate_bytes = ns_bytes_u32(bytes);
        const uint8_t *mandate = ns_bytes_take(bytes, mandate_bytes);
        error = mandate == NULL ? -EBADMSG : ns_mandates_put(loaded, mandate, mandate_bytes);
    }
    /* One that stands twice would be saved as one. */
    error = error == 0 && loaded->count != count ? -EBADMSG : error;
    if (error != 0) {
        ns_mandates_free(loaded);
        loaded = NULL;
        error = error == -ENOMEM ? error : -EBADMSG;
    }
    *mandates = loaded;
    return error;
}
