# SPDX-License-Identifier: Apache-2.0
"""A throw-away Postgres cluster for tests, and psql to ask it.

    with postgres.Cluster() as database:
        database.sql("select 1")          # "1"
        database.rows("select 1, 'a'")    # [["1", "a"]]
        database.restart()

It listens on a Unix socket in a short directory of its own; .url is what libpq takes. As root it
runs as the user postgres, since a server refuses to be root. It is tuned for speed, not safety
(fsync off), unless durable=True.
"""
import csv
import glob
import io
import os
import pwd
import shutil
import signal
import subprocess
import tempfile


def bin_dir():
    """The newest server's programs, or None where no server is installed."""
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb"),
                   key=lambda path: int(path.split("/")[4]))
    if found:
        return os.path.dirname(found[-1])
    there = shutil.which("initdb")
    return os.path.dirname(os.path.realpath(there)) if there else None


class Failed(Exception):
    """psql said no; its words are the message."""


class Cluster:
    """A cluster of its own; started by the constructor, removed by close()."""

    def __init__(self, durable=False):
        self.bin = bin_dir()
        if self.bin is None:
            raise FileNotFoundError("no Postgres server: install the package postgresql")
        self.user = "postgres" if os.geteuid() == 0 else None
        self.root = tempfile.mkdtemp(prefix="nspg.", dir="/tmp")
        self.data = os.path.join(self.root, "data")
        if self.user:
            who = pwd.getpwnam(self.user)
            os.chown(self.root, who.pw_uid, who.pw_gid)
        self.url = f"postgresql:///postgres?host={self.root}&user=postgres"
        self.durable = durable
        self._run("initdb", "-D", self.data, "-U", "postgres", "-A", "trust", "-E", "UTF8",
                  "--locale=C", "--no-sync", "--no-instructions")
        self.start()

    def _run(self, program, *arguments):
        done = subprocess.run(
            [os.path.join(self.bin, program), *arguments], user=self.user, group=self.user,
            extra_groups=[] if self.user else None, cwd=self.root, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, text=True)
        if done.returncode != 0:
            raise Failed(f"{program}: {done.stdout}")

    def start(self):
        options = f"-c listen_addresses='' -c unix_socket_directories={self.root}"
        if not self.durable:
            options += " -c fsync=off -c full_page_writes=off"
        self._run("pg_ctl", "-D", self.data, "-w", "-t", "60", "-l",
                  os.path.join(self.root, "log"), "-o", options, "start")

    def stop(self, mode="fast"):
        self._run("pg_ctl", "-D", self.data, "-w", "-t", "60", "-m", mode, "stop")

    def restart(self):
        self.stop()
        self.start()

    def pid(self):
        with open(os.path.join(self.data, "postmaster.pid"), encoding="ascii") as lines:
            return int(lines.readline())

    def pause(self):
        """Stops the postmaster from answering (connections that stand go on)."""
        os.kill(self.pid(), signal.SIGSTOP)

    def resume(self):
        os.kill(self.pid(), signal.SIGCONT)

    def close(self):
        try:
            self.stop("immediate")
        except Failed:
            pass
        shutil.rmtree(self.root, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _psql(self, text, *arguments, url=None):
        done = subprocess.run(
            ["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", *arguments, url or self.url],
            input=text, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False, text=True)
        if done.returncode != 0:
            raise Failed(done.stderr.strip())
        return done.stdout

    def sql(self, text, url=None):
        """Runs statements; returns what they print, columns parted by |, without header."""
        return self._psql(text, "-At", url=url).strip()

    def rows(self, query, url=None):
        """The rows of one query, as lists of strings; null is the word NULL."""
        text = self._psql(query, "--csv", "-t", "-P", "null=NULL", url=url)
        return list(csv.reader(io.StringIO(text)))

    def columns(self, relation):
        """Names of a relation's columns, in order."""
        return self._psql(f"select * from {relation} limit 0", "--csv").strip().split(",")

    def create_database(self, name):
        """Makes an empty database; returns its URL."""
        self.sql(f'create database "{name}"')
        return self.url.replace("/postgres?", f"/{name}?")
