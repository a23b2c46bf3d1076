// SPDX-License-Identifier: Apache-2.0
/*
 * Unmodified clients of the providers under Node, driven line by line.
 *
 * usage: node client.mjs NAME    (NAME as in `clients` below; --list prints them)
 *
 * Speaks as tests/lib/matrix.py says: for each line on standard input one call, on the same client and so,
 * where the client keeps connections, on the same connection; one JSON object a call on standard
 * output: {"ok": text} or {"error": class, "status": N, "code": …, "message": …}. The packages are
 * those of the directory in which this file stands when it runs.
 */
import readline from "node:readline";

const REPLAY = { "X-Replay": process.env.REPLAY ?? "" };
const QUESTION = "What is a margin?";
const MESSAGES = [{ role: "user", content: QUESTION }];
const OPENAI = { model: "gpt-4o-mini", max_tokens: 100, messages: MESSAGES };
const OPENAI_STREAM = { ...OPENAI, stream: true, stream_options: { include_usage: true } };
const ANTHROPIC = { model: "claude-sonnet-4-5", max_tokens: 100, messages: MESSAGES };
const GEMINI_MODEL = "gemini-2.5-flash";
const GEMINI = { model: GEMINI_MODEL, contents: QUESTION, config: { maxOutputTokens: 100 } };
const GEMINI_KEY = "AIza-test-key";
const NOVA = { modelId: "amazon.nova-lite-v1:0", inferenceConfig: { maxTokens: 100 },
    messages: [{ role: "user", content: [{ text: QUESTION }] }] };
const NOVA_BODY = { modelId: NOVA.modelId, contentType: "application/json",
    body: JSON.stringify({ messages: NOVA.messages, inferenceConfig: { max_new_tokens: 100 } }) };
const OLLAMA = { model: "gpt-oss:120b", messages: MESSAGES, options: { num_predict: 100 } };
const OPENAI_ORIGIN = "https://api.openai.com";
const OPENAI_PATH = "/v1/chat/completions";
const PLAIN_HEADERS = {
    ...REPLAY,
    "Content-Type": "application/json",
    Authorization: "Bearer sk-test-node-1234",
};

/* A status that is an error, for clients that raise none. */
class HttpError extends Error {
    constructor(status, body) {
        super(body);
        this.status = status;
    }
}

function checked(status, body) {
    if (status >= 400) {
        throw new HttpError(status, body);
    }
    return body;
}

async function joined(stream, text) {
    let all = "";
    for await (const piece of stream) {
        all += text(piece) ?? "";
    }
    return all;
}

// --- official SDKs

async function openai() {
    const { default: OpenAI } = await import("openai");
    return new OpenAI({ defaultHeaders: REPLAY });
}

async function anthropic() {
    const { default: Anthropic } = await import("@anthropic-ai/sdk");
    return new Anthropic({ defaultHeaders: REPLAY });
}

async function genai() {
    const { GoogleGenAI } = await import("@google/genai");
    return new GoogleGenAI({ apiKey: GEMINI_KEY, httpOptions: { headers: REPLAY } });
}

async function ollama() {
    const { Ollama } = await import("ollama");
    return new Ollama({ host: "https://ollama.com", headers: REPLAY });
}

// --- AWS: each returns the answer to an operation

const AWS = { region: "us-east-1",
    credentials: { accessKeyId: "AKIATESTTESTTESTTEST", secretAccessKey: "secret" } };

async function aws(operation, input, more = {}) {
    const module = await import("@aws-sdk/client-bedrock-runtime");
    const sdk = new module.BedrockRuntimeClient({ ...AWS, ...more });
    sdk.middlewareStack.add((next) => (args) => {
        Object.assign(args.request.headers, REPLAY);
        return next(args);
    }, { step: "build" });
    return () => sdk.send(new module[`${operation}Command`](input));
}

/* Left alone, it makes a connection for each call, and for each stream in any case. */
const AWS_KEPT = { requestHandler: { disableConcurrentStreams: false } };

async function aws1(operation, input) {
    const { NodeHttpHandler } = await import("@smithy/node-http-handler");
    return aws(operation, input, { requestHandler: new NodeHttpHandler() });
}

/* Version 2 of the same; it makes nothing of the events of Bedrock's streams, governed or not. */
async function aws2(operation, input) {
    const { default: module } = await import("aws-sdk");
    const sdk = new module.BedrockRuntime(AWS);
    return () => {
        const asked = sdk[operation](input);
        asked.on("build", () => Object.assign(asked.httpRequest.headers, REPLAY));
        return asked.promise();
    };
}

async function converse(call) {
    return async () => (await call()).output.message.content[0].text;
}

async function converseStream(call) {
    return async () => joined((await call()).stream,
        (event) => event.contentBlockDelta?.delta.text);
}

async function invoke(call) {
    return async () => JSON.parse(Buffer.from((await call()).body)).output.message.content[0].text;
}

async function invokeStream(call) {
    return async () => joined((await call()).body,
        (event) => JSON.parse(Buffer.from(event.chunk.bytes)).contentBlockDelta?.delta.text);
}

// --- Vercel

async function vercel(provider, model, more = {}) {
    const module = await import(`@ai-sdk/${provider}`);
    const create = { openai: "createOpenAI", anthropic: "createAnthropic",
        google: "createGoogleGenerativeAI" }[provider];
    const made = module[create]({ headers: REPLAY, ...more });
    return { model: made(model), prompt: QUESTION, maxOutputTokens: 100 };
}

async function vercelText(...what) {
    const { generateText } = await import("ai");
    const asked = await vercel(...what);
    return async () => (await generateText(asked)).text;
}

async function vercelStream(...what) {
    const { streamText } = await import("ai");
    const asked = await vercel(...what);
    return async () => {
        let failed;
        const stream = streamText({ ...asked, onError: ({ error }) => { failed = error; } });
        const text = await joined(stream.textStream, (piece) => piece);
        if (failed) {
            throw failed;
        }
        return text;
    };
}

// --- LangChain

async function langchainOpenai() {
    const { ChatOpenAI } = await import("@langchain/openai");
    return new ChatOpenAI({ model: OPENAI.model, maxTokens: 100,
        configuration: { defaultHeaders: REPLAY } });
}

async function langchainAnthropic() {
    const { ChatAnthropic } = await import("@langchain/anthropic");
    return new ChatAnthropic({ model: ANTHROPIC.model, maxTokens: 100,
        clientOptions: { defaultHeaders: REPLAY } });
}

// --- plain HTTP clients

async function undici(allowH2, body, path = OPENAI_PATH) {
    const { Agent, request } = await import("undici");
    const dispatcher = new Agent({ allowH2 });
    return async () => {
        const answer = await request(OPENAI_ORIGIN + path, { method: "POST", dispatcher,
            headers: PLAIN_HEADERS, body: JSON.stringify(body) });
        return checked(answer.statusCode, await answer.body.text());
    };
}

async function undiciFetch(allowH2, body) {
    const { Agent, fetch } = await import("undici");
    const dispatcher = new Agent({ allowH2 });
    return async () => {
        const answer = await fetch(OPENAI_ORIGIN + OPENAI_PATH, { method: "POST", dispatcher,
            headers: PLAIN_HEADERS, body: JSON.stringify(body) });
        return checked(answer.status, await answer.text());
    };
}

async function https(body) {
    const { Agent, request } = await import("node:https");
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    return () => new Promise((resolve, reject) => {
        const asked = request(OPENAI_ORIGIN + OPENAI_PATH,
            { method: "POST", agent, headers: PLAIN_HEADERS }, async (answer) => {
                try {
                    answer.setEncoding("utf8");
                    resolve(checked(answer.statusCode, await joined(answer, (piece) => piece)));
                } catch (error) {
                    reject(error);
                }
            });
        asked.on("error", reject);
        asked.end(JSON.stringify(body));
    });
}

function http2Call(session, body) {
    return new Promise((resolve, reject) => {
        const stream = session.request({ ":method": "POST", ":path": OPENAI_PATH,
            ...PLAIN_HEADERS });
        let status;
        stream.on("response", (headers) => { status = headers[":status"]; });
        stream.on("error", reject);
        stream.setEncoding("utf8");
        let text = "";
        stream.on("data", (piece) => { text += piece; });
        stream.on("end", () => {
            try {
                resolve(checked(status, text));
            } catch (error) {
                reject(error);
            }
        });
        stream.end(JSON.stringify(body));
    });
}

async function http2(body) {
    const { connect } = await import("node:http2");
    const session = connect(OPENAI_ORIGIN);
    session.on("error", () => {});
    session.unref();
    return async () => {
        session.ref();
        try {
            return await http2Call(session, body);
        } finally {
            session.unref();
        }
    };
}

/* Each makes its client and returns the function that calls. */
const clients = {
    "openai-chat": async () => {
        const sdk = await openai();
        return async () => (await sdk.chat.completions.create(OPENAI)).choices[0].message.content;
    },
    "openai-chat-stream": async () => {
        const sdk = await openai();
        return async () => joined(await sdk.chat.completions.create(OPENAI_STREAM),
            (chunk) => chunk.choices[0]?.delta.content);
    },
    "openai-responses": async () => {
        const sdk = await openai();
        return async () => (await sdk.responses.create({ model: OPENAI.model, input: QUESTION,
            max_output_tokens: 100 })).output_text;
    },
    "openai-responses-stream": async () => {
        const sdk = await openai();
        return async () => joined(await sdk.responses.create({ model: OPENAI.model, stream: true,
            input: QUESTION, max_output_tokens: 100 }),
        (event) => (event.type === "response.output_text.delta" ? event.delta : ""));
    },
    "openai-embeddings": async () => {
        const sdk = await openai();
        return async () => String((await sdk.embeddings.create({ input: "margin",
            model: "text-embedding-3-small", encoding_format: "float" })).data[0].embedding);
    },
    "anthropic-messages": async () => {
        const sdk = await anthropic();
        return async () => (await sdk.messages.create(ANTHROPIC)).content[0].text;
    },
    "anthropic-messages-stream": async () => {
        const sdk = await anthropic();
        return async () => (await sdk.messages.stream(ANTHROPIC).finalMessage()).content[0].text;
    },
    "gemini-generate": async () => {
        const sdk = await genai();
        return async () => (await sdk.models.generateContent(GEMINI)).text;
    },
    "gemini-generate-stream": async () => {
        const sdk = await genai();
        return async () => joined(await sdk.models.generateContentStream(GEMINI),
            (chunk) => chunk.text);
    },
    "ollama-chat": async () => {
        const sdk = await ollama();
        return async () => (await sdk.chat(OLLAMA)).message.content;
    },
    "ollama-chat-stream": async () => {
        const sdk = await ollama();
        return async () => joined(await sdk.chat({ ...OLLAMA, stream: true }),
            (document) => document.message.content);
    },
    "aws-converse": async () => converse(await aws("Converse", NOVA)),
    "aws-converse-stream": async () => converseStream(await aws("ConverseStream", NOVA)),
    "aws-invoke": async () => invoke(await aws("InvokeModel", NOVA_BODY)),
    "aws-invoke-stream": async () =>
        invokeStream(await aws("InvokeModelWithResponseStream", NOVA_BODY)),
    "aws-kept-converse": async () => converse(await aws("Converse", NOVA, AWS_KEPT)),
    "aws-kept-invoke": async () => invoke(await aws("InvokeModel", NOVA_BODY, AWS_KEPT)),
    "aws-h1-converse": async () => converse(await aws1("Converse", NOVA)),
    "aws-h1-converse-stream": async () => converseStream(await aws1("ConverseStream", NOVA)),
    "aws-h1-invoke": async () => invoke(await aws1("InvokeModel", NOVA_BODY)),
    "aws-h1-invoke-stream": async () =>
        invokeStream(await aws1("InvokeModelWithResponseStream", NOVA_BODY)),
    "aws2-converse": async () => converse(await aws2("converse", NOVA)),
    "aws2-invoke": async () => invoke(await aws2("invokeModel", NOVA_BODY)),
    "vercel-openai": () => vercelText("openai", OPENAI.model),
    "vercel-openai-stream": () => vercelStream("openai", OPENAI.model),
    "vercel-anthropic": () => vercelText("anthropic", ANTHROPIC.model),
    "vercel-anthropic-stream": () => vercelStream("anthropic", ANTHROPIC.model),
    "vercel-google": () => vercelText("google", GEMINI_MODEL, { apiKey: GEMINI_KEY }),
    "vercel-google-stream": () => vercelStream("google", GEMINI_MODEL, { apiKey: GEMINI_KEY }),
    "langchain-openai": async () => {
        const chat = await langchainOpenai();
        return async () => (await chat.invoke(QUESTION)).content;
    },
    "langchain-openai-stream": async () => {
        const chat = await langchainOpenai();
        return async () => joined(await chat.stream(QUESTION), (chunk) => chunk.content);
    },
    "langchain-anthropic": async () => {
        const chat = await langchainAnthropic();
        return async () => (await chat.invoke(QUESTION)).content;
    },
    "langchain-anthropic-stream": async () => {
        const chat = await langchainAnthropic();
        return async () => joined(await chat.stream(QUESTION), (chunk) =>
            (typeof chunk.content === "string" ? chunk.content
                : chunk.content.map((part) => part.text ?? "").join("")));
    },
    "fetch": async () => async () => {
        const answer = await fetch(OPENAI_ORIGIN + OPENAI_PATH, { method: "POST",
            headers: PLAIN_HEADERS, body: JSON.stringify(OPENAI) });
        return checked(answer.status, await answer.text());
    },
    "undici": () => undici(false, OPENAI),
    "undici-stream": () => undici(false, OPENAI_STREAM),
    "undici-fetch": () => undiciFetch(false, OPENAI),
    "undici-h2": () => undici(true, OPENAI),
    "undici-h2-stream": () => undici(true, OPENAI_STREAM),
    "undici-h2-fetch": () => undiciFetch(true, OPENAI),
    "https": () => https(OPENAI),
    "https-stream": () => https(OPENAI_STREAM),
    "http2": () => http2(OPENAI),
    "http2-stream": () => http2(OPENAI_STREAM),
};

function describe(error) {
    return {
        error: error.name && error.name !== "Error" ? error.name : error.constructor.name,
        status: error.status ?? error.statusCode ?? error.status_code
            ?? error.$metadata?.httpStatusCode ?? null,
        code: error.code ?? null,
        message: String(error.message),
    };
}

async function main() {
    if (process.argv[2] === "--list") {
        console.log(Object.keys(clients).join("\n"));
        return;
    }
    const call = await clients[process.argv[2]]();
    for await (const line of readline.createInterface({ input: process.stdin })) {
        void line;
        let result;
        try {
            result = { ok: await call() };
        } catch (error) {
            result = describe(error);
        }
        process.stdout.write(JSON.stringify(result) + "\n");
    }
}

await main();
