"""The record and the table of changes, as docs/protocol.md and docs/record-vectors.json have them.

The tests plant mistakes in a copy of this file, each by another text for one that stands here once.
"""

import base64
import json
import re

MOST_BYTES, MOST_DEEP, MOST = 16_384, 127, 2**53 - 1
KINDS = ("mutex", "rwlock", "semaphore", "election", "once")
ENDS = ("released", "taken-over", "forced", "reset")
STATES = ("started", "done", "failed")


class Corrupt(Exception):
    """The record is damaged: never written over."""


class Newer(Exception):
    """The record is of a later format: never written over."""


class Object(list):
    """A JSON object as it was written: pairs, so that a field that comes twice is seen."""


def number(low, high):
    return lambda value: type(value) is int and low <= value <= high


def text(most):
    return lambda value: isinstance(value, str) and len(value.encode()) <= most


is_text = text(256)


def is_base64(value):
    """The one spelling of at most 4,096 bytes."""
    if not isinstance(value, str):
        return False
    data = base64.b64decode(value, validate=True)
    return len(data) <= 4096 and base64.b64encode(data).decode() == value


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
OUTCOME = {
    "key": text(128),
    "state": lambda value: value in STATES,
    "token": number(0, MOST - 1),
    "resumes": number(0, MOST - 1),
    "failures": number(0, MOST),
    "ending": lambda value: isinstance(value, Object),
    "checkpoint": is_base64,
    "earlier": lambda value: type(value) is list and len(value) <= 64,
}
ENDING = {
    "token": number(0, MOST - 1),
    "by": is_text,
    "unix_ms": number(0, MOST),
    "code": number(0, 255),
    "text": text(1024),
}
EARLIER = {"key": text(128), "done": number(0, MOST - 1)}
RECORD = {
    "leasehold": number(1, 1),
    "kind": lambda value: value in KINDS,
    "token": number(0, MOST - 1),
    "write": is_id,
    "holders": lambda value: type(value) is list,
    "past": lambda value: isinstance(value, Object),
    "outcome": lambda value: isinstance(value, Object),
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
        record = fields(top, RECORD, 1, may_be_null=["past", "outcome"])
        holders = [fields(one, HOLDER, 3, ["takeover_delay_ms"]) for one in record["holders"]]
        for holder in holders:
            if holder.get("takeover_delay_ms") == 0:
                del holder["takeover_delay_ms"]
        if record["kind"] in ("mutex", "once") and len(holders) > 1:
            raise Corrupt("two holders")
        record["holders"] = holders
        if "past" in record:
            record["past"] = fields(record["past"], PAST, 2, may_be_null=["id", "by", "reason"])
        if "outcome" in record:
            if record["kind"] != "once":
                raise Corrupt("an outcome of something else")
            record["outcome"] = outcome(record["outcome"])
        return record
    except (ValueError, RecursionError, OverflowError) as error:
        raise Corrupt(str(error)) from error


def outcome(pairs):
    """What became of something that is to be done once."""
    found = fields(pairs, OUTCOME, 2, ["failures", "earlier"], ["resumes", "ending", "checkpoint"])
    if "ending" in found:
        ending = fields(found["ending"], ENDING, 3, ["text"], ["code"])
        found["ending"] = without(ending, "text", "")
    elif found["state"] == "done":
        raise Corrupt("done, and nobody knows how")
    earlier = [fields(one, EARLIER, 4, [], ["done"]) for one in found.get("earlier", [])]
    found |= {"earlier": earlier} if earlier else {}
    return without(without(found, "failures", 0), "earlier", [])


def without(value, key, nothing):
    """A field that says nothing is not written."""
    return {k: v for k, v in value.items() if k != key or v != nothing}


def encode(record):
    """The one spelling of a record."""
    record = ordered(record, RECORD)
    record["holders"] = [ordered(holder, HOLDER) for holder in record["holders"]]
    if "past" in record:
        record["past"] = ordered(record["past"], PAST)
    if "outcome" in record:
        what = ordered(record["outcome"], OUTCOME)
        if "ending" in what:
            what["ending"] = ordered(what["ending"], ENDING)
        record["outcome"] = what
    return json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


# The table of changes: what is written over a record, or over None where there is none. The
# caller adds the write id, and writes nothing that `decode` would refuse.

ROOM = 64  # what a record is left to grow by
ANY = "0" * 32  # a write id, until there is one


def free(record, token, first, now, **ended):
    """Nobody holds; `past` tells who did."""
    if record is None:
        return {"leasehold": 1, "kind": "mutex", "token": first, "write": ANY, "holders": []}
    after = record | {"token": token, "holders": []}
    for holder in record["holders"]:
        after["past"] = {"label": holder["label"], "id": holder["id"], "unix_ms": now} | ended
    return after


def acquire(record, first, now, holder):
    after = free(record, record and record["token"] + 1, first, now, ended="taken-over")
    return after | {"holders": [holder | {"renewals": 0, "acquired_unix_ms": now}]}


def renew(record):
    (holder,) = record["holders"]
    count = 0 if holder["renewals"] == MOST else holder["renewals"] + 1
    return record | {"holders": [holder | {"renewals": count}]}


def release(record, now):
    return free(record, record["token"], None, now, ended="released")


def give_up(record, first, now, once=False):
    after = free(record, record and record["token"], first, now, ended="taken-over")
    return fit(after | {"kind": "once"}) if once else after


def force(record, now, by, reason):
    after = free(record, record["token"] + 1, None, now, ended="forced")
    past = after["past"] if record["holders"] else {"label": "", "ended": "forced", "unix_ms": now}
    return fit(after | {"past": past | {"by": by, "reason": reason}})


def repair(damaged, first, now, by, reason):
    """A free record instead of bytes that are none: what is legible of them is kept."""
    damaged = damaged[:MOST_BYTES]
    tokens = [int(digits) for digits in TOKEN.findall(damaged)]
    kinds = [kind.decode() for kind in KIND.findall(damaged)]
    token = max([first, *(token + 1 for token in tokens if token < MOST)])
    kind = next((kind for kind in kinds if kind in KINDS), "mutex")
    past = {"label": "", "ended": "forced", "unix_ms": now, "by": by, "reason": reason}
    return free(None, None, min(token, MOST - 1), now) | {"kind": kind, "past": past}


TOKEN = re.compile(rb'"token"[ \t\r\n\f]*:[ \t\r\n\f]*"?([0-9]+)')
KIND = re.compile(rb'"kind"[ \t\r\n\f]*:[ \t\r\n\f]*"([a-z]+)"')


# The same of a `once`.


def fit(record):
    """Leaves out the oldest of the earlier keys where the record would outgrow its bounds."""
    while len(encode(record)) > MOST_BYTES - ROOM:
        what = record.get("outcome", {})
        if not what.get("earlier"):
            break
        shorter = what | {"earlier": what["earlier"][:-1]}
        record = record | {"outcome": without(shorter, "earlier", [])}
    return record


def start(record, first, now, holder, key):
    old = record and record.get("outcome")
    after = acquire(record, first, now, holder) | {"kind": "once"}
    new = {"key": key, "state": "started", "token": after["token"]}
    earlier = old.get("earlier", []) if old else []
    if old and old["key"] == key and old["state"] != "done":
        kept = {k: old[k] for k in ("failures", "ending", "checkpoint") if k in old}
        new |= {"resumes": old["token"]} | kept
    elif old and old["key"] != key:
        done = {"done": old["token"]} if old["state"] == "done" else {}
        earlier = [{"key": old["key"]} | done, *earlier][:64]
    if earlier:
        new["earlier"] = earlier
    unknown = {k: v for k, v in old.items() if k not in OUTCOME} if old else {}
    return fit(after | {"outcome": new | unknown})


def save(record, checkpoint):
    what = record["outcome"] | {"checkpoint": base64.b64encode(checkpoint.encode()).decode()}
    return fit(renew(record) | {"outcome": what})


def complete(record, now, state, code, text):
    (holder,) = record["holders"]
    token = record["token"]
    ending = {"token": token, "by": holder["label"], "unix_ms": now, "code": code, "text": text}
    what = record["outcome"] | {"state": state, "token": token, "ending": ending}
    if state == "failed":
        what["failures"] = min(what.get("failures", 0) + 1, MOST)
    else:
        what = {k: v for k, v in what.items() if k not in ("resumes", "checkpoint")}
    return fit(release(record, now) | {"outcome": what})


def interrupt(record, now):
    return fit(release(record, now))


def withdraw(record, now, was):
    """What stood in `was`, before the start, is put back."""
    after = {k: v for k, v in release(record, now).items() if k != "outcome"}
    return fit(after | ({"outcome": was["outcome"]} if was and "outcome" in was else {}))


def reset(record, now, by, reason):
    after = free(record, record["token"] + 1, None, now, ended="reset")
    was = {"label": record["past"]["label"]} if "past" in record else {"label": ""}
    past = after["past"] if record["holders"] else was | {"ended": "reset", "unix_ms": now}
    after = after | {"kind": "once", "past": past | {"by": by, "reason": reason}}
    return {k: v for k, v in after.items() if k != "outcome"}
