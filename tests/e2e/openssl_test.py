#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The ways in which programs come by their OpenSSL: inside the executable, two in one process, a
lookalike, one by one out of a handle, as a BIO, past everybody from a file."""
import contextlib
import glob
import json
import os
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import fake_collector  # noqa: E402  pylint: disable=wrong-import-position
import lab  # noqa: E402  pylint: disable=wrong-import-position
import messages  # noqa: E402  pylint: disable=wrong-import-position
import shimlab  # noqa: E402  pylint: disable=wrong-import-position
from shimlab import Shim, chat, status_of  # noqa: E402
from tap import check, equal, main, skip, test  # noqa: E402

# OpenSSL 1.1, built elsewhere, under names of the wheel's own. Fetched while there is a network.
WHEEL = lab.python_with_sdks(os.path.join(lab.ROOT, "tests/libssl/requirements.txt"))
shimlab.enter()

LIBRARY = os.path.join(lab.ROOT, "build/libnullspend.so")
MIXED = chat(model="gpt-4o") + chat(model="denied") + chat(model="gpt-4o")


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


# --- an OpenSSL of the program's own: any program that shows its functions ------------------------


def run(command, data=b"", **more):
    return subprocess.run(command, input=data, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          timeout=120, check=False, **more)


def compiled(shim, name, text, *options):
    source = os.path.join(shim.directory, name)
    with open(source, "w", encoding="utf-8") as file:
        file.write(text)
    subprocess.run(["gcc", "-w", "-Wl,-rpath," + shim.directory, source, *options], check=True)


STATIC = lab.program("programs/tls_client_static")


@test
def statically_linked_programs_that_show_their_openssl_are_governed():
    with Shim() as shim:
        shim.collector.rule = denied_by_model
        for program in (STATIC, STATIC + "_pie"):
            for way in (["--io", "blocking"], ["--io", "nonblocking", "--ex", "--peek"],
                        ["--io", "memory", "--partial", "--piece", "100"]):
                done = run([program, *way, "--answers", "3", shimlab.HOST, "443"], MIXED,
                           env=node_environment(shim))
                equal((done.returncode, done.stderr, status_of(done.stdout)),
                      (0, b"", [200, 402, 200]), f"{program} {way}")
        equal(len(posts(shim)), 12, "requests")
        equal(set(source_of(shim)), {"detour"}, "sources")


@contextlib.contextmanager
def probed(program, *functions):
    """Uprobes on functions of a program, as perf and bpftrace put them there."""
    events = "/sys/kernel/tracing/uprobe_events"
    if not os.access(events, os.W_OK):
        skip("uprobes by tracefs")
    group = f"nullspend_test_{os.getpid()}"
    rows = [line.split() for line in run(["nm", program]).stdout.decode().splitlines()]
    symbols = {row[2]: int(row[0], 16) for row in rows if len(row) == 3}
    segments = [[int(field, 16) for field in line.split()[1:6] if field.startswith("0x")]
                for line in run(["readelf", "-lW", program]).stdout.decode().splitlines()
                if line.split()[:1] == ["LOAD"]]

    def offset_of(address):
        return next(address - begin + offset for offset, begin, _, bytes_in_file, _ in segments
                    if begin <= address < begin + bytes_in_file)

    def tell(path, text):
        file = os.open(path, os.O_WRONLY | os.O_APPEND)  # it cannot be sought in
        os.write(file, text.encode())
        os.close(file)

    switch = f"/sys/kernel/tracing/events/{group}/enable"
    try:
        for function in functions:
            tell(events, f"p:{group}/{function} {program}:{offset_of(symbols[function]):#x}")
        tell(switch, "1")
        yield
    finally:
        tell(switch, "0")
        for function in functions:
            tell(events, f"-:{group}/{function}")


@test
def probes_in_a_program_s_code_neither_hinder_the_governing_nor_kill_it():
    with Shim() as shim:
        shim.collector.rule = denied_by_model
        program = shutil.copy(STATIC + "_pie", shim.directory)
        way = ["--io", "blocking", "--answers", "3", shimlab.HOST, "443"]
        # On a function that is detoured, and on another one of the same page that it calls.
        with probed(program, "SSL_write", "ssl_write_internal"):
            done = run([program, *way], MIXED, env=node_environment(shim))
            equal((done.returncode, done.stderr, status_of(done.stdout)),
                  (0, b"", [200, 402, 200]), "with probes")
            equal(set(source_of(shim)), {"detour"}, "source")
            # Somebody who traces it might have put them there: then it is left as it is.
            done = run(["strace", "-o", "/dev/null", program, *way], MIXED,
                       env=node_environment(shim))
            equal((done.returncode, status_of(done.stdout)), (0, [200, 200, 200]), "traced")
            check(any("was changed by a debugger" in line for line in shim.log_lines()),
                  shim.log_lines())
        done = run(["strace", "-o", "/dev/null", program, *way], MIXED, env=node_environment(shim))
        equal((done.returncode, done.stderr, status_of(done.stdout)),
              (0, b"", [200, 402, 200]), "traced without probes")


@test
def a_limit_on_memory_costs_the_governing_and_never_the_program():
    with Shim() as shim:
        shim.collector.rule = fake_collector.deny()
        seen = set()
        for mib in range(16, 112, 4):
            command = ["prlimit", f"--as={mib << 20}", STATIC, shimlab.HOST, "443"]
            bare = run(command, chat(), env=shim.environment())
            done = run(command, chat(), env=node_environment(shim))
            preloaded = b"preloaded" not in done.stderr and b"failed to map" not in done.stderr
            if bare.returncode == 0 and preloaded and done.returncode == 0:
                seen.update(status_of(done.stdout))
            check(bare.returncode != 0 or not preloaded or done.returncode in (0, 7),
                  f"{mib} MiB: exit {done.returncode}: {done.stderr}")
        check(402 in seen, seen)


FORBID = """
import ctypes, os, struct, sys
# mprotect with PROT_EXEC is EACCES from here on, as systemd's MemoryDenyWriteExecute has it.
libc = ctypes.CDLL(None, use_errno=True)
code = [(0x20, 0, 0, 0), (0x15, 0, 3, 10), (0x20, 0, 0, 32), (0x45, 0, 1, 4),
        (0x06, 0, 0, 0x5000d), (0x06, 0, 0, 0x7fff0000)]
buffer = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in code))
class Filter(ctypes.Structure):
    _fields_ = [("count", ctypes.c_ushort), ("code", ctypes.c_void_p)]
filter = Filter(len(code), ctypes.addressof(buffer))
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, ctypes.byref(filter), 0, 0) == 0
os.environ["LD_PRELOAD"] = sys.argv[1]
os.execv(sys.argv[2], sys.argv[2:])
"""


@test
def where_new_code_is_forbidden_the_program_runs_ungoverned_and_that_is_told():
    with Shim() as shim:
        shim.collector.rule = fake_collector.deny()
        environment = node_environment(shim)
        library = environment.pop("LD_PRELOAD")
        done = run([shimlab.PYTHON, "-c", FORBID, library, STATIC, shimlab.HOST, "443"], chat(),
                   env=environment)
        equal((done.returncode, status_of(done.stdout)), (0, [200]), done.stderr)
        equal(shim.counters().get("detours_refused"), 1, "refused")
        check(any("new code is forbidden" in line for line in shim.log_lines()), shim.log_lines())


LATE = """
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>
#include <openssl/ssl.h>
static void *sleep_on(void *unused) { pause(); return unused; }
int main(int count, char **words) {
    pthread_t thread;
    if (count > 2) pthread_create(&thread, NULL, sleep_on, NULL);
    if (dlopen(words[1], RTLD_NOW) == NULL) { puts(dlerror()); return 1; }
    printf("%02x", *(unsigned char *)SSL_write);
    return SSL_CTX_new(TLS_client_method()) == NULL;
}
"""


@test
def code_is_not_changed_while_other_threads_run():
    with Shim() as shim:
        program = os.path.join(shim.directory, "late")
        compiled(shim, "late.c", LATE, "-rdynamic", "-no-pie", "-o", program, "-Wl,-Bstatic", "-lssl",
                 "-lcrypto", "-Wl,-Bdynamic")
        environment = shim.environment(NULLSPEND_LOG=shim.log)
        equal(run([program, LIBRARY], env=environment).stdout, b"e9", "alone")
        among = run([program, LIBRARY, "thread"], env=environment)
        check(among.returncode == 0 and among.stdout != b"e9", f"beside another thread: {among}")
        check(any("other threads run" in line for line in shim.log_lines()), shim.log_lines())


# --- SSL BIOs -------------------------------------------------------------------------------------


@test
def ssl_bios_are_governed_in_every_chain():
    with Shim() as shim:
        shim.collector.rule = denied_by_model
        for program in ("bio_client", "bio_client_static"):
            environment = node_environment(shim) if "static" in program else shim.governed()
            for way, times in (("connect", 1), ("buffer", 1), ("pushed", 1), ("method", 1),
                               ("waiting", 1), ("again", 2)):
                done = run([lab.program(f"programs/{program}"), way, shimlab.HOST, "443", "3"], MIXED,
                           env=environment)
                equal((done.returncode, status_of(done.stdout)), (0, [200, 402, 200] * times),
                      f"{program} {way}: {done.stderr}")
        equal(len(posts(shim)), 2 * 2 * 7, "requests")
        equal(len(shim.collector.wait("REPORT", 2 * 2 * 7)), 2 * 2 * 7, "reports")


@test
def an_ssl_bio_whose_socket_is_full_asks_its_user_to_come_again():
    with Shim() as shim:
        data = chat("word " * 2_400_000)
        done = run([lab.program("programs/bio_client"), "waiting", shimlab.HOST, "443", "1"], data,
                   env=shim.governed())
        equal((done.returncode, status_of(done.stdout)), (0, [200]), done.stderr)
        entry, = posts(shim)
        check(entry["body_bytes"] > 12_000_000, entry["body_bytes"])


BIO_BY_HANDLE = """
import ctypes, sys
for path in sys.argv[1].split("|"):
    lib = ctypes.CDLL(path)
    if "crypto" in path: crypto = lib
for function in (lib.TLS_client_method, lib.SSL_CTX_new, lib.BIO_new_ssl_connect):
    function.restype = ctypes.c_void_p
import ssl # another libssl, loaded later
context = ctypes.c_void_p(lib.SSL_CTX_new(ctypes.c_void_p(lib.TLS_client_method())))
data = sys.stdin.buffer.read()
said = []
places = set()
for round in range(8):
    bio = ctypes.c_void_p(lib.BIO_new_ssl_connect(context))
    this = ctypes.c_void_p()
    crypto.BIO_ctrl(bio, 110, ctypes.c_long(0), ctypes.byref(this))
    places.add(this.value)
    lib.SSL_ctrl(this, 55, ctypes.c_long(0), b"api.openai.com")
    crypto.BIO_ctrl(bio, 100, ctypes.c_long(0), b"api.openai.com:443")
    assert crypto.BIO_ctrl(bio, 101, ctypes.c_long(0), None) == 1
    assert crypto.BIO_write(bio, data, len(data)) == len(data)
    text = b""
    piece = ctypes.create_string_buffer(4096)
    while not text.endswith(b"}"):
        got = crypto.BIO_read(bio, piece, 4096)
        assert got > 0
        text += piece.raw[:got]
    said.append(int(text[9:12]))
    crypto.BIO_free_all(bio)
print(*said, len(places) < len(said))
"""


@test
def the_end_of_an_ssl_bio_is_the_end_of_its_connection():
    """Where libssl is bound to itself (-Bsymbolic, as upstream builds it), its SSL_free passes no
    hook, and the next SSL has the same address."""
    # A sanitizer's allocator gives no address twice so soon.
    again = b"%r" % (os.path.basename(lab.BUILD) not in lab.SANITIZERS)
    with Shim() as shim:
        shim.collector.rule = denied_by_model
        for model, status in (("denied", b"402 " * 8), ("gpt-4o", b"200 " * 8)):
            done = run([shimlab.PYTHON, "-c", BIO_BY_HANDLE, libssl_of_a_wheel()], chat(model=model),
                       env=shim.governed())
            equal((done.returncode, done.stdout.strip()), (0, status + again), done.stderr.decode())
            equal(shim.counters().get("connections_governed"), 8, "connections")


# --- two copies, and functions out of a handle ----------------------------------------------------

BY_HANDLE = """
import ctypes, socket, ssl, sys
class Tls:
    # As .NET: dlopen(path), then dlsym(handle, name) for each function.
    def __init__(self, paths):
        for path in paths.split("|"): # each of those before is needed by the next
            self.lib = lib = ctypes.CDLL(path)
        for name in ("TLS_client_method", "SSL_CTX_new", "SSL_new"):
            getattr(lib, name).restype = ctypes.c_void_p
        self.context = ctypes.c_void_p(lib.SSL_CTX_new(ctypes.c_void_p(lib.TLS_client_method())))
    def call(self, data):
        connection = socket.create_connection(("api.openai.com", 443))
        lib = self.lib
        this = ctypes.c_void_p(lib.SSL_new(self.context))
        lib.SSL_ctrl(this, 55, ctypes.c_long(0), b"api.openai.com")
        assert lib.SSL_set_fd(this, connection.fileno()) == 1
        assert lib.SSL_connect(this) == 1
        assert lib.SSL_write(this, data, len(data)) == len(data)
        text = b""
        piece = ctypes.create_string_buffer(4096)
        while not text.endswith(b"}"):
            got = lib.SSL_read(this, piece, 4096)
            assert got > 0
            text += piece.raw[:got]
        lib.SSL_free(this)
        connection.close()
        return int(text[9:12])
def native(data):
    context = ssl.create_default_context()
    c = context.wrap_socket(socket.create_connection(("api.openai.com", 443)),
                            server_hostname="api.openai.com")
    c.sendall(data)
    text = b""
    while not text.endswith(b"}"):
        text += c.recv(4096)
    c.close()
    return int(text[9:12])
data = sys.stdin.buffer.read()
copies = [Tls(path) for path in sys.argv[1:]]
print(*[call(data) for _ in range(3) for call in [native, *[copy.call for copy in copies]]])
"""


def by_handle(shim, data, *paths, **more):
    done = run([shimlab.PYTHON, "-c", BY_HANDLE, *paths], data, env=shim.governed(**more))
    equal(done.returncode, 0, done.stderr.decode()[-2000:])
    return [int(word) for word in done.stdout.split()]


@test
def functions_that_are_taken_out_of_a_handle_are_governed():
    with Shim() as shim:
        shim.collector.rule = denied_by_model
        equal(by_handle(shim, chat(model="denied"), "libssl.so.3"), [402] * 6, "denied")
        equal(by_handle(shim, chat(model="gpt-4o"), "libssl.so.3"), [200] * 6, "allowed")
        equal(len(posts(shim)), 6, "requests")
        equal(by_handle(shim, chat(model="denied"), "libssl.so.3", NULLSPEND_MODE="off"), [200] * 6,
              "off")


def copy_of_system_libssl(directory):
    """Libraries of the same names in another place. The second libssl is bound to the first
    libcrypto where that is loaded already."""
    os.makedirs(directory)
    for name in ("libssl.so.3", "libcrypto.so.3"):
        shutil.copy(os.path.join("/usr/lib/x86_64-linux-gnu", name), directory)
    return os.path.join(directory, "libssl.so.3")


def libssl_of_a_wheel():
    pattern = os.path.join(os.path.dirname(WHEEL), "..", "lib", "python3*", "site-packages", "*.libs")
    found = [glob.glob(os.path.join(pattern, f"lib{name}-*.so.1.1")) for name in ("crypto", "ssl")]
    equal([len(paths) for paths in found], [1, 1], "libraries of OpenSSL in the wheel")
    return "|".join(paths[0] for paths in found)


@test
def every_copy_in_a_process_gets_its_own_functions():
    with Shim() as shim:
        shim.collector.rule = denied_by_model
        one = libssl_of_a_wheel()
        other = copy_of_system_libssl(os.path.join(shim.directory, "other"))
        for paths in ([one], [other], [one, other, "libssl.so.3"]):
            calls = 3 * (1 + len(paths))
            equal(by_handle(shim, chat(model="denied"), *paths), [402] * calls, f"denied, {paths}")
            equal(by_handle(shim, chat(model="gpt-4o"), *paths), [200] * calls, f"allowed, {paths}")
            equal(shim.counters().get("connections_governed"), calls, f"governed, {paths}")


NEXT = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
__asm__(".symver dlsym, dlsym@%s");
pid_t getppid(void) { return -7; }
int asks_next(void);
int main(void) {
    pid_t (*next)(void) = (pid_t (*)(void))dlsym(RTLD_NEXT, "getppid");
    pid_t (*first)(void) = (pid_t (*)(void))dlsym(RTLD_DEFAULT, "getppid");
    dlerror();
    void *none = dlsym(RTLD_DEFAULT, "no_such_thing");
    const char *why = dlerror();
    printf("%%d %%d %%d %%d %%d", next() == -8, first() == -7, asks_next(), none == NULL,
           why != NULL && strstr(why, "no_such_thing") != NULL);
    return 0;
}
"""
NEXT_IN_LIBRARY = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/types.h>
pid_t getppid(void) { return -8; }
int asks_next(void) {
    pid_t (*next)(void) = (pid_t (*)(void))dlsym(RTLD_NEXT, "getppid");
    return next() > 0;
}
"""


@test
def dlsym_means_to_everybody_else_what_it_meant():
    with Shim() as shim:
        inner = os.path.join(shim.directory, "libinner.so")
        compiled(shim, "inner.c", NEXT_IN_LIBRARY, "-shared", "-fPIC", "-o", inner)
        program = os.path.join(shim.directory, "next")
        for version in ("GLIBC_2.2.5", "GLIBC_2.34"):
            compiled(shim, "next.c", NEXT % version, "-rdynamic", "-o", program, inner)
            for preloaded in ("", LIBRARY, LIBRARY + ":libjemalloc.so.2", "libjemalloc.so.2:" + LIBRARY):
                done = run([program], env=shim.environment(LD_PRELOAD=preloaded))
                equal((done.stdout, done.stderr), (b"1 1 1 1 1", b""), f"{version} with {preloaded}")
        for sanitizer in ("address", "thread"):
            compiled(shim, "next.c", NEXT % "GLIBC_2.34", "-rdynamic", "-fsanitize=" + sanitizer, "-o",
                     program, inner)
            runtime = run(["gcc", f"-print-file-name=lib{sanitizer[0]}san.so"]).stdout.decode().strip()
            done = run(["setarch", "-R", program],
                       env=shim.environment(LD_PRELOAD=runtime + ":" + LIBRARY))
            equal((done.returncode, done.stdout, done.stderr), (0, b"1 1 1 1 1", b""), sanitizer)


# --- lookalikes -----------------------------------------------------------------------------------

LOOKALIKE = """
#include <stddef.h>
#include <string.h>
#include <unistd.h>
struct ssl_st { const void *method; long writes, more[6]; };
static const int method = 1;
static struct ssl_st only = {&method};
const char *OpenSSL_version(int what) { (void)what; return VERSION; }
void ERR_clear_error(void) {}
struct ssl_st *SSL_new(void *context) { (void)context; return &only; }
int SSL_write(struct ssl_st *ssl, const void *bytes, int count) {
    ssl->writes++;
    return (int)write(1, bytes, (size_t)count);
}
int SSL_read(struct ssl_st *ssl, void *bytes, int count) {
    (void)count;
    memcpy(bytes, "same", 4);
    return ssl->writes == 1 ? 4 : -1;
}
int SSL_peek(struct ssl_st *ssl, void *bytes, int count) { return SSL_read(ssl, bytes, count); }
int SSL_pending(const struct ssl_st *ssl) { (void)ssl; return 0; }
void SSL_free(struct ssl_st *ssl) { ssl->writes = -1; }
int SSL_clear(struct ssl_st *ssl) { (void)ssl; return 1; }
int SSL_shutdown(struct ssl_st *ssl) { (void)ssl; return 1; }
"""
LOOKALIKE_USER = """
#include <stdio.h>
#include <unistd.h>
struct ssl_st;
struct ssl_st *SSL_new(void *);
int SSL_write(struct ssl_st *, const void *, int), SSL_read(struct ssl_st *, void *, int);
void SSL_free(struct ssl_st *);
int main(void) {
    static char data[65536];
    char answer[8] = "";
    int count = (int)read(0, data, sizeof data);
    struct ssl_st *ssl = SSL_new(NULL);
    int wrote = SSL_write(ssl, data, count);
    int got = SSL_read(ssl, answer, sizeof answer);
    SSL_free(ssl);
    fprintf(stderr, "%d %d %s", wrote == count, got, answer);
    return 0;
}
"""


@test
def lookalikes_pass_untouched_and_are_counted_by_name():
    with Shim() as shim:
        shim.collector.rule = fake_collector.deny()
        library = os.path.join(shim.directory, "libssl.so.77")
        program = os.path.join(shim.directory, "user")
        for version, counter in (("LibreSSL 3.8.2", "connections_libressl"),
                                 ("OpenSSL 1.1.1 (compatible; BoringSSL)", "connections_boringssl"),
                                 ("OpenSSL 1.1.1 (compatible; AWS-LC 1.30.0)", "connections_boringssl"),
                                 ("OpenSSL 1.0.2u  20 Dec 2019", "connections_unknown_library"),
                                 ("wolfSSL 5.7.0", "connections_unknown_library")):
            compiled(shim, "lookalike.c", LOOKALIKE, f'-DVERSION="{version}"', "-shared", "-fPIC",
                     "-Wl,-soname,libssl.so.77", "-o", library)
            compiled(shim, "user.c", LOOKALIKE_USER, "-o", program, library)
            data = chat()
            done = run([program], data, env=shim.governed())
            equal((done.stdout, done.stderr), (data, b"1 4 same"), version)
            equal(shim.counters(), {counter: 1}, f"counters with {version}")
            check(any("not governed" in line and "libssl.so.77" in line for line in shim.log_lines()),
                  shim.log_lines())
        equal(shim.collector.of("CHECK"), [], "checks")


@test
def a_real_boringssl_passes_untouched_and_is_counted():
    with Shim() as shim:
        shim.collector.rule = fake_collector.deny()
        done = run([shimlab.program("boring_client")], chat(), env=shim.governed())
        equal((done.returncode, status_of(done.stdout)), (0, [200]), done.stderr)
        equal(shim.counters(), {"connections_boringssl": 1}, "counters")
        equal(shim.collector.of("CHECK"), [], "checks")


# --- SSL_sendfile ---------------------------------------------------------------------------------


KERNEL_SENDS = LOOKALIKE + """
#include <sys/types.h>
void *SSL_get_wbio(const struct ssl_st *ssl) { (void)ssl; return &only; }
long BIO_ctrl(void *bio, int command, long number, void *pointer) {
    (void)bio, (void)number, (void)pointer;
    return command == 73 ? KTLS : 0;
}
ssize_t SSL_sendfile(struct ssl_st *ssl, int fd, off_t offset, size_t count, int flags) {
    char bytes[65536];
    (void)ssl, (void)flags;
    return KTLS ? write(1, bytes, (size_t)pread(fd, bytes, count, offset)) : -1;
}
"""
FILE_SENDER = """
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
struct ssl_st;
struct ssl_st *SSL_new(void *);
int SSL_write(struct ssl_st *, const void *, int);
ssize_t SSL_sendfile(struct ssl_st *, int, off_t, size_t, int);
void SSL_free(struct ssl_st *);
int main(int count, char **words) {
    static char head[65536];
    struct stat status;
    struct ssl_st *ssl = SSL_new(NULL);
    int bytes = (int)read(0, head, sizeof head);
    int file = open(words[1], O_RDONLY);
    fstat(file, &status);
    int wrote = SSL_write(ssl, head, bytes);
    ssize_t sent = SSL_sendfile(ssl, file, 0, (size_t)status.st_size, 0);
    SSL_free(ssl);
    fprintf(stderr, "%d %zd", wrote == bytes, sent);
    return 0;
}
"""


@test
def bytes_that_the_kernel_sends_from_a_file_are_counted_as_unseen():
    """With a stand-in for a libssl and a kernel with kTLS, which few machines have."""
    with Shim() as shim:
        library = os.path.join(shim.directory, "libssl.so.77")
        program = os.path.join(shim.directory, "sender")
        head, body = chat("word " * 1000).split(b"\r\n\r\n", 1)
        head += b"\r\n\r\n"
        path = os.path.join(shim.directory, "body")
        with open(path, "wb") as file:
            file.write(body)
        for ktls, sent, unseen in ((1, len(body), len(body)), (0, -1, None)):
            compiled(shim, "library.c", KERNEL_SENDS, '-DVERSION="OpenSSL 3.0.0"', f"-DKTLS={ktls}",
                     "-shared", "-fPIC", "-Wl,-soname,libssl.so.77", "-o", library)
            compiled(shim, "sender.c", FILE_SENDER, "-o", program, library)
            done = run([program, path], head, env=shim.governed())
            equal(done.stderr, b"1 %d" % sent, f"results, kTLS {ktls}")
            # Where OpenSSL refuses, what was withheld is not let go either.
            equal(done.stdout, head + body if ktls else b"", f"what left, kTLS {ktls}")
            equal(shim.counters().get("unseen_bytes"), unseen, f"unseen, kTLS {ktls}")
            equal(any("SSL_sendfile" in line for line in shim.log_lines()), True, "told")
            equal(shim.counters().get("connections_sendfile"), ktls or None, "connections")


@test
def a_request_that_goes_on_in_a_file_does_not_leave_under_the_policy_deny():
    with Shim() as shim:
        library = os.path.join(shim.directory, "libssl.so.77")
        program = os.path.join(shim.directory, "sender")
        head, body = chat("word " * 1000).split(b"\r\n\r\n", 1)
        path = os.path.join(shim.directory, "body")
        with open(path, "wb") as file:
            file.write(body)
        compiled(shim, "library.c", KERNEL_SENDS, '-DVERSION="OpenSSL 3.0.0"', "-DKTLS=1", "-shared",
                 "-fPIC", "-Wl,-soname,libssl.so.77", "-o", library)
        compiled(shim, "sender.c", FILE_SENDER, "-o", program, library)
        done = run([program, path], head + b"\r\n\r\n",
                   env=shim.governed(NULLSPEND_ON_UNREACHABLE="deny"))
        equal((done.stdout, done.stderr), (b"", b"1 -1"), "what left, results")
        equal(shim.counters().get("denied_sendfile"), 1, "denied")


if __name__ == "__main__":
    main()
