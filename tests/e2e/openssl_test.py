#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The ways in which programs come by their OpenSSL: inside the executable, two in one process, a
lookalike, one by one out of a handle, as a BIO, past everybody from a file."""
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import fake_collector  # noqa: E402  pylint: disable=wrong-import-position
import lab  # noqa: E402  pylint: disable=wrong-import-position
import messages  # noqa: E402  pylint: disable=wrong-import-position
import shimlab  # noqa: E402  pylint: disable=wrong-import-position
from shimlab import Shim, chat, status_of  # noqa: E402
from tap import check, equal, main, skip, test  # noqa: E402

shimlab.enter()


def posts(shim):
    return [entry for entry in shim.all_requests() if entry["method"] == "POST"]


def source_of(shim):
    return [messages.word("source", hello["source"]) for hello in shim.collector.of("HELLO")]


# --- an OpenSSL of the program's own: Node --------------------------------------------------------

NODE_CALLS = """
const https = require('https');
const body = model => JSON.stringify({model, messages: [{role: 'user', content: 'Say hello.'}]});
const headers = {'content-type': 'application/json', authorization: 'Bearer sk-test-1234'};
const agent = new https.Agent({keepAlive: true, maxSockets: 1});
const url = 'https://api.openai.com/v1/chat/completions';
function classic(model) {
  return new Promise((resolve, reject) => {
    const request = https.request(url, {method: 'POST', headers, agent}, response => {
      let text = '';
      response.on('data', piece => text += piece);
      response.on('end', () => resolve(response.statusCode + ':' + Object.keys(JSON.parse(text))[0]));
    });
    request.on('error', reject);
    request.end(body(model));
  });
}
async function modern(model) {
  const response = await fetch(url, {method: 'POST', headers, body: body(model)});
  return response.status + ':' + Object.keys(await response.json())[0];
}
async function calls() {
  const said = [];
  const without_wasm = process.execArgv.includes('--jitless'); // which Node's fetch needs
  for (const call of [classic, without_wasm ? classic : modern]) {
    for (const model of ['gpt-4o-mini', 'denied', 'denied', 'gpt-4o']) said.push(await call(model));
  }
  agent.destroy();
  return said.join(' ');
}
"""
NODE_SAYS = " ".join(["200:id", "402:error", "402:error", "200:id"] * 2)


def denied_by_model(asked):
    denied = asked["requested_model"] == "denied"
    return (fake_collector.deny() if denied else fake_collector.allow())(asked)


def node(shim, code, *options, binary="node", **more):
    done = subprocess.run([binary, *options, "-e", NODE_CALLS + code], env=node_environment(shim, **more),
                          text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120,
                          check=False)
    equal(done.returncode, 0, f"exit of node {options}: {done.stderr[-2000:]}; it")
    return done.stdout.strip()


def node_environment(shim, **more):
    """Node's own allocator and a sanitizer's runtime do not get along: the release build."""
    library = os.path.join(lab.ROOT, "build/libnullspend.so")
    return shim.environment(**{**lab.preload(library), "NULLSPEND_LOG": shim.log, **more})


def need_own_openssl(binary="node"):
    done = subprocess.run([binary, "-p", "process.config.variables.node_shared_openssl"],
                          stdout=subprocess.PIPE, text=True, check=True)
    if done.stdout.strip() != "false":
        skip("a Node with an OpenSSL of its own")


@test
def node_is_governed_by_detours():
    need_own_openssl()
    with Shim() as shim:
        shim.collector.rule = denied_by_model
        for options in ([], ["--jitless"]):
            equal(node(shim, "calls().then(console.log)", *options), NODE_SAYS, "statuses")
        equal([entry["model"] for entry in posts(shim)], ["gpt-4o-mini", "gpt-4o"] * 4, "models")
        equal(len(shim.collector.wait("REPORT", 8)), 8, "reports")
        equal(set(source_of(shim)), {"detour"}, "sources")
        equal(shim.counters().get("detours_installed"), 1, "detours")


@test
def workers_children_and_clusters_of_node_are_governed():
    need_own_openssl()
    with Shim() as shim:
        shim.collector.rule = denied_by_model
        worker = """
const {Worker} = require('worker_threads');
const code = %s + 'calls().then(s => require("worker_threads").parentPort.postMessage(s))';
const said = [0, 1, 2].map(() => new Promise((resolve, reject) => {
  const worker = new Worker(code, {eval: true});
  worker.on('message', resolve); worker.on('error', reject);
}));
Promise.all([...said, calls()]).then(all => console.log(all.join('\\n')));
""" % json.dumps(NODE_CALLS)
        equal(node(shim, worker).splitlines(), [NODE_SAYS] * 4, "statuses of workers")
        child = """
const {execFile} = require('child_process');
const code = %s + 'calls().then(console.log)';
execFile(process.execPath, ['-e', code], (error, text) => {
  if (error) throw error;
  process.stdout.write(text);
  calls().then(console.log);
});
""" % json.dumps(NODE_CALLS)
        equal(node(shim, child).splitlines(), [NODE_SAYS] * 2, "statuses of a child and its parent")
        program = os.path.join(shim.directory, "cluster.js")
        with open(program, "w", encoding="utf-8") as file:
            file.write(NODE_CALLS + """
const cluster = require('cluster');
if (cluster.isPrimary) {
  for (let i = 0; i < 2; i++) cluster.fork().on('message', said => console.log(said));
} else {
  calls().then(said => process.send(said, () => process.disconnect()));
}
""")
        done = subprocess.run(["node", program], env=node_environment(shim), text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120, check=False)
        equal((done.returncode, done.stdout.splitlines()), (0, [NODE_SAYS] * 2), done.stderr)
        equal({entry["model"] for entry in posts(shim)}, {"gpt-4o-mini", "gpt-4o"}, "models")
        equal(set(source_of(shim)), {"detour"}, "sources")


@test
def node_gets_a_large_request_through_whole():
    need_own_openssl()
    with Shim() as shim:
        said = node(shim, """
const text = 'word '.repeat(400000);
fetch(url, {method: 'POST', headers, body: JSON.stringify({model: 'gpt-4o',
  messages: [{role: 'user', content: text}]})}).then(async r => {
  await r.text(); console.log(r.status); });
""")
        equal(said, "200", "status")
        entry, = posts(shim)
        check(entry["body_bytes"] > 2_000_000, entry)
        asked, = shim.collector.of("CHECK")
        check(asked["text_bytes"] > 2_000_000, asked["text_bytes"])


@test
def without_the_decoder_node_runs_ungoverned_and_the_log_says_what_to_install():
    need_own_openssl()
    with Shim() as shim:
        shim.collector.rule = fake_collector.deny()
        # Its directory comes first, and what lies there is no library.
        os.mkdir(os.path.join(shim.directory, "lib"))
        names = [name for name in os.listdir("/usr/lib/x86_64-linux-gnu") if name.startswith("libZydis")]
        for name in names:
            with open(os.path.join(shim.directory, "lib", name), "w", encoding="ascii") as file:
                file.write("no library")
        said = node(shim, "calls().then(console.log)",
                    LD_LIBRARY_PATH=os.path.join(shim.directory, "lib"))
        equal(said, " ".join(["200:id"] * 8), "statuses")
        equal(shim.collector.of("CHECK"), [], "checks")
        equal(shim.counters().get("detours_refused"), 1, "refused")
        check(any("is not governed" in line and "libZydis" in line and "install it" in line
                  for line in shim.log_lines()), shim.log_lines())


@test
def off_leaves_the_program_s_code_as_it_is():
    need_own_openssl()
    with Shim() as shim:
        said = node(shim, "console.log(require('fs').readFileSync('/proc/self/maps', 'utf8'))",
                    NULLSPEND_MODE="off")
        check("Zydis" not in said, "Zydis is loaded")
        bare = [line for line in said.splitlines() if line.split()[1] == "r-xp"
                and line.endswith("/node")]
        governed = node(shim, "console.log(require('fs').readFileSync('/proc/self/maps', 'utf8'))")
        check("Zydis" not in governed, "Zydis stays loaded")
        patched = [line for line in governed.splitlines() if line.split()[1] == "r-xp"
                   and line.endswith("/node")]
        check(len(patched) > len(bare), "nothing was replaced where it should be")


if __name__ == "__main__":
    main()
