#!/usr/bin/env python3
"""A client of leasehold's file stores, after docs/protocol.md and docs/backends/file.md.

It exists to show that those pages are enough, and runs against the Rust client in the tests. No
second process ends the command when this one is stopped: what needs that takes `leasehold run`.
"""

import argparse
import ctypes
import getpass
import os
import queue
import random
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time

import place
import record as changes
from files import FileStore, Unknown, directory
from record import Corrupt, Newer, decode, encode

NOT_ACQUIRED, UNREADABLE, LOST = 75, 65, 79  # the exit codes of `leasehold run`


class Lost(Exception):
    """The lock was held and is not any more."""


class OtherKind(Exception):
    """The name is used as something else."""


class Moment:
    """A look at the clocks: two steady ones, and the wall clock, which decides nothing."""

    def __init__(self):
        self.boot = time.clock_gettime(time.CLOCK_BOOTTIME)
        self.mono = time.clock_gettime(time.CLOCK_MONOTONIC)
        self.wall = time.time()

    def longest_since(self, earlier):
        return max(self.boot - earlier.boot, self.mono - earlier.mono)

    def shortest_since(self, earlier):
        return min(self.boot - earlier.boot, self.mono - earlier.mono)


def unix_ms():
    return time.time_ns() // 1_000_000


def attempt(call, patience):
    """The answer to one request, waited for no longer than `patience` seconds."""
    answers = queue.SimpleQueue()

    def work():
        try:
            answers.put((call(), None))
        except Exception as error:
            answers.put((None, error))

    threading.Thread(target=work, daemon=True).start()
    try:
        answer, error = answers.get(timeout=max(patience, 0.02))
    except queue.Empty:
        raise Unknown("no answer in time") from None
    if isinstance(error, OSError):
        raise Unknown(str(error)) from error
    if error:
        raise error
    return answer


class Unreliable:
    """A store for the tests: requests and answers are lost, refusals lie, writes land late."""

    def __init__(self, store):
        self.store = store

    def read(self, name):
        if random.random() < 0.1:
            raise Unknown("the answer is lost")
        return self.store.read(name)

    def write(self, *what):
        fate = random.choice(["never", "late", "unheard", "denied", "said", "said", "said"])
        if fate in ("never", "late"):
            if fate == "late":
                late = threading.Timer(random.uniform(0, 0.03), self.store.write, what)
                late.daemon = True
                late.start()
            raise Unknown("no answer")
        landed = self.store.write(*what)
        if fate == "unheard":
            raise Unknown("the answer is lost")
        return None if fate == "denied" else landed


class Lease:
    """One acquisition of one name."""

    def __init__(self, store, name, ttl_ms):
        directory(name)  # raises where the name is none
        label = f"{getpass.getuser()}@{socket.gethostname()} pid {os.getpid()}"
        label = label.encode()[:256].decode(errors="ignore")
        self.store, self.name, self.ttl = store, name, ttl_ms / 1000
        self.holder = {"id": secrets.token_hex(16), "label": label, "ttl_ms": ttl_ms}
        self.version = self.record = None  # the newest state that was read or written
        self.sent = None  # when the last write was sent that is known to name us
        self.unsettled = {}  # each write id, and when it was sent; all on self.version
        self.highest = -1  # the highest token seen
        self.watched = self.since = None  # what a waiter sees, and since when (rule 2)
        self.last, self.suspected = Moment(), None  # rule 6

    def left(self):
        """Seconds to the deadline (rule 1)."""
        now = Moment()
        if now.wall - self.last.wall > now.longest_since(self.last) + max(self.ttl / 20, 0.1):
            self.suspected = now
        self.last = now
        return 0 if self.sent is None else self.ttl * 4 / 5 - now.longest_since(self.sent)

    def in_doubt(self):
        return self.suspected is not None and self.sent.mono <= self.suspected.mono

    def is_held(self):
        return self.left() > 0 and not self.in_doubt()

    def patience(self):
        left = self.left()
        return (left if left > 0 else self.ttl * 4 / 5) / 3

    def names_us(self):
        holders = self.record["holders"] if self.record else []
        return bool(holders) and holders[0]["id"] == self.holder["id"]

    def look(self):
        """Reads, settles what that settles, and begins a waiter's span or lets it go on."""
        seen = attempt(lambda: self.store.read(self.name), self.patience())
        received = Moment()
        record = None if seen.record is None else decode(seen.record)
        if record and record["kind"] != "mutex":
            raise OtherKind(record["kind"])
        if record and record["token"] < self.highest:
            raise Unknown("a stale answer")
        if seen.version != self.version:
            sent = self.unsettled.get(record["write"]) if record else None
            self.version, self.record, self.unsettled = seen.version, record, {}
            self.highest = max(self.highest, record["token"] if record else -1)
            if sent and self.names_us():
                self.sent = sent
        shown = record and [(record["token"], h["id"], h["renewals"]) for h in record["holders"]]
        if shown != self.watched:
            self.watched, self.since = shown, received
        return seen

    def put(self, record):
        """Writes over the newest state. True if it landed; otherwise that is not known."""
        record = record | {"write": secrets.token_hex(16)}
        data, version = encode(record), self.version
        decode(data)  # what nobody could read is not written
        self.unsettled[record["write"]] = sent = Moment()
        try:
            landed = attempt(lambda: self.store.write(self.name, version, data), self.patience())
        except Unknown:
            return False
        if landed is None:
            return False  # a refusal proves nothing
        self.version, self.record, self.unsettled = landed, record, {}
        self.highest = record["token"]
        if self.names_us():
            self.sent = sent
        return True

    def first_token(self):
        return max(unix_ms(), self.highest + 1)

    def until_over(self, seen):
        """Seconds until the lock may be taken."""
        if self.record is None or not self.record["holders"]:
            return 0
        holder = self.record["holders"][0]
        delay = holder.get("takeover_delay_ms", 0)
        if seen.orphaned and delay == 0:
            return 0
        span = (holder["ttl_ms"] + delay) / 1000
        return span - max(Moment().shortest_since(self.since), seen.age)

    def acquire(self, wait):
        """True when it is held; False when `wait` seconds went by and it was given up."""
        begun, pause = Moment(), 0.002
        while True:
            try:
                seen = self.look()
                if self.names_us():
                    if self.is_held():
                        return True
                    self.put(changes.renew(self.record))  # what landed is too old to count
                    continue
                left = self.until_over(seen)
                if left <= 0:
                    first, now = self.first_token(), unix_ms()
                    if self.put(changes.acquire(self.record, first, now, self.holder)):
                        continue
                    pause = 0.005  # a race is lost
                else:
                    third = self.record["holders"][0]["ttl_ms"] / 3000
                    pause = min(pause * 1.5, third, 0.1, left)
            except Unknown:
                pause = min(pause * 2, 0.1)
            if Moment().longest_since(begun) > wait:
                self.let_go()
                return False
            time.sleep(pause * random.uniform(0.5, 1))

    def renew(self):
        """One attempt. Raises Lost if the lock is."""
        try:
            self.look()
            if not self.names_us():
                raise Lost(f"the record names another: {self.record}")
            self.put(changes.renew(self.record))
        except Unknown:
            pass  # only the deadline ends it
        except (Newer, Corrupt, OtherKind) as error:
            raise Lost(repr(error)) from error

    def until_renewal(self):
        return 0 if self.in_doubt() else self.left() - self.ttl * (4 / 5 - 1 / 3)

    def let_go(self):
        """Releases, or gives up what is unsettled. True if we then hold nothing."""
        self.sent, begun = None, Moment()
        while Moment().shortest_since(begun) < self.ttl:
            try:
                self.look()
                if self.names_us():
                    done = self.put(changes.release(self.record, unix_ms()))
                elif self.unsettled:
                    done = self.put(changes.give_up(self.record, self.first_token(), unix_ms()))
                else:
                    done = True
                if done:
                    return True
            except Unknown:
                pass
            except (Newer, Corrupt, OtherKind):
                return False
            time.sleep(random.uniform(0.005, 0.02))
        return False


def die_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def hold(lease, child):
    """Renews until the command ends; its exit code."""
    while lease.left() > 0:
        try:
            code = child.wait(timeout=max(min(lease.until_renewal(), lease.left()), 0.01))
            return code if code >= 0 else 128 - code
        except subprocess.TimeoutExpired:
            if lease.until_renewal() <= 0:
                lease.renew()
    raise Lost("the deadline has passed")


def run(args, store):
    """One section: the lock, the command under it, and the release; the exit code."""
    seen = Unreliable(store) if args.unreliable else store
    lease, child = Lease(seen, args.name, round(args.ttl * 1000)), None
    try:
        if not lease.acquire(args.wait):
            return NOT_ACQUIRED
        # The command inherits the liveness lock: while it runs, nobody takes us for dead.
        child = subprocess.Popen(
            args.command,
            env=os.environ | {"LEASEHOLD_TOKEN": str(lease.record["token"])},
            pass_fds=[store.alive],
            preexec_fn=die_with_parent,
            start_new_session=True,
        )
        return hold(lease, child)
    except Lost as error:
        print(f"lost {args.name}: {error}", file=sys.stderr)
        return LOST
    except (Newer, Corrupt, OtherKind) as error:
        print(f"{args.name} is not to be used: {error!r}", file=sys.stderr)
        return UNREADABLE
    finally:
        if child and child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        store.holds_nothing &= lease.let_go()


def run_all(args):
    store = FileStore(place.read(args.url)["directory"])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        return next(filter(None, (run(args, store) for _ in range(args.times))), 0)
    finally:
        store.end()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="do", required=True)
    one = commands.add_parser("run", help="run a command while holding a lock")
    one.add_argument("url", help="file:///dir")
    one.add_argument("name")
    one.add_argument("--ttl", type=float, default=30, help="seconds")
    one.add_argument("--wait", type=float, default=float("inf"), help="seconds")
    one.add_argument("--times", type=int, default=1, help="so many sections, until one fails")
    one.add_argument("--unreliable", action="store_true", help="for tests: much goes wrong")
    one.add_argument("command", nargs="+")
    return run_all(parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
