/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libcurl's multi interface, driven line by line as tests/lib/matrix.py says.
 *
 * usage: multi NAME    h1, h1-stream, h2, h2-stream
 *
 * Each line is one call, and beside it, at the same time, NEIGHBOURS requests that cost nothing: by
 * HTTP/1.1 on connections of their own, by HTTP/2 as streams of the same one. They must succeed
 * whatever becomes of the call.
 */
#include <curl/curl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NEIGHBOURS 2
#define TRANSFERS (NEIGHBOURS + 1)
#define ORIGIN "https://api.openai.com"
#define MODEL "\"model\":\"gpt-4o-mini\",\"max_tokens\":100,"
#define QUESTION "\"messages\":[{\"role\":\"user\",\"content\":\"What is a margin?\"}]"
#define STREAMED ",\"stream\":true,\"stream_options\":{\"include_usage\":true}"

static bool http2, streams;

struct transfer {
    CURL *easy;
    char *text;
    size_t bytes;
    CURLcode result;
    long status;
};

static size_t
take(char *data, size_t size, size_t count, void *context)
{
    struct transfer *transfer = context;
    char *grown = realloc(transfer->text, transfer->bytes + size * count + 1);
    if (grown == NULL) {
        return 0;
    }
    memcpy(grown + transfer->bytes, data, size * count);
    transfer->text = grown;
    transfer->bytes += size * count;
    transfer->text[transfer->bytes] = '\0';
    return size * count;
}

static void
begin(CURLM *multi, struct transfer *transfer, struct curl_slist *headers, bool call)
{
    *transfer = (struct transfer){.easy = curl_easy_init(), .result = CURLE_FAILED_INIT};
    CURL *easy = transfer->easy;
    curl_easy_setopt(easy, CURLOPT_URL, call ? ORIGIN "/v1/chat/completions" : ORIGIN "/v1/models");
    curl_easy_setopt(easy, CURLOPT_CAINFO, getenv("SSL_CERT_FILE"));
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION,
                     http2 ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_PIPEWAIT, 1L);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, transfer);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, transfer);
    if (call) {
        curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
        curl_easy_setopt(easy, CURLOPT_POSTFIELDS,
                         streams ? "{" MODEL QUESTION STREAMED "}" : "{" MODEL QUESTION "}");
    }
    curl_multi_add_handle(multi, easy);
}

static void
run(CURLM *multi)
{
    int running = 0;
    while (curl_multi_perform(multi, &running) == CURLM_OK && running > 0) {
        curl_multi_poll(multi, NULL, 0, 1000, NULL);
    }
    int left = 0;
    for (CURLMsg *told = NULL; (told = curl_multi_info_read(multi, &left)) != NULL;) {
        struct transfer *transfer = NULL;
        curl_easy_getinfo(told->easy_handle, CURLINFO_PRIVATE, (char **)&transfer);
        transfer->result = told->data.result;
        curl_easy_getinfo(told->easy_handle, CURLINFO_RESPONSE_CODE, &transfer->status);
    }
}

static void
say_text(const char *text)
{
    for (; *text != '\0'; text++) {
        unsigned char byte = (unsigned char)*text;
        if (byte < ' ' || byte == '"' || byte == '\\') {
            printf("\\u%04x", byte);
        } else {
            putchar(byte);
        }
    }
}

static void
say(const struct transfer *call, bool neighbours)
{
    const char *text = call->text == NULL ? "" : call->text;
    if (!neighbours) {
        printf("{\"error\":\"a neighbour failed\",\"status\":null,\"message\":\"\"}\n");
    } else if (call->result != CURLE_OK) {
        printf("{\"error\":\"curl %d\",\"status\":null,\"message\":\"", call->result);
        say_text(curl_easy_strerror(call->result));
        printf("\"}\n");
    } else if (call->status >= 400) {
        printf("{\"error\":\"status\",\"status\":%ld,\"message\":\"", call->status);
        say_text(text);
        printf("\"}\n");
    } else {
        printf("{\"ok\":\"");
        say_text(text);
        printf("\"}\n");
    }
    fflush(stdout);
}

static void
one_call(CURLM *multi, struct curl_slist *headers)
{
    struct transfer transfers[TRANSFERS];
    for (int i = 0; i < TRANSFERS; i++) {
        begin(multi, &transfers[i], headers, i == 0);
    }
    run(multi);
    bool neighbours = true;
    for (int i = 1; i < TRANSFERS; i++) {
        neighbours = neighbours && transfers[i].result == CURLE_OK && transfers[i].status == 200;
    }
    say(&transfers[0], neighbours);
    for (int i = 0; i < TRANSFERS; i++) {
        curl_multi_remove_handle(multi, transfers[i].easy);
        curl_easy_cleanup(transfers[i].easy);
        free(transfers[i].text);
    }
}

int
main(int count, char **words)
{
    if (count != 2) {
        fprintf(stderr, "usage: multi h1|h1-stream|h2|h2-stream\n");
        return 2;
    }
    http2 = strncmp(words[1], "h2", 2) == 0;
    streams = strstr(words[1], "-stream") != NULL;
    const char *asked = getenv("REPLAY");
    char replay[256];
    snprintf(replay, sizeof replay, "X-Replay: %s", asked == NULL ? "" : asked);
    curl_global_init(CURL_GLOBAL_DEFAULT);
    struct curl_slist *headers = curl_slist_append(NULL, replay);
    headers = curl_slist_append(headers, "Content-Type: application/json");
    CURLM *multi = curl_multi_init();
    for (int byte = 0; (byte = getchar()) != EOF;) {
        if (byte == '\n') {
            one_call(multi, headers);
        }
    }
    curl_multi_cleanup(multi);
    curl_slist_free_all(headers);
    curl_global_cleanup();
    return 0;
}
