# SPDX-License-Identifier: Apache-2.0
# Common HTTP clients of Ruby, unmodified, driven line by line as tests/lib/matrix.py says.
#
# usage: ruby client.rb NAME    (NAME as in CLIENTS; --list prints them)
require "json"

URL = "https://api.openai.com/v1/chat/completions"
HOST = "api.openai.com"
PATH = "/v1/chat/completions"
MODEL = { model: "gpt-4o-mini", max_tokens: 100,
          messages: [{ role: "user", content: "What is a margin?" }] }.freeze
BODY = JSON.generate(MODEL)
STREAM = JSON.generate(MODEL.merge(stream: true, stream_options: { include_usage: true }))
HEADERS = { "Content-Type" => "application/json", "X-Replay" => ENV.fetch("REPLAY", ""),
            "Authorization" => "Bearer sk-test-ruby-1234" }.freeze
CA = ENV["SSL_CERT_FILE"]

# A status that is an error, for clients that raise none.
class HttpError < StandardError
  attr_reader :status

  def initialize(status, body)
    super(body)
    @status = status
  end
end

def checked(status, body)
  raise HttpError.new(status.to_i, body) if status.to_i >= 400

  body
end

def net_http(body)
  require "net/http"
  http = Net::HTTP.new(HOST, 443)
  http.use_ssl = true
  http.keep_alive_timeout = 60
  lambda do
    http.start unless http.started?
    yield http, Net::HTTP::Post.new(PATH, HEADERS).tap { |request| request.body = body }
  end
end

CLIENTS = {
  "net-http" => lambda do
    net_http(BODY) do |http, request|
      answer = http.request(request)
      checked(answer.code, answer.body)
    end
  end,
  "net-http-stream" => lambda do
    net_http(STREAM) do |http, request|
      text = +""
      answer = http.request(request) { |coming| coming.read_body { |piece| text << piece } }
      checked(answer.code, text)
    end
  end,
  "faraday" => lambda do
    require "faraday"
    connection = Faraday.new { |made| made.use Faraday::Response::RaiseError }
    -> { connection.post(URL, BODY, HEADERS).body }
  end,
  "httpclient" => lambda do
    require "httpclient"
    client = HTTPClient.new
    client.ssl_config.set_trust_ca(CA)
    lambda do
      answer = client.post(URL, BODY, HEADERS)
      checked(answer.status, answer.body)
    end
  end,
  "httpclient-stream" => lambda do
    require "httpclient"
    client = HTTPClient.new
    client.ssl_config.set_trust_ca(CA)
    lambda do
      text = +""
      answer = client.post(URL, STREAM, HEADERS) { |piece| text << piece }
      checked(answer.status, text)
    end
  end,
  "http-rb" => lambda do
    require "http"
    client = HTTP.persistent("https://#{HOST}")
    lambda do
      answer = client.post(PATH, body: BODY, headers: HEADERS)
      checked(answer.code, answer.to_s)
    end
  end,
  "http-rb-stream" => lambda do
    require "http"
    client = HTTP.persistent("https://#{HOST}")
    lambda do
      answer = client.post(PATH, body: STREAM, headers: HEADERS)
      text = +""
      answer.body.each { |piece| text << piece }
      checked(answer.code, text)
    end
  end,
  "excon" => lambda do
    require "excon"
    client = Excon.new("https://#{HOST}", persistent: true)
    -> { client.post(path: PATH, body: BODY, headers: HEADERS, expects: [200]).body }
  end,
  "typhoeus" => lambda do
    require "typhoeus"
    lambda do
      answer = Typhoeus.post(URL, body: BODY, headers: HEADERS, http_version: :httpv1_1,
                                  cainfo: CA)
      checked(answer.code, answer.body)
    end
  end,
  "typhoeus-h2" => lambda do
    require "typhoeus"
    lambda do
      answer = Typhoeus.post(URL, body: BODY, headers: HEADERS, http_version: :httpv2_0,
                                  cainfo: CA)
      checked(answer.code, answer.body)
    end
  end
}.freeze

def describe(error)
  response = error.respond_to?(:response) ? error.response : nil
  status = error.respond_to?(:status) ? error.status : nil
  status ||= response.is_a?(Hash) ? response[:status] : response&.status
  body = response.is_a?(Hash) ? response[:body] : response&.body
  { error: error.class.name, status: status, code: nil, message: [error.message, body].join(" ") }
end

if ARGV[0] == "--list"
  puts CLIENTS.keys
  exit
end
call = CLIENTS.fetch(ARGV[0]).call
$stdin.each_line do
  result = begin
    { ok: call.call.force_encoding("UTF-8") }
  rescue StandardError => e
    describe(e)
  end
  puts JSON.generate(result)
  $stdout.flush
end
