<?php
// SPDX-License-Identifier: Apache-2.0
/*
 * Common HTTP clients of PHP, unmodified, driven line by line as tests/lib/matrix.py says.
 *
 * usage: php client.php NAME    (NAME as in $clients; --list prints them)
 */
const HOST = "https://api.openai.com";
const PATH = "/v1/chat/completions";
const URL = HOST . PATH;
const ASKED = ["model" => "gpt-4o-mini", "max_tokens" => 100,
    "messages" => [["role" => "user", "content" => "What is a margin?"]]];

$body = json_encode(ASKED);
$stream = json_encode(ASKED + ["stream" => true, "stream_options" => ["include_usage" => true]]);
$headers = ["Content-Type" => "application/json", "X-Replay" => (string) getenv("REPLAY"),
    "Authorization" => "Bearer sk-test-php-1234"];
$lines = array_map(fn ($name, $value) => "$name: $value", array_keys($headers), $headers);

/* A status that is an error, for clients that throw none. */
class HttpError extends Exception
{
}

function checked(int $status, string $body): string
{
    if ($status >= 400) {
        throw new HttpError($body, $status);
    }
    return $body;
}

function curl_client(string $body, int $version): Closure
{
    global $lines;
    $curl = curl_init(URL);
    curl_setopt_array($curl, [CURLOPT_POSTFIELDS => $body, CURLOPT_HTTPHEADER => $lines,
        CURLOPT_HTTP_VERSION => $version, CURLOPT_CAINFO => getenv("SSL_CERT_FILE")]);
    return function () use ($curl) {
        $text = "";
        curl_setopt($curl, CURLOPT_WRITEFUNCTION, function ($curl, $piece) use (&$text) {
            $text .= $piece;
            return strlen($piece);
        });
        if (!curl_exec($curl)) {
            throw new Exception(curl_error($curl));
        }
        return checked(curl_getinfo($curl, CURLINFO_RESPONSE_CODE), $text);
    };
}

function curl_multi_client(string $body, int $version): Closure
{
    global $lines;
    $multi = curl_multi_init();
    return function () use ($multi, $body, $version, $lines) {
        $curl = curl_init(URL);
        curl_setopt_array($curl, [CURLOPT_POSTFIELDS => $body, CURLOPT_HTTPHEADER => $lines,
            CURLOPT_RETURNTRANSFER => true, CURLOPT_HTTP_VERSION => $version,
            CURLOPT_CAINFO => getenv("SSL_CERT_FILE")]);
        curl_multi_add_handle($multi, $curl);
        do {
            curl_multi_exec($multi, $running);
            curl_multi_select($multi);
        } while ($running);
        $told = curl_multi_info_read($multi);
        $text = curl_multi_getcontent($curl);
        $status = curl_getinfo($curl, CURLINFO_RESPONSE_CODE);
        curl_multi_remove_handle($multi, $curl);
        if ($told["result"] !== CURLE_OK) {
            throw new Exception(curl_strerror($told["result"]));
        }
        return checked($status, $text);
    };
}

function file_client(string $body): Closure
{
    global $lines;
    $context = stream_context_create(["http" => ["method" => "POST", "header" => $lines,
        "content" => $body, "ignore_errors" => true, "protocol_version" => 1.1]]);
    return function () use ($context) {
        $text = file_get_contents(URL, false, $context);
        if ($text === false) {
            throw new Exception(error_get_last()["message"]);
        }
        return checked((int) explode(" ", $http_response_header[0])[1], $text);
    };
}

/* Reads line by line from a stream of PHP's own, as a program does that shows a stream. */
function fopen_client(string $body): Closure
{
    global $lines;
    $context = stream_context_create(["http" => ["method" => "POST", "header" => $lines,
        "content" => $body, "ignore_errors" => true, "protocol_version" => 1.1]]);
    return function () use ($context) {
        $stream = fopen(URL, "r", false, $context);
        $text = "";
        while (($line = fgets($stream)) !== false) {
            $text .= $line;
        }
        $status = explode(" ", stream_get_meta_data($stream)["wrapper_data"][0])[1];
        fclose($stream);
        return checked((int) $status, $text);
    };
}

function guzzle_client(string $body, string $handler, float $version, bool $stream = false): Closure
{
    global $headers;
    require_once "GuzzleHttp/autoload.php";
    $made = $handler === "curl" ? new GuzzleHttp\Handler\CurlHandler()
        : new GuzzleHttp\Handler\StreamHandler();
    $client = new GuzzleHttp\Client(["handler" => GuzzleHttp\HandlerStack::create($made)]);
    return function () use ($client, $body, $headers, $version, $stream) {
        $answer = $client->post(URL, ["body" => $body, "headers" => $headers, "stream" => $stream,
            "version" => $version, "verify" => getenv("SSL_CERT_FILE")]);
        return $answer->getBody()->getContents();
    };
}

function symfony_client(string $body, string $class, string $version): Closure
{
    global $headers;
    require_once "Symfony/Component/HttpClient/autoload.php";
    $class = "Symfony\\Component\\HttpClient\\" . $class;
    $client = new $class(["cafile" => getenv("SSL_CERT_FILE")]);
    return function () use ($client, $body, $headers, $version) {
        $answer = $client->request("POST", URL, ["headers" => $headers, "body" => $body,
            "http_version" => $version]);
        $text = "";
        foreach ($client->stream($answer) as $chunk) {
            $text .= $chunk->getContent();
        }
        return checked($answer->getStatusCode(), $text);
    };
}

$clients = [
    "php-curl" => fn () => curl_client($body, CURL_HTTP_VERSION_1_1),
    "php-curl-stream" => fn () => curl_client($stream, CURL_HTTP_VERSION_1_1),
    "php-curl-h2" => fn () => curl_client($body, CURL_HTTP_VERSION_2TLS),
    "php-curl-h2-stream" => fn () => curl_client($stream, CURL_HTTP_VERSION_2TLS),
    "php-curl-multi" => fn () => curl_multi_client($body, CURL_HTTP_VERSION_1_1),
    "php-curl-multi-h2" => fn () => curl_multi_client($body, CURL_HTTP_VERSION_2TLS),
    "php-streams" => fn () => file_client($body),
    "php-streams-stream" => fn () => fopen_client($stream),
    "guzzle-curl" => fn () => guzzle_client($body, "curl", 1.1),
    "guzzle-curl-h2" => fn () => guzzle_client($body, "curl", 2.0),
    "guzzle-streams" => fn () => guzzle_client($body, "streams", 1.1),
    "guzzle-streams-stream" => fn () => guzzle_client($stream, "streams", 1.1, true),
    "symfony-curl" => fn () => symfony_client($body, "CurlHttpClient", "1.1"),
    "symfony-curl-h2-stream" => fn () => symfony_client($stream, "CurlHttpClient", "2.0"),
    "symfony-native" => fn () => symfony_client($body, "NativeHttpClient", "1.1"),
];

if ($argv[1] === "--list") {
    echo implode("\n", array_keys($clients)), "\n";
    exit;
}
/* The exceptions of libraries keep the answer, which says why. */
function text_of(Throwable $error): string
{
    if ($error instanceof GuzzleHttp\Exception\RequestException && $error->hasResponse()) {
        return $error->getMessage() . " " . $error->getResponse()->getBody()->getContents();
    }
    if ($error instanceof Symfony\Component\HttpClient\Exception\ClientException) {
        return $error->getMessage() . " " . $error->getResponse()->getContent(false);
    }
    return $error->getMessage();
}

$call = $clients[$argv[1]]();
while (fgets(STDIN) !== false) {
    try {
        $result = ["ok" => $call()];
    } catch (Throwable $error) {
        $result = ["error" => get_class($error), "status" => $error->getCode() ?: null,
            "code" => null, "message" => text_of($error)];
    }
    echo json_encode($result), "\n";
}
