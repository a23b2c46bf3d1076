/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a family (a wire dialect) is: tables of its paths, facts and denials, and the few functions
 * that give its facts their meaning. Internal to wire/. Adding a family is a file that defines one,
 * a row in the list at the end of providers/family.c and a bit in hosts.h.
 */
#ifndef NS_WIRE_FAMILY_H
#define NS_WIRE_FAMILY_H

#include "wire/facts.h"
#include "wire/hosts.h"
#include "wire/http1.h"
#include "wire/prompt.h"
#include "wire/wire.h"

enum {
    NS_ROUTE_STREAMS = 1,         /* a path that always streams */
    NS_ROUTE_USAGE = 2,           /* a stream of it carries its usage unasked */
    NS_ROUTE_ARRAY = 4,           /* its stream is one JSON array unless SSE is asked for */
    NS_ROUTE_FORM = 8,            /* the request's body may be a form with a file, not JSON */
    NS_ROUTE_STREAMS_UNASKED = 16 /* streams unless the request says that it should not */
};

/* A POST path that costs money. */
struct ns_route {
    const char *suffix; /* of the path without its query: "end", or "earlier*end" */
    const char *operation;
    uint8_t flags;
    const char *provider; /* only there; NULL: anywhere */
};

/* Counters that a family keeps while an answer passes; what each means is the family's. */
#define NS_RAW_MAX 32

/* What claims more is no count of tokens; sums of a few never overflow. */
#define NS_RAW_COUNT_MAX (UINT64_C(1) << 53)

struct ns_raw {
    uint32_t present;
    uint64_t count[NS_RAW_MAX];
};

/* How an answer stands. Facts go straight into call->response where they can. */
struct ns_reading {
    struct ns_wire_call *call;
    uint8_t quirks;
    struct ns_raw usage; /* the usage that counts, so far */
    struct ns_raw item;  /* the usage object (or iteration) that is passing */
    char item_model[NS_MODEL_BYTES_MAX + 1];
    /* The element of a list that is passing: its members come in any order. */
    uint32_t detail;       /* what it is of: a modality, a billed tool */
    uint32_t detail_first; /* which list it is in: the first raw counter of its kind */
    uint64_t detail_count;
    bool finished;         /* the family's own end of a message was seen */
    bool goes_on;          /* the document that was read last said that others follow */
    bool last_event;       /* the event after which a stream has no other */
    uint64_t tool_uses[4]; /* billed tools seen in the output that is passing */
    int64_t cost_nanousd;
};

struct ns_family {
    const char *name;
    uint8_t speaks;                /* one bit of hosts.h */
    const struct ns_route *routes; /* ends with a NULL suffix; the first that fits counts */
    struct ns_fact_table request;
    const struct ns_prompt_root *prompt_roots;
    struct ns_fact_table response;
    void (*request_fact)(struct ns_wire_request *request, int fact,
                         const struct ns_json_input *value);
    /* What the head of an answer that is no error tells; NULL: nothing of this family's. */
    void (*response_head)(struct ns_reading *reading, const struct ns_http1 *head);
    void (*response_fact)(struct ns_reading *reading, int fact, const struct ns_json_input *value);
    /* NULL: no event of a stream is known to repeat another. Otherwise text_fact is the fact of
     * which only the number of bytes counts, in sum, where it is a string; and `repeats` says of
     * any other fact whether it changes nothing that it is told once more, with this value, after
     * facts of which the same is true. */
    bool (*repeats)(int fact, const struct ns_json_input *value);
    int text_fact;
    /* Makes the usage that counts into disjoint meters; may be called again later. */
    void (*settle)(struct ns_reading *reading);
};

extern const struct ns_family ns_family_openai;
extern const struct ns_family ns_family_anthropic;
extern const struct ns_family ns_family_gemini;
extern const struct ns_family ns_family_bedrock;
extern const struct ns_family ns_family_cohere;
extern const struct ns_family ns_family_ollama;

/* Finds the family and route of a POST to this path on a host. NULL: no call. */
const struct ns_family *ns_family_find(const struct ns_host *host, const char *path, size_t bytes,
                                       const struct ns_route **route);

/* What requests ask for, in all families. */
enum ns_asked {
    NS_ASK_MODEL = 1,
    NS_ASK_STREAM,
    NS_ASK_USAGE, /* in the stream */
    NS_ASK_CAP,   /* of output tokens: where several are named, the larger one bounds */
    NS_ASK_CHOICES,
    NS_ASK_TIER,
    NS_ASK_SPEED,
    NS_ASK_REGION,
    NS_ASK_ELSEWHERE, /* a string that names what the provider keeps */
    NS_ASK_TOOL,      /* the type of a tool */
    NS_ASK_FUNCTION,  /* an object or an array: a tool of the program's, or several */
    /* An object: a tool that runs at the provider. */
    NS_ASK_CONNECTOR,
    NS_ASK_WEB_SEARCH,
    NS_ASK_GOOGLE_SEARCH,
    NS_ASK_GOOGLE_MAPS,
    NS_ASK_URL_CONTEXT,
    NS_ASK_CODE_EXECUTION,
    NS_ASK_FILE_SEARCH
};
void ns_family_asked(struct ns_wire_request *request, int asked, const struct ns_json_input *value);

/* The request may have tools that were not read. */
void ns_family_tools_unread(struct ns_wire_request *request);

/* Facts as most families need them. */
void ns_family_text(char *field, size_t field_bytes, const struct ns_json_input *value);
uint64_t ns_family_count(const struct ns_json_input *value, uint64_t otherwise);
void ns_family_tier_of_head(struct ns_reading *reading, const struct ns_http1 *head);
void ns_raw_set(struct ns_raw *raw, unsigned index, const struct ns_json_input *value);
void ns_raw_add(struct ns_raw *raw, unsigned index, uint64_t count);
bool ns_raw_has(const struct ns_raw *raw, unsigned index);

/* The usage of the call's part for this model, a new one where there is none yet. Past the bound
 * the last one takes it all, so that no token is lost. NULL without memory: the answer counts as
 * unreadable. */
struct ns_usage *ns_family_part(struct ns_wire_call *call, const char *model);

/* a - b, 0 where that is negative. */
static inline uint64_t
ns_less(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

static inline uint64_t
ns_smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

#endif
