/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a request may cost, before it is sent.
 *
 * The bound: a token of text is at least one byte of it; attachments are at most what their family
 * makes of them, and never priced as the base64 text that they are sent as; the whole input fits
 * into the model's context window; the output ends at the request's cap or the model's own. Each is
 * priced by the dearest meter that can come of it, without discounts, at the dearer of the price
 * now and shortly after (an answer is priced when it begins). docs/pricing.md says what the bound
 * leaves out.
 */
#include <errno.h>
#include <string.h>

#include "pricing/attachments.h"
#include "pricing/catalogue.h"

/* Input that providers add and bill, and no byte of the request shows: the frame of a chat, the
 * system prompt for tools (Anthropic, "Tool use": up to 530 tokens; xAI's own: some 560). Without
 * tools that run at the provider, the most in over 500 recorded calls was 712. */
#define HIDDEN_INPUT_TOKENS 768
/* Where a model's context window is not in the catalogue. */
#define CONTEXT_WINDOW_DEFAULT 1048576
/* What `typical` takes an unseen history for: previous_response_id, file ids, cached content. */
#define TYPICAL_HISTORY_TOKENS 8192
/* An answer begins at most so long after its check; a daily price may have begun meanwhile. */
#define ANSWER_BEGINS_WITHIN_S 600

/* Tokens by kind; text includes documents. */
enum kind { AUDIO, VIDEO, IMAGE, TEXT, KIND_COUNT };

static const enum ns_meter input_meter[KIND_COUNT] = {
    [AUDIO] = NS_METER_INPUT_AUDIO,
    [VIDEO] = NS_METER_INPUT_VIDEO,
    [IMAGE] = NS_METER_INPUT_IMAGE,
    [TEXT] = NS_METER_INPUT,
};

static const enum ns_meter output_meters[] = {NS_METER_OUTPUT, NS_METER_OUTPUT_REASONING,
                                              NS_METER_OUTPUT_AUDIO, NS_METER_OUTPUT_IMAGE,
                                              NS_METER_OUTPUT_VIDEO};

struct view {
    const struct ns_price_model *model;
    const struct ns_price_set *set;
    const struct ns_price_terms *terms;
    uint64_t total_input_tokens;
    bool discounts;
};

static uint64_t
plus(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

static uint64_t
times(uint64_t a, uint64_t b)
{
    return a != 0 && b > UINT64_MAX / a ? UINT64_MAX : a * b;
}

static uint64_t
least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t
ns_price_tokens_of_text(uint64_t text_bytes)
{
    return ns_text_tokens(text_bytes);
}

/* --- input ------------------------------------------------------------------------------------ */

static uint64_t
attachment_bound(const struct ns_price_attachment *kind, uint32_t count, uint64_t inline_bytes)
{
    uint64_t most = times(count, kind->tokens_max);
    if (count == 0 || inline_bytes == 0 || kind->bytes_per_token == 0) {
        return most;
    }
    /* The size is that of all inline attachments together, so it bounds each kind of them. */
    return least(most, plus(inline_bytes / kind->bytes_per_token, count));
}

static uint64_t
attachment_likely(const struct ns_price_attachment *kind, uint32_t count, uint64_t inline_bytes)
{
    uint64_t most = times(count, kind->tokens_max);
    if (count == 0 || inline_bytes == 0 || kind->bytes_per_token_likely == 0) {
        return times(count, kind->tokens_likely);
    }
    return least(most, plus(inline_bytes / kind->bytes_per_token_likely, 1));
}

/* The input can not exceed the window: the cheapest kind (the last) gives way. Returns the sum. */
static uint64_t
fit(uint64_t tokens[KIND_COUNT], uint64_t window)
{
    uint64_t room = window;
    for (int kind = 0; kind < KIND_COUNT; kind++) {
        tokens[kind] = least(tokens[kind], room);
        room -= tokens[kind];
    }
    return window - room;
}

static uint64_t
window_of(const struct ns_price_model *model)
{
    return model->context_window == 0 ? CONTEXT_WINDOW_DEFAULT : model->context_window;
}

static uint64_t
input_bound(const struct ns_price_model *model, const struct ns_price_request *request,
            uint64_t history_tokens, uint64_t tokens[KIND_COUNT])
{
    const struct ns_price_attachments *of = ns_price_attachments_of(request->family, model->id);
    uint64_t bytes = request->attachment_bytes;
    tokens[AUDIO] = attachment_bound(&of->audio, request->audios, bytes);
    tokens[VIDEO] = attachment_bound(&of->video, request->videos, bytes);
    tokens[IMAGE] = attachment_bound(&of->image, request->images, bytes);
    tokens[TEXT] = plus(request->text_bytes, HIDDEN_INPUT_TOKENS);
    tokens[TEXT] = plus(tokens[TEXT], attachment_bound(&of->file, request->files, bytes));
    if (request->history_elsewhere) {
        tokens[TEXT] = plus(tokens[TEXT], history_tokens);
    }
    return fit(tokens, model->context_window == 0 && !request->history_elsewhere
                           ? UINT64_MAX
                           : window_of(model));
}

static uint64_t
input_likely(const struct ns_price_model *model, const struct ns_price_request *request,
             uint64_t tokens[KIND_COUNT])
{
    const struct ns_price_attachments *of = ns_price_attachments_of(request->family, model->id);
    uint64_t bytes = request->attachment_bytes;
    tokens[AUDIO] = attachment_likely(&of->audio, request->audios, bytes);
    tokens[VIDEO] = attachment_likely(&of->video, request->videos, bytes);
    tokens[IMAGE] = attachment_likely(&of->image, request->images, bytes);
    tokens[TEXT] = plus(ns_price_tokens_of_text(request->text_bytes),
                        attachment_likely(&of->file, request->files, bytes));
    return fit(tokens, window_of(model));
}

/* --- prices ----------------------------------------------------------------------------------- */

/* Is b dearer than a, for the same number of tokens? What has no price is dearer than nothing. */
static bool
dearer(const struct view *view, enum ns_meter a, enum ns_meter b)
{
    struct ns_price_sum sums[2] = {{.unit = view->model->catalogue->unit},
                                   {.unit = view->model->catalogue->unit}};
    const enum ns_meter meters[2] = {a, b};
    for (int i = 0; i < 2; i++) {
        if (ns_price_add(&sums[i], view->model, view->set, view->terms, view->discounts, meters[i],
                         1000000, view->total_input_tokens) != 0) {
            return i == 0;
        }
    }
    return sums[1].pusd > sums[0].pusd;
}

static enum ns_meter
dearest_of(const struct view *view, const enum ns_meter *meters, size_t count)
{
    enum ns_meter found = meters[0];
    for (size_t i = 1; i < count; i++) {
        if (dearer(view, found, meters[i])) {
            found = meters[i];
        }
    }
    return found;
}

/* What text input can be billed as. Anthropic writes a cache only when it is asked to; others
 * (OpenAI from gpt-5.6 on) by themselves. */
static enum ns_meter
text_meter(const struct view *view, const struct ns_price_request *request)
{
    const enum ns_meter meters[] = {NS_METER_INPUT, NS_METER_CACHE_WRITE, NS_METER_CACHE_WRITE_1H};
    bool asks = request->family != NULL && strcmp(request->family, "anthropic") == 0;
    return dearest_of(view, meters, request->cache_write ? 3 : asks ? 1 : 2);
}

static int
add_input(struct ns_price_sum *sum, const struct view *view, const uint64_t tokens[KIND_COUNT],
          enum ns_meter text)
{
    for (int kind = 0; kind < KIND_COUNT; kind++) {
        enum ns_meter meter = input_meter[kind];
        meter = kind == TEXT || dearer(view, meter, text) ? text : meter;
        if (ns_price_add(sum, view->model, view->set, view->terms, view->discounts, meter,
                         tokens[kind], view->total_input_tokens) != 0) {
            return -ENOENT;
        }
    }
    return 0;
}

/* Input, output and the fee for the call itself, at the price of at_unix_s; rounded, saturated. */
static int
price_all(const struct ns_price_model *model, const struct ns_price_terms *terms,
          const struct ns_price_request *request, const uint64_t tokens[KIND_COUNT],
          uint64_t total_input_tokens, uint64_t output_tokens, int64_t at_unix_s, int64_t *nanousd)
{
    const struct view view = {
        .model = model,
        .set = ns_price_set_at(model, at_unix_s),
        .terms = terms,
        .total_input_tokens = total_input_tokens,
    };
    struct ns_price_sum sum = {.unit = model->catalogue->unit};
    if (add_input(&sum, &view, tokens, text_meter(&view, request)) != 0) {
        return -ENOENT;
    }
    enum ns_meter output =
        dearest_of(&view, output_meters, sizeof(output_meters) / sizeof(output_meters[0]));
    /* A model without a price for output (embeddings) has none. */
    (void)ns_price_add(&sum, model, view.set, terms, false, output, output_tokens,
                       total_input_tokens);
    (void)ns_price_add(&sum, model, view.set, terms, false, NS_METER_REQUESTS, 1,
                       total_input_tokens);
    if (ns_price_sum_nanousd(&sum, nanousd) != 0) {
        *nanousd = INT64_MAX;
    }
    return 0;
}

/* The dearer of now and shortly after. */
static int
price_most(const struct ns_price_model *model, const struct ns_price_terms *terms,
           const struct ns_price_request *request, const uint64_t tokens[KIND_COUNT],
           uint64_t total_input_tokens, uint64_t output_tokens, int64_t *nanousd)
{
    int64_t soon_s = terms->at_unix_s;
    soon_s = soon_s > INT64_MAX - ANSWER_BEGINS_WITHIN_S ? soon_s : soon_s + ANSWER_BEGINS_WITHIN_S;
    int64_t soon_nanousd = 0;
    int status = price_all(model, terms, request, tokens, total_input_tokens, output_tokens,
                           terms->at_unix_s, nanousd);
    if (status == 0 && ns_price_set_at(model, soon_s) != ns_price_set_at(model, terms->at_unix_s)) {
        status = price_all(model, terms, request, tokens, total_input_tokens, output_tokens, soon_s,
                           &soon_nanousd);
        *nanousd = soon_nanousd > *nanousd ? soon_nanousd : *nanousd;
    }
    return status;
}

static int
price_likely_input(const struct ns_price_model *model, const struct ns_price_terms *terms,
                   const uint64_t tokens[KIND_COUNT], uint64_t total, int64_t *nanousd)
{
    const struct view view = {model, ns_price_set_at(model, terms->at_unix_s), terms, total, true};
    struct ns_price_sum sum = {.unit = model->catalogue->unit};
    for (int kind = 0; kind < KIND_COUNT; kind++) {
        if (ns_price_add(&sum, model, view.set, terms, true, input_meter[kind], tokens[kind],
                         total) != 0) {
            return -ENOENT;
        }
    }
    if (ns_price_sum_nanousd(&sum, nanousd) != 0) {
        *nanousd = INT64_MAX;
    }
    return 0;
}

/* --- the estimate ----------------------------------------------------------------------------- */

int
ns_price_estimate(const struct ns_price_model *model, const struct ns_price_terms *terms,
                  const struct ns_price_request *request, uint64_t typical_output_tokens,
                  struct ns_price_estimate *estimate)
{
    uint64_t likely[KIND_COUNT] = {0}, bound[KIND_COUNT] = {0}, typical[KIND_COUNT] = {0};
    uint64_t choices = request->choices == 0 ? 1 : request->choices;
    bool answers = request->operation == NULL || strcmp(request->operation, "embeddings") != 0;
    *estimate = (struct ns_price_estimate){0};

    estimate->input_tokens_likely = input_likely(model, request, likely);
    uint64_t bound_total = input_bound(model, request, UINT64_MAX, bound);
    uint64_t typical_total = input_bound(model, request, TYPICAL_HISTORY_TOKENS, typical);

    uint64_t each = request->output_tokens_max == 0
                        ? model->output_max
                        : least(request->output_tokens_max, model->output_max);
    uint64_t usual = typical_output_tokens == 0 ? NS_TYPICAL_OUTPUT_TOKENS : typical_output_tokens;
    usual = request->output_tokens_max == 0 ? least(usual, each) : each;
    estimate->output_tokens_bound = answers ? times(each, choices) : 0;

    if (model->free) {
        return 0;
    }
    int status = price_likely_input(model, terms, likely, estimate->input_tokens_likely,
                                    &estimate->input_nanousd);
    if (status == 0) {
        status = price_most(model, terms, request, bound, bound_total,
                            estimate->output_tokens_bound, &estimate->bound_nanousd);
    }
    if (status == 0) {
        status = price_most(model, terms, request, typical, typical_total,
                            answers ? times(usual, choices) : 0, &estimate->typical_nanousd);
    }
    return status == -ENOENT && model->set_count > 0 ? -EDOM : status;
}
