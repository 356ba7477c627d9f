"""The file store, as docs/backends/file.md has it: a few system calls that wait for nobody.

Left out: names whose directory needs an XXH3 hash, the look whether another machine may share the
directory, and notification.
"""

import contextlib
import errno
import fcntl
import os
import re
import secrets
import stat
import time
import unicodedata

from record import MOST_BYTES, Corrupt, is_id

NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
OLD = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
ENTRY = re.compile("(head|gone|state)-([0-9]{20}-[0-9a-f]{32})")
FIRST_LINE = re.compile(rb"leasehold-file 1 ([^\n]{0,302})\n")
INVISIBLE = re.compile(
    "[\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e007f]"
)
ABSENT = "absent"


class Unknown(Exception):
    """It is not known what became of a request."""


class Seen:
    """The newest state. A write renames its `head`; there is none where there is no directory."""

    def __init__(self, head=None, content=None, record=None, age=0, orphaned=False):
        self.head, self.record, self.age, self.orphaned = head, record, age, orphaned
        self.version = ABSENT if content is None else (head, content)


def directory(name):
    """The directory that stands for a name."""
    if (
        not 1 <= len(name.encode()) <= 200
        or name != name.strip()
        or any(part in ("", ".", "..") for part in name.split("/"))
        or any(unicodedata.category(char) == "Cc" for char in name)
        or INVISIBLE.search(name)
    ):
        raise ValueError(f"no name for a lock: {name!r}")
    spelt = "".join(
        char if re.match("[A-Za-z0-9._-]", char) else "".join(f"%{b:02X}" for b in char.encode())
        for char in name
    )
    spelt = re.sub(r"^\.", "%2E", spelt)
    if len(spelt) > 200:
        raise ValueError("a name that is so long needs XXH3, which this client does not have")
    return spelt


@contextlib.contextmanager
def opened(path, flags=DIRECTORY, dir_fd=None):
    file = os.open(path, flags, 0o600, dir_fd=dir_fd)
    try:
        yield file
    finally:
        os.close(file)


def sync(path):
    with opened(path) as file:
        os.fsync(file)


def put(name, content, at):
    """Writes a new file whose content is durable afterwards."""
    with opened(name, NEW, at) as file:
        with open(file, "wb", closefd=False) as stream:
            stream.write(content)
        os.fdatasync(file)


class FileStore:
    """One directory of records, for the processes of one host."""

    def __init__(self, root):
        os.makedirs(root, 0o700, exist_ok=True)
        self.root = os.path.realpath(root)
        with open("/proc/sys/kernel/random/boot_id") as file:
            self.boot = file.read().strip()
        self.clock = os.readlink("/proc/self/ns/time")
        self.unsynced = set()  # heads that we moved and do not know to be durable
        os.makedirs(f"{self.root}/.alive", 0o700, exist_ok=True)
        self.writer = secrets.token_hex(16)
        self.alive = os.open(f"{self.root}/.alive/{self.writer}", NEW, 0o600)
        fcntl.flock(self.alive, fcntl.LOCK_SH | fcntl.LOCK_NB)
        os.write(self.alive, b"1")  # we may hold something
        self.holds_nothing = True

    def end(self):
        """Removes the liveness file, if no record can name us for which a death matters."""
        if self.holds_nothing:
            self.remove(f"{self.root}/.alive/{self.writer}")

    def read(self, name):
        """The newest state: one that a head named at some moment of this call."""
        path = f"{self.root}/{directory(name)}"
        listed = headed = False
        for _ in range(100):
            try:
                with opened(path) as at:
                    names = os.listdir(at)
                    heads = [e for e in map(ENTRY.fullmatch, names) if e and e[1] != "state"]
                    listed, headed = listed or bool(names), headed or bool(heads)
                    if heads:
                        head = max(heads, key=lambda entry: entry[2])
                        return Seen(head[0]) if head[1] == "gone" else self.state(head[0], at)
            except FileNotFoundError:
                if not os.path.lexists(path):
                    return Seen()  # otherwise the state moved on
        if headed:
            raise Unknown("it changes too fast to be read")
        if listed:
            raise Corrupt("there are files, and none that says which state is the newest")
        return Seen()

    def state(self, head, at):
        """What stands in the state that a head names."""
        name = head.replace("head", "state")
        try:
            with opened(name, OLD, at) as file:
                if not stat.S_ISREG(os.fstat(file).st_mode):
                    raise IsADirectoryError(errno.EISDIR, "not a file")
                with open(file, "rb", closefd=False) as stream:
                    content = stream.read(320 + MOST_BYTES + 1)
            os.stat(name, dir_fd=at, follow_symlinks=False)  # else the file is in use for another
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ELOOP, errno.EISDIR, errno.ENXIO):
                raise
            os.stat(head, dir_fd=at, follow_symlinks=False)  # not found: look again
            content = b""  # the head stands and its state is lost: a damaged record
        if head in self.unsynced:
            os.fsync(at)
            sync(self.root)
            self.unsynced.discard(head)
        line = FIRST_LINE.match(content)
        if line is None:
            return Seen(head, content, content)
        said = dict(re.findall(r"(\w+)=(\S+)", line[1].decode(errors="replace")))
        same_boot, age = said.get("boot") == self.boot, 0
        if same_boot and said.get("time") == self.clock and said.get("at", "-").isdecimal():
            age = (time.clock_gettime_ns(time.CLOCK_BOOTTIME) - int(said["at"])) / 1e9
        record, length = content[line.end() :], said.get("length", "-")
        if length.isdecimal() and not record[int(length) :].strip(b"\n"):
            record = record[: int(length)]
        orphaned = self.has_ended(said.get("writer"), said.get("inode"))
        return Seen(head, content, record, age, orphaned)

    def has_ended(self, writer, inode):
        """Whether nobody has the lock any more that a writer's processes share."""
        if not is_id(writer) or writer == self.writer:
            return False
        try:
            with opened(f"{self.root}/.alive/{writer}", OLD) as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                found = os.fstat(file)
                return stat.S_ISREG(found.st_mode) and inode in (None, "-", str(found.st_ino))
        except OSError:
            return False  # that the file is missing proves nothing

    def write(self, name, expected, record):
        """The new version if `record` was written over `expected`; None if it was refused."""
        seen = self.read(name)
        if seen.version != expected:
            return None
        at = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        stamp = f"boot={self.boot} time={self.clock} at={at} writer={self.writer}"
        stamp += f" inode={os.fstat(self.alive).st_ino} length={len(record)}"
        content = f"leasehold-file 1 {stamp}\n".encode() + record
        number = 1 if seen.head is None else int(seen.head[5:25]) + 1
        state = f"{number:020}-{secrets.token_hex(16)}"
        path = f"{self.root}/{directory(name)}"
        move = self.create if seen.head is None else self.replace
        if not move(path, seen.head, state, content):
            return None
        self.unsynced.discard("head-" + state)
        return "head-" + state, content

    def create(self, path, _, state, content):
        """Gives a whole directory its name, unless there is one that is not empty."""
        draft = f"{self.root}/.new-{state[21:]}"
        os.mkdir(draft, 0o700)
        with opened(draft) as at:
            put("state-" + state, content, at)
            put("head-" + state, b"", at)
            os.fsync(at)
            self.unsynced.add("head-" + state)
            try:
                os.rename(draft, path)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
                for name in os.listdir(at):
                    os.unlink(name, dir_fd=at)
                os.rmdir(draft)
                return False
        sync(self.root)
        return True

    def replace(self, path, head, state, content):
        """Renames the head, which succeeds for one writer only."""
        with opened(path) as at:
            put("state-" + state, content, at)
            self.unsynced.add("head-" + state)
            try:
                os.rename(head, "head-" + state, src_dir_fd=at, dst_dir_fd=at)
            except FileNotFoundError:
                self.remove("state-" + state, at)
                return False
            os.fsync(at)
            # Every state up to this number is dead; the one before is kept for late readers.
            for entry in map(ENTRY.fullmatch, os.listdir(at)):
                if entry and entry[1] == "state" and entry[2] not in (state, head[5:]):
                    if entry[2][:20] <= state[:20]:
                        self.remove(entry[0], at)
        return True

    @staticmethod
    def remove(name, at=None):
        with contextlib.suppress(OSError):
            os.unlink(name, dir_fd=at)
