// SPDX-License-Identifier: Apache-2.0
/*
 * Reads streams with the official package of OpenAI under Node and prints the time of the processor
 * that this took the process, in ns.
 *
 * usage: node stream_client.mjs PORT CALLS HTTP2 (0 or 1) NODE_MODULES
 */
const [port, calls, h2, modules] = process.argv.slice(2);
const WARM_UP = 2;
const HOST = "api.openai.com";

const { Agent } = await import(`${modules}/undici/index.js`);
const { OpenAI } = await import(`${modules}/openai/index.mjs`);
const lookup = (host, options, callback) => callback(null, [{ address: "127.0.0.1", family: 4 }]);
const dispatcher = new Agent({ allowH2: h2 === "1",
    connect: { servername: HOST, rejectUnauthorized: false, lookup } });
const sdk = new OpenAI({ apiKey: "sk-bench-0001", baseURL: `https://${HOST}:${port}/v1`,
    maxRetries: 0, fetchOptions: { dispatcher } });

async function call() {
    const stream = await sdk.chat.completions.create({ model: "gpt-4o-mini", stream: true,
        stream_options: { include_usage: true },
        messages: [{ role: "user", content: "What is a margin? Take your time." }] });
    let text = "";
    for await (const chunk of stream) {
        text += chunk.choices[0]?.delta.content ?? "";
    }
    if (text === "") {
        throw new Error("no answer");
    }
}

for (let i = 0; i < WARM_UP; i++) {
    await call();
}
const before = process.cpuUsage();
for (let i = 0; i < Number(calls); i++) {
    await call();
}
const used = process.cpuUsage(before);
console.log((used.user + used.system) * 1000);
process.exit(0);
