/* SPDX-License-Identifier: Apache-2.0 */
/* What requests ask for and what answers say, family by family, on exchanges written for it. */
#include <zlib.h>

#include "tests/unit/exchange.h"
#include "wire/fingerprint.h"

TEST(paths_that_cost_money_are_calls_and_the_others_are_not)
{
    static const struct {
        const char *host, *path, *family, *operation, *model;
    } rows[] = {
        {"api.openai.com", "/v1/chat/completions", "openai", "chat", ""},
        {"api.openai.com", "/v1/chat/completions/?x=1", "openai", "chat", ""},
        {"api.openai.com", "/v1/responses", "openai", "responses", ""},
        {"api.openai.com", "/v1/completions", "openai", "completions", ""},
        {"api.openai.com", "/v1/embeddings", "openai", "embeddings", ""},
        {"api.openai.com", "/v1/responses/input_tokens", NULL, NULL, NULL},
        {"api.openai.com", "/v1/responses/resp_1/cancel", NULL, NULL, NULL},
        {"api.openai.com", "/v1/threads/t/messages", NULL, NULL, NULL},
        {"api.openai.com", "/v1/messages", NULL, NULL, NULL},
        {"api.openai.com", "/v1/moderations", NULL, NULL, NULL},
        {"x.openai.azure.com", "//openai/deployments/gpt%2d4/chat/completions?api-version=1",
         "openai", "chat", "gpt-4"},
        {"x.services.ai.azure.com", "/models/chat/completions", "openai", "chat", ""},
        {"x.services.ai.azure.com", "/anthropic/v1/messages", "anthropic", "messages", ""},
        {"api.anthropic.com", "/v1/messages?beta=true", "anthropic", "messages", ""},
        {"api.anthropic.com", "/v1/messages/count_tokens", NULL, NULL, NULL},
        {"api.anthropic.com", "/v1/messages/batches", NULL, NULL, NULL},
        {"aiplatform.googleapis.com",
         "/v1/projects/p/locations/l/publishers/anthropic/models/claude@1:streamRawPredict",
         "anthropic", "messages", "claude@1"},
        {"aiplatform.googleapis.com",
         "/v1/projects/p/locations/l/publishers/anthropic/models/count-tokens:rawPredict", NULL,
         NULL, NULL},
        {"us-central1-aiplatform.googleapis.com",
         "/v1/projects/p/locations/l/publishers/mistralai/models/m@2:rawPredict", "openai", "chat",
         "m@2"},
        {"claude.googleapis.com",
         "/v1alpha/projects/p/locations/global/workspaces/w/invoke/v1/messages", "anthropic",
         "messages", ""},
        {"api.openai.com.", "/v1/responses", "openai", "responses", ""},
        {"us.inference.heroku.com", "/v1/chat/completions", "openai", "chat", ""},
        {"api.cloudflare.com", "/client/v4/accounts/a/ai/v1/embeddings", "openai", "embeddings",
         ""},
        {"generativelanguage.googleapis.com", "/v1beta/models/gemini-3%3AgenerateContent", "gemini",
         "generate_content", "gemini-3"},
        {"generativelanguage.googleapis.com", "/v1beta/models/a:b:generateContent", "gemini",
         "generate_content", "a:b"},
        {"generativelanguage.googleapis.com", "/v1beta/models/g:countTokens", NULL, NULL, NULL},
        {"generativelanguage.googleapis.com", "/v1beta/openai/chat/completions", "openai", "chat",
         ""},
        {"generativelanguage.googleapis.com", "/v1beta/models/e:batchEmbedContents", "gemini",
         "embed_content", "e"},
        {"api.cohere.com", "/v2/chat", "cohere", "chat", ""},
        {"api.cohere.ai", "/v1/generate", "cohere", "completions", ""},
        {"api.cohere.com", "/v2/embed", "cohere", "embeddings", ""},
        {"api.cohere.com", "/v2/rerank", "cohere", "rerank", ""},
        {"api.cohere.ai", "/compatibility/v1/chat/completions", "openai", "chat", ""},
        {"api.cohere.com", "/v1/tokenize", NULL, NULL, NULL},
        {"ollama.com", "/api/chat", "ollama", "chat", ""},
        {"ollama.com", "/v1/chat/completions", "openai", "chat", ""},
        {"ollama.com", "/api/tags", NULL, NULL, NULL},
        {"bedrock-runtime.eu-west-1.amazonaws.com", "/model/anthropic.claude-v2%3A1/converse",
         "bedrock", "converse", "anthropic.claude-v2:1"},
        {"bedrock-runtime-fips.us-east-1.amazonaws.com", "/model/m/invoke-with-response-stream",
         "bedrock", "invoke", "m"},
        {"bedrock-runtime.us-east-1.amazonaws.com",
         "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Ainference-profile%2Fus.amazon.nova-v1%3A0/"
         "converse-stream",
         "bedrock", "converse", "us.amazon.nova-v1:0"},
        {"bedrock-runtime.us-east-1.amazonaws.com",
         "/model/arn:aws:bedrock:us-east-1:1:application-inference-profile/a1b2/invoke", "bedrock",
         "invoke", "arn:aws:bedrock:us-east-1:1:application-inference-profile/a1b2"},
        {"bedrock-runtime.us-east-1.amazonaws.com", "/model/m/count-tokens", NULL, NULL, NULL},
        {"bedrock-runtime.us-east-1.amazonaws.com", "/guardrail/g/version/1/apply", NULL, NULL,
         NULL},
        {"bedrock.us-east-1.amazonaws.com", "/model/m/invoke", NULL, NULL, NULL},
        {"example.com", "/v1/chat/completions", NULL, NULL, NULL},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct exchange exchange = ask_json(rows[i].host, rows[i].path, "{}");
        if ((exchange.call != NULL) != (rows[i].family != NULL)) {
            NS_FAIL("%s%s is %s call", rows[i].host, rows[i].path, exchange.call ? "a" : "no");
        } else if (exchange.call != NULL) {
            CHECK_STR(exchange.call->request.family, rows[i].family);
            CHECK_STR(exchange.call->request.operation, rows[i].operation);
            CHECK_STR(exchange.call->request.model, rows[i].model);
        }
        close_exchange(&exchange);
    }
}

TEST(a_chat_request_says_what_a_verdict_needs)
{
    struct exchange exchange =
        ask_json("api.openai.com", "/v1/chat/completions",
                 "{\"messages\":[{\"role\":\"user\",\"content\":\"h\\u00e9\"}],\"n\":3,"
                 "\"max_tokens\":7,\"max_completion_tokens\":9,\"stream\":true,"
                 "\"stream_options\":{\"include_usage\":true},\"service_tier\":\"flex\","
                 "\"metadata\":{\"model\":\"decoy\"},\"model\":\"gpt-5\"}");
    REQUIRE(exchange.call != NULL);
    const struct ns_wire_request *request = &exchange.call->request;
    CHECK_STR(request->model, "gpt-5");
    CHECK_STR(request->service_tier, "flex");
    CHECK_INT(request->choices, 3);
    CHECK_INT(request->output_tokens_max, 9);
    CHECK(request->streamed && request->usage_asked && request->body_complete);
    CHECK(!request->history_elsewhere && !request->cache_write);
    CHECK_INT(request->text_bytes, strlen("roleusercontenth") + 2);
    close_exchange(&exchange);
}

TEST(a_stream_without_include_usage_is_known_to_carry_none)
{
    struct exchange exchange =
        ask_json("api.openai.com", "/v1/chat/completions", "{\"stream\":true}");
    REQUIRE(exchange.call != NULL);
    CHECK(exchange.call->request.streamed && !exchange.call->request.usage_asked);
    CHECK_INT(exchange.call->request.choices, 1);
    close_exchange(&exchange);
    exchange = ask_json("api.mistral.ai", "/v1/chat/completions", "{\"stream\":true}");
    REQUIRE(exchange.call != NULL);
    CHECK(exchange.call->request.usage_asked);
    close_exchange(&exchange);
}

TEST(history_that_is_billed_and_not_seen_is_noticed)
{
    static const struct {
        const char *host, *path, *body;
        bool elsewhere;
    } rows[] = {
        {"api.openai.com", "/v1/responses", "{\"previous_response_id\":\"r\"}", true},
        {"api.openai.com", "/v1/responses", "{\"previous_response_id\":null}", false},
        {"api.openai.com", "/v1/responses", "{\"conversation\":{\"id\":\"c\"}}", true},
        {"api.openai.com", "/v1/responses", "{\"conversation\":\"c\"}", true},
        {"api.openai.com", "/v1/responses", "{\"prompt\":{\"id\":\"p\"}}", true},
        {"api.openai.com", "/v1/responses",
         "{\"input\":[{\"content\":[{\"type\":\"input_file\",\"file_id\":\"f\"}]}]}", true},
        {"aiplatform.googleapis.com", "/v1/publishers/google/models/g:generateContent",
         "{\"cached_content\":\"c\"}", true},
        {"api.anthropic.com", "/v1/messages", "{\"messages\":[]}", false},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct exchange exchange = ask_json(rows[i].host, rows[i].path, rows[i].body);
        REQUIRE(exchange.call != NULL);
        if (exchange.call->request.history_elsewhere != rows[i].elsewhere) {
            NS_FAIL("wrong for %s", rows[i].body);
        }
        close_exchange(&exchange);
    }
}

TEST(tools_that_run_at_the_provider_bring_input_that_was_not_seen)
{
    static const struct {
        const char *host, *path, *json;
        bool elsewhere;
    } rows[] = {
        {"api.anthropic.com", "/v1/messages", "{\"tools\":[{\"name\":\"web_search\"}]}", false},
        {"api.anthropic.com", "/v1/messages", "{\"tools\":[{\"type\":\"bash_20250124\"}]}", false},
        {"api.anthropic.com", "/v1/messages",
         "{\"tools\":[{\"name\":\"f\"},{\"type\":\"tool_search_tool_regex_20251119\"}]}", true},
        {"api.anthropic.com", "/v1/messages", "{\"tools\":[{\"type\":\"web_search_20250305\"}]}",
         true},
        {"api.openai.com", "/v1/responses", "{\"tools\":[{\"type\":\"function\"}]}", false},
        {"api.openai.com", "/v1/responses", "{\"tools\":[{\"type\":\"mcp\"}]}", true},
        {"api.openai.com", "/v1/chat/completions", "{\"web_search_options\":{}}", true},
        {"generativelanguage.googleapis.com", "/v1beta/models/m:generateContent",
         "{\"tools\":[{\"functionDeclarations\":[{\"name\":\"google_search\"}]}]}", false},
        {"generativelanguage.googleapis.com", "/v1beta/models/m:generateContent",
         "{\"tools\":[{\"googleSearch\":{}}]}", true},
        {"generativelanguage.googleapis.com", "/v1beta/models/m:generateContent",
         "{\"tools\":[{\"url_context\":{}}]}", true},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct exchange exchange = ask_json(rows[i].host, rows[i].path, rows[i].json);
        REQUIRE(exchange.call != NULL);
        if (exchange.call->request.history_elsewhere != rows[i].elsewhere) {
            NS_FAIL("%s", rows[i].json);
        }
        close_exchange(&exchange);
    }
}

/* What a request's fingerprints are. */
static void
fingerprints(const char *host, const char *path, const char *json, uint64_t *whole,
             uint64_t *ending)
{
    struct exchange exchange = ask_json(host, path, json);
    *whole = *ending = 0;
    REQUIRE(exchange.call != NULL);
    *whole = exchange.call->request.fingerprint;
    *ending = exchange.call->request.ending;
    close_exchange(&exchange);
}

TEST(a_request_and_its_last_text_are_told_by_fingerprints)
{
#define CHAT "api.openai.com", "/v1/chat/completions"
    static const struct {
        const char *host, *path, *json;
        bool same_ending; /* as the row before */
    } rows[] = {
        {CHAT, "{\"messages\":[{\"role\":\"user\",\"content\":\"go on\"}],\"user\":\"u\"}", false},
        {CHAT,
         "{\"messages\":[{\"role\":\"user\",\"content\":\"so\"},{\"content\":\"go on\",\"role\":"
         "\"user\"}],\"model\":\"m\"}",
         true},
        {"api.anthropic.com", "/v1/messages",
         "{\"messages\":[{\"content\":[{\"type\":\"text\",\"text\":\"go on\"}],\"role\":\"user\"}],"
         "\"system\":\"you are\"}",
         true},
        {"generativelanguage.googleapis.com", "/v1beta/models/m:generateContent",
         "{\"contents\":[{\"parts\":[{\"text\":\"go on\"}],\"role\":\"user\"}],"
         "\"systemInstruction\":{\"parts\":[{\"text\":\"be\"}]}}",
         true},
        {"api.openai.com", "/v1/responses", "{\"input\":\"go on\",\"instructions\":\"x\"}", true},
        {"api.openai.com", "/v1/responses",
         "{\"input\":[{\"type\":\"function_call_output\",\"output\":\"go on\"}]}", true},
        {CHAT, "{\"messages\":[{\"role\":\"user\",\"content\":\"go on!\"}]}", false},
    };
    uint64_t whole[sizeof rows / sizeof rows[0]], ending[sizeof rows / sizeof rows[0]];
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint64_t again, unused;
        fingerprints(rows[i].host, rows[i].path, rows[i].json, &whole[i], &ending[i]);
        fingerprints(rows[i].host, rows[i].path, rows[i].json, &again, &unused);
        CHECK(whole[i] != 0 && ending[i] != 0);
        CHECK(whole[i] == again);
        for (size_t k = 0; k < i; k++) {
            CHECK(whole[i] != whole[k]);
        }
        if (i > 0 && (ending[i] == ending[i - 1]) != rows[i].same_ending) {
            NS_FAIL("%s", rows[i].json);
        }
    }
    fingerprints(CHAT, "{\"messages\":[{\"content\":", &whole[0], &ending[0]);
    CHECK_INT(ending[0], 0);
    fingerprints(CHAT, "{]", &whole[0], &ending[0]);
    CHECK_INT(whole[0], 0); /* not read to its end */
#undef CHAT
}

TEST(a_fingerprint_does_not_depend_on_where_its_text_is_cut)
{
    const char text[] = "a text of some 40 bytes, and then again some";
    struct ns_fingerprint whole = {0}, other = {0};
    ns_fingerprint_add(&whole, text, sizeof text);
    for (size_t first = 0; first < sizeof text; first++) {
        for (size_t second = first; second < sizeof text; second++) {
            struct ns_fingerprint cut = {0};
            ns_fingerprint_add(&cut, text, first);
            ns_fingerprint_add(&cut, text + first, second - first);
            ns_fingerprint_add(&cut, text + second, sizeof text - second);
            CHECK(ns_fingerprint_end(&cut) == ns_fingerprint_end(&whole));
        }
        ns_fingerprint_add(&other, text, first); /* shorter ones */
        CHECK(ns_fingerprint_end(&other) != ns_fingerprint_end(&whole));
        memset(&other, 0, sizeof other);
    }
    ns_fingerprint_add(&other, "\0", 1);
    CHECK(ns_fingerprint_end(&other) != ns_fingerprint_end(&(struct ns_fingerprint){0}));
}

TEST(the_tools_that_a_request_offers_are_told_each_once)
{
#define GEMINI "generativelanguage.googleapis.com", "/v1beta/models/m:generateContent"
    static const struct {
        const char *host, *path, *json, *tools;
    } rows[] = {
        {"api.openai.com", "/v1/chat/completions", "{\"messages\":[]}", ""},
        {"api.openai.com", "/v1/responses",
         "{\"tools\":[{\"type\":\"function\"},{\"type\":\"mcp\"},{\"type\":\"function\"}]}",
         "function,mcp"},
        {"api.openai.com", "/v1/chat/completions",
         "{\"functions\":[{},{}],\"web_search_options\":{}}", "function,web_search"},
        {"api.openai.com", "/v1/responses", "{\"tools\":[{\"type\":\"a b\"},{\"type\":\"\"}]}",
         "*"},
        {"api.openai.com", "/v1/responses", "{\"tools\":[{\"type\":\"\"}]}", "*"},
        {"api.openai.com", "/v1/responses", "{\"tools\":[{\"type\":\"mcp\"}", "mcp"},
        {"api.openai.com", "/v1/responses", "{\"tools\":[{\"type\":\"mcp\"}]]", "mcp,*"},
        {"api.anthropic.com", "/v1/messages",
         "{\"tools\":[{\"name\":\"f\",\"input_schema\":{\"type\":\"object\"}},"
         "{\"type\":\"web_search_20250305\"}]}",
         "function,web_search_20250305"},
        {GEMINI, "{\"tools\":[{\"functionDeclarations\":[{},{}]},{\"googleSearch\":{}}]}",
         "function,google_search"},
        {GEMINI, "{\"tools\":[{\"code_execution\":{},\"url_context\":{},\"googleMaps\":{}}]}",
         "code_execution,url_context,google_maps"},
        {"bedrock-runtime.us-east-1.amazonaws.com", "/model/m/converse",
         "{\"toolConfig\":{\"tools\":[{\"toolSpec\":{}},{\"cachePoint\":{}}]}}", "function"},
        {"api.cohere.com", "/v1/chat", "{\"connectors\":[{\"id\":\"web-search\"}],\"tools\":[{}]}",
         "connector,function"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct exchange exchange = ask_json(rows[i].host, rows[i].path, rows[i].json);
        REQUIRE(exchange.call != NULL);
        CHECK_STR(exchange.call->request.tools, rows[i].tools);
        close_exchange(&exchange);
    }
}

TEST(more_tools_than_there_is_room_for_leave_a_star)
{
    char json[4096] = "{\"tools\":[";
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 40; i++) {
            snprintf(json + strlen(json), sizeof json - strlen(json), "{\"type\":\"tool_%02d\"},",
                     i);
        }
    }
    snprintf(json + strlen(json), sizeof json - strlen(json), "{}]}");
    struct exchange exchange = ask_json("api.openai.com", "/v1/responses", json);
    REQUIRE(exchange.call != NULL);
    const char *tools = exchange.call->request.tools;
    CHECK(strlen(tools) <= NS_TOOLS_BYTES_MAX && strlen(tools) > NS_TOOLS_BYTES_MAX - 12);
    CHECK_STR(tools + strlen(tools) - 2, ",*");
    CHECK(strstr(tools, "tool_00,tool_01") == tools);
    CHECK(strstr(tools + 1, "tool_00") == NULL && strchr(tools, '*') == tools + strlen(tools) - 1);
    close_exchange(&exchange);
}

TEST(speed_and_region_that_are_asked_for_are_known_before_the_answer)
{
    struct exchange exchange =
        ask_json("api.anthropic.com", "/v1/messages",
                 "{\"model\":\"m\",\"speed\":\"fast\",\"inference_geo\":\"us\",\"max_tokens\":5}");
    REQUIRE(exchange.call != NULL);
    CHECK_STR(exchange.call->request.speed, "fast");
    CHECK_STR(exchange.call->request.region, "us");
    close_exchange(&exchange);
}

TEST(a_router_names_the_provider_behind_it_in_its_path_or_after_the_model)
{
    static const struct {
        const char *host, *path, *model, *upstream;
    } rows[] = {
        {"router.huggingface.co", "/nebius/v1/chat/completions", "a/b", "nebius"},
        {"router.huggingface.co", "/fireworks-ai/inference/v1/chat/completions", "a/b:x",
         "fireworks-ai"},
        {"router.huggingface.co", "/v1/chat/completions", "a/b:together", "together"},
        {"router.huggingface.co", "/v1/chat/completions", "a/b", ""},
        {"api.openai.com", "/v1/chat/completions", "ft:gpt-4o:acme", ""},
        {"openrouter.ai", "/api/v1/chat/completions", "a/b:free", ""},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char json[64];
        snprintf(json, sizeof(json), "{\"model\":\"%s\"}", rows[i].model);
        struct exchange exchange = ask_json(rows[i].host, rows[i].path, json);
        REQUIRE(exchange.call != NULL);
        CHECK_STR(exchange.call->request.model, rows[i].model);
        CHECK_STR(exchange.call->request.upstream, rows[i].upstream);
        close_exchange(&exchange);
    }
}

TEST(attachments_are_counted_apart_from_text)
{
    static const struct {
        const char *host, *path, *body;
        uint32_t images, audios, videos, files;
        uint64_t attachment_bytes, text_bytes_max;
    } rows[] = {
        {"api.openai.com", "/v1/chat/completions",
         "{\"messages\":[{\"content\":[{\"type\":\"image_url\",\"image_url\":"
         "{\"url\":\"data:image/png;base64,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}}]}]}",
         1, 0, 0, 0, 45, 60},
        {"api.openai.com", "/v1/chat/completions",
         "{\"messages\":[{\"content\":[{\"type\":\"input_audio\",\"input_audio\":"
         "{\"data\":\"AAAAAAAA\",\"format\":\"wav\"}},{\"type\":\"file\",\"file\":"
         "{\"file_data\":\"data:application/pdf;base64,AAAA\"}}]}]}",
         0, 1, 0, 1, 6 + 24, 120},
        {"api.openai.com", "/v1/responses",
         "{\"input\":[{\"content\":[{\"type\":\"input_image\",\"image_url\":\"https://x/y\"}]}]}",
         1, 0, 0, 0, 0, 60},
        {"api.anthropic.com", "/v1/messages",
         "{\"messages\":[{\"content\":[{\"type\":\"image\",\"source\":{\"type\":\"base64\","
         "\"media_type\":\"image/png\",\"data\":\"AAAAAAAA\"}},{\"type\":\"document\","
         "\"source\":{\"type\":\"base64\",\"media_type\":\"application/pdf\",\"data\":\"AAAA\"}}"
         "]}]}",
         1, 0, 0, 1, 9, 200},
        {"generativelanguage.googleapis.com", "/v1beta/models/g:generateContent",
         "{\"contents\":[{\"parts\":[{\"inlineData\":{\"data\":\"AAAAAAAA\",\"mimeType\":"
         "\"video/mp4\"}},{\"fileData\":{\"mimeType\":\"audio/wav\",\"fileUri\":\"gs://x\"}},"
         "{\"inline_data\":{\"mime_type\":\"image/png\",\"data\":\"AAAA\"}}]}]}",
         1, 1, 1, 0, 9, 200},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct exchange exchange = ask_json(rows[i].host, rows[i].path, rows[i].body);
        REQUIRE(exchange.call != NULL);
        const struct ns_wire_request *request = &exchange.call->request;
        CHECK_INT(request->images, rows[i].images);
        CHECK_INT(request->audios, rows[i].audios);
        CHECK_INT(request->videos, rows[i].videos);
        CHECK_INT(request->files, rows[i].files);
        CHECK_INT(request->attachment_bytes, rows[i].attachment_bytes);
        CHECK(request->text_bytes <= rows[i].text_bytes_max);
        close_exchange(&exchange);
    }
}

TEST(a_document_of_plain_text_is_text)
{
    struct exchange exchange =
        ask_json("api.anthropic.com", "/v1/messages",
                 "{\"messages\":[{\"content\":[{\"type\":\"document\",\"source\":{\"data\":"
                 "\"0123456789012345678901234567890123456789012345678901234567890123456789\","
                 "\"type\":\"text\"}}]}]}");
    REQUIRE(exchange.call != NULL);
    CHECK_INT(exchange.call->request.files, 0);
    CHECK_INT(exchange.call->request.attachment_bytes, 0);
    CHECK(exchange.call->request.text_bytes >= 70);
    close_exchange(&exchange);
}

TEST(tool_definitions_are_text_and_cache_control_asks_for_a_cache_write)
{
    struct exchange exchange =
        ask_json("api.anthropic.com", "/v1/messages",
                 "{\"max_tokens\":5,\"tools\":[{\"name\":\"abc\",\"input_schema\":{\"type\":"
                 "\"image\"}}],\"system\":[{\"text\":\"x\",\"cache_control\":{\"type\":"
                 "\"ephemeral\"}}]}");
    REQUIRE(exchange.call != NULL);
    CHECK(exchange.call->request.cache_write);
    CHECK_INT(exchange.call->request.images, 0);
    CHECK_INT(exchange.call->request.output_tokens_max, 5);
    CHECK(exchange.call->request.text_bytes >= strlen("nameabcinput_schematypeimagetextx"));
    close_exchange(&exchange);
}

TEST(a_gemini_request_names_its_model_in_its_path)
{
    struct exchange exchange = ask_json(
        "generativelanguage.googleapis.com",
        "/v1beta/models/gemini-2.5-pro:streamGenerateContent?key=AIza0123456789abcdef&alt=json",
        "{\"contents\":[],\"model\":\"models/other\",\"generationConfig\":"
        "{\"maxOutputTokens\":11,\"candidateCount\":2}}");
    REQUIRE(exchange.call != NULL);
    const struct ns_wire_request *request = &exchange.call->request;
    CHECK_STR(request->model, "gemini-2.5-pro");
    CHECK_STR(request->provider, "gemini");
    CHECK_INT(request->output_tokens_max, 11);
    CHECK_INT(request->choices, 2);
    CHECK(request->streamed && request->array);
    CHECK_STR(request->credential, "cdef");
    CHECK_INT(request->credential_range.offset,
              strlen("POST /v1beta/models/gemini-2.5-pro:streamGenerateContent?key="));
    CHECK_INT(request->credential_range.bytes, 20);
    close_exchange(&exchange);
}

TEST(broken_requests_are_calls_judged_by_what_was_seen)
{
    static const char *const bodies[] = {"{\"model\":\"m\",", "{\"model\":\"m\"} trailing",
                                         "{\"model\":\"m\",,}", "{\"model\":\"m\",\"n\":01}"};
    for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
        struct exchange exchange = ask_json("api.openai.com", "/v1/chat/completions", bodies[i]);
        REQUIRE(exchange.call != NULL);
        CHECK_STR(exchange.call->request.model, "m");
        CHECK_INT(exchange.call->request.body_bytes, strlen(bodies[i]));
        close_exchange(&exchange);
    }
    struct exchange exchange =
        ask_json("api.openai.com", "/v1/chat/completions", "no json at all, it may all be text");
    REQUIRE(exchange.call != NULL);
    CHECK_STR(exchange.call->request.model, "");
    CHECK(exchange.call->request.text_bytes >= strlen("no json at all, it may all be text") - 2);
    close_exchange(&exchange);
}

TEST(all_that_follows_what_is_no_json_may_be_text)
{
    struct ns_wire *wire = ns_wire_new(NULL, NULL);
    struct ns_wire_written written;
    const char *text = "POST /v1/responses HTTP/1.1\r\nHost: api.openai.com\r\n"
                       "Content-Length: 30\r\n\r\n{\"input\":NaN, \"x\":\"012345678\"}";
    (void)ns_wire_write(wire, (const uint8_t *)text, strlen(text), BOUND, &written);
    REQUIRE(written.class == NS_WIRE_CALL);
    CHECK(written.call->request.text_bytes >= strlen("aN, \"x\":\"012345678\"}"));
    ns_wire_free(wire);
}

TEST(a_request_in_a_content_coding_is_read)
{
    const char *json = "{\"model\":\"gpt-5\",\"input\":\"abc\"}";
    Bytef packed[256];
    z_stream stream = {.next_in = (Bytef *)(uintptr_t)json,
                       .avail_in = (uInt)strlen(json),
                       .next_out = packed,
                       .avail_out = sizeof(packed)};
    REQUIRE(deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK);
    CHECK_INT(deflate(&stream, Z_FINISH), Z_STREAM_END);
    (void)deflateEnd(&stream);
    struct exchange exchange = ask("api.openai.com", "/v1/responses", "Content-Encoding: gzip\r\n",
                                   packed, stream.total_out);
    REQUIRE(exchange.call != NULL);
    CHECK_STR(exchange.call->request.model, "gpt-5");
    CHECK_INT(exchange.call->request.text_bytes, 3);
    CHECK_INT(exchange.call->request.body_bytes, strlen(json));
    close_exchange(&exchange);
    exchange = ask("api.openai.com", "/v1/responses", "Content-Encoding: klingon\r\n", "abcdef", 6);
    REQUIRE(exchange.call != NULL);
    CHECK_INT(exchange.call->request.text_bytes, 6);
    close_exchange(&exchange);
}

/* --- answers ------------------------------------------------------------------------------- */

#define EXPECT(host, path, body, ...)                                                              \
    do {                                                                                           \
        const struct meter meters[] = {__VA_ARGS__};                                               \
        struct exchange exchange = ask_json(host, path, "{}");                                     \
        REQUIRE(exchange.call != NULL);                                                            \
        struct ns_wire_call *call = answer(&exchange, 200, body, strlen(body));                    \
        REQUIRE(call != NULL);                                                                     \
        CHECK_INT(ns_wire_evidence(call), NS_EVIDENCE_REPORTED);                                   \
        expect_meters(call, meters, sizeof(meters) / sizeof(meters[0]));                           \
        ns_wire_call_free(call);                                                                   \
        close_exchange(&exchange);                                                                 \
    } while (0)

#define CHAT "/v1/chat/completions"

TEST(classes_of_usage_are_made_disjoint)
{
    EXPECT("api.openai.com", CHAT,
           "{\"usage\":{\"prompt_tokens\":100,\"completion_tokens\":50,\"total_tokens\":150,"
           "\"prompt_tokens_details\":{\"cached_tokens\":40,\"cache_write_tokens\":10,"
           "\"audio_tokens\":5},\"completion_tokens_details\":{\"reasoning_tokens\":20,"
           "\"audio_tokens\":3}}}",
           {NS_METER_INPUT, 45}, {NS_METER_CACHE_READ, 40}, {NS_METER_CACHE_WRITE, 10},
           {NS_METER_INPUT_AUDIO, 5}, {NS_METER_OUTPUT, 27}, {NS_METER_OUTPUT_REASONING, 20},
           {NS_METER_OUTPUT_AUDIO, 3});
    /* Reasoning beside completion (xAI chat). */
    EXPECT("api.x.ai", CHAT,
           "{\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":5,\"total_tokens\":22,"
           "\"completion_tokens_details\":{\"reasoning_tokens\":7}}}",
           {NS_METER_INPUT, 10}, {NS_METER_OUTPUT, 5}, {NS_METER_OUTPUT_REASONING, 7});
    /* Audio beside prompt (Mistral), and a zero under one name of the cached count. */
    EXPECT("api.mistral.ai", CHAT,
           "{\"usage\":{\"num_cached_tokens\":4,\"prompt_tokens\":9,\"completion_tokens\":1,"
           "\"total_tokens\":385,\"prompt_tokens_details\":{\"cached_tokens\":0,"
           "\"audio_tokens\":375}}}",
           {NS_METER_INPUT, 5}, {NS_METER_CACHE_READ, 4}, {NS_METER_INPUT_AUDIO, 375},
           {NS_METER_OUTPUT, 1});
    /* Thinking that only total tells (Gemini's OpenAI path). */
    EXPECT("generativelanguage.googleapis.com", "/v1beta/openai/chat/completions",
           "{\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":5,\"total_tokens\":40}}",
           {NS_METER_INPUT, 10}, {NS_METER_OUTPUT, 30});
    /* The same tokens read and written (OpenRouter's Gemini); cached beyond prompt (Grok). */
    EXPECT("openrouter.ai", "/api/v1/chat/completions",
           "{\"usage\":{\"prompt_tokens\":2168,\"prompt_tokens_details\":{\"cached_tokens\":2161,"
           "\"cache_write_tokens\":2161}}}",
           {NS_METER_INPUT, 7}, {NS_METER_CACHE_READ, 2161}, {NS_METER_CACHE_WRITE, 2161});
    EXPECT("x.services.ai.azure.com", "/models/chat/completions",
           "{\"usage\":{\"prompt_tokens\":10,\"prompt_tokens_details\":{\"cached_tokens\":163}}}",
           {NS_METER_INPUT, 10}, {NS_METER_CACHE_READ, 163});
    EXPECT("api.anthropic.com", "/v1/messages",
           "{\"usage\":{\"input_tokens\":3,\"cache_read_input_tokens\":4,"
           "\"cache_creation_input_tokens\":9,\"cache_creation\":{\"ephemeral_1h_input_tokens\":2},"
           "\"output_tokens\":8,\"output_tokens_details\":{\"thinking_tokens\":5}}}",
           {NS_METER_INPUT, 3}, {NS_METER_CACHE_READ, 4}, {NS_METER_CACHE_WRITE, 7},
           {NS_METER_CACHE_WRITE_1H, 2}, {NS_METER_OUTPUT, 3}, {NS_METER_OUTPUT_REASONING, 5});
    EXPECT("aiplatform.googleapis.com", "/v1/publishers/google/models/g:generateContent",
           "{\"usageMetadata\":{\"promptTokenCount\":100,\"cachedContentTokenCount\":40,"
           "\"candidatesTokenCount\":7,\"thoughtsTokenCount\":6,\"toolUsePromptTokenCount\":5,"
           "\"promptTokensDetails\":[{\"modality\":\"AUDIO\",\"tokenCount\":30},{\"modality\":2,"
           "\"tokenCount\":9}],\"cacheTokensDetails\":[{\"modality\":4,\"tokenCount\":10}]}}",
           {NS_METER_INPUT, 36}, {NS_METER_INPUT_AUDIO, 20}, {NS_METER_INPUT_IMAGE, 9},
           {NS_METER_CACHE_READ, 30}, {NS_METER_CACHE_AUDIO_READ, 10}, {NS_METER_OUTPUT, 7},
           {NS_METER_OUTPUT_REASONING, 6});
}

TEST(what_cohere_bills_counts_and_not_what_it_reads)
{
    EXPECT("api.cohere.com", "/v2/chat",
           "{\"usage\":{\"billed_units\":{\"input_tokens\":7,\"output_tokens\":2},"
           "\"tokens\":{\"input_tokens\":69,\"output_tokens\":3},\"cached_tokens\":64}}",
           {NS_METER_INPUT, 7}, {NS_METER_OUTPUT, 2});
    EXPECT("api.cohere.com", "/v1/rerank", "{\"meta\":{\"billed_units\":{\"search_units\":2}}}",
           {NS_METER_SEARCH_UNITS, 2});
    EXPECT("api.cohere.com", "/v2/embed",
           "{\"meta\":{\"billed_units\":{\"input_tokens\":4,\"image_tokens\":30}}}",
           {NS_METER_INPUT, 4}, {NS_METER_INPUT_IMAGE, 30});
    EXPECT("api.cohere.com", "/v2/chat",
           "event: message-end\ndata: {\"type\":\"message-end\",\"delta\":{\"finish_reason\":"
           "\"COMPLETE\",\"usage\":{\"billed_units\":{\"input_tokens\":5}}}}\n\n",
           {NS_METER_INPUT, 5});
}

TEST(a_chunk_without_a_prompt_count_does_not_undo_the_usage_before_it)
{
    EXPECT("generativelanguage.googleapis.com", "/v1beta/models/g:streamGenerateContent?alt=sse",
           "data: {\"usageMetadata\":{\"promptTokenCount\":5,\"candidatesTokenCount\":2}}\r\n\r\n"
           "data: {\"usageMetadata\":{\"trafficType\":\"ON_DEMAND\"},"
           "\"candidates\":[{\"finishReason\":\"STOP\"}]}\r\n\r\n",
           {NS_METER_INPUT, 5}, {NS_METER_OUTPUT, 2});
}

TEST(usage_that_a_model_wrote_into_its_answer_is_not_believed)
{
    EXPECT("api.anthropic.com", "/v1/messages",
           "{\"content\":[{\"type\":\"tool_use\",\"input\":{\"usage\":{\"input_tokens\":0,"
           "\"output_tokens\":0}}}],\"usage\":{\"input_tokens\":3,\"output_tokens\":8},"
           "\"container\":{\"usage\":{\"input_tokens\":0}}}",
           {NS_METER_INPUT, 3}, {NS_METER_OUTPUT, 8});
}

TEST(absurd_counts_are_no_counts)
{
    EXPECT("api.openai.com", CHAT,
           "{\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":18446744073709551615,"
           "\"total_tokens\":-1,\"prompt_tokens_details\":{\"cached_tokens\":1e300,"
           "\"cache_write_tokens\":18446744073709551610}}}",
           {NS_METER_INPUT, 5});
}

TEST(the_providers_own_bill_is_taken_where_it_is_right)
{
    static const struct {
        const char *host, *path, *body;
        int64_t nanousd;
    } rows[] = {
        {"openrouter.ai", "/api/v1/chat/completions",
         "{\"usage\":{\"prompt_tokens\":1,"
         "\"cost\":0.0000125}}",
         12500},
        {"openrouter.ai", "/api/v1/chat/completions",
         "{\"usage\":{\"prompt_tokens\":1,"
         "\"cost\":0}}",
         0},
        {"api.x.ai", "/v1/responses",
         "{\"usage\":{\"input_tokens\":1,"
         "\"cost_in_usd_ticks\":700000005}}",
         70000000},
        {"api.x.ai", "/v1/responses",
         "{\"usage\":{\"input_tokens\":1,"
         "\"cost_in_usd_ticks\":700000015}}",
         70000002},
        {"api.perplexity.ai", "/chat/completions",
         "{\"usage\":{\"prompt_tokens\":1,\"cost\":"
         "{\"total_cost\":0.005}}}",
         5000000},
        {"api.openai.com", CHAT, "{\"usage\":{\"prompt_tokens\":1,\"cost\":9}}", 0},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct exchange exchange = ask_json(rows[i].host, rows[i].path, "{}");
        struct ns_wire_call *call = answer(&exchange, 200, rows[i].body, strlen(rows[i].body));
        REQUIRE(call != NULL);
        CHECK_INT(call->response.has_provider_cost, rows[i].nanousd != 0);
        CHECK_INT(call->response.provider_cost_nanousd, rows[i].nanousd);
        ns_wire_call_free(call);
        close_exchange(&exchange);
    }
}

TEST(iterations_are_summed_and_parted_by_model)
{
    const char *body =
        "{\"model\":\"a\",\"usage\":{\"input_tokens\":1,\"output_tokens\":9,"
        "\"output_tokens_details\":{\"thinking_tokens\":2},\"iterations\":["
        "{\"input_tokens\":10,\"output_tokens\":4},{\"model\":\"b\",\"input_tokens\":100,"
        "\"output_tokens\":7},{\"input_tokens\":20,\"output_tokens\":5}]}}";
    struct exchange exchange = ask_json("api.anthropic.com", "/v1/messages", "{}");
    struct ns_wire_call *call = answer(&exchange, 200, body, strlen(body));
    REQUIRE(call != NULL && call->part_count == 2);
    const struct meter sum[] = {
        {NS_METER_INPUT, 130}, {NS_METER_OUTPUT, 14}, {NS_METER_OUTPUT_REASONING, 2}};
    expect_meters(call, sum, 3);
    CHECK_STR(call->parts[0].model, "a");
    CHECK_INT(ns_usage_get(&call->parts[0].usage, NS_METER_INPUT), 30);
    CHECK_INT(ns_usage_get(&call->parts[0].usage, NS_METER_OUTPUT), 7);
    CHECK_STR(call->parts[1].model, "b");
    CHECK_INT(ns_usage_get(&call->parts[1].usage, NS_METER_INPUT), 100);
    ns_wire_call_free(call);
    close_exchange(&exchange);
}

TEST(the_members_of_a_listed_object_may_come_in_any_order)
{
    EXPECT(
        "generativelanguage.googleapis.com", "/v1beta/models/g:generateContent",
        "{\"usageMetadata\":{\"promptTokensDetails\":[{\"tokenCount\":30,\"modality\":\"AUDIO\"},"
        "{\"tokenCount\":60}],\"promptTokenCount\":90}}",
        {NS_METER_INPUT, 60}, {NS_METER_INPUT_AUDIO, 30});
    EXPECT("api.openai.com", "/v1/responses",
           "{\"output\":[{\"action\":{\"type\":\"open_page\"},\"type\":\"web_search_call\"},"
           "{\"type\":\"web_search_call\",\"action\":{\"type\":\"search\"}},"
           "{\"type\":\"web_search_call\",\"action\":{\"type\":\"find_in_page\"}},"
           "{\"type\":\"file_search_call\"}],\"usage\":{\"input_tokens\":1}}",
           {NS_METER_INPUT, 1}, {NS_METER_WEB_SEARCHES, 1}, {NS_METER_STORAGE_SEARCHES, 1});
}

TEST(what_each_model_of_a_compound_system_used_is_a_part)
{
#define COMPOUND_MODELS                                                                            \
    "{\"models\":[{\"model\":\"a\",\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":3}},"     \
    "{\"usage\":{\"completion_tokens\":5,\"prompt_tokens\":20},\"model\":\"b\"},"                  \
    "{\"model\":\"a\",\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":1}}]}"
    static const char *const bodies[] = {
        "{\"usage\":{\"prompt_tokens\":31,\"completion_tokens\":9,\"total_tokens\":40},"
        "\"usage_breakdown\":" COMPOUND_MODELS "}",
        "data: "
        "{\"choices\":[{\"finish_reason\":\"stop\"}],\"x_groq\":{\"usage_"
        "breakdown\":" COMPOUND_MODELS
        ",\"usage\":{\"prompt_tokens\":31,\"completion_tokens\":9}}}\n\n",
    };
    for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
        const struct meter sum[] = {{NS_METER_INPUT, 31}, {NS_METER_OUTPUT, 9}};
        struct exchange exchange = ask_json("api.groq.com", "/openai" CHAT, "{}");
        struct ns_wire_call *call = answer(&exchange, 200, bodies[i], strlen(bodies[i]));
        REQUIRE(call != NULL && call->part_count == 2);
        expect_meters(call, sum, 2);
        CHECK_STR(call->parts[0].model, "a");
        CHECK_INT(ns_usage_get(&call->parts[0].usage, NS_METER_INPUT), 11);
        CHECK_INT(ns_usage_get(&call->parts[0].usage, NS_METER_OUTPUT), 4);
        CHECK_STR(call->parts[1].model, "b");
        CHECK_INT(ns_usage_get(&call->parts[1].usage, NS_METER_INPUT), 20);
        CHECK_INT(ns_usage_get(&call->parts[1].usage, NS_METER_OUTPUT), 5);
        ns_wire_call_free(call);
        close_exchange(&exchange);
    }
}

TEST(parts_that_are_not_just_the_whole_are_not_believed)
{
    /* As a stream has been seen to say it: the whole once more for every model. */
    const char *body =
        "{\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":3},\"usage_breakdown\":"
        "{\"models\":[{\"model\":\"a\",\"usage\":{\"prompt_tokens\":10,"
        "\"completion_tokens\":3}},{\"model\":\"b\",\"usage\":{\"prompt_tokens\":10,"
        "\"completion_tokens\":3}}]}}";
    const struct meter whole[] = {{NS_METER_INPUT, 10}, {NS_METER_OUTPUT, 3}};
    struct exchange exchange = ask_json("api.groq.com", "/openai" CHAT, "{}");
    struct ns_wire_call *call = answer(&exchange, 200, body, strlen(body));
    REQUIRE(call != NULL);
    CHECK_INT(call->part_count, 0);
    expect_meters(call, whole, 2);
    ns_wire_call_free(call);
    close_exchange(&exchange);
}

/* --- evidence ------------------------------------------------------------------------------ */

static void
expect_evidence(const char *host, const char *path, int status, const char *body, size_t missing,
                enum ns_evidence evidence)
{
    struct exchange exchange = ask_json(host, path, "{\"stream\":true}");
    REQUIRE(exchange.call != NULL);
    struct ns_wire_call *call = answer(&exchange, status, body, strlen(body) - missing);
    REQUIRE(call != NULL);
    if (ns_wire_evidence(call) != evidence) {
        NS_FAIL("evidence is %s, not %s, %zu bytes short of: %s",
                ns_evidence_name(ns_wire_evidence(call)), ns_evidence_name(evidence), missing,
                body);
    }
    ns_wire_call_free(call);
    close_exchange(&exchange);
}

TEST(evidence_says_what_was_seen_of_an_answer)
{
#define TEXT_CHUNK "data: {\"choices\":[{\"delta\":{\"content\":\"hello\"}}]}\n\n"
#define FINISH_CHUNK "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"
#define USAGE_CHUNK "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3}}\n\n"
#define DONE "data: [DONE]\n\n"
    const char *openai = "api.openai.com";
    expect_evidence(openai, CHAT, 200, TEXT_CHUNK FINISH_CHUNK USAGE_CHUNK DONE, 0,
                    NS_EVIDENCE_REPORTED);
    expect_evidence(openai, CHAT, 200, TEXT_CHUNK FINISH_CHUNK USAGE_CHUNK DONE, 3,
                    NS_EVIDENCE_PARTIAL);
    expect_evidence(openai, CHAT, 200, TEXT_CHUNK FINISH_CHUNK USAGE_CHUNK DONE,
                    strlen(USAGE_CHUNK DONE), NS_EVIDENCE_COUNTED);
    expect_evidence(openai, CHAT, 200, TEXT_CHUNK FINISH_CHUNK DONE, 0, NS_EVIDENCE_COUNTED);
    expect_evidence(openai, CHAT, 200, TEXT_CHUNK, strlen(TEXT_CHUNK), NS_EVIDENCE_ESTIMATED);
    expect_evidence(openai, CHAT, 200, TEXT_CHUNK USAGE_CHUNK, 0, NS_EVIDENCE_PARTIAL);
    expect_evidence(
        openai, CHAT, 200,
        "data: {\"choices\":[{\"finish_reason\":\"\"}],\"usage\":{\"prompt_tokens\":3}}\n\n", 0,
        NS_EVIDENCE_PARTIAL);
    expect_evidence(openai, CHAT, 200, "{\"error\":\"\",\"choices\":[{\"message\":{}}]}", 0,
                    NS_EVIDENCE_ESTIMATED);
    expect_evidence(openai, "/v1/responses", 200,
                    "{\"output\":[{\"content\":[{\"text\":\"hello\"}],\"type\":\"message\"}]}", 0,
                    NS_EVIDENCE_COUNTED);
    expect_evidence(openai, "/v1/responses", 200,
                    "{\"output\":[{\"type\":\"function_call\",\"arguments\":\"{}\"}]}", 0,
                    NS_EVIDENCE_COUNTED);
    expect_evidence(openai, CHAT, 200, "data: {\"error\":{\"message\":\"x\"}}\n\n", 0,
                    NS_EVIDENCE_REPORTED);
    expect_evidence(openai, CHAT, 429, "{\"error\":{}}", 0, NS_EVIDENCE_REPORTED);
    expect_evidence(openai, CHAT, 200, "{\"usage\":{\"prompt_tokens\":3}}", 0,
                    NS_EVIDENCE_REPORTED);
    expect_evidence(openai, CHAT, 200, "{\"usage\":{\"prompt_tokens\":3}}", 1, NS_EVIDENCE_PARTIAL);
    expect_evidence(openai, CHAT, 200, "{\"choices\":[]}", 0, NS_EVIDENCE_ESTIMATED);
    expect_evidence(
        "api.anthropic.com", "/v1/messages", 200,
        "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"usage\":"
        "{\"input_tokens\":3,\"output_tokens\":1}}}\n\nevent: message_stop\n"
        "data: {\"type\":\"message_stop\"}\n\n",
        0, NS_EVIDENCE_REPORTED);
    expect_evidence(
        "api.anthropic.com", "/v1/messages", 200,
        "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"usage\":"
        "{\"input_tokens\":3,\"output_tokens\":1}}}\n\n",
        0, NS_EVIDENCE_PARTIAL);
    /* What broke off in the middle has told no final usage. */
    expect_evidence(
        "api.anthropic.com", "/v1/messages", 200,
        "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"usage\":"
        "{\"input_tokens\":3,\"output_tokens\":1}}}\n\nevent: error\n"
        "data: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\"}}\n\n",
        0, NS_EVIDENCE_PARTIAL);
    expect_evidence(
        "api.openai.com", "/v1/responses", 200,
        "data: {\"type\":\"response.failed\",\"response\":{\"status\":\"failed\",\"error\":{},"
        "\"usage\":{\"input_tokens\":3}}}\n\n",
        0, NS_EVIDENCE_REPORTED);
    /* Streams of lines: whole with the one that says so. */
    expect_evidence("ollama.com", "/api/chat", 200,
                    "{\"message\":{\"content\":\"hi\"},\"done\":false}\n"
                    "{\"done\":true,\"prompt_eval_count\":3,\"eval_count\":1}\n",
                    0, NS_EVIDENCE_REPORTED);
    expect_evidence("ollama.com", "/api/chat", 200,
                    "{\"message\":{\"content\":\"hi\"},\"eval_count\":1,\"done\":false}\n", 0,
                    NS_EVIDENCE_PARTIAL);
    expect_evidence("api.cohere.com", "/v1/chat", 200, "{\"is_finished\":false,\"text\":\"hi\"}\n",
                    0, NS_EVIDENCE_COUNTED);
    expect_evidence("generativelanguage.googleapis.com", "/v1beta/models/g:streamGenerateContent",
                    200,
                    "[{\"usageMetadata\":{\"promptTokenCount\":3}},\n"
                    "{\"candidates\":[{\"finishReason\":\"STOP\"}]}]",
                    0, NS_EVIDENCE_REPORTED);
    expect_evidence("generativelanguage.googleapis.com", "/v1beta/models/g:streamGenerateContent",
                    200,
                    "[{\"usageMetadata\":{\"promptTokenCount\":3}},\n"
                    "{\"candidates\":[{\"finishReason\":\"STOP\"}]}]",
                    5, NS_EVIDENCE_PARTIAL);
}

/* Clients close at [DONE] and message_stop, and never read the chunk that ends the message. */
TEST(text_that_came_after_the_usage_is_known_and_so_is_the_usage_amid_a_stream)
{
#define FRAME(body) "HTTP/1.1 200 X\r\n\r\n" body
    static const struct {
        const char *host, *path, *answer;
        uint64_t text_bytes, input, output;
    } rows[] = {
        {"api.anthropic.com", "/v1/messages",
         FRAME("data: {\"message\":{\"usage\":{\"input_tokens\":9,\"output_tokens\":1}}}\n\n"
               "data: {\"delta\":{\"text\":\"hello\"}}\n\n"),
         5, 9, 1},
        {"api.anthropic.com", "/v1/messages",
         FRAME("data: {\"message\":{\"usage\":{\"input_tokens\":9,\"output_tokens\":1}}}\n\n"
               "data: {\"delta\":{\"text\":\"hello\"}}\n\ndata: "
               "{\"usage\":{\"output_tokens\":4}}\n\n"),
         0, 9, 4},
        {"generativelanguage.googleapis.com", "/v1beta/models/g:streamGenerateContent?alt=sse",
         FRAME("data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"hello\"}]}}],"
               "\"usageMetadata\":{\"promptTokenCount\":9}}\n\n"),
         5, 9, 0},
        {"generativelanguage.googleapis.com", "/v1beta/models/g:streamGenerateContent",
         FRAME("[{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"hello\"}]}}],"
               "\"usageMetadata\":{\"promptTokenCount\":9,\"candidatesTokenCount\":4}},\n"),
         0, 9, 4},
        {"api.openai.com", CHAT, FRAME(TEXT_CHUNK TEXT_CHUNK), 10, 0, 0},
        {"api.openai.com", CHAT,
         FRAME(TEXT_CHUNK "data: {\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":2}}\n\n"), 0,
         9, 2},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct exchange exchange = ask_json(rows[i].host, rows[i].path, "{}");
        struct ns_wire_read read;
        (void)ns_wire_read(exchange.wire, (const uint8_t *)rows[i].answer, 18, &read);
        (void)ns_wire_read(exchange.wire, (const uint8_t *)rows[i].answer + 18,
                           strlen(rows[i].answer) - 18, &read);
        const struct ns_wire_call *call = ns_wire_current(exchange.wire);
        REQUIRE(call != NULL);
        CHECK_INT(call->response.text_bytes, rows[i].text_bytes);
        CHECK_INT(ns_usage_get(&call->response.usage, NS_METER_INPUT), rows[i].input);
        CHECK_INT(ns_usage_get(&call->response.usage, NS_METER_OUTPUT), rows[i].output);
        close_exchange(&exchange);
    }
}

TEST(a_stream_left_after_its_last_event_is_complete)
{
    expect_evidence("api.openai.com", CHAT, 200, FINISH_CHUNK USAGE_CHUNK DONE "\n", 1,
                    NS_EVIDENCE_REPORTED);
    expect_evidence("api.openai.com", CHAT, 200, FINISH_CHUNK USAGE_CHUNK "\n", 1,
                    NS_EVIDENCE_PARTIAL);
    expect_evidence(
        "api.anthropic.com", "/v1/messages", 200,
        "data: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":3}}}\n\n"
        "data: {\"type\":\"message_stop\"}\n\n\n",
        1, NS_EVIDENCE_REPORTED);
}

TEST(an_error_within_a_stream_is_seen)
{
    static const struct {
        const char *host, *path, *body;
    } rows[] = {
        {"api.openai.com", CHAT, TEXT_CHUNK "data: {\"error\":{\"message\":\"x\"}}\n\n"},
        {"api.openai.com", "/v1/responses",
         "data: {\"type\":\"response.failed\",\"response\":"
         "{\"status\":\"failed\"}}\n\n"},
        {"api.anthropic.com", "/v1/messages", "data: {\"type\":\"error\",\"error\":{}}\n\n"},
        {"generativelanguage.googleapis.com", "/v1beta/models/g:streamGenerateContent",
         "[{\"error\":{\"code\":500}}]"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct exchange exchange = ask_json(rows[i].host, rows[i].path, "{}");
        struct ns_wire_call *call = answer(&exchange, 200, rows[i].body, strlen(rows[i].body));
        REQUIRE(call != NULL);
        CHECK(call->response.error);
        ns_wire_call_free(call);
        close_exchange(&exchange);
    }
}

TEST(the_date_of_an_answer_is_read)
{
    struct exchange exchange = ask_json("api.openai.com", CHAT, "{}");
    struct ns_wire_read read;
    const char *text = "HTTP/1.1 204 X\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n";
    (void)ns_wire_read(exchange.wire, (const uint8_t *)text, strlen(text), &read);
    REQUIRE(read.call != NULL);
    CHECK_INT(read.call->response.date_unix_s, 784111777);
    ns_wire_call_free(read.call);
    close_exchange(&exchange);
}

TEST(an_answer_that_is_no_json_is_unreadable_and_stays_in_step)
{
    struct exchange exchange = ask_json("api.openai.com", CHAT, "{}");
    struct ns_wire_call *call = answer(&exchange, 200, "{\"usage\":{oops", 14);
    REQUIRE(call != NULL);
    CHECK(call->response.unreadable && !call->response.has_usage && !call->response.complete);
    CHECK_INT(ns_wire_outstanding(exchange.wire), 0);
    CHECK(!ns_wire_is_opaque(exchange.wire));
    ns_wire_call_free(call);
    close_exchange(&exchange);
}
