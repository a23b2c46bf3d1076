/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes to the JSON reader, and every number that it finds to the exact conversions. */
#include "tests/fuzz/splits.h"
#include "wire/json.h"

static void
check_number(const struct ns_json_input *input)
{
    char text[NS_JSON_TEXT_BYTES_MAX + 1];
    uint64_t value;
    int64_t nano;
    if (input->cut || input->text == NULL) {
        return;
    }
    memcpy(text, input->text, input->text_bytes);
    text[input->text_bytes] = '\0';
    int rc = ns_json_u64(text, input->text_bytes, &value);
    bool digits = strspn(text, "0123456789") == input->text_bytes;
    if (digits && input->text_bytes < 20) {
        FUZZ_REQUIRE(rc == 0 && value == strtoull(text, NULL, 10));
    }
    int nano_rc = ns_json_nano(text, input->text_bytes, &nano);
    if (rc == 0 && value <= INT64_MAX / 1000000000) {
        FUZZ_REQUIRE(nano_rc == 0 && nano == (int64_t)value * 1000000000);
    }
}

static void
hear(struct heard *heard, const struct ns_json_input *input, uint32_t *depth)
{
    hear_event(heard, (int)input->event, input->depth);
    if (input->event == NS_JSON_OBJECT_BEGIN || input->event == NS_JSON_ARRAY_BEGIN) {
        ++*depth;
    }
    if (input->event != NS_JSON_ERROR) {
        FUZZ_REQUIRE(input->depth == *depth && *depth <= NS_JSON_DEPTH_MAX);
    }
    if (input->event == NS_JSON_OBJECT_END || input->event == NS_JSON_ARRAY_END) {
        --*depth;
    }
    if (input->text != NULL) {
        size_t bound = input->event == NS_JSON_KEY ? NS_JSON_KEY_BYTES_MAX : NS_JSON_TEXT_BYTES_MAX;
        FUZZ_REQUIRE(input->text_bytes <= bound);
        FUZZ_REQUIRE(input->cut == (input->text_bytes_total > input->text_bytes));
        hear_event(heard, input->cut, input->text_bytes_total);
        hear_bytes(heard, input->text, input->text_bytes);
    }
    if (input->event == NS_JSON_NUMBER) {
        check_number(input);
    }
}

static struct heard
listen(enum split split, const uint8_t *data, size_t count)
{
    struct fuzz_pieces pieces = fuzz_pieces(split, data, count);
    struct ns_json *json = ns_json_new();
    struct ns_json_input input = {.event = NS_JSON_MORE};
    struct heard heard = {.hash = 1};
    uint32_t depth = 0;
    const uint8_t *bytes;
    size_t left;
    FUZZ_REQUIRE(json != NULL);
    while (input.event != NS_JSON_ERROR && fuzz_next(&pieces, &bytes, &left)) {
        do {
            size_t taken = ns_json_feed(json, bytes, left, &input);
            FUZZ_REQUIRE(taken <= left);
            bytes += taken;
            left -= taken;
            if (input.event != NS_JSON_MORE) {
                hear(&heard, &input, &depth);
            }
        } while (input.event != NS_JSON_MORE && input.event != NS_JSON_ERROR);
        FUZZ_REQUIRE(left == 0 || input.event == NS_JSON_ERROR);
    }
    while (input.event != NS_JSON_ERROR && ns_json_close(json, &input) != NS_JSON_MORE) {
        hear(&heard, &input, &depth);
    }
    hear_event(&heard, 0, ns_json_bad_utf8(json));
    ns_json_free(json);
    fuzz_done(&pieces);
    return heard;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t count)
{
    struct heard whole = listen(SPLIT_WHOLE, data, count);
    FUZZ_REQUIRE(whole.hash == listen(SPLIT_BYTES, data, count).hash);
    FUZZ_REQUIRE(whole.hash == listen(SPLIT_RANDOM, data, count).hash);
    /* The conversions judge texts of their own. */
    uint64_t value;
    int64_t nano;
    (void)ns_json_u64((const char *)data, count, &value);
    (void)ns_json_nano((const char *)data, count, &nano);
    return 0;
}
