"""The record and the table of changes, as docs/protocol.md and docs/record-vectors.json have them."""

import json
import re

MOST_BYTES, MOST_DEEP, MOST = 16_384, 127, 2**53 - 1
KINDS = ("mutex", "rwlock", "semaphore", "election", "once")
ENDS = ("released", "taken-over", "forced")


class Corrupt(Exception):
    """The record is damaged: never written over."""


class Newer(Exception):
    """The record is of a later format: never written over."""


class Object(list):
    """A JSON object as it was written: pairs, so that a field that comes twice is seen."""


def number(low, high):
    return lambda value: type(value) is int and low <= value <= high


def is_text(value):
    return isinstance(value, str) and len(value.encode()) <= 256


def is_id(value):
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{32}", value) is not None


# The fields in the order in which they are written, each with what is allowed.
HOLDER = {
    "id": is_id,
    "label": is_text,
    "ttl_ms": number(1, 86_400_000),
    "renewals": number(0, MOST),
    "acquired_unix_ms": number(0, MOST),
    "takeover_delay_ms": number(0, 60_000),
}
PAST = {
    "label": is_text,
    "id": is_id,
    "ended": lambda value: value in ENDS,
    "unix_ms": number(0, MOST),
    "by": is_text,
    "reason": is_text,
}
RECORD = {
    "leasehold": number(1, 1),
    "kind": lambda value: value in KINDS,
    "token": number(0, MOST - 1),
    "write": is_id,
    "holders": lambda value: type(value) is list,
    "past": lambda value: isinstance(value, Object),
}


def plain(value, depth):
    """An unknown value as Python has it, if it is one that can be written again."""
    if isinstance(value, list) and depth > MOST_DEEP:
        raise Corrupt("nested too deeply")
    if isinstance(value, Object):
        return {plain(key, depth): plain(inner, depth + 1) for key, inner in value}
    if isinstance(value, list):
        return [plain(inner, depth + 1) for inner in value]
    if isinstance(value, str):
        value.encode()  # raises where there is half a surrogate
    elif isinstance(value, (int, float)) and abs(float(value)) == float("inf"):
        raise Corrupt("a number beyond all bounds")
    return value


def fields(pairs, table, depth, may_miss=(), may_be_null=()):
    """An object by its table: the known fields in its order, then the others, sorted."""
    if not isinstance(pairs, Object):
        raise Corrupt("not an object")
    found = {}
    for key, value in pairs:
        if key in table and key in found:
            raise Corrupt(f"{key} twice")
        found[key] = value if key in table else plain([key, value], depth)[1]
    for key, allowed in table.items():
        if found.get(key) is None and key in may_be_null or key not in found and key in may_miss:
            found.pop(key, None)
        elif key not in found or not allowed(found[key]):
            raise Corrupt(f"{key} is missing or out of range")
    return ordered(found, table)


def ordered(value, table):
    known = {key: value[key] for key in table if key in value}
    return known | {key: value[key] for key in sorted(value) if key not in table}


def refuse(word):
    raise Corrupt(f"{word} is not JSON")


def decode(data):
    """The record in some bytes; raises Newer or Corrupt."""
    try:
        if len(data) > MOST_BYTES:
            raise Corrupt("too long")
        top = json.loads(
            data.decode(),
            object_pairs_hook=Object,
            parse_int=lambda text: -0.0 if text == "-0" else int(text),
            parse_constant=refuse,
        )
        formats = [value for key, value in top if key == "leasehold"] if type(top) is Object else []
        if len(formats) == 1 and number(2, 2**64 - 1)(formats[0]):
            raise Newer(f"format {formats[0]}")
        record = fields(top, RECORD, 1, may_be_null=["past"])
        holders = [fields(one, HOLDER, 3, ["takeover_delay_ms"]) for one in record["holders"]]
        for holder in holders:
            if holder.get("takeover_delay_ms") == 0:
                del holder["takeover_delay_ms"]
        if record["kind"] == "mutex" and len(holders) > 1:
            raise Corrupt("a mutex with two holders")
        record["holders"] = holders
        if "past" in record:
            record["past"] = fields(record["past"], PAST, 2, may_be_null=["id", "by", "reason"])
        return record
    except (ValueError, RecursionError, OverflowError) as error:
        raise Corrupt(str(error)) from error


def encode(record):
    """The one spelling of a record."""
    record = ordered(record, RECORD)
    record["holders"] = [ordered(holder, HOLDER) for holder in record["holders"]]
    if "past" in record:
        record["past"] = ordered(record["past"], PAST)
    return json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


# The table of changes: what is written over a record, or over None where there is none. The
# caller adds the write id.


def free(record, token, first, now, **ended):
    """Nobody holds; `past` tells who did."""
    if record is None:
        return {"leasehold": 1, "kind": "mutex", "token": first, "holders": []}
    after = record | {"token": token, "holders": []}
    for holder in record["holders"]:
        after["past"] = {"label": holder["label"], "id": holder["id"], "unix_ms": now} | ended
    return after


def acquire(record, first, now, holder):
    after = free(record, record and record["token"] + 1, first, now, ended="taken-over")
    return after | {"holders": [holder | {"renewals": 0, "acquired_unix_ms": now}]}


def renew(record):
    (holder,) = record["holders"]
    return record | {"holders": [holder | {"renewals": (holder["renewals"] + 1) & MOST}]}


def release(record, now):
    return free(record, record["token"], None, now, ended="released")


def give_up(record, first, now):
    return free(record, record and record["token"], first, now, ended="taken-over")


def force(record, now, by, reason):
    after = free(record, record["token"] + 1, None, now, ended="forced")
    past = after["past"] if record["holders"] else {"label": "", "ended": "forced", "unix_ms": now}
    return after | {"past": past | {"by": by, "reason": reason}}
