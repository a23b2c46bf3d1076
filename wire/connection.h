/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of a connection. Its two sides share only the queue of exchanges: the writer's side
 * puts one at the end for every request that is judged, the reader's takes one from the front for
 * every answer.
 */
#ifndef NS_WIRE_CONNECTION_H
#define NS_WIRE_CONNECTION_H

#include "wire/answer.h"
#include "wire/http1.h"
#include "wire/request.h"
#include "wire/wire.h"

/* One more than may be outstanding: the substitute of the one that was too many. */
#define NS_EXCHANGES_ROOM (NS_EXCHANGES_MAX + 1)

/* A request that is due an answer. */
struct ns_exchange {
    struct ns_wire_call *call; /* NULL: no call, or a substitute */
    const struct ns_family *family;
    uint8_t quirks;
    bool substitute;
    bool head;    /* its method was HEAD */
    bool connect; /* its method was CONNECT */
};

/* What the next bytes of the writer's side are. */
enum ns_write_state {
    NS_WRITE_HEAD, /* between requests, or within a head */
    NS_WRITE_PASS, /* body of a request that is no call */
    NS_WRITE_BODY, /* body of a call that is not judged yet */
    NS_WRITE_REST, /* body of a call that was judged before its end */
    NS_WRITE_LOST  /* behind a request that was refused: where it ends is not known */
};

struct ns_wire {
    const struct ns_wire_hosts *hosts;
    char *server_name;
    enum ns_wire_opaque opaque;

    struct ns_http1 *writer;
    enum ns_write_state write_state;
    bool writer_gave_up;         /* and not the reader */
    uint8_t preface_matched;     /* bytes of the HTTP/2 preface that the connection began with */
    bool preface_possible;       /* and nothing else so far */
    struct ns_wire_call *draft;  /* the call whose request is being read */
    struct ns_wire_call *judged; /* the call judged last, while it is ours */
    struct ns_request request;

    struct ns_http1 *reader;
    bool stopping; /* NS_WIRE_READ_BOUNDARY is wanted */
    bool reading;  /* an answer's head is complete: the first exchange's */
    struct ns_answer answer;

    struct ns_exchange exchanges[NS_EXCHANGES_ROOM];
    uint32_t first;
    uint32_t count;
};

/* From here on nothing is understood any more. */
void ns_connection_give_up(struct ns_wire *wire, enum ns_wire_opaque reason);
void ns_connection_give_up_http1(struct ns_wire *wire, const struct ns_http1 *parser);

/* Puts an exchange at the end; false (and given up) where the queue is full. */
bool ns_connection_push(struct ns_wire *wire, struct ns_exchange exchange);

/* The same for a request that is refused, for which there is always room. */
void ns_connection_push_refused(struct ns_wire *wire, struct ns_wire_call *call);

/* Takes the first exchange off; there must be one. */
struct ns_exchange ns_connection_pop(struct ns_wire *wire);

#endif
