# SPDX-License-Identifier: Apache-2.0
"""Clients in languages that want building or installing, kept in build/clients/ between runs; each is
made anew where one of its files has changed. They are called from one thread, before the laboratory
is entered, and from many after it, when all is there."""
import glob
import hashlib
import os
import shutil
import subprocess
import sys
import threading

import lab

DIRECTORY = os.path.join(lab.ROOT, "build", "clients")
LOCK = threading.Lock()


def _made(name, files, make):
    """The directory of this name, in which copies of the files lie and make(directory) has run."""
    directory = os.path.join(DIRECTORY, name)
    stamp = os.path.join(directory, "made")
    digest = hashlib.sha256()
    for path in files:
        with open(path, "rb") as file:
            digest.update(file.read())
    with LOCK:
        if os.path.exists(stamp):
            with open(stamp, encoding="ascii") as file:
                if file.read() == digest.hexdigest():
                    return directory
        os.makedirs(directory, exist_ok=True)
        for path in files:
            shutil.copy(path, directory)
        make(directory)
        with open(stamp, "w", encoding="ascii") as file:
            file.write(digest.hexdigest())
    return directory


def _run(command, directory, environment=None):
    if shutil.which(command[0]) is None:
        sys.exit(f"The matrix of clients needs {command[0]}, which is not on this machine.")
    subprocess.run(command, cwd=directory, check=True, stdout=sys.stderr, env=environment)


def with_npm(name, files):
    """files: a program, package.json and package-lock.json."""
    return _made(name, files, lambda directory: _run(
        ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"],
        directory))


def with_cargo(name, files):
    """files: Cargo.toml and its sources. Returns the directory of the programs."""
    directory = _made(name, files, lambda directory: _run(
        ["cargo", "build", "--quiet", "--release"], directory))
    return os.path.join(directory, "target", "release")


def with_mono(name, files):
    """files: a program in C#, and what lies beside it. Returns the directory of the program, with the
    ending .exe, which .NET's runtime runs as Mono's does."""
    source = os.path.basename(files[0])
    return _made(name, files, lambda directory: _run(
        ["mcs", "-warnaserror", "-r:System.Net.Http.dll", source], directory))


def compiled(source, libraries):
    """Returns the program."""
    name = os.path.splitext(os.path.basename(source))[0]
    return os.path.join(_made("c-" + name, [source], lambda directory: _run(
        ["gcc", "-std=c17", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra", "-Werror", source, "-o",
         os.path.join(directory, name), *libraries], directory)), name)


def go_toolchains():
    """The `go` of each version that is here: on the path, and where others lie."""
    found = {}
    places = [shutil.which("go"), "/usr/local/go/bin/go", *sorted(glob.glob("/usr/lib/go-*/bin/go"))]
    for go in places:
        if go and os.path.exists(go):
            version = subprocess.run([go, "version"], stdout=subprocess.PIPE, text=True, check=True,
                                     env={**os.environ, "GOTOOLCHAIN": "local"}).stdout.split()[2]
            found.setdefault(version, go)
    return found


def with_go(name, source, go, flags=(), cgo=False):
    """source: a file of package main without modules but Go's own. Returns the program."""
    environment = {**os.environ, "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=mod", "GOPROXY": "off",
                   "GO111MODULE": "off", "GOCACHE": os.path.join(DIRECTORY, "go-cache"),
                   "CGO_ENABLED": "1" if cgo else "0"}
    return os.path.join(_made(name, [source], lambda directory: _run(
        [go, "build", *flags, "-o", "program", os.path.basename(source)], directory,
        environment)), "program")
