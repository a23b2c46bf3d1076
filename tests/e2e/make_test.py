#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The Makefile: what a change builds, and that install gives back what uninstall takes away."""
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import lab  # noqa: E402
from tap import check, equal, main, test  # noqa: E402

NOBODY = "ipc:///tmp/nullspend-nobody-listens-here.sock"


def make(*words, **more):
    # Not the variables and the job server of the make that runs the tests.
    environment = {name: value for name, value in os.environ.items()
                   if name not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MODE")}
    return subprocess.run(["make", "-C", lab.ROOT, *words], env=environment, check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **more)


def built(changed):
    """The lines that building anew would print if this file had changed."""
    done = make("-n", "-W", changed, "all")
    equal(done.returncode, 0, done.stdout)
    return done.stdout


@test
def what_is_built_is_not_built_again():
    equal(make("-q", "all").returncode, 0, "make -q: " + make("-n", "all").stdout[:2000])


@test
def a_change_builds_what_depends_on_it_and_nothing_else():
    for changed, objects, programs, others in [
            ("base/words.h", ["cli/run.c", "shim/call.c"], ["libnullspend.so", "nullspendd"],
             ["base/hash.c", "pricing/cost.c"]),
            ("sql/migrations/0001_calls.sql", ["sql/migrations.S"], ["nullspendd"],
             ["collector/gate.c", "build/nullspend "]),
            ("pricing/catalogue.tsv", ["pricing/builtin.S"], ["nullspendd"],
             ["pricing/cost.c", "libnullspend.so"]),
            ("shim/exports.map", [], ["libnullspend.so"], ["shim/call.c", "nullspendd"])]:
        lines = built(changed)
        for source in objects:
            check(f"-c {source}" in lines, f"{changed}: {source} is not compiled:\n{lines}")
        for program in programs:
            check(f"-o build/{program}" in lines, f"{changed}: {program} is not linked:\n{lines}")
        for other in others:
            check(other not in lines, f"{changed}: {other} is touched:\n{lines}")


@test
def an_unknown_mode_is_refused():
    done = make("MODE=fast", "all")
    check(done.returncode != 0 and "MODE is release" in done.stdout, done.stdout)


@test
def help_lists_every_command():
    listed = make("-s", "help").stdout
    for command in ("all", "unit", "e2e", "check", "fuzz", "lint", "format", "deps", "demo", "bench",
                    "install", "uninstall", "clean", "help", "cov"):
        check(f"make {command} " in listed, f"{command} is not in:\n{listed}")


def files_below(directory):
    return sorted(os.path.relpath(os.path.join(where, name), directory)
                  for where, _, names in os.walk(directory) for name in names)


@test
def what_is_installed_runs_from_there_and_goes_away():
    with tempfile.TemporaryDirectory(prefix="ns install") as directory:
        places = [f"DESTDIR={directory}", "PREFIX=/opt/ns"]
        done = make("install", *places)
        equal(done.returncode, 0, done.stdout)
        files = files_below(directory)
        for name in ("bin/nullspend", "bin/nullspendd", "bin/nullspend-bpf", "lib/libnullspend.so",
                     "lib/systemd/system/nullspendd.service", "share/doc/nullspend/operations.md"):
            check("opt/ns/" + name in files, f"{name} is not in {files}")
        root = os.path.join(directory, "opt/ns")
        for name in ("nullspendd", "nullspend-bpf"):
            with open(os.path.join(root, f"lib/systemd/system/{name}.service"),
                      encoding="utf-8") as unit:
                text = unit.read()
            check(f"ExecStart=/opt/ns/bin/{name} " in text and "/usr/local" not in text, text)
        done = subprocess.run(
            [os.path.join(root, "bin/nullspend"), "run", "--", "cat", "/proc/self/maps"],
            env=dict(os.environ, NULLSPEND_COLLECTOR=NOBODY), stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, timeout=120, check=False)
        equal((done.returncode, done.stderr), (0, ""), "run from there")
        check(f"{root}/lib/libnullspend.so" in done.stdout, "the library is not loaded")
        equal(make("uninstall", *places).returncode, 0, "uninstall")
        equal(files_below(directory), [], "files that stay")


if __name__ == "__main__":
    main()
