/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/denial.h"

#include "base/mem.h"
#include "base/uuid.h"
#include "base/words.h"

/* Where the collector gave no words of its own. */
static const char plain_message[] =
    "nullspend: the budget does not allow this call; request not sent";

static const char plain_cut[] =
    "nullspend: the budget does not allow more of this answer; it ends here";

/* Head, body and escapes of a denial beside its message (wire.h). */
#define DENIAL_BYTES_MAX (2048 + 6 * NS_VERDICT_MESSAGE_BYTES_MAX + NS_VERDICT_ENTITY_BYTES_MAX)

/* What is written is in memory of its own: a thread's stack may be too small for it. */
static uint8_t *
keep(uint8_t *text, int written, size_t *bytes)
{
    if (written <= 0) {
        ns_mem_free(text);
        return NULL;
    }
    *bytes = (size_t)written;
    return text;
}

static struct ns_wire_denial
denial_of(const struct ns_gate_verdict *verdict, const char *otherwise,
          char id[static NS_UUID_TEXT_BYTES])
{
    ns_uuid_format(&verdict->denial_id, id);
    return (struct ns_wire_denial){
        .message = verdict->message[0] != '\0' ? verdict->message : otherwise,
        .denial_id = id,
        .reason = ns_reason_name((int)verdict->reason),
        .entity = verdict->entity,
        .status = verdict->http_status,
    };
}

uint8_t *
ns_denial_write(const struct ns_wire_request *request, const struct ns_gate_verdict *verdict,
                bool closes, size_t *bytes)
{
    char id[NS_UUID_TEXT_BYTES];
    struct ns_wire_denial told = denial_of(verdict, plain_message, id);
    told.close = closes || request->closes;
    uint8_t *text = ns_mem_alloc(DENIAL_BYTES_MAX);
    int status = 0;
    int written =
        text == NULL ? 0 : ns_wire_denial_write(request, &told, text, DENIAL_BYTES_MAX, &status);
    return keep(text, written, bytes);
}

uint8_t *
ns_denial_cut_write(const struct ns_wire_call *call, const struct ns_gate_verdict *verdict,
                    size_t *bytes)
{
    char id[NS_UUID_TEXT_BYTES];
    struct ns_wire_denial told = denial_of(verdict, plain_cut, id);
    uint8_t *text = ns_mem_alloc(DENIAL_BYTES_MAX);
    int written = text == NULL ? 0 : ns_wire_cut_write(call, &told, (char *)text, DENIAL_BYTES_MAX);
    return keep(text, written, bytes);
}
