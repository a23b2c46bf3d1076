# SPDX-License-Identifier: Apache-2.0
"""Rust's rows: native-tls, which is OpenSSL on Linux. Versions are those of Cargo.toml."""
import os
import re

import toolchains
from matrix import Row

HERE = os.path.dirname(os.path.abspath(__file__))
FILES = [os.path.join(HERE, name) for name in ("Cargo.toml", "client.rs")]
STATUS = ("status", 402)
with open(FILES[0], encoding="utf-8") as manifest:
    PINS = dict(re.findall(r'^([\w-]+) = \{.*?version = "=([\d.]+)"', manifest.read(), re.M))


def row(client, crate, seen=STATUS, protocol="HTTP/1.1"):
    return Row(name="rust-" + client, runtime="Rust, native-tls",
               package=f"{crate.replace('_before', '')} {PINS[crate]}",
               command=lambda: [os.path.join(toolchains.with_cargo("rust", FILES), "client"),
                                client],
               model="gpt-4o-mini", exception=seen[0], status=seen[1], protocol=protocol,
               streams="stream" in client or "chunks" in client)


OPENAI = ("OpenAIError::ApiError", 402)
ROWS = [row("reqwest", "reqwest"), row("reqwest-stream", "reqwest"),
        row("reqwest-chunks", "reqwest"), row("reqwest-blocking", "reqwest"),
        row("reqwest-h2", "reqwest", protocol="HTTP/2"),
        row("reqwest-h2-stream", "reqwest", protocol="HTTP/2"),
        row("reqwest-before", "reqwest_before"),
        row("reqwest-before-h2-stream", "reqwest_before", protocol="HTTP/2"),
        row("async-openai", "async-openai", OPENAI, "HTTP/2"),
        row("async-openai-stream", "async-openai", OPENAI, "HTTP/2")]
