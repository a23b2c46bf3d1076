# SPDX-License-Identifier: Apache-2.0
"""Perl's rows. The modules are the distribution's."""
import os

from matrix import Row

HERE = os.path.dirname(os.path.abspath(__file__))


def row(client, package):
    return Row(name="perl-" + client, runtime="Perl", package=package,
               command=lambda: ["/usr/bin/perl", os.path.join(HERE, "client.pl"), client],
               model="gpt-4o-mini", exception="status", status=402, streams="stream" in client)


ROWS = [row("lwp", "LWP"), row("lwp-stream", "LWP"), row("http-tiny", "HTTP::Tiny"),
        row("http-tiny-stream", "HTTP::Tiny"), row("mojo", "Mojo::UserAgent"),
        row("mojo-async", "Mojo::UserAgent"), row("mojo-stream", "Mojo::UserAgent"),
        row("io-socket-ssl", "IO::Socket::SSL")]
