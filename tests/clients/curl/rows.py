# SPDX-License-Identifier: Apache-2.0
"""The rows of the curl program."""
import os

from matrix import Row

HERE = os.path.dirname(os.path.abspath(__file__))


def row(client, check=False):
    return Row(name=client, runtime="curl", package="the distribution's",
               command=lambda: ["/usr/bin/python3", os.path.join(HERE, "client.py"), client],
               model="gpt-4o-mini", exception="status", status=402,
               protocol="HTTP/2" if "-h2" in client else "HTTP/1.1", streams="stream" in client,
               keeps="kept" in client, sanitizes=False, check=check)


ROWS = [row("curl"), row("curl-stream"), row("curl-h2"), row("curl-h2-stream"),
        row("curl-kept", check=True), row("curl-kept-no-expect"), row("curl-kept-stream"),
        row("curl-kept-h2", check=True), row("curl-kept-h2-stream")]
