/* SPDX-License-Identifier: Apache-2.0 */
/* One attempt of a delivery, by libcurl. */
#ifndef NS_COLLECTOR_NOTIFIER_SEND_H
#define NS_COLLECTOR_NOTIFIER_SEND_H

#include <curl/curl.h>

/* An attempt may take so long, from the name's look-up to the answer's last byte; its connection.
 */
#define NS_SEND_MS 30000
#define NS_SEND_CONNECT_MS 10000
/* What was taken so long ago and has no outcome was lost with its sender: more than NS_SEND_MS. */
#define NS_SEND_LOST_S 60
/* Of an answer so much is read, its head included; nobody needs more to say yes or no. */
#define NS_SEND_ANSWER_BYTES_MAX 65536

struct ns_delivery;
struct ns_delivery_result;
struct ns_transfer;

/* Adds an attempt to a curl multi handle. The delivery stays the caller's, and there until
 * ns_transfer_end. Returns the transfer, or NULL with the result filled in: it cannot be sent so.
 */
struct ns_transfer *ns_transfer_start(CURLM *multi, const struct ns_delivery *delivery,
                                      struct ns_delivery_result *result);

/* The transfer of an easy handle. */
struct ns_transfer *ns_transfer_of(CURL *easy);

/* Takes it out of its multi handle, says what became of it (result may be NULL), frees it. */
void ns_transfer_end(CURLM *multi, struct ns_transfer *transfer, CURLcode code,
                     struct ns_delivery_result *result);

/* The delivery that it sends. */
const struct ns_delivery *ns_transfer_delivery(const struct ns_transfer *transfer);

#endif
