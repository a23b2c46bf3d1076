# SPDX-License-Identifier: Apache-2.0
"""Ruby's rows. The gems are the distribution's."""
import os

from matrix import Row

HERE = os.path.dirname(os.path.abspath(__file__))
PLAIN = ("HttpError", 402)


def row(client, package, seen=PLAIN, **more):
    return Row(name="ruby-" + client, runtime="Ruby", package=package,
               command=lambda: ["/usr/bin/ruby", os.path.join(HERE, "client.rb"), client],
               model="gpt-4o-mini", exception=seen[0], status=seen[1],
               protocol="HTTP/2" if "-h2" in client else "HTTP/1.1", streams="stream" in client,
               **more)


# Faraday 1 keeps no connection; Excon closes its own where it raises.
ROWS = [row("net-http", "standard library"), row("net-http-stream", "standard library"),
        row("faraday", "faraday 1", ("Faraday::ClientError", 402), keeps=False),
        row("httpclient", "httpclient 2"), row("httpclient-stream", "httpclient 2"),
        row("http-rb", "http 4"), row("http-rb-stream", "http 4"),
        row("excon", "excon", ("Excon::Error::PaymentRequired", 402), keeps=False),
        row("typhoeus", "typhoeus 1"), row("typhoeus-h2", "typhoeus 1")]
