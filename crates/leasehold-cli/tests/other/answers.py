"""Answers the tests' questions about records and URLs, one a line: the client without its store."""

import json
import sys

import place
import record
from record import Corrupt, Newer, decode, encode


def answer(ask):
    """What comes of a record, and of a change of it; None where the change is not to be made."""
    data = None if ask["record"] is None else bytes.fromhex(ask["record"])
    change, given = ask.get("change"), ask.get("with")
    if change == "repair":
        made = record.repair(data, **given)
    else:
        made = None if data is None else decode(data)
    if change == "withdraw":
        was = None if ask["was"] is None else decode(bytes.fromhex(ask["was"]))
        made = record.withdraw(made, **given, was=was)
    elif change not in (None, "repair"):
        made = getattr(record, change)(made, **given)
    if change:
        made["write"] = ask["write"]
        try:
            decode(encode(made))
        except Corrupt:
            return None
    return encode(made)


def records():
    """For the test vectors: each line asks for a record that is decoded, changed, and encoded."""
    for line in sys.stdin:
        try:
            made = answer(json.loads(line))
            print("not made" if made is None else made.hex())
        except (Newer, Corrupt) as error:
            print(type(error).__name__.lower())


def places():
    """For the test vectors: the place that each line's URL means."""
    for line in sys.stdin:
        try:
            print(json.dumps(place.read(json.loads(line))))
        except ValueError:
            print("refused")


if __name__ == "__main__":
    {"records": records, "places": places}[sys.argv[1]]()
