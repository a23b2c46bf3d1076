/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/price.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/money.h"
#include "collector/buffer.h"
#include "collector/limits.h"
#include "collector/service.h"

#define NANO INT64_C(1000000000)
/* Rows found before, by provider and model: finding one anew means matching patterns. */
#define FOUND_PLACES 2048
/* Models without a price that the log names, until other prices come: strangers name models. */
#define WARNED_MAX 100

struct found {
    uint8_t digest[16];
    bool used;
    const struct ns_price_model *model; /* NULL: no row */
};

struct ns_prices {
    struct ns_catalogue *catalogue;
    enum ns_unknown_model unknown;
    uint64_t refused;
    uint32_t warned;
    uint8_t key[16]; /* of digests: models are named by strangers */
    struct found found[FOUND_PLACES];
    char file[4096]; /* "": none */
};

/* --- the catalogue ---------------------------------------------------------------------------- */

/* Returns 0 with *text from malloc, or a negative errno and in *why what it means here. */
static int
read_file(const char *path, char **text, size_t *bytes, const char **why)
{
    *why = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe must not stop the daemon */
    if (fd < 0) {
        return -errno;
    }
    struct stat status;
    int error = fstat(fd, &status) != 0 ? -errno : 0;
    if (error == 0 && !S_ISREG(status.st_mode)) {
        *why = "not a regular file";
        error = -EINVAL;
    } else if (error == 0 && status.st_size > (off_t)NS_PRICES_BYTES_MAX) {
        *why = "larger than 16 MiB";
        error = -EFBIG;
    }
    char *all = error == 0 ? malloc((size_t)status.st_size + 1) : NULL;
    error = error == 0 && all == NULL ? -ENOMEM : error;
    size_t got = 0;
    while (error == 0 && got < (size_t)status.st_size) {
        ssize_t n = read(fd, all + got, (size_t)status.st_size - got);
        if (n == 0) {
            break; /* cut off meanwhile: the checksum tells */
        }
        error = n < 0 ? -errno : 0;
        got += n > 0 ? (size_t)n : 0;
    }
    close(fd);
    if (error != 0) {
        free(all);
        return error;
    }
    all[got] = '\0';
    *text = all;
    *bytes = got;
    return 0;
}

static void
take_catalogue(struct ns_prices *prices, struct ns_catalogue *catalogue)
{
    ns_catalogue_free(prices->catalogue);
    prices->catalogue = catalogue;
    memset(prices->found, 0, sizeof prices->found);
    prices->warned = 0;
}

int
ns_prices_reload(struct ns_prices *prices, char error[static NS_PRICES_ERROR_BYTES])
{
    error[0] = '\0';
    char *text = NULL;
    size_t bytes = 0;
    if (prices->file[0] == '\0') {
        return 0;
    }
    const char *why = NULL;
    int result = read_file(prices->file, &text, &bytes, &why);
    if (result == -ENOENT) {
        return 0;
    }
    char wrong[NS_CATALOGUE_ERROR_BYTES] = "";
    struct ns_catalogue *catalogue = NULL;
    if (result == 0) {
        result = ns_catalogue_load(text, bytes, &catalogue, wrong);
        why = wrong;
        free(text);
    }
    if (result != 0) {
        prices->refused++;
        snprintf(error, NS_PRICES_ERROR_BYTES, "%.200s: %s; the prices in force stay", prices->file,
                 why != NULL ? why : strerror(-result));
        return result;
    }
    take_catalogue(prices, catalogue);
    return 1;
}

int
ns_prices_open(const char *file, enum ns_unknown_model unknown, struct ns_prices **prices,
               char error[static NS_PRICES_ERROR_BYTES])
{
    error[0] = '\0';
    struct ns_prices *opened = calloc(1, sizeof *opened);
    if (opened == NULL) {
        return -ENOMEM;
    }
    opened->unknown = unknown;
    if (getrandom(opened->key, sizeof opened->key, GRND_NONBLOCK) < 0) {
        memcpy(opened->key, "prices of models", 16); /* before the kernel has any */
    }
    snprintf(opened->file, sizeof opened->file, "%s", file != NULL ? file : "");
    char why[NS_CATALOGUE_ERROR_BYTES] = "";
    int result = ns_catalogue_load(ns_catalogue_builtin, ns_catalogue_builtin_bytes,
                                   &opened->catalogue, why);
    if (result != 0) {
        snprintf(error, NS_PRICES_ERROR_BYTES, "the built-in prices: %s", why);
        free(opened);
        return result;
    }
    ns_prices_reload(opened, error);
    *prices = opened;
    return 0;
}

void
ns_prices_free(struct ns_prices *prices)
{
    if (prices != NULL) {
        ns_catalogue_free(prices->catalogue);
        free(prices);
    }
}

const char *
ns_prices_version(const struct ns_prices *prices)
{
    return ns_catalogue_version(prices->catalogue);
}

uint64_t
ns_prices_refused(const struct ns_prices *prices)
{
    return prices->refused;
}

/* For people, once a model: its calls have no cost, or not their own. */
static void
warn_unpriced(struct ns_prices *prices, const char *provider, const char *model)
{
    if (prices->warned < WARNED_MAX) {
        prices->warned++;
        ns_log("no price for model %.100s of %.100s: its calls are %s", model, provider,
               prices->unknown == NS_UNKNOWN_MODEL_DENY ? "denied"
               : prices->unknown == NS_UNKNOWN_MODEL_DEAREST
                   ? "charged as the dearest model's"
                   : "unpriced, but for what the provider bills itself");
    }
}

/* Behind a router ("huggingface") stands another provider ("huggingface_nebius"). */
static struct ns_text
provider_of(const struct ns_check *call, char room[static 257])
{
    if (call->upstream.bytes == 0) {
        return call->provider;
    }
    snprintf(room, 257, "%.*s_%.*s", (int)call->provider.bytes, call->provider.text,
             (int)call->upstream.bytes, call->upstream.text);
    return ns_text_of(room);
}

/* A model may be asked for as "model:upstream". */
static struct ns_text
model_of(const struct ns_check *call, struct ns_text model)
{
    uint32_t tail = call->upstream.bytes + 1;
    if (tail > 1 && model.bytes > tail && model.text[model.bytes - tail] == ':' &&
        memcmp(model.text + model.bytes - tail + 1, call->upstream.text, tail - 1) == 0) {
        model.bytes -= tail;
    }
    return model;
}

/* The row of a model, remembered. */
static const struct ns_price_model *
find(struct ns_prices *prices, const struct ns_check *call, struct ns_text named)
{
    char room[257];
    struct ns_text provider = provider_of(call, room);
    struct ns_text model = model_of(call, named);
    char name[2 * 257];
    ns_text_copy(provider, name, 257);
    ns_text_copy(model, name + 257, 257);
    size_t provider_bytes = strlen(name);
    size_t model_bytes = strlen(name + 257);
    uint8_t key[2 * 257];
    memcpy(key, name, provider_bytes + 1);
    memcpy(key + provider_bytes + 1, name + 257, model_bytes);
    uint8_t digest[16];
    ns_siphash128(prices->key, key, provider_bytes + 1 + model_bytes, digest);
    struct found *found = &prices->found[(digest[0] | digest[1] << 8) % FOUND_PLACES];
    if (!found->used || memcmp(found->digest, digest, sizeof digest) != 0) {
        found->used = true;
        memcpy(found->digest, digest, sizeof digest);
        found->model =
            model_bytes == 0 ? NULL : ns_catalogue_find(prices->catalogue, name, name + 257);
        if (found->model == NULL && model_bytes > 0) {
            warn_unpriced(prices, name, name + 257);
        }
    }
    return found->model;
}

static const struct ns_price_model *
find_dearest(const struct ns_prices *prices, const struct ns_check *call, int64_t at_unix_s)
{
    char name[257];
    const struct ns_price_model *model = ns_catalogue_dearest(
        prices->catalogue, ns_text_copy(call->provider, name, sizeof name), at_unix_s);
    return model != NULL
               ? model
               : ns_catalogue_dearest(prices->catalogue,
                                      ns_text_copy(call->family, name, sizeof name), at_unix_s);
}

/* --- before the call -------------------------------------------------------------------------- */

/* Terms and their strings. */
struct terms {
    struct ns_price_terms terms;
    char tier[33], speed[33], region[33], host[257];
};

static const struct ns_price_terms *
terms_of_check(const struct ns_check *check, int64_t at_ns, struct terms *terms)
{
    terms->terms = (struct ns_price_terms){
        .at_unix_s = at_ns / NANO,
        .service_tier = ns_text_copy(check->requested_tier, terms->tier, sizeof terms->tier),
        .speed = ns_text_copy(check->requested_speed, terms->speed, sizeof terms->speed),
        .region = ns_text_copy(check->requested_region, terms->region, sizeof terms->region),
        .host = ns_text_copy(check->host, terms->host, sizeof terms->host),
    };
    return &terms->terms;
}

static const struct ns_price_terms *
terms_of_report(const struct ns_report *report, struct terms *terms)
{
    terms->terms = (struct ns_price_terms){
        .at_unix_s =
            report->response_date_s != 0 ? report->response_date_s : report->ended_at_ns / NANO,
        .service_tier = ns_text_copy(report->service_tier, terms->tier, sizeof terms->tier),
        .speed = ns_text_copy(report->speed, terms->speed, sizeof terms->speed),
        .region = ns_text_copy(report->region, terms->region, sizeof terms->region),
        .host = ns_text_copy(report->host, terms->host, sizeof terms->host),
    };
    return &terms->terms;
}

/* Returns as ns_price_estimate; -ENOENT where there is no row. */
static int
estimate(const struct ns_price_model *model, const struct ns_check *check,
         const struct ns_price_terms *terms, uint64_t typical, struct ns_price_estimate *result)
{
    char family[33];
    char operation[33];
    struct ns_price_request request = {
        .text_bytes = check->text_bytes,
        .images = check->images,
        .audios = check->audios,
        .videos = check->videos,
        .files = check->files,
        .attachment_bytes = check->attachment_bytes,
        .output_tokens_max = check->output_tokens_max,
        .choices = check->choices > 0 ? check->choices : 1,
        .cache_write = check->cache_write,
        .history_elsewhere = check->history_elsewhere,
        .family = ns_text_copy(check->family, family, sizeof family),
        .operation = ns_text_copy(check->operation, operation, sizeof operation),
    };
    *result = (struct ns_price_estimate){0};
    return model == NULL ? -ENOENT : ns_price_estimate(model, terms, &request, typical, result);
}

void
ns_prices_quote(struct ns_prices *prices, const struct ns_message *message,
                uint64_t typical_output_tokens, int64_t now_ns, struct ns_quote *quote)
{
    /* REPORT begins with the same fields as CHECK, so either is read as one. */
    const struct ns_check *check = &message->as.check;
    struct terms terms;
    const struct ns_price_terms *at = terms_of_check(check, now_ns, &terms);
    const struct ns_price_model *model = find(prices, check, check->requested_model);
    *quote = (struct ns_quote){0};
    int error = estimate(model, check, at, typical_output_tokens, &quote->estimate);
    quote->priced = error != -ENOENT;
    if (error != 0) {
        (void)estimate(find_dearest(prices, check, at->at_unix_s), check, at, typical_output_tokens,
                       &quote->estimate);
        quote->estimate.input_nanousd = 0; /* another model's */
    }
    quote->denied = !quote->priced && prices->unknown == NS_UNKNOWN_MODEL_DENY;
}

/* --- after the call --------------------------------------------------------------------------- */

static bool
has_parts(const struct ns_report *report)
{
    return report->parts.count > 0;
}

/* No answer tells it, but some models bill the call itself, whatever it used. */
static void
count_call(const struct ns_price_model *model, const struct ns_price_terms *terms,
           struct ns_usage *usage)
{
    if (model != NULL && ns_price_has(model, NS_METER_REQUESTS, terms->at_unix_s)) {
        ns_usage_set(usage, NS_METER_REQUESTS, 1);
    }
}

/* The catalogue's price of the usage that was reported. Returns as ns_price_cost. */
static int
price_usage(struct ns_prices *prices, const struct ns_message *message,
            const struct ns_usage *usage, const struct ns_price_model *model,
            const struct ns_price_terms *terms, int64_t *cost)
{
    const struct ns_report *report = &message->as.report;
    enum ns_meter unpriced;
    if (!has_parts(report)) {
        return model == NULL ? -ENOENT : ns_price_cost(model, terms, usage, cost, &unpriced);
    }
    struct ns_price_part part[NS_PROTOCOL_PARTS_MAX];
    for (uint32_t i = 0; i < report->parts.count; i++) {
        const struct ns_part *said = &report->parts.part[i];
        part[i].model =
            said->model.bytes > 0 ? find(prices, &message->as.check, said->model) : model;
        part[i].usage = &said->usage;
        if (part[i].model == NULL) {
            return -ENOENT;
        }
    }
    return ns_price_cost_parts(part, report->parts.count, terms, cost, &unpriced);
}

/* Usage of a call for which no provider reported any, by what passed. */
static void
guess_usage(const struct ns_check *call, uint64_t input_tokens, uint64_t output_tokens,
            struct ns_usage *usage)
{
    *usage = (struct ns_usage){0};
    ns_usage_set(usage, NS_METER_INPUT,
                 input_tokens > 0 ? input_tokens : ns_price_tokens_of_text(call->text_bytes));
    ns_usage_set(usage, NS_METER_OUTPUT, output_tokens);
}

/* Adds the price of output tokens, and the fee of the call, to the likely price of the input. */
static int
price_guess(const struct ns_price_model *model, const struct ns_price_terms *terms,
            const struct ns_price_estimate *before, uint64_t output_tokens, int64_t *cost)
{
    struct ns_usage output = {0};
    enum ns_meter unpriced;
    ns_usage_set(&output, NS_METER_OUTPUT, output_tokens);
    count_call(model, terms, &output);
    int64_t output_nanousd = 0;
    int error = ns_price_cost(model, terms, &output, &output_nanousd, &unpriced);
    *cost = ns_money_add(before->input_nanousd, output_nanousd);
    return error;
}

static void
set_cost(struct ns_bill *bill, int error, int64_t cost)
{
    bill->priced = error == 0;
    bill->cost_nanousd = error == 0 ? cost : 0;
    bill->computed_nanousd = bill->cost_nanousd;
    if (error != 0) {
        bill->evidence = NS_EVIDENCE_UNPRICED;
    }
}

/* An answer without usage. */
static void
bill_without_usage(const struct ns_message *message, const struct ns_price_model *model,
                   const struct ns_price_terms *terms, uint64_t typical, struct ns_bill *bill)
{
    const struct ns_report *report = &message->as.report;
    if (report->http_status >= 300) { /* no provider bills a request that it refused */
        bill->evidence = NS_EVIDENCE_REPORTED;
        bill->priced = true;
        return;
    }
    struct ns_price_estimate before;
    bool priced = estimate(model, &message->as.check, terms, typical, &before) == 0;
    uint64_t output_tokens = ns_price_tokens_of_text(report->output_text_bytes);
    int64_t cost = 0;
    int error = priced ? price_guess(model, terms, &before, output_tokens, &cost) : -ENOENT;
    bill->evidence = output_tokens > 0 ? NS_EVIDENCE_COUNTED : NS_EVIDENCE_ESTIMATED;
    if (output_tokens == 0 && report->outcome == NS_OUTCOME_OK && before.typical_nanousd > cost) {
        /* A whole answer of which nothing could be read: what such calls usually cost. */
        cost = before.typical_nanousd;
    }
    guess_usage(&message->as.check, before.input_tokens_likely, output_tokens, &bill->usage);
    count_call(model, terms, &bill->usage);
    set_cost(bill, error, cost);
}

static void
sum_usage(const struct ns_report *report, struct ns_usage *usage)
{
    *usage = report->usage;
    if (usage->present != 0) {
        return;
    }
    for (uint32_t i = 0; i < report->parts.count; i++) {
        for (int m = 0; m < NS_METER_COUNT; m++) {
            if (ns_usage_has(&report->parts.part[i].usage, (enum ns_meter)m)) {
                ns_usage_add(usage, (enum ns_meter)m, report->parts.part[i].usage.count[m]);
            }
        }
    }
}

static void
bill_with(struct ns_prices *prices, const struct ns_message *message,
          const struct ns_price_model *model, const struct ns_price_terms *terms, uint64_t typical,
          struct ns_bill *bill)
{
    const struct ns_report *report = &message->as.report;
    *bill = (struct ns_bill){0};
    if (report->usage.present == 0 && !has_parts(report)) {
        bill_without_usage(message, model, terms, typical, bill);
        return;
    }
    int64_t cost = 0;
    bill->evidence =
        report->evidence == NS_EVIDENCE_UNPRICED ? NS_EVIDENCE_REPORTED : report->evidence;
    sum_usage(report, &bill->usage);
    if (!has_parts(report)) {
        count_call(model, terms, &bill->usage);
    }
    if (!has_parts(report) && report->evidence == NS_EVIDENCE_PARTIAL) {
        /* Anthropic tells its input and one token of output at the start, and the rest at the end.
         */
        ns_usage_add(&bill->usage, NS_METER_OUTPUT,
                     ns_price_tokens_of_text(report->output_text_bytes));
    }
    int error = price_usage(prices, message, &bill->usage, model, terms, &cost);
    set_cost(bill, error, cost);
}

static bool
begins(struct ns_text text, const char *with)
{
    size_t bytes = strlen(with);
    return text.bytes >= bytes && memcmp(text.text, with, bytes) == 0;
}

/* Never by the model asked for where another answered: routers turn to other models, and a free one
 * must not make a dear one free. Bedrock turns to none: there the path names the model and from
 * where it is served, which prices differ by, and the answer only the model. */
static struct ns_text
billed_model(const struct ns_report *report)
{
    bool names_all = report->provider.bytes == strlen("bedrock") &&
                     begins(report->provider, "bedrock") && report->requested_model.bytes > 0 &&
                     !begins(report->requested_model, "arn:");
    return report->model.bytes == 0 || names_all ? report->requested_model : report->model;
}

void
ns_prices_bill(struct ns_prices *prices, const struct ns_message *report,
               uint64_t typical_output_tokens, struct ns_bill *bill)
{
    const struct ns_report *said = &report->as.report;
    struct terms room;
    const struct ns_price_terms *terms = terms_of_report(said, &room);
    const struct ns_price_model *model = find(prices, &report->as.check, billed_model(said));
    bill_with(prices, report, model, terms, typical_output_tokens, bill);
    if (!bill->priced && prices->unknown == NS_UNKNOWN_MODEL_DEAREST) {
        model = find_dearest(prices, &report->as.check, terms->at_unix_s);
        bill_with(prices, report, model, terms, typical_output_tokens, bill);
        if (bill->priced) {
            bill->evidence = NS_EVIDENCE_ESTIMATED;
        }
    }
    if (said->has_provider_cost && said->provider_cost_nanousd >= 0) {
        bill->computed_nanousd = bill->priced ? bill->cost_nanousd : said->provider_cost_nanousd;
        bill->cost_nanousd = said->provider_cost_nanousd;
        bill->priced = true;
        bill->evidence =
            said->evidence == NS_EVIDENCE_PARTIAL ? NS_EVIDENCE_PARTIAL : NS_EVIDENCE_REPORTED;
    }
}

void
ns_prices_bill_lost(struct ns_prices *prices, const struct ns_message *check,
                    const struct ns_progress *progress, int64_t now_ns, struct ns_bill *bill)
{
    const struct ns_check *call = &check->as.check;
    struct terms room;
    const struct ns_price_terms *terms = terms_of_check(call, now_ns, &room);
    const struct ns_price_model *model = NULL;
    if (progress != NULL && progress->model.bytes > 0) {
        model = find(prices, call, progress->model);
    }
    model = model != NULL ? model : find(prices, call, call->requested_model);
    if (model == NULL && prices->unknown == NS_UNKNOWN_MODEL_DEAREST) {
        model = find_dearest(prices, call, terms->at_unix_s);
    }
    struct ns_price_estimate before;
    bool priced = estimate(model, call, terms, 0, &before) == 0;
    uint64_t text_bytes = progress != NULL ? progress->text_bytes : 0;
    uint64_t output_tokens = ns_price_tokens_of_text(text_bytes);
    *bill = (struct ns_bill){.evidence =
                                 output_tokens > 0 ? NS_EVIDENCE_COUNTED : NS_EVIDENCE_ESTIMATED};
    int64_t cost = 0;
    guess_usage(call, before.input_tokens_likely, output_tokens, &bill->usage);
    count_call(model, terms, &bill->usage);
    int error = priced ? price_guess(model, terms, &before, output_tokens, &cost) : -ENOENT;
    if (progress != NULL && progress->usage.present != 0) {
        /* What the stream told, and the text that came since. */
        bill->evidence = NS_EVIDENCE_PARTIAL;
        bill->usage = progress->usage;
        count_call(model, terms, &bill->usage);
        ns_usage_add(&bill->usage, NS_METER_OUTPUT, output_tokens);
        enum ns_meter unpriced;
        error =
            model == NULL ? -ENOENT : ns_price_cost(model, terms, &bill->usage, &cost, &unpriced);
    }
    set_cost(bill, error, cost);
}
