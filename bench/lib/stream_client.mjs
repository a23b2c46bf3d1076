// SPDX-License-Identifier: Apache-2.0
/*
 * Reads streams with the official package of OpenAI under Node, in turns from a host that is no
 * provider and from OpenAI's, and prints the time of the processor that each took the process, in
 * ns: as many calls as there were, all as dear as the median. Each call has a connection of its own,
 * for what lies where in memory makes more of a difference than is looked for.
 *
 * usage: node stream_client.mjs PORT CALLS HTTP2 (0 or 1) NODE_MODULES
 */
const [port, calls, h2, modules] = process.argv.slice(2);
const WARM_UP = 2;
const HOSTS = ["api.example.com", "api.openai.com"];

const { Agent } = await import(`${modules}/undici/index.js`);
const { OpenAI } = await import(`${modules}/openai/index.mjs`);
const lookup = (host, options, callback) => callback(null, [{ address: "127.0.0.1", family: 4 }]);

async function call(servername) {
    const dispatcher = new Agent({ allowH2: h2 === "1",
        connect: { servername, rejectUnauthorized: false, lookup } });
    const sdk = new OpenAI({ apiKey: "sk-bench-0001", baseURL: `https://${servername}:${port}/v1`,
        maxRetries: 0, fetchOptions: { dispatcher } });
    const before = process.cpuUsage();
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
    const used = process.cpuUsage(before);
    await dispatcher.close();
    return (used.user + used.system) * 1000;
}

for (let i = 0; i < WARM_UP; i++) {
    await call(HOSTS[0]);
    await call(HOSTS[1]);
}
const usedNs = [[], []];
for (let turn = 0; turn < Number(calls) * 2; turn++) {
    const which = (turn + (turn >> 1)) % 2;
    usedNs[which].push(await call(HOSTS[which]));
}
for (const ofHost of usedNs) {
    console.log(ofHost.sort((a, b) => a - b)[ofHost.length >> 1] * ofHost.length);
}
process.exit(0);
