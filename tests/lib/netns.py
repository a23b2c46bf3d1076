# SPDX-License-Identifier: Apache-2.0
"""A network of one's own: providers' host names on loopback, nothing leaves the machine.

    netns.enter(["api.openai.com", ...])   # re-executes the script in its namespace; returns there
    authority = netns.certificates(directory, hosts)  # .ca, .certificate, .key: paths of PEM files

Works as root and, where the kernel lets users make namespaces, as anybody; where it does not, an
ordinary user gets them by sudo and is himself again inside.
"""
import collections
import ctypes
import fcntl
import os
import pwd
import shutil
import socket
import struct
import subprocess
import sys

INSIDE = "NULLSPEND_TEST_NETWORK"
HOSTS = "NULLSPEND_TEST_HOSTS"
USER = "NULLSPEND_TEST_USER"
Authority = collections.namedtuple("Authority", "ca certificate key")

SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 0x1
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x40000
CLONE_NEWNS = 0x20000
LIBC = ctypes.CDLL(None, use_errno=True)


def enter(hosts):
    """Re-executes this script with network and mounts of its own; returns in the new process, with
    loopback up and the hosts in /etc/hosts. Asking again inside returns at once."""
    if os.environ.get(INSIDE) == "1":
        if os.environ.get(HOSTS) is not None:
            _furnish(os.environ.pop(HOSTS).split(","))
            if os.environ.get(USER) is not None:
                _become(pwd.getpwuid(int(os.environ.pop(USER))))
        return
    environment = dict(os.environ, **{INSIDE: "1", HOSTS: ",".join(hosts)})
    command = ["unshare", "--net", "--mount", "--ipc"]
    if os.geteuid() != 0:
        # Stays this user inside, for Postgres refuses to run as root.
        as_user = [*command, "--user", "--map-current-user", "--keep-caps"]
        if _works([*as_user, "--", "true"]):
            command = as_user
        elif shutil.which("sudo"):
            environment[USER] = str(os.geteuid())
            path = "PATH=" + os.environ.get("PATH", os.defpath)
            command = ["sudo", "--preserve-env", "env", path, *command]
        else:
            sys.exit("This kernel lets ordinary users make no namespaces, and sudo is not there: "
                     "run it as root.")
    if not _root_is_a_mount():
        command += ["--propagation", "unchanged"]
    os.execvpe(command[0], [*command, "--", sys.executable, *sys.argv], environment)


def _works(command):
    return subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                          check=False).returncode == 0


def _root_is_a_mount():
    """Not so in a directory that somebody chrooted to."""
    with open("/proc/self/mountinfo", encoding="utf-8") as mounts:
        return any(line.split()[4] == "/" for line in mounts)


def _call(function, *arguments):
    if function(*arguments) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{function.__name__}: {os.strerror(error)}")


def _keep_mounts_here():
    """In a chroot the mount that its directory lies on cannot be named, and so not be made private:
    step out to the namespace's own root, do it there, and step back."""
    root = os.open("/", os.O_PATH | os.O_DIRECTORY)
    with open("/proc/self/ns/mnt", "rb") as namespace:
        _call(LIBC.setns, namespace.fileno(), CLONE_NEWNS)
    _call(LIBC.mount, None, b"/", None, MS_REC | MS_PRIVATE, None)
    os.fchdir(root)
    os.chroot(".")
    os.close(root)


def _become(user):
    """Gives root's rights back, but for low ports, and starts the script anew as this user."""
    with open("/proc/sys/net/ipv4/ip_unprivileged_port_start", "w", encoding="ascii") as first:
        first.write("0")
    os.initgroups(user.pw_name, user.pw_gid)
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)
    os.execv(sys.executable, [sys.executable, *sys.argv])


def _furnish(hosts):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = struct.pack("16sh14s", b"lo", 0, b"")
        flags = struct.unpack("16sh14s", fcntl.ioctl(control, SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sh14s", b"lo", flags | IFF_UP, b""))
    if not _root_is_a_mount():
        directory = os.getcwd()
        _keep_mounts_here()
        os.chdir(directory)
    names = "".join(f"127.0.0.1 {host}\n" for host in hosts)
    _mount_text("127.0.0.1 localhost\n::1 localhost\n" + names, "/etc/hosts")
    # Names that are not in the hosts file fail at once, without asking a server.
    _mount_text("hosts: files\npasswd: files\ngroup: files\n", "/etc/nsswitch.conf")


def _mount_text(text, target):
    """Puts a file of this text over target, for this namespace alone."""
    memory = f"/run/nullspend-test-{os.getpid()}" if os.access("/run", os.W_OK) else \
        f"/tmp/nullspend-test-{os.getpid()}"
    with open(memory, "w", encoding="ascii") as file:
        file.write(text)
    os.chmod(memory, 0o644)
    _call(LIBC.mount, memory.encode(), target.encode(), None, MS_BIND, None)
    os.unlink(memory)


def _openssl(*arguments):
    subprocess.run(["openssl", *arguments], check=True, stdout=subprocess.DEVNULL,
                   stderr=subprocess.PIPE)


def certificates(directory, hosts):
    """Makes a CA and one certificate for all hosts (and localhost) in directory."""
    paths = {name: os.path.join(directory, name) for name in
             ("ca.key", "ca.pem", "server.key", "server.csr", "server.pem", "server.ext")}
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    _openssl("req", "-x509", *curve, "-keyout", paths["ca.key"], "-out", paths["ca.pem"], "-days",
             "30", "-subj", "/CN=NullSpend test CA", "-addext", "basicConstraints=critical,CA:TRUE",
             "-addext", "keyUsage=critical,keyCertSign,cRLSign")
    _openssl("req", "-new", *curve, "-keyout", paths["server.key"], "-out", paths["server.csr"],
             "-subj", f"/CN={hosts[0]}")
    names = ",".join(f"DNS:{host}" for host in [*hosts, "localhost"])
    with open(paths["server.ext"], "w", encoding="ascii") as file:
        file.write("basicConstraints=CA:FALSE\nkeyUsage=digitalSignature\n"
                   f"extendedKeyUsage=serverAuth\nsubjectAltName={names},IP:127.0.0.1\n"
                   "subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n")
    _openssl("x509", "-req", "-in", paths["server.csr"], "-CA", paths["ca.pem"], "-CAkey",
             paths["ca.key"], "-CAcreateserial", "-out", paths["server.pem"], "-days", "30",
             "-extfile", paths["server.ext"])
    for path in paths.values():
        os.chmod(path, 0o644)
    return Authority(paths["ca.pem"], paths["server.pem"], paths["server.key"])
