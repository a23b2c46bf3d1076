/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as each of the short texts that people and programs hand over: amounts, ids, entities,
 * spans of time, addresses. What is taken must be written back as the same thing. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/money.h"
#include "base/uuid.h"
#include "cli/cli.h"
#include "collector/ledger.h"
#include "protocol/endpoint.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
expect(bool holds)
{
    if (!holds) {
        abort();
    }
}

static void
read_money(const char *text, size_t bytes)
{
    int64_t nanousd = 0;
    if (ns_money_parse(text, bytes, &nanousd) != 0) {
        return;
    }
    char written[NS_MONEY_TEXT_BYTES];
    int64_t again = ~nanousd;
    size_t count = ns_money_format(nanousd, written);
    expect(ns_money_parse(written, count, &again) == 0 && again == nanousd);
    count = ns_money_format_short(nanousd, written);
    expect(ns_money_parse(written, count, &again) == 0 && again == nanousd);
}

static void
read_uuid(const char *text, size_t bytes)
{
    struct ns_uuid uuid, again;
    if (ns_uuid_parse(text, bytes, &uuid) != 0) {
        return;
    }
    char written[NS_UUID_TEXT_BYTES];
    ns_uuid_format(&uuid, written);
    expect(ns_uuid_parse(written, NS_UUID_TEXT_BYTES - 1, &again) == 0 &&
           ns_uuid_equal(&uuid, &again));
}

static void
read_entity(const char *text, size_t bytes)
{
    const char *why = NULL;
    if (ns_entity_check(text, bytes, &why) != 0) {
        expect(why != NULL && why[0] != '\0');
    } else {
        expect(bytes > 0 && bytes <= NS_ENTITY_BYTES_MAX && memchr(text, '\0', bytes) == NULL);
    }
}

static void
read_span(const char *text)
{
    int64_t seconds = 0;
    expect(ns_span_parse(text, &seconds) != 0 || seconds > 0);
}

static void
read_endpoint(const char *text)
{
    struct ns_endpoint endpoint;
    expect(ns_endpoint_parse(text, &endpoint) != 0 ||
           (endpoint.address_bytes > sizeof(sa_family_t) &&
            endpoint.address_bytes <= sizeof endpoint.address));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    if (text == NULL) {
        return 0;
    }
    memcpy(text, data, size);
    text[size] = '\0';
    read_money(text, size);
    read_uuid(text, size);
    read_entity(text, size);
    read_span(text);
    read_endpoint(text);
    free(text);
    return 0;
}
