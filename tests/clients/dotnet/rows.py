# SPDX-License-Identifier: Apache-2.0
""".NET's rows: the runtime comes as a package of PyPI, the program is compiled by Mono's compiler."""
import glob
import os

import lab
import toolchains
from matrix import Row

HERE = os.path.dirname(os.path.abspath(__file__))
FILES = [os.path.join(HERE, name) for name in ("client.cs", "client.runtimeconfig.json")]


def command(*words):
    python = lab.python_with_sdks(os.path.join(HERE, "requirements.txt"))
    place = os.path.join(os.path.dirname(python), "..", "lib", "python*", "site-packages", "dnv",
                         "net", "runtime", ".net", "dotnet")
    runtime = glob.glob(place)[0]
    os.chmod(runtime, 0o755)
    return [runtime, os.path.join(toolchains.with_mono("dotnet", FILES), "client.exe"), *words]


def row(version, protocol, *stream):
    return Row(name="-".join(["dotnet", version, *stream]), runtime=".NET",
               package="HttpClient, .NET 8.0.4", model="gpt-4o-mini", exception="status", status=402,
               protocol=protocol, streams=bool(stream), command=lambda: command(version, *stream))


ROWS = [row("http1", "HTTP/1.1"), row("http1", "HTTP/1.1", "stream"),
        row("http2", "HTTP/2"), row("http2", "HTTP/2", "stream")]
