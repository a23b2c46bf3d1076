# SPDX-License-Identifier: Apache-2.0
"""Encoder and decoder of protocol messages, made from protocol/schema.h itself.

    import messages
    data = messages.encode("QUERY", id=1, what="ping")
    kind, fields = messages.decode(data)           # "ANSWER", {"id": 1, "failed": False, ...}

Numbers are int (bool for truth), uuid and hash16 are 16 bytes, text is str, usage is a dict of
meter name to count, tags a list of (key, value), parts a list of (model, usage), counts a dict. Words may be given
by name: encode("HELLO", source="preload", mode="enforce", ...). Fields that are not given are zero
or empty; what is optional and zero is left out, as in the C encoder.

    with messages.Client(endpoint) as client:      # a DEALER socket; needs python3-zmq
        client.hello()
        verdict = client.ask("CHECK", **messages.call(customer="acme"))
"""
import os
import re
import struct
import time
import uuid as uuid_module

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
VERSION = 1
WIDTHS = {"u8": "<B", "u32": "<I", "u64": "<Q", "i64": "<q", "bool": "<B"}


def _read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        text = file.read()
    return re.sub(r"/\*.*?\*/", "", text, flags=re.S).replace("\\\n", "\n")


def _macro(text, name):
    """The body of `#define NAME(...)`, up to the next empty line or directive."""
    body = re.search(rf"#define {name}\((?:X|F)\)(.*?)(?=\n\s*\n|\n#|\Z)", text, flags=re.S)
    return body.group(1)


_SCHEMA = _read("protocol/schema.h")
_WORDS_TEXT = _read("base/words.h")
METERS = re.findall(r'X\(\w+,\s*"(\w+)"\)', _macro(_read("base/meter.h"), "NS_METERS"))
WORDS = {field: re.findall(r'X\(\w+,\s*"(\w+)"\)', _macro(_WORDS_TEXT, macro))
         for field, macro in [("source", "NS_SOURCES"), ("mode", "NS_MODES"),
                              ("decision", "NS_DECISIONS"), ("reason", "NS_REASONS"),
                              ("outcome", "NS_OUTCOMES"), ("evidence", "NS_EVIDENCES")]}


def _fields(kind):
    body = _macro(_SCHEMA, f"NS_FIELDS_{kind}")
    fields = []
    for included in re.findall(r"NS_FIELDS_(\w+)\(F\)", body):
        fields += _fields(included)
    for tag, name, kind_of, need in re.findall(
            r"F\(\s*(\d+),\s*(\w+),\s*(\w+),\s*(\w+),", body):
        fields.append((int(tag), name, kind_of, need == "REQUIRED"))
    return sorted(fields)


KINDS = [name for name, _ in re.findall(r"X\((\w+),\s*(\w+)\)", _macro(_SCHEMA, "NS_MESSAGES"))]
FIELDS = {kind: _fields(kind) for kind in KINDS}
EMPTY = {"uuid": bytes(16), "hash16": bytes(16), "text": "", "usage": {}, "tags": [], "parts": [],
         "counts": {}}


def _sized(text):
    data = text.encode()
    return struct.pack("<H", len(data)) + data


def _encode_usage(usage):
    present = sum(1 << METERS.index(meter) for meter in usage)
    counts = [struct.pack("<Q", usage[meter]) for meter in METERS if meter in usage]
    return struct.pack("<Q", present) + b"".join(counts)


def _encode_value(kind_of, value):
    if kind_of in WIDTHS:
        return struct.pack(WIDTHS[kind_of], int(value))
    if kind_of in ("uuid", "hash16"):
        return value.bytes if isinstance(value, uuid_module.UUID) else bytes(value)
    if kind_of == "text":
        return value.encode() if isinstance(value, str) else value
    if kind_of == "usage":
        return _encode_usage(value)
    if kind_of == "tags":
        pairs = list(value.items()) if isinstance(value, dict) else value
        return bytes([len(pairs)]) + b"".join(_sized(k) + _sized(v) for k, v in pairs)
    if kind_of == "counts":
        return bytes([len(value)]) + b"".join(_sized(name) + struct.pack("<Q", count)
                                              for name, count in value.items())
    return bytes([len(value)]) + b"".join(_sized(m) + _encode_usage(u) for m, u in value)


def encode(kind, /, **values):
    """One message. An unknown field is a KeyError, so that tests cannot misspell one."""
    known = {name for _, name, _, _ in FIELDS[kind]}
    for name in values:
        if name not in known:
            raise KeyError(f"{kind} has no field {name}")
    out = bytearray(b"NS" + bytes([VERSION, KINDS.index(kind) + 1]))
    for tag, name, kind_of, required in FIELDS[kind]:
        value = values.get(name, EMPTY.get(kind_of, 0))
        if isinstance(value, str) and kind_of == "u8" and name in WORDS:
            value = WORDS[name].index(value)
        if not required and (not value or value == EMPTY.get(kind_of, 0)):
            continue
        data = _encode_value(kind_of, value)
        out += struct.pack("<BI", tag, len(data)) + data
    return bytes(out)


class _Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        piece = self.data[self.at:self.at + count]
        if len(piece) != count:
            raise ValueError("shorter than it says")
        self.at += count
        return piece

    def number(self, form):
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def sized(self):
        return self.take(self.number("<H")).decode()

    def usage(self):
        present = self.number("<Q")
        return {m: self.number("<Q") for i, m in enumerate(METERS) if present >> i & 1}


def _decode_value(kind_of, data):
    reader = _Reader(data)
    if kind_of in WIDTHS:
        value = reader.number(WIDTHS[kind_of])
        return bool(value) if kind_of == "bool" else value
    if kind_of in ("uuid", "hash16"):
        return bytes(data)
    if kind_of == "text":
        return data.decode()
    if kind_of == "usage":
        return reader.usage()
    count = reader.number("<B")
    if kind_of == "tags":
        return [(reader.sized(), reader.sized()) for _ in range(count)]
    if kind_of == "counts":
        return {reader.sized(): reader.number("<Q") for _ in range(count)}
    return [(reader.sized(), reader.usage()) for _ in range(count)]


def decode(data):
    """(kind, fields by name, absent ones zero or empty)."""
    if data[:2] != b"NS" or data[2] != VERSION:
        raise ValueError("not a message")
    kind = KINDS[data[3] - 1]
    fields = {name: EMPTY.get(kind_of, False if kind_of == "bool" else 0)
              for _, name, kind_of, _ in FIELDS[kind]}
    by_tag = {tag: (name, kind_of) for tag, name, kind_of, _ in FIELDS[kind]}
    reader = _Reader(data[4:])
    while reader.at < len(reader.data):
        tag, size = reader.number("<B"), reader.number("<I")
        value = reader.take(size)
        if tag in by_tag:
            name, kind_of = by_tag[tag]
            fields[name] = _decode_value(kind_of, value)
    return kind, fields


def word(field, value):
    """The word of a number: word("decision", 0) is "allow"."""
    return WORDS[field][value]


def uuid7():
    value = int(time.time() * 1000) << 80 | 7 << 76 | int.from_bytes(os.urandom(2), "big") % 4096 << 64
    value |= 2 << 62 | int.from_bytes(os.urandom(8), "big") >> 2
    return value.to_bytes(16, "big")


def start_ticks(pid):
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
        return int(file.read().rpartition(")")[2].split()[19])


def call(**more):
    """The identity of a call of gpt-4o-mini with a cap, as CHECK and REPORT have it."""
    fields = {"call_id": uuid7(), "started_at_ns": time.time_ns(), "provider": "openai",
              "family": "openai", "operation": "chat", "host": "api.openai.com",
              "requested_model": "gpt-4o-mini", "mode": "enforce", "text_bytes": 400,
              "output_tokens_max": 100, "choices": 1}
    fields.update(more)
    return fields


def report(identity, **more):
    """A REPORT of a call that went well."""
    fields = dict(identity, ended_at_ns=time.time_ns(), http_status=200, outcome="ok",
                  evidence="reported", model="gpt-4o-mini-2024-07-18",
                  usage={"input_tokens": 100, "output_tokens": 50}, checked=True)
    fields.update(more)
    return fields


class Client:
    """A DEALER socket to a collector."""

    def __init__(self, endpoint, timeout_s=20):
        import zmq  # pylint: disable=import-outside-toplevel
        self.zmq = zmq
        self.context = zmq.Context()
        self.socket = self.context.socket(zmq.DEALER)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.setsockopt(zmq.RCVTIMEO, int(timeout_s * 1000))
        self.socket.connect(endpoint)
        self.queries = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()
        self.context.term()

    def send(self, kind, **fields):
        self.socket.send(encode(kind, **fields))

    def receive(self):
        """(kind, fields); zmq.Again when nothing comes in time."""
        return decode(self.socket.recv())

    def ask(self, kind, **fields):
        """Sends and returns the fields of the next message."""
        self.send(kind, **fields)
        return self.receive()[1]

    def hello(self, **more):
        pid = os.getpid()
        fields = {"protocol_max": VERSION, "library": "test", "source": "sdk", "pid": pid,
                  "start_ticks": start_ticks(pid), "process": "test", "mode": "enforce"}
        fields.update(more)
        return self.ask("HELLO", **fields)

    def query(self, what, argument=""):
        """(failed, decoded JSON)."""
        import json  # pylint: disable=import-outside-toplevel
        self.queries += 1
        answer = self.ask("QUERY", id=self.queries, what=what, argument=argument)
        return answer["failed"], json.loads(answer["json"])
