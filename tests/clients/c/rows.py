# SPDX-License-Identifier: Apache-2.0
"""The rows of C programs: libcurl's multi interface, and OpenSSL as programs use it themselves."""
import os

import toolchains
from matrix import Row

HERE = os.path.dirname(os.path.abspath(__file__))


def row(program, client, package, libraries, **more):
    return Row(name=f"c-{program}-{client}", runtime="C", package=package,
               command=lambda: [toolchains.compiled(os.path.join(HERE, program + ".c"), libraries),
                                client],
               model="gpt-4o-mini", exception="status", status=402,
               protocol="HTTP/2" if client.startswith("h2") else "HTTP/1.1",
               streams="stream" in client, **more)


def multi(client, **more):
    return row("multi", client, "libcurl multi, with requests beside it", ["-lcurl"], **more)


def openssl(client, **more):
    return row("openssl", client, "libssl", ["-lssl", "-lcrypto"], **more)


# By HTTP/1.1 there are connections beside it, and the pool chooses.
ROWS = [multi("h1", keeps=False), multi("h1-stream", keeps=False), multi("h2"),
        multi("h2-stream", check=True),
        openssl("blocking"), openssl("blocking-stream"), openssl("nonblocking", check=True),
        openssl("nonblocking-stream"), openssl("memory"), openssl("memory-stream"),
        openssl("bio"), openssl("bio-stream")]
