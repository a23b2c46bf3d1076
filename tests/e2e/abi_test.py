#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The gate of tests/abi lets the library pass, and no object that breaks one of its rules."""
import os
import re
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import lab  # noqa: E402  pylint: disable=wrong-import-position
from tap import check, equal, main, test  # noqa: E402

GATE = os.path.join(lab.ROOT, "tests/abi/check")
LIBRARY = os.path.join(lab.ROOT, "build/libnullspend.so")


def breaches(library):
    done = subprocess.run([GATE, library], stdout=subprocess.PIPE, text=True, check=False)
    equal(done.returncode, 1 if done.stdout else 0, "exit status")
    return done.stdout


def exported():
    with open(os.path.join(lab.ROOT, "shim/exports.map"), encoding="utf-8") as file:
        text = re.sub(r"#.*", "", file.read())
    return re.findall(r"^\s+(\w+);$", text.split("local:")[0], flags=re.M)


def made(source="", *flags, names=None):
    """What the gate says of an object that is well but for this source and these flags."""
    functions = "".join(f"void {name}(void) {{ }}\n" for name in names or exported())
    with tempfile.TemporaryDirectory(prefix="nsabi") as directory:
        target = os.path.join(directory, "library.so")
        subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-w", "-Wl,-z,nodelete,-z,now", "-x", "c",
                        "-", "-o", target, *flags], input=(functions + source).encode(), check=True,
                       stderr=subprocess.DEVNULL)
        return breaches(target)


@test
def the_library_breaks_no_rule():
    equal(breaches(LIBRARY), "", "breaches")


@test
def an_object_that_is_well_passes():
    equal(made(), "", "breaches")


@test
def one_name_more_or_less_is_seen():
    equal(made("int ns_count; "), "exports ns_count, which shim/exports.map does not list\n", "more")
    equal(made(names=exported()[1:]),
          f"does not export {exported()[0]}, which shim/exports.map lists\n", "less")


@test
def what_it_needs_and_refers_to_is_seen():
    check("needs libm.so.6" in made("double cos(double); void *x = cos;", "-Wl,--no-as-needed",
                                    "-lm"), "libm")
    equal(made("void abort(void); static void f(void) { abort(); } static void *x "
               "__attribute__((used)) = f;"),
          "refers to abort, which tests/abi/undefined does not list\n", "abort")
    # An object that is linked here cannot want a libc newer than this one, so it is told so.
    with tempfile.TemporaryDirectory(prefix="nsabi") as directory:
        newer = os.path.join(directory, "library.so")
        with open(LIBRARY, "rb") as file:
            data = file.read()
        with open(newer, "wb") as file:
            file.write(data.replace(b"GLIBC_2.32\0", b"GLIBC_2.39\0"))
        check("newer than glibc 2.34" in breaches(newer), breaches(newer))


@test
def how_it_is_loaded_is_seen():
    equal(made("", "-Wl,-z,lazy"), "binds its references late\n", "lazy")
    equal(made("", "-Wl,-rpath,/opt"), "has a search path of its own\n", "search path")
    equal(made("", "-Wl,-z,execstack"), "wants an executable stack\n", "stack")
    equal(made("static __thread char room[65] __attribute__((used));"),
          "has 65 bytes of thread-local data, more than 64\n", "thread-local data")
    check("writable and executable" in made(
        '__asm__(".section .both,\\"awx\\"\\n.quad 0\\n.text");'), "segments")
    check("has text relocations" in made("__asm__(\".text\\n.quad SSL_read\\n\");",
                                         "-Wl,-z,notext"), "text relocations")


@test
def an_object_that_can_be_unloaded_is_seen():
    with tempfile.TemporaryDirectory(prefix="nsabi") as directory:
        target = os.path.join(directory, "library.so")
        source = "".join(f"void {name}(void) {{ }}\n" for name in exported())
        subprocess.run(["gcc", "-shared", "-fPIC", "-w", "-Wl,-z,now", "-x", "c", "-", "-o", target],
                       input=source.encode(), check=True)
        equal(breaches(target), "can be unloaded while its hooks are in use\n", "breaches")


if __name__ == "__main__":
    main()
