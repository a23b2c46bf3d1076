// SPDX-License-Identifier: Apache-2.0
//! Unmodified Rust clients whose TLS is native-tls and so OpenSSL, driven line by line.
//!
//! usage: client NAME    (NAME as in `make`; --list prints them)
//!
//! Speaks as tests/lib/matrix.py says: for each line on standard input one call on the same client; one
//! JSON object a call: {"ok": text} or {"error": type, "status": N, "code": …, "message": …}.
use async_openai::error::OpenAIError;
use async_openai::types::chat::{CreateChatCompletionRequest, CreateChatCompletionRequestArgs};
use async_openai::types::chat::{ChatCompletionRequestUserMessageArgs, ChatCompletionStreamOptions};
use futures::future::LocalBoxFuture;
use futures::{FutureExt, StreamExt};
use serde_json::{json, Value};
use std::io::{BufRead, Write};

const URL: &str = "https://api.openai.com/v1/chat/completions";
fn replay() -> String {
    std::env::var("REPLAY").unwrap_or_default()
}

const MODEL: &str = "gpt-4o-mini";
const QUESTION: &str = "What is a margin?";

/// What the program sees where a call fails.
struct Failure {
    kind: &'static str,
    status: Option<u16>,
    code: Option<String>,
    message: String,
}

type Outcome = Result<String, Failure>;
type Call = Box<dyn FnMut() -> LocalBoxFuture<'static, Outcome>>;

fn body(stream: bool) -> String {
    let mut body = json!({"model": MODEL, "max_tokens": 100,
                          "messages": [{"role": "user", "content": QUESTION}]});
    if stream {
        body["stream"] = Value::Bool(true);
        body["stream_options"] = json!({"include_usage": true});
    }
    body.to_string()
}

fn checked(status: u16, text: String) -> Outcome {
    if status < 400 {
        return Ok(text);
    }
    Err(Failure { kind: "status", status: Some(status), code: None, message: text })
}

fn broken(kind: &'static str, error: &dyn std::error::Error) -> Failure {
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        message = format!("{message}: {inner}");
        cause = inner.source();
    }
    Failure { kind, status: None, code: None, message }
}

/// Both majors of reqwest have the same names.
macro_rules! reqwest_client {
    ($name:ident, $version:ident, $kind:literal) => {
        fn $name(http1: bool, stream: bool) -> Call {
            let builder = $version::Client::builder();
            let builder = if http1 { builder.http1_only() } else { builder };
            let client = builder.build().expect("a client");
            Box::new(move || {
                let asked = client
                    .post(URL)
                    .header("content-type", "application/json")
                    .header("authorization", "Bearer sk-test-rust-1234")
                    .header("x-replay", replay())
                    .body(body(stream));
                async move {
                    let answer = asked.send().await.map_err(|e| broken($kind, &e))?;
                    let status = answer.status().as_u16();
                    let text = answer.text().await.map_err(|e| broken($kind, &e))?;
                    checked(status, text)
                }
                .boxed_local()
            })
        }
    };
}

reqwest_client!(reqwest_client, reqwest, "reqwest::Error");
reqwest_client!(reqwest_before_client, reqwest_before, "reqwest::Error");

/// The text of a stream as it comes, chunk by chunk.
fn reqwest_chunks() -> Call {
    let client = reqwest::Client::builder().http1_only().build().expect("a client");
    Box::new(move || {
        let asked = client
            .post(URL)
            .header("content-type", "application/json")
            .header("x-replay", replay())
            .body(body(true));
        async move {
            let answer = asked.send().await.map_err(|e| broken("reqwest::Error", &e))?;
            let status = answer.status().as_u16();
            let mut stream = answer.bytes_stream();
            let mut text = Vec::new();
            while let Some(piece) = stream.next().await {
                text.extend_from_slice(&piece.map_err(|e| broken("reqwest::Error", &e))?);
            }
            checked(status, String::from_utf8_lossy(&text).into_owned())
        }
        .boxed_local()
    })
}

fn blocking() -> Call {
    let client = reqwest::blocking::Client::builder().http1_only().build().expect("a client");
    Box::new(move || {
        let made = client
            .post(URL)
            .header("content-type", "application/json")
            .header("x-replay", replay())
            .body(body(false))
            .send()
            .and_then(|answer| Ok((answer.status().as_u16(), answer.text()?)));
        let outcome = match made {
            Ok((status, text)) => checked(status, text),
            Err(error) => Err(broken("reqwest::Error", &error)),
        };
        async move { outcome }.boxed_local()
    })
}

fn describe(error: OpenAIError) -> Failure {
    match error {
        OpenAIError::ApiError(answer) => Failure {
            kind: "OpenAIError::ApiError",
            status: Some(answer.status_code.as_u16()),
            code: answer.api_error.code.clone(),
            message: answer.api_error.message.clone(),
        },
        OpenAIError::Reqwest(error) => broken("OpenAIError::Reqwest", &error),
        OpenAIError::JSONDeserialize(error, _) => broken("OpenAIError::JSONDeserialize", &error),
        OpenAIError::StreamError(error) => broken("OpenAIError::StreamError", &error),
        other => broken("OpenAIError", &other),
    }
}

fn chat(stream: bool) -> CreateChatCompletionRequest {
    let question = ChatCompletionRequestUserMessageArgs::default()
        .content(QUESTION)
        .build()
        .expect("a message");
    let mut request = CreateChatCompletionRequestArgs::default();
    request.model(MODEL).max_completion_tokens(100u32).messages([question.into()]);
    if stream {
        request.stream_options(ChatCompletionStreamOptions {
            include_usage: Some(true),
            include_obfuscation: None,
        });
    }
    request.build().expect("a request")
}

fn async_openai(stream: bool) -> Call {
    let config = async_openai::config::OpenAIConfig::new()
        .with_header("x-replay", replay())
        .expect("a header");
    let client = async_openai::Client::with_config(config);
    Box::new(move || {
        let client = client.clone();
        async move {
            if !stream {
                let answer = client.chat().create(chat(false)).await.map_err(describe)?;
                return Ok(answer.choices[0].message.content.clone().unwrap_or_default());
            }
            let mut chunks = client.chat().create_stream(chat(true)).await.map_err(describe)?;
            let mut text = String::new();
            while let Some(chunk) = chunks.next().await {
                for choice in chunk.map_err(describe)?.choices {
                    text += &choice.delta.content.unwrap_or_default();
                }
            }
            Ok(text)
        }
        .boxed_local()
    })
}

const NAMES: [&str; 10] = [
    "reqwest", "reqwest-stream", "reqwest-chunks", "reqwest-blocking", "reqwest-h2",
    "reqwest-h2-stream", "reqwest-before", "reqwest-before-h2-stream", "async-openai",
    "async-openai-stream",
];

fn make(name: &str) -> Call {
    match name {
        "reqwest" => reqwest_client(true, false),
        "reqwest-stream" => reqwest_client(true, true),
        "reqwest-chunks" => reqwest_chunks(),
        "reqwest-blocking" => blocking(),
        "reqwest-h2" => reqwest_client(false, false),
        "reqwest-h2-stream" => reqwest_client(false, true),
        "reqwest-before" => reqwest_before_client(true, false),
        "reqwest-before-h2-stream" => reqwest_before_client(false, true),
        "async-openai" => async_openai(false),
        "async-openai-stream" => async_openai(true),
        _ => panic!("no client {name}"),
    }
}

fn tell(outcome: Outcome) {
    let line = match outcome {
        Ok(text) => json!({ "ok": text }),
        Err(failure) => json!({"error": failure.kind, "status": failure.status,
                               "code": failure.code, "message": failure.message}),
    };
    println!("{line}");
    std::io::stdout().flush().expect("standard output");
}

fn main() {
    let name = std::env::args().nth(1).expect("a name");
    if name == "--list" {
        println!("{}", NAMES.join("\n"));
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("tokio");
    /* The blocking client has a thread and a runtime of its own, and allows none around it. */
    let outside = name == "reqwest-blocking";
    let mut call = if outside { make(&name) } else { runtime.block_on(async { make(&name) }) };
    for line in std::io::stdin().lock().lines() {
        line.expect("a line");
        let outcome = if outside {
            call().now_or_never().expect("an outcome")
        } else {
            runtime.block_on(call())
        };
        tell(outcome);
    }
}
