/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wire: the plaintext bytes of one connection in, LLM calls and their usage out.
 *
 * One struct ns_wire a connection. The writer's side feeds what the program sends and learns, for
 * every byte, whether it may leave (see enum ns_wire_class); the reader's side feeds what arrives
 * and learns where answers end and what they used. No I/O, no clocks, no globals, no locks: the
 * caller serialises the calls for one connection (OpenSSL demands that for one SSL* anyhow).
 *
 * Whatever is not understood is NS_WIRE_OPAQUE from there on, with a counted reason, and never an
 * error of the program.
 */
#ifndef NS_WIRE_WIRE_H
#define NS_WIRE_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/meter.h"
#include "base/words.h"
#include "wire/limits.h"

/* A byte range of the current request, from its first byte. */
struct ns_wire_range {
    uint32_t offset;
    uint32_t bytes;
};

struct ns_wire_tag {
    char key[NS_TAG_KEY_BYTES_MAX + 1];
    char value[NS_TAG_VALUE_BYTES_MAX + 1];
};

/* What a request says of whom it is for: X-NullSpend-* and traceparent. Empty where not said. */
struct ns_wire_identity {
    char customer[NS_ID_BYTES_MAX + 1];
    char agent[NS_ID_BYTES_MAX + 1];
    char feature[NS_ID_BYTES_MAX + 1];
    char session[NS_ID_BYTES_MAX + 1];
    char trace_id[33]; /* 32 lower hex digits of traceparent */
    struct ns_wire_tag tags[NS_TAGS_MAX];
    uint8_t tag_count;
    bool finalize;
    uint8_t rejected; /* headers or tags that were not of their form: ignored and counted */
};

/* The facts of a request that a verdict needs. */
struct ns_wire_request {
    char host[NS_HOST_BYTES_MAX + 1]; /* lower case, no port */
    const char *provider;             /* name of the contract, or the host itself; never NULL */
    const char *family;               /* wire dialect: "openai", "anthropic", "gemini" */
    const char *operation;            /* "chat", "responses", "messages", "generate_content", … */
    char model[NS_MODEL_BYTES_MAX + 1]; /* as asked for; "" where not said */
    char service_tier[NS_WORD_BYTES_MAX + 1];
    char speed[NS_WORD_BYTES_MAX + 1];    /* Anthropic fast mode */
    char region[NS_WORD_BYTES_MAX + 1];   /* Anthropic inference_geo */
    char upstream[NS_WORD_BYTES_MAX + 1]; /* of a router: the provider that it is told to use */
    char tools[NS_TOOLS_BYTES_MAX + 1];   /* their types, each once, commas between: "function" for
                                             those of the program, else the provider's own words;
                                             "*" for what found no room, or was not read */
    bool streamed;
    bool array;          /* the stream is a JSON array, not SSE (Gemini without alt=sse) */
    bool usage_asked;    /* a stream will carry its usage without our asking */
    bool usage_injected; /* we asked for it: the chunk that tells it is not the program's */
    bool body_complete;  /* false: the bound was reached first; sizes are of what was seen */
    uint64_t body_bytes; /* decoded body length, or what is known of it */
    uint64_t text_bytes; /* of all prompt text, system text and tool definitions: UTF-8 bytes,
                            and the unseen rest of the body where it is not complete */
    uint32_t images;     /* attachments, inline or by reference */
    uint32_t audios;
    uint32_t videos;
    uint32_t files;             /* documents */
    uint64_t attachment_bytes;  /* decoded size of the inline ones */
    uint64_t output_tokens_max; /* the cap in the request; 0: none */
    uint32_t choices;           /* n, candidateCount, best_of: at least 1 */
    bool history_elsewhere; /* previous_response_id, conversation, cachedContent, file ids, tools
                               that run at the provider: input that is billed and was not seen */
    bool cache_write;       /* asks for a prompt cache write */
    bool closes;            /* asks the server to close after its answer: Connection: close, 1.0 */
    uint64_t fingerprint;   /* of the whole decoded body (wire/fingerprint.h); 0: it was not read to
                               its end */
    uint64_t ending;        /* of the last text of its turns; 0: none was seen */
    char credential[8];     /* last four characters of the credential; "" where none */
    struct ns_wire_range credential_range; /* the credential within the request, for hashing it */
    struct ns_wire_identity identity;
};

/* What an answer says, merged by the rule of its family. */
struct ns_wire_response {
    int status; /* HTTP status; 0 before the head */
    bool has_usage;
    bool has_provider_cost;             /* the provider's own bill, where it is to be believed */
    bool error;                         /* status >= 400, or an error event inside the stream */
    bool complete;                      /* the message ended as HTTP and its family say it must */
    bool unreadable;                    /* coding or JSON could not be read: usage may be missing */
    char model[NS_MODEL_BYTES_MAX + 1]; /* as served; "" where not said */
    char id[NS_ID_BYTES_MAX + 1];       /* the provider's id of the answer, for counting once */
    char service_tier[NS_WORD_BYTES_MAX + 1]; /* as served */
    char speed[NS_WORD_BYTES_MAX + 1];        /* Anthropic fast mode */
    char region[NS_WORD_BYTES_MAX + 1];       /* Anthropic inference_geo */
    int64_t date_unix_s;                      /* of the Date header; 0: none */
    struct ns_usage usage;                    /* disjoint classes; complete only with `complete` */
    int64_t provider_cost_nanousd;
    uint64_t body_bytes; /* decoded bytes seen */
    uint64_t text_bytes; /* of generated text, reasoning and tool arguments seen, since the usage
                            told output last */
    uint64_t events;     /* SSE events or array elements seen */
};

/* More than one model may be billed in one answer (Anthropic iterations, compound systems). */
#define NS_WIRE_PARTS_MAX 8
struct ns_wire_part {
    char model[NS_MODEL_BYTES_MAX + 1];
    struct ns_usage usage;
};

/* One request and its answer. */
struct ns_wire_call {
    struct ns_wire_request request;
    struct ns_wire_response response;
    struct ns_wire_part *parts; /* room for NS_WIRE_PARTS_MAX once there is one */
    uint8_t part_count;         /* 0: all usage is response.model's */
    void *user;                 /* the caller's */
};

/* What may be done with the bytes just fed to the writer's side. */
enum ns_wire_class {
    NS_WIRE_PASS,     /* no part of a call, or not to be judged: may leave now */
    NS_WIRE_WITHHOLD, /* may belong to a call; keep until the class of the request is known */
    NS_WIRE_FREE,     /* these complete the head of a request that is no call: what was withheld
                         may leave, without the ranges in ns_wire_strips */
    NS_WIRE_CALL,     /* these complete the facts of a call: ask for a verdict now; what was
                         withheld, these included, leaves or dies by it */
    NS_WIRE_REST,     /* further body of the call judged last: follows its verdict */
    NS_WIRE_OPAQUE    /* not understood (or HTTP/2, or an upgrade): everything withheld and
                         everything from now on may leave, unseen */
};

enum ns_wire_opaque {
    NS_WIRE_CLEAR,
    NS_WIRE_HTTP2, /* connection preface of RFC 9113 */
    NS_WIRE_NOT_HTTP,
    NS_WIRE_MALFORMED,   /* HTTP/1.x that breaks its rules */
    NS_WIRE_TOO_LARGE,   /* a head, a chunk line or trailers past their bound */
    NS_WIRE_UPGRADED,    /* WebSocket, CONNECT, h2c */
    NS_WIRE_TOO_DEEP,    /* more pipelined requests than NS_EXCHANGES_MAX */
    NS_WIRE_OUT_OF_STEP, /* an answer without a request */
    NS_WIRE_NO_MEMORY,
    NS_WIRE_OPAQUE_COUNT
};

struct ns_wire_written {
    enum ns_wire_class class;
    struct ns_wire_call *call; /* CALL and REST: owned by the connection until it is released. REST:
                                  NULL once that has happened (its answer came early, or it was
                                  forgotten or substituted): the verdict still holds */
    bool message_end;          /* these bytes end a request */
    bool expects_continue;     /* WITHHOLD at the end of a head with Expect: 100-continue: the
                                  program may be waiting for a 100 before it sends the body */
};

enum ns_wire_read_event {
    NS_WIRE_READ_MORE,     /* all input consumed */
    NS_WIRE_READ_HEAD,     /* the head of the final answer to a call is complete, and a body
                              follows: without one the head's bytes tell END at once */
    NS_WIRE_READ_INTERIM,  /* these bytes were an interim answer (100, 103) and nothing else */
    NS_WIRE_READ_BOUNDARY, /* these bytes end an event of a stream: only while ns_wire_stop */
    NS_WIRE_READ_END /* these bytes end an answer; the next byte belongs to the next request */
};

struct ns_wire_read {
    enum ns_wire_read_event event;
    int status;
    struct ns_wire_call *call; /* END and HEAD: the call, or NULL where the request was none. After
                                  END it is the caller's: ns_wire_call_free */
    bool substitute;           /* END: it answered a request put in by ns_wire_substitute */
    size_t unread;             /* BOUNDARY: not consumed of what was looked at; internal */
    bool closes;               /* END: the server will close, or has closed, after this answer */
};

struct ns_wire;

/* --- hosts ------------------------------------------------------------------------------- */

/* The hosts that a process adds: NULLSPEND_PROVIDERS, "host[:port]=family,…". */
struct ns_wire_hosts {
    struct {
        char host[NS_HOST_BYTES_MAX + 1];
        uint16_t port; /* 0: any */
        const char *family;
    } extra[NS_EXTRA_HOSTS_MAX];
    uint8_t count;
};

/* Reads NULLSPEND_PROVIDERS. Returns 0, or -EINVAL and *bad_offset where the text is wrong (what
 * stands before it is kept), -E2BIG past NS_EXTRA_HOSTS_MAX. */
int ns_wire_hosts_parse(struct ns_wire_hosts *hosts, const char *text, size_t *bad_offset);

/* May this host (lower or upper case, no port) speak one of our families? The fast path out. */
bool ns_wire_host_known(const struct ns_wire_hosts *hosts, const char *host, size_t host_bytes);

/* --- a connection ------------------------------------------------------------------------ */

/* server_name is the SNI (may be NULL), in force until a Host header says otherwise; hosts must
 * outlive the connection. NULL without memory. */
struct ns_wire *ns_wire_new(const struct ns_wire_hosts *hosts, const char *server_name);
void ns_wire_free(struct ns_wire *wire); /* with all calls that it still owns */

/*
 * Classifies bytes that the program writes. Returns how many of them have the class in *written
 * (at least 1 where count > 0); call again with the rest. Every byte is classified once.
 * body_bytes_max: a call whose request is longer is judged after so many body bytes.
 */
size_t ns_wire_write(struct ns_wire *wire, const uint8_t *bytes, size_t count,
                     uint64_t body_bytes_max, struct ns_wire_written *written);

/* FREE and CALL: header lines of the current request that must not leave, ascending, disjoint. */
const struct ns_wire_range *ns_wire_strips(const struct ns_wire *wire, size_t *count);

/*
 * Makes the request judged last, which is withheld whole in *request, ask for the usage of its
 * stream (NULLSPEND_INJECT_USAGE), and takes the lines of ns_wire_strips out with the same pass.
 * Returns 0 and the new request in its place, its call marked usage_injected: from then on its
 * answer goes through an ns_http1_filter. -ENOENT: it cannot or need not ask; -ENOMEM. Then nothing
 * is changed.
 */
int ns_wire_ask_usage(struct ns_wire *wire, struct ns_wire_call *call, struct ns_bytes *request);

/*
 * After the first OPAQUE of ns_wire_write: the policy is to deny what cannot be judged. Where the
 * request that is being written is such (MALFORMED, TOO_LARGE, TOO_DEEP, NO_MEMORY, not a byte of
 * it has left, and its host is a provider's) this undoes that: answers that are outstanding are
 * read on, the request is one that was judged, in *call, for ns_wire_substitute, and all that is
 * still written is NS_WIRE_REST. Also after WITHHOLD, where the caller cannot keep the bytes.
 * Returns 0, -ENOENT it is not such a request, or -ENOMEM.
 */
int ns_wire_refuse(struct ns_wire *wire, struct ns_wire_call **call);

/* The call whose answer is being read or comes next; NULL: none, or it is no call's. Still the
 * connection's. */
const struct ns_wire_call *ns_wire_due(const struct ns_wire *wire);

/* The request judged last was not sent at all, and this stands in its place: the next answer but
 * those outstanding belongs to a request of ours (method HEAD or OPTIONS). The call is released
 * to the caller. */
void ns_wire_substitute(struct ns_wire *wire, struct ns_wire_call *call);

/* Another request of ours goes out behind it. False: there is no room for its answer. */
bool ns_wire_substitute_again(struct ns_wire *wire);

/* The request judged last will never be answered (it was dropped): forget that one is due. The
 * call is released to the caller; what still comes of its body is NS_WIRE_REST without a call. */
void ns_wire_forget(struct ns_wire *wire, struct ns_wire_call *call);

/* Reads bytes that arrived, up to the next event; returns how many. They may be handed on at once:
 * reading never changes or delays them. */
size_t ns_wire_read(struct ns_wire *wire, const uint8_t *bytes, size_t count,
                    struct ns_wire_read *read);

/* The peer closed its side: an answer read until close is complete. Call until MORE. */
enum ns_wire_read_event ns_wire_read_close(struct ns_wire *wire, struct ns_wire_read *read);

/* The connection is over: takes the oldest call still unanswered or half answered, or NULL. */
struct ns_wire_call *ns_wire_take(struct ns_wire *wire);

/* The call whose answer is being read, with the usage told so far, or NULL: for progress. Still the
 * connection's. */
const struct ns_wire_call *ns_wire_current(struct ns_wire *wire);

/* From here on ns_wire_read returns at the end of each event of the stream that is being read,
 * where it may be cut. */
void ns_wire_stop(struct ns_wire *wire);

/* Can the answer that is being read be cut: never (it is coded, or no stream), at the end of an
 * event, or just here? */
enum ns_wire_cut { NS_WIRE_CUT_NEVER, NS_WIRE_CUT_LATER, NS_WIRE_CUT_NOW };
enum ns_wire_cut ns_wire_may_cut(const struct ns_wire *wire);

/* Ends the body of the answer that is being read here, behind an event, with this text: appends to
 * out what completes the answer as HTTP/1.1. Nothing of it may be read afterwards. False, and
 * nothing appended: the framing leaves no place for it; or without memory. */
bool ns_wire_cut(const struct ns_wire *wire, const char *text, size_t count, struct ns_bytes *out);

/* The call in the midst of whose stream the reader is, between two chunks and two events of which
 * one is like the other, where no other request is under way. NULL: there is none. */
const struct ns_wire_call *ns_wire_going_on(struct ns_wire *wire);

/* More of that body, of whole chunks that were not read here; nothing else was since. */
void ns_wire_more_body(struct ns_wire *wire, const uint8_t *body, size_t count);

/* Answers that are outstanding, substitutes included; and whether the next one is a substitute's.
 */
size_t ns_wire_outstanding(const struct ns_wire *wire);
bool ns_wire_swallows(const struct ns_wire *wire);
bool ns_wire_is_opaque(const struct ns_wire *wire);
enum ns_wire_opaque ns_wire_opaque_reason(const struct ns_wire *wire);

void ns_wire_call_free(struct ns_wire_call *call);

/*
 * The evidence of what is known of a call, by what was seen of it (never by guess): REPORTED with
 * usage and a complete answer, PARTIAL with usage that is not final, COUNTED where only generated
 * text was seen, ESTIMATED where nothing was. A refusal (status >= 300, or an error in a stream
 * that had said nothing yet) is REPORTED too, with no usage: that it used nothing is what it says.
 */
enum ns_evidence ns_wire_evidence(const struct ns_wire_call *call);

/* --- denials ----------------------------------------------------------------------------- */

struct ns_wire_denial {
    const char *message;   /* "nullspend: budget …; request not sent": UTF-8, escaped here */
    const char *denial_id; /* UUID text */
    const char *reason;    /* word of enum ns_reason */
    const char *entity;    /* "customer:acme" */
    int status;            /* 0: the family's own choice for this reason */
    bool close;            /* say Connection: close */
};

/*
 * Writes the answer that a denied program reads, in the shape of its provider
 * (docs/denials.md has the table). Returns the bytes written, or -ENOSPC (2 KiB more than
 * twice the message always suffice: quotes are escaped). *status is the status chosen.
 */
int ns_wire_denial_write(const struct ns_wire_request *request, const struct ns_wire_denial *denial,
                         uint8_t *buffer, size_t buffer_bytes, int *status);

/*
 * Writes the end of a stream that is cut behind an event: an error as its family has it within
 * streams, and what ends its body (docs/denials.md has the table). No transfer coding. Returns the
 * bytes written, or -ENOSPC (the bound of ns_wire_denial_write holds).
 */
int ns_wire_cut_write(const struct ns_wire_call *call, const struct ns_wire_denial *denial,
                      char *buffer, size_t buffer_bytes);

/* The status that the family answers to a spent budget, where none is chosen. */
int ns_wire_denial_status(const struct ns_wire_request *request);

/* The request that stands in for a denied one: no credential, nothing of the program's. closes: the
 * server is to close behind its answer, as where the program wished that (request->closes) and may
 * read until then. Returns the bytes written or -ENOSPC. */
int ns_wire_substitute_write(const struct ns_wire_request *request, bool closes, char *buffer,
                             size_t buffer_bytes);

#endif
