# SPDX-License-Identifier: Apache-2.0
"""PHP's rows. The packages are the distribution's."""
import os

from matrix import Row

HERE = os.path.dirname(os.path.abspath(__file__))
PLAIN = ("HttpError", 402)
GUZZLE = ("GuzzleHttp\\Exception\\ClientException", 402)

SYMFONY = ("Symfony\\Component\\HttpClient\\Exception\\ClientException", 402)


def row(client, package, seen=PLAIN, **more):
    return Row(name=client if client.startswith("php-") else "php-" + client, runtime="PHP",
               package=package,
               command=lambda: ["/usr/bin/php", os.path.join(HERE, "client.php"), client],
               model="gpt-4o-mini", exception=seen[0], status=seen[1],
               protocol="HTTP/2" if "-h2" in client else "HTTP/1.1",
               streams=client.endswith("-stream"), **more)


# PHP's own streams make a connection for each request.
ROWS = [row("php-curl", "curl extension"), row("php-curl-stream", "curl extension"),
        row("php-curl-h2", "curl extension"), row("php-curl-h2-stream", "curl extension"),
        row("php-curl-multi", "curl extension"), row("php-curl-multi-h2", "curl extension"),
        row("php-streams", "`file_get_contents`", keeps=False),
        row("php-streams-stream", "`fopen`", keeps=False),
        row("guzzle-curl", "guzzle 7", GUZZLE), row("guzzle-curl-h2", "guzzle 7", GUZZLE),
        row("guzzle-streams", "guzzle 7", GUZZLE, keeps=False),
        row("guzzle-streams-stream", "guzzle 7", GUZZLE, keeps=False),
        row("symfony-curl", "symfony/http-client 5", SYMFONY),
        row("symfony-curl-h2-stream", "symfony/http-client 5", SYMFONY),
        row("symfony-native", "symfony/http-client 5", SYMFONY, keeps=False)]
