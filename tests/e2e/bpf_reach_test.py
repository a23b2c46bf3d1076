#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Programs with a TLS library that nobody had before, or another one than OpenSSL, under the agent."""
import json
import os
import shutil
import signal
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import bpflab  # noqa: E402  pylint: disable=wrong-import-position
import fake_collector  # noqa: E402  pylint: disable=wrong-import-position
import shimlab  # noqa: E402  pylint: disable=wrong-import-position
from bpflab import agent  # noqa: E402  pylint: disable=wrong-import-position
from tap import check, equal, main, skip, test  # noqa: E402

shimlab.enter()

LIBSSL = os.path.realpath("/usr/lib/x86_64-linux-gnu/libssl.so.3")
URL = f"https://{shimlab.HOST}/v1/chat/completions"
TOLD = "files as they are mapped"  # a facility
CLOSE = [("Connection", "close")]


def wait_for_files():
    bpflab.facilities(TOLD)


def environment(shim, **more):
    """Of clients: what they leak is none of ours."""
    options = os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"
    return shim.environment(ASAN_OPTIONS=options, **more)


def start(command, **more):
    """Without a terminal, at which nobody waits for the agent."""
    return subprocess.Popen(command, start_new_session=True, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, **more)


CURL = ["curl", "-sS", "--http1.1", "--max-time", "60", "-o", "/dev/null", "-w", "%{http_code}",
        "-H", f"Authorization: Bearer {shimlab.KEY}", "-H", "Content-Type: application/json",
        "-d", json.dumps({"model": "gpt-4o-mini", "messages": []}), URL]


def end(process, data=None):
    out, errors = process.communicate(data, timeout=120)
    equal(process.returncode, 0, f"exit status of {process.args[0]}: {errors.decode()}")
    return out


def status(process):
    return int(end(process))


def check_denied(shim, calls=1, head_left=False):
    """So many calls were asked for, and none of what they said has left, but for what a head says that
    was written before the body."""
    equal(len(shim.collector.of("CHECK")), calls, "what was asked")
    posts = [entry for entry in shim.all_requests() if entry["method"] == "POST"]
    equal([(entry["model"], shimlab.KEY in json.dumps(entry["headers"])) for entry in posts],
          [(None, head_left)] * calls, "what the provider has seen")


# --- found at once ------------------------------------------------------------------------------


@test
def the_only_call_of_a_program_with_a_library_that_nobody_had_is_denied():
    """However late the agent is: here it is stopped itself, while the program starts."""
    wait_for_files()
    with shimlab.Shim() as shim, agent(shim) as process:
        shim.collector.rule = fake_collector.deny()
        library = os.path.join(shim.directory, "libcompany.so.7")
        shutil.copy(LIBSSL, library)
        process.send_signal(signal.SIGSTOP)
        client = start(CURL, env=environment(shim, LD_PRELOAD=library))
        waits = bpflab.wait_until_stopped(client)
        connected = shim.all_requests()
        process.send_signal(signal.SIGCONT)
        check(waits, "it did not wait for the agent")
        equal(connected, [], "what it did before")
        check(status(client) >= 400, "status")
        check_denied(shim)


@test
def a_library_that_takes_the_place_of_another_is_found():
    wait_for_files()
    with shimlab.Shim() as shim, agent(shim):
        shim.collector.rule = fake_collector.deny()
        library = os.path.join(shim.directory, "libcompany.so")
        for _ in range(3):
            shutil.copy(LIBSSL, library + ".new")
            os.replace(library + ".new", library)
            client = start(CURL, env=environment(shim, LD_PRELOAD=library))
            check(status(client) >= 400, "status")
        check_denied(shim, 3)


def reuse(path, source):
    """Puts a copy of another file in the place of one, with the same inode's number, if the file
    system gives one again soon."""
    inode = os.stat(path).st_ino
    others = []
    os.unlink(path)
    for i in range(1000):
        shutil.copy(source, path)
        if os.stat(path).st_ino == inode:
            break
        others.append(path + str(i))
        os.rename(path, others[-1])
    for other in others:
        os.unlink(other)
    if not os.path.exists(path):
        skip("a file system that gives an inode's number again")


@test
def a_library_with_the_inode_of_a_file_that_is_gone_is_found():
    wait_for_files()
    with shimlab.Shim() as shim, agent(shim):
        shim.collector.rule = fake_collector.deny()
        library = os.path.join(shim.directory, "libcompany.so")
        shutil.copy(os.path.realpath("/usr/lib/x86_64-linux-gnu/libz.so.1"), library)
        os.truncate(library, max(os.stat(library).st_size, 1 << 18))
        end(start(["true"], env=environment(shim, LD_PRELOAD=library)))
        reuse(library, LIBSSL)
        client = start(CURL, env=environment(shim, LD_PRELOAD=library))
        check(status(client) >= 400, "status")
        check_denied(shim)


@test
def a_program_that_has_deleted_its_library_is_governed():
    """One that was there before the agent."""
    code = """
import http.client, os, sys
os.unlink(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
c = http.client.HTTPSConnection("api.openai.com")
c.request("POST", "/v1/chat/completions", '{"model": "gpt-4o-mini", "messages": []}',
          {"Content-Type": "application/json", "Authorization": "Bearer " + sys.argv[2]})
print(c.getresponse().status)
"""
    wait_for_files()
    with shimlab.Shim() as shim:
        shim.collector.rule = fake_collector.deny()
        library = os.path.join(shim.directory, "libcompany.so")
        shutil.copy(LIBSSL, library)
        client = start([shimlab.PYTHON, "-c", code, library, shimlab.KEY], stdin=subprocess.PIPE,
                       env=environment(shim, LD_PRELOAD=library))
        equal(client.stdout.readline(), b"ready\n", "the program says")
        with agent(shim):
            check(int(end(client, b"go\n")) >= 400, "status")
            check_denied(shim, head_left=True)


@test
def another_mount_name_space_is_reached():
    wait_for_files()
    with shimlab.Shim() as shim, agent(shim):
        shim.collector.rule = fake_collector.deny()
        copy = os.path.join(shim.directory, "company")
        shutil.copy(LIBSSL, copy)
        script = f"mount --bind {copy} {LIBSSL} && rm {copy} && exec \"$@\""
        client = start(["unshare", "-m", "sh", "-c", script, "sh", *CURL], env=environment(shim))
        check(status(client) >= 400, "status")
        check_denied(shim)


@test
def containers_that_share_a_layer_are_told_of_once():
    wait_for_files()
    with open("/proc/filesystems", encoding="utf-8") as file:
        if "\toverlay\n" not in file.read():
            skip("overlayfs")
    with shimlab.Shim() as shim, agent(shim):
        lower = os.path.join(shim.directory, "lower")
        os.mkdir(lower)
        shutil.copy(LIBSSL, os.path.join(lower, "libcompany.so"))
        for name in ("one", "two"):
            places = [os.path.join(shim.directory, name + kind) for kind in ("", "upper", "work")]
            for place in places:
                os.mkdir(place)
            script = (f"mount -t overlay -o lowerdir={lower},upperdir={places[1]},"
                      f"workdir={places[2]} none {places[0]} && "
                      f"LD_PRELOAD={places[0]}/libcompany.so exec \"$@\"")
            client = start(["unshare", "-m", "sh", "-c", script, "sh", *CURL],
                           env=environment(shim))
            equal(status(client), 200, f"status in {name}")
        equal(len(shim.collector.wait("REPORT", 2)), 2, "what was reported")
        equal(len(shim.collector.of("CHECK")), 2, "what was asked")


@test
def a_program_that_forks_much_goes_on_and_each_call_of_its_children_is_asked_for():
    code = """
import os, subprocess, sys
library, rounds = sys.argv[1], int(sys.argv[2])
children = []
for i in range(rounds):
    pid = os.fork()
    if pid == 0:
        os.execvpe("true", ["true"], dict(os.environ, LD_PRELOAD=library if i % 8 == 0 else ""))
    if i % 8 == 0:
        children.append(subprocess.Popen(sys.argv[3:], env=dict(os.environ, LD_PRELOAD=library),
                                         stdout=subprocess.PIPE))
for child in children:
    print(child.communicate()[0].decode(), child.returncode)
while True:
    try:
        pid, status = os.wait()
    except ChildProcessError:
        break
    print("-", status)
"""
    wait_for_files()
    with shimlab.Shim() as shim, agent(shim):
        library = os.path.join(shim.directory, "libcompany.so")
        shutil.copy(LIBSSL, library)
        rounds = 200
        out = end(start([shimlab.PYTHON, "-c", code, library, str(rounds), *CURL],
                        env=environment(shim)))
        equal(sorted(out.decode().splitlines()), ["- 0"] * rounds + ["200 0"] * (rounds // 8),
              "what its children ended with")
        shim.collector.wait("REPORT", rounds // 8)
        equal(len(shim.collector.of("CHECK")), rounds // 8, "what was asked")


# --- other libraries ------------------------------------------------------------------------------


def run_client(shim, *command):
    data = shimlab.chat(headers=[*CLOSE, ("X-Replay", "tokens=1000/50")])
    client = start(command, stdin=subprocess.PIPE, env=environment(shim))
    answer = end(client, data)
    return shimlab.status_of(answer)


def check_governed(*command):
    """A client's call is asked for and reported by its usage; where it is denied, nothing of it
    leaves."""
    with shimlab.Shim() as shim, agent(shim):
        equal(run_client(shim, *command), [200], "status")
        asked, = shim.collector.wait("CHECK")
        equal(asked["requested_model"], "gpt-4o-mini", "what was asked")
        told, = shim.collector.wait("REPORT")
        equal(told["usage"].get("output_tokens"), 50, "output tokens")
        equal(told["process"], os.path.basename(command[0]), "process")
    with shimlab.Shim() as shim, agent(shim):
        shim.collector.rule = fake_collector.deny()
        seen, = run_client(shim, *command)
        check(seen >= 400, f"status {seen}")
        check_denied(shim)


@test
def gnutls_is_governed():
    for call in ("send", "send2"):
        check_governed(shimlab.program("gnutls_client"), call, shimlab.HOST, "443")


@test
def a_library_upon_another_is_told_of_once():
    check_governed(shimlab.program("layered_client"))


@test
def nss_is_governed_and_its_other_descriptors_are_left_alone():
    for call in ("write", "send"):
        check_governed(shimlab.program("nss_client"), call, shimlab.HOST, "443")


@test
def boringssl_is_governed():
    check_governed(shimlab.program("boring_client"), "all")


@test
def openssl_by_its_bios_is_governed():
    with shimlab.Shim() as shim, agent(shim):
        for i, way in enumerate(("connect", "buffer", "pushed", "method"), 1):
            client = start([shimlab.program("bio_client"), way, shimlab.HOST, "443", "1"],
                           stdin=subprocess.PIPE, env=environment(shim))
            equal(shimlab.status_of(end(client, shimlab.chat())), [200], f"status, {way}")
            shim.collector.wait("REPORT", i)
        equal(len(shim.collector.of("CHECK")), 4, "what was asked")


if __name__ == "__main__":
    main()
