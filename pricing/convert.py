#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Converts genai-prices' data into pricing/catalogue.tsv (format: pricing/README.md).

    pricing/convert.py DIR [--name NAME] > pricing/catalogue.tsv
    pricing/convert.py --seal FILE

DIR holds data.json and units.json of the npm package @pydantic/genai-prices. --seal writes the
closing checksum of a catalogue that was edited by hand. Numbers are decimals or fractions
throughout: no float is ever made of a price.
"""
import argparse
import datetime
import fractions
import json
import os
import re
import sys
from decimal import ROUND_HALF_EVEN, Decimal

FORMAT = 1
NAME = "genai-prices-0.1.8+2"
OUTPUT_MAX_DEFAULT = 131072
HERE = os.path.dirname(os.path.abspath(__file__))

DATE8 = r"-\d{8}$"
DATE10 = r"-\d{4}-\d{2}-\d{2}$"
NOT_TTS = r"^(?!.*-[tT][tT][sS](?:$|-))"
LEAVES = {"equals": "equals", "starts_with": "prefix", "ends_with": "suffix", "contains": "contains"}
# What may follow a host in an api_pattern.
PATHS = ("/", "/client/v4/accounts/x/ai/")
# The package's names, where base/meter.h has a shorter one for the same thing.
METERS = {"cache_write_5m_tokens": "cache_write_tokens"}


def crc32c(data):
    table = []
    for n in range(256):
        for _ in range(8):
            n = n >> 1 ^ (0x82F63B78 if n & 1 else 0)
        table.append(n)
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ table[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def seal(text):
    return text + "checksum\tcrc32c\t%08x\n" % crc32c(text.encode())


def meter_names():
    header = open(os.path.join(HERE, "..", "base", "meter.h"), encoding="utf-8").read()
    return re.findall(r'X\([A-Z0-9_]+, "([a-z0-9_]+)"\)', header)


class Overlay:
    """The rows of overlay.txt, by their first word."""

    def __init__(self, path):
        self.rows = {}
        for number, line in enumerate(open(path, encoding="utf-8"), 1):
            words = line.split("#")[0].split()
            if words:
                self.rows.setdefault(words[0], []).append((number, words[1:]))
        self.used = set()

    def all(self, kind):
        return [words for _, words in self.rows.get(kind, [])]

    def of(self, kind, provider):
        """Rows whose first field names this provider exactly."""
        return [words[1:] for words in self.all(kind) if words[0] == provider]

    def models(self, kind, provider, model):
        """Rows whose PROVIDER and MODELS match this row of the catalogue."""
        found = []
        for number, words in self.rows.get(kind, []):
            if re.fullmatch(words[0], provider) and re.fullmatch(words[1], model):
                self.used.add((kind, number))
                found.append(words[2:])
        return found

    def unused(self):
        """Rows that match nothing are mistakes, or were overtaken by the upstream."""
        kinds = ("free", "set_from", "price", "fee", "scale", "output_max")
        return [(k, n) for k in kinds for n, _ in self.rows.get(k, []) if (k, n) not in self.used]


def unescape(regex):
    """The literal text of a regex without operators; fails on any operator."""
    out, i = [], 0
    while i < len(regex):
        if regex[i] == "\\":
            i += 1
            if regex[i].isalnum():
                raise ValueError(f"not a literal: {regex}")
        elif regex[i] in ".^$*+?{}[]()|":
            raise ValueError(f"not a literal: {regex}")
        out.append(regex[i])
        i += 1
    return "".join(out)


def regex_rule(regex):
    for tail, kind in ((DATE10, "date10"), (DATE8, "date8")):
        if regex.startswith("^") and regex.endswith(tail):
            return kind, unescape(regex[1 : -len(tail)]), ""
    if regex.startswith("^") and regex.endswith("$"):
        return "equals", unescape(regex[1:-1]), ""
    if regex.startswith("^") and regex.endswith(r"\d"):
        return "digit", unescape(regex[1:-2]), ""
    raise ValueError(f"a regex of a new form: {regex}")


def match_rules(match):
    """[(kind, pattern, word that must not stand in the name)] of a match tree."""
    if len(match) != 1:
        raise ValueError(f"a match of a new form: {match}")
    ((kind, value),) = match.items()
    if kind == "or":
        return [rule for leaf in value for rule in match_rules(leaf)]
    if kind == "and":
        rest = [leaf for leaf in value if leaf != {"regex": NOT_TTS}]
        if len(rest) != 1 or len(value) != 2:
            raise ValueError(f"an and of a new form: {match}")
        return [(k, p, "tts") for k, p, _ in match_rules(rest[0])]
    if kind == "regex":
        return [regex_rule(value)]
    return [(LEAVES[kind], value, "")]


def rate_pusd(usd):
    """Pico-dollars, exact; artefacts of binary floats (0.18000000000000002) are rounded off."""
    return int((Decimal(usd) * 10**12).to_integral_value(ROUND_HALF_EVEN))


class Units:
    def __init__(self, units, known):
        self.by_key = {}
        for name, unit in units.items():
            self.by_key[unit["price_key"]] = (METERS.get(name, name), int(unit["per"]))
        self.known = known

    def rows(self, prices):
        """[(meter, rate, per, above)] of one set of upstream prices."""
        rows = []
        for key, value in prices.items():
            meter, per = self.by_key[key]
            if meter not in self.known:
                raise ValueError(f"base/meter.h has no {meter}")
            tiers = [(value, 0)]
            if isinstance(value, dict):
                tiers = [(value["base"], 0)] + [(t["price"], int(t["start"])) for t in value["tiers"]]
            for usd, above in sorted(tiers, key=lambda t: t[1]):
                rows.append((meter, rate_pusd(usd), per, above))
        order = {name: i for i, name in enumerate(self.known)}
        return sorted(rows, key=lambda r: (order[r[0]], r[3]))


def sets_of(model, units):
    """[(from date, utc start, utc end, rows)], the unconditional one first."""
    prices = model["prices"]
    listed = prices if isinstance(prices, list) else [{"prices": prices}]
    sets = []
    for entry in listed:
        rule = entry.get("constraint") or {}
        kind = rule.get("type")
        if kind not in (None, "start_date", "time_of_date"):
            raise ValueError(f"a constraint of a new form: {rule}")
        start = rule.get("start_time", "").rstrip("Z")
        end = rule.get("end_time", "").rstrip("Z")
        sets.append([rule.get("start_date", ""), start, end, units.rows(entry["prices"])])
    return [s for s in sets if s[3]]


def overlay_sets(sets, overlay, provider, model, known):
    for words in overlay.models("set_from", provider, model):
        for s in sets:
            if s[1] and not s[0]:
                s[0] = words[0]
    for meter, usd, per in overlay.models("price", provider, model):
        for s in sets:
            s[3] = [r for r in s[3] if r[0] != meter] + [(meter, rate_pusd(usd), int(per), 0)]
    for meter, usd, per in overlay.models("fee", provider, model):
        for s in sets:
            if all(r[0] != meter for r in s[3]):
                s[3].append((meter, rate_pusd(usd), int(per), 0))
    order = {name: i for i, name in enumerate(known)}
    for s in sets:
        datetime.date.fromisoformat(s[0] or "2000-01-01")
        s[3].sort(key=lambda r: (order[r[0]], r[3]))
    return sets


def scales_of(overlay, provider, model):
    """One row a (kind, value, meters); the row for a single meter before "tokens"."""
    found = {}
    for kind, value, meters, ratio in overlay.models("scale", provider, model):
        found[(kind, value, meters)] = fractions.Fraction(ratio)
        if kind == "tier" and value == "priority" and provider == "openai":
            found[(kind, "fast", meters)] = fractions.Fraction(ratio)
    return sorted(found.items(), key=lambda item: (item[0][2] == "tokens", item[0]))


def output_max(overlay, provider, model, window):
    rows = overlay.models("output_max", provider, model)
    limit = int(rows[0][0]) if rows else window or OUTPUT_MAX_DEFAULT
    return min(limit, window) if window else limit


def write_model(out, model, provider, overlay, units, known):
    name = model["id"]
    sets = overlay_sets(sets_of(model, units), overlay, provider, name, known)
    free = not sets and overlay.models("free", provider, name) != []
    window = model.get("context_window") or 0
    flags = ",".join(f for f, on in (("free", free), ("deprecated", model.get("deprecated"))) if on)
    limit = output_max(overlay, provider, name, window)
    out.append(("model", name, window or "-", limit, flags or "-"))
    for kind, pattern, without in match_rules(model["match"]):
        out.append(("match", kind, pattern, without or "-"))
    for start_date, start, end, rows in sets:
        out.append(("set", start_date or "-", start or "-", end or "-"))
        out.extend(("price", *row) for row in rows)
    for (kind, value, meters), ratio in scales_of(overlay, provider, name) if sets else []:
        out.append(("scale", kind, value, meters, ratio.numerator, ratio.denominator))


def write_provider(out, provider, overlay, units, known):
    name = provider["id"]
    out.append(("provider", name))
    out.extend(("alias", *words) for words in overlay.of("alias", name))
    for kind, host in overlay.of("host", name):
        example = "https://" + ("x" + host if kind == "suffix" else host)
        if not any(re.match(provider["api_pattern"], example + path) for path in PATHS):
            raise ValueError(f"{host} is no host of {name}: {provider['api_pattern']}")
        out.append(("host", kind, host))
    out.extend(("regional", kind, host) for kind, host in overlay.of("regional", name))
    out.extend(("fallback", other) for other in provider.get("fallback_model_providers") or [])
    for model in provider["models"]:
        write_model(out, model, name, overlay, units, known)
    for kind, pattern in overlay.of("free_name", name):
        out.append(("model", pattern, "-", OUTPUT_MAX_DEFAULT, "free"))
        out.append(("match", kind, pattern, "-"))


def convert(folder, name):
    known = meter_names()
    overlay = Overlay(os.path.join(HERE, "overlay.txt"))
    with open(os.path.join(folder, "units.json"), encoding="utf-8") as file:
        units = Units(json.load(file), known)
    with open(os.path.join(folder, "data.json"), encoding="utf-8") as file:
        data = json.load(file, parse_float=Decimal, parse_int=Decimal)
    out = [("catalogue", FORMAT, name)]
    for provider in data:
        write_provider(out, provider, overlay, units, known)
    for (provider,) in overlay.all("local"):
        out.append(("provider", provider))
        out.append(("model", "local", "-", OUTPUT_MAX_DEFAULT, "free"))
        out.append(("match", "prefix", "", "-"))
    if overlay.unused():
        raise ValueError(f"overlay rows that match nothing: {overlay.unused()}")
    return seal("".join("\t".join(str(f) for f in row) + "\n" for row in out))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", nargs="?")
    parser.add_argument("--name", default=NAME)
    parser.add_argument("--seal", metavar="FILE")
    args = parser.parse_args()
    if args.seal:
        lines = open(args.seal, encoding="utf-8").read().splitlines(keepends=True)
        text = "".join(line for line in lines if not line.startswith("checksum\t"))
        with open(args.seal, "w", encoding="utf-8") as file:
            file.write(seal(text))
    elif args.folder:
        sys.stdout.write(convert(args.folder, args.name))
    else:
        parser.error("DIR or --seal FILE")


if __name__ == "__main__":
    main()
