// SPDX-License-Identifier: Apache-2.0
/*
 * Makes calls under Node and prints one duration a call, in ns.
 *
 * usage: node node_client.mjs WAY PORT CALLS STREAMS NODE_MODULES
 */
import http2 from "node:http2";
import https from "node:https";

const [way, port, calls, streams, modules] = process.argv.slice(2);
const WARM_UP = 1000;
const HOST = "api.openai.com";
const BODY = JSON.stringify({
    model: "gpt-4o-mini",
    max_tokens: 64,
    messages: [{ role: "user", content: "What is a margin? Be brief." }],
});
const HEADERS = { authorization: "Bearer sk-bench-0001", "content-type": "application/json" };
const PATH = "/v1/chat/completions";
const TLS = { servername: HOST, rejectUnauthorized: false };

/* Ends when the answer has. */
function ended(stream) {
    return new Promise((resolve, reject) => {
        stream.on("data", () => {});
        stream.on("end", resolve);
        stream.on("error", reject);
    });
}

function checked(status) {
    if (status !== 200) {
        throw new Error(`status ${status}`);
    }
}

function withHttps() {
    const agent = new https.Agent({ keepAlive: true, maxSockets: 1 });
    const options = { agent, host: "127.0.0.1", port, path: PATH, method: "POST", ...TLS,
        headers: { ...HEADERS, host: HOST, "content-length": BODY.length } };
    return () => new Promise((resolve, reject) => {
        const request = https.request(options, (answer) => {
            checked(answer.statusCode);
            ended(answer).then(resolve, reject);
        });
        request.on("error", reject);
        request.end(BODY);
    });
}

async function withFetch() {
    const { Agent, fetch } = await import(`${modules}/undici/index.js`);
    const lookup = (host, options, callback) => callback(null, [{ address: "127.0.0.1", family: 4 }]);
    const dispatcher = new Agent({ connections: 1, allowH2: false, connect: { ...TLS, lookup } });
    return async () => {
        const answer = await fetch(`https://${HOST}:${port}${PATH}`,
            { method: "POST", headers: HEADERS, body: BODY, dispatcher });
        checked(answer.status);
        await answer.json();
    };
}

function withHttp2() {
    const session = http2.connect(`https://127.0.0.1:${port}`, TLS);
    const headers = { ...HEADERS, ":method": "POST", ":path": PATH, ":authority": HOST };
    return () => new Promise((resolve, reject) => {
        const stream = session.request(headers);
        stream.on("response", (answer) => checked(answer[":status"]));
        ended(stream).then(resolve, reject);
        stream.end(BODY);
    });
}

const call = await { https: withHttps, fetch: withFetch, http2: withHttp2 }[way]();
const durations = [];

/* One call behind the other, of so many at the same time. */
async function caller(count) {
    for (let i = 0; i < count; i++) {
        const start = process.hrtime.bigint();
        await call();
        durations.push(process.hrtime.bigint() - start);
    }
}

async function run(count) {
    const each = Math.floor(count / streams);
    await Promise.all(Array.from({ length: Number(streams) }, () => caller(each)));
}

await run(WARM_UP);
durations.length = 0;
const start = process.hrtime.bigint();
await run(Number(calls));
/* Amid many, a call counts as its share of the time that all took. */
const share = (process.hrtime.bigint() - start) / BigInt(calls);
console.log(durations.map((ns) => (streams > 1 ? share : ns)).join("\n"));
process.exit(0);
