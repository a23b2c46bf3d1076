/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/denial.h"

#include "base/uuid.h"
#include "base/words.h"

/* Where the collector gave no words of its own. */
static const char plain_message[] =
    "nullspend: the budget does not allow this call; request not sent";

size_t
ns_denial_write(const struct ns_wire_request *request, const struct ns_gate_verdict *verdict,
                bool closes, uint8_t text[static NS_DENIAL_BYTES_MAX])
{
    char id[NS_UUID_TEXT_BYTES];
    ns_uuid_format(&verdict->denial_id, id);
    struct ns_wire_denial told = {
        .message = verdict->message[0] != '\0' ? verdict->message : plain_message,
        .denial_id = id,
        .reason = ns_reason_name((int)verdict->reason),
        .entity = verdict->entity,
        .status = verdict->http_status,
        .close = closes || request->closes,
    };
    int status = 0;
    int bytes = ns_wire_denial_write(request, &told, text, NS_DENIAL_BYTES_MAX, &status);
    return bytes > 0 ? (size_t)bytes : 0;
}
