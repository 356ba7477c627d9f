"""The URL of a store, as docs/protocol.md and docs/url-vectors.json have it."""

import os
import re
import unicodedata

from files import INVISIBLE

OPTIONS = {
    "memory": {},
    "file": {"network-fs": "allow"},
    "gs": {
        "endpoint": "https?://[^/?#@]+/?",
        "write-interval": "span",
        "poll-interval": "span",
        "project": "[A-Za-z0-9._:-]+",
        "location": "[A-Za-z0-9._:-]+",
    },
    "spanner": {
        "table": "[A-Za-z][A-Za-z0-9_]{0,127}",
        "role": "[A-Za-z][A-Za-z0-9_]{0,127}",
        "role": "[A-Za-z][A-Za-z0-9_]{0,127}",
        "endpoint": "https?://[^/?#@]+/?",
        "poll-interval": "span",
    },
}
BUCKET = "[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]"
PROJECT, INSTANCE = "[a-z][a-z0-9.:-]{0,62}[a-z0-9]", "[a-z][a-z0-9-]{0,62}[a-z0-9]"
DATABASE = "[a-z][a-z0-9_-]{0,28}[a-z0-9]"


def is_hidden(text):
    return any(unicodedata.category(c) == "Cc" for c in text) or INVISIBLE.search(text)


def decoded(text):
    """The bytes behind a text in which % and two digits stand for one."""
    if re.search("%(?![0-9A-Fa-f]{2})", text):
        raise ValueError("a % without two digits")
    return re.sub(b"%(..)", lambda byte: bytes([int(byte[1], 16)]), text.encode())


def milliseconds(value):
    found = re.fullmatch("([0-9]+)(ms|s)", value, re.ASCII)
    if not found or int(found[1]) * (1 if found[2] == "ms" else 1000) > 60_000:
        raise ValueError("not a time")
    return int(found[1]) * (1 if found[2] == "ms" else 1000)


def options(scheme, query):
    found = {}
    for option in filter(None, query.split("&")):
        name, _, value = option.partition("=")
        value, allowed = decoded(value).decode(), OPTIONS[scheme].get(name)
        if allowed is None or name in found:
            raise ValueError("an unknown option, or one that comes twice")
        if allowed == "span":
            if milliseconds(value) < (10 if name == "poll-interval" else 0):
                raise ValueError("too short")
        elif not re.fullmatch(allowed, value):
            raise ValueError("not a value")
        found[name] = value
    return found


def segments(path):
    path = decoded(path).decode()
    found = path.split("/")[1:]
    if found and found[-1] == "":
        found.pop()
    if is_hidden(path) or any(segment in ("", ".", "..") for segment in found):
        raise ValueError("a segment that is none")
    return found


def read(url):
    """The place that a URL means; ValueError where it means none."""
    if url != url.strip() or any(unicodedata.category(char) == "Cc" for char in url):
        raise ValueError("white space or a control character")
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in OPTIONS:
        raise ValueError("no such store")
    place, _, query = rest.partition("?")
    host, slash, path = place.partition("/")
    path, said = slash + path, options(scheme, query)
    endpoint = {"endpoint": said["endpoint"].rstrip("/")} if "endpoint" in said else {}
    if scheme == "memory":
        if rest:
            raise ValueError("memory has nothing behind it")
        return {}
    if scheme == "file":
        if host or not path or b"\0" in decoded(path):
            raise ValueError("no directory")
        return {"directory": os.path.realpath(os.fsdecode(decoded(path)))}
    if scheme == "gs":
        if not re.fullmatch(BUCKET, host) or len("/".join(segments(path)).encode()) > 800:
            raise ValueError("no bucket")
        return {"bucket": host, "prefix": "/".join(segments(path))} | endpoint
    parts = [host, *segments(path)]
    if len(parts) != 3 or not all(map(re.fullmatch, [PROJECT, INSTANCE, DATABASE], parts)):
        raise ValueError("no database")
    names = dict(zip(["project", "instance", "database"], parts))
    return names | {"table": said.get("table", "leasehold")} | endpoint
