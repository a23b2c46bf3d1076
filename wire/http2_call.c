/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/http2_call.h"

#include <errno.h>

#include "base/mem.h"
#include "wire/answer.h"
#include "wire/request.h"

struct ns_http2_call {
    struct ns_wire_call *call;
    struct ns_request request;
    struct ns_answer answer;
    bool answered;
};

int
ns_http2_call_new(const struct ns_wire_hosts *hosts, const char *server_name,
                  const struct ns_http1 *head, struct ns_http2_call **call)
{
    struct ns_http2_call *made = ns_mem_alloc(sizeof(*made));
    int error = -ENOMEM;
    *call = NULL;
    if (made != NULL) {
        made->call = ns_mem_alloc(sizeof(*made->call));
    }
    if (made != NULL && made->call != NULL) {
        error = ns_request_head(&made->request, head, hosts, server_name, made->call);
    }
    if (error != 0 || made->request.family == NULL) {
        ns_http2_call_free(made);
        return error;
    }
    *call = made;
    return 0;
}

void
ns_http2_call_free(struct ns_http2_call *call)
{
    if (call != NULL) {
        ns_request_free(&call->request);
        ns_answer_free(&call->answer);
        ns_wire_call_free(call->call);
    }
    ns_mem_free(call);
}

void
ns_http2_call_request(struct ns_http2_call *call, const uint8_t *bytes, size_t count)
{
    ns_request_body(&call->request, bytes, count);
}

bool
ns_http2_call_is_askable(const struct ns_http2_call *call)
{
    return call->request.askable;
}

int
ns_http2_call_ask_usage(struct ns_http2_call *call, struct ns_bytes *body)
{
    struct ns_usage_edit edit;
    const uint8_t *bytes = ns_bytes_front(body);
    size_t count = ns_bytes_count(body);
    if (!ns_request_usage_edit(&call->request, &edit) || edit.offset + edit.removed > count) {
        return -ENOENT;
    }
    struct ns_bytes edited = {0};
    size_t after = (size_t)edit.offset + edit.removed;
    if (!ns_bytes_append(&edited, bytes, (size_t)edit.offset) ||
        !ns_bytes_append(&edited, edit.text, edit.text_bytes) ||
        !ns_bytes_append(&edited, bytes + after, count - after)) {
        ns_bytes_free(&edited);
        return -ENOMEM;
    }
    ns_bytes_free(body);
    *body = edited;
    call->call->request.usage_injected = true;
    return 0;
}

uint64_t
ns_http2_call_request_bytes(const struct ns_http2_call *call)
{
    return call->request.sent_bytes;
}

struct ns_wire_call *
ns_http2_call_facts(struct ns_http2_call *call, bool complete)
{
    ns_request_finish(&call->request, complete);
    return call->call;
}

void
ns_http2_call_answer(struct ns_http2_call *call, const struct ns_http1 *head)
{
    if (!call->answered) {
        call->answered = true;
        ns_answer_begin(&call->answer, head, call->request.family, call->request.quirks,
                        call->call);
    }
}

void
ns_http2_call_answer_body(struct ns_http2_call *call, const uint8_t *bytes, size_t count)
{
    if (call->answered) {
        ns_answer_body(&call->answer, bytes, count);
    }
}

bool
ns_http2_call_may_cut(const struct ns_http2_call *call, bool *now)
{
    *now = false;
    return call->answered && ns_answer_may_cut(&call->answer, now);
}

size_t
ns_http2_call_answer_event(struct ns_http2_call *call, const uint8_t *bytes, size_t count,
                           bool *boundary)
{
    return ns_answer_event(&call->answer, bytes, count, boundary);
}

bool
ns_http2_call_repeats(const struct ns_http2_call *call)
{
    return call->answered && ns_answer_repeats(&call->answer);
}

const struct ns_wire_call *
ns_http2_call_current(struct ns_http2_call *call)
{
    return call->answered ? ns_answer_current(&call->answer) : NULL;
}

struct ns_wire_call *
ns_http2_call_take(struct ns_http2_call *call, bool complete)
{
    if (call->answered) {
        ns_answer_end(&call->answer, complete);
    }
    struct ns_wire_call *taken = call->call;
    call->call = NULL;
    ns_http2_call_free(call);
    return taken;
}

struct ns_wire_call *
ns_http2_call_of(const struct ns_http2_call *call)
{
    return call->call;
}
