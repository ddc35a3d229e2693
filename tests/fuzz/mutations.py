"""Damage files at random: single bytes, whole stretches, and what lies inside of archives, JSON and tables."""

import contextlib
import io
import json
import random
import zipfile
from collections.abc import Callable
from typing import Any

EDGES = [b"\x00", b"\xff", b"\x7f\xff\xff\xff", b"\xff\xff\xff\xff", b"\x80\x00\x00\x00", b"\x00" * 8, b"\xff" * 8]
WORDS = [
    b"../" * 8 + b"etc/passwd", b"/dev/zero", b"file:///etc/passwd", b"http://127.0.0.1:9/x", b"concat:a|b", b"%s%n%d",
    b"$(touch HACKED)", b"`touch HACKED`", b"; touch HACKED", b"'\"<script>alert(1)</script>", b"{{7*7}}", b"\t", b"\n",
    "\u202e\u0000\ufeff".encode(), b"-x", b"~nobody/x", b"=1+1", b"NaN", b"1e999", b"-1", b"99999999999999999999",
]  # fmt: skip
MARKUP = [
    "<script>alert(1)</script>", "'\"><script>alert(1)</script>", "</title></style><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>", "\" onload=alert(1) x=\"", "javascript:alert(1)", "](javascript:alert(1))",
    "]]><svg/onload=alert(1)>", "{{ 7 * 7 }}<script>alert(1)</script>", "x | <script>alert(1)</script>\n# y",
]  # fmt: skip
VALUES: list[Callable[[], Any]] = [
    lambda: None, lambda: True, lambda: -1, lambda: 0, lambda: 10**18, lambda: 1e308, lambda: float("nan"),
    lambda: float("inf"), lambda: "", lambda: "x" * 5000, lambda: [], lambda: {}, lambda: [[]] * 3,
    lambda: "<script>alert(1)</script>", lambda: "../../../etc/passwd", lambda: nested(300), lambda: [0.0] * 3000,
    lambda: {"__class__": "os.system"}, lambda: "$(touch HACKED)", lambda: "\ud800", lambda: "a\0b",
]  # fmt: skip


def nested(depth: int) -> Any:
    """Lists in lists."""
    value: Any = 0
    for _ in range(depth):
        value = [value]
    return value


def damage(data: bytes, rng: random.Random) -> bytes:
    """Change some bytes, or a stretch of them; one to four times."""
    result = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        at = rng.randrange(len(result) + 1)
        # Headers say most about what follows: they are hit more often than their length asks for.
        at = rng.randrange(min(len(result), 512) + 1) if rng.random() < 0.3 else at
        end = min(len(result), at + rng.choice((1, 2, 4, 16, 300)))
        kind = rng.randrange(9)
        if kind == 0 and at < len(result):
            result[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            edge = rng.choice(EDGES)
            result[at : at + len(edge)] = edge
        elif kind == 2:
            result[at:end] = rng.randbytes(end - at)
        elif kind == 3:
            del result[at:end]
        elif kind == 4:
            result[at:at] = result[at:end] * rng.choice((1, 2, 50))
        elif kind == 5:
            result[at:at] = rng.choice(WORDS)
        elif kind == 6:
            del result[at:]  # cut short
        elif kind == 7:
            start = rng.randrange(len(result) + 1)
            result[at:end] = result[start : start + end - at]
        else:
            digits = [place for place, byte in enumerate(result[:100_000]) if 0x30 <= byte <= 0x39]
            if digits:
                result[rng.choice(digits)] = rng.choice(b"0123456789")
    return bytes(result)


def damage_tree(tree: Any, rng: random.Random) -> Any:
    """Replace, drop or repeat one part of nested dicts and lists; a text becomes markup in one of two cases."""
    if isinstance(tree, dict) and tree and rng.random() < 0.85:
        key = rng.choice(list(tree))
        changed = dict(tree)
        kind = rng.random()
        if kind < 0.1:
            del changed[key]
        elif kind < 0.2:
            changed[rng.choice(["x", "", "__proto__", "x" * 300, MARKUP[0], MARKUP[3]])] = rng.choice(VALUES)()
        else:
            changed[key] = damage_tree(tree[key], rng)
        return changed
    if isinstance(tree, (list, tuple)) and tree and rng.random() < 0.85:
        items = list(tree)
        at = rng.randrange(len(items))
        kind = rng.random()
        if kind < 0.15:
            del items[at]
        elif kind < 0.3:
            items.insert(at, items[at])
        else:
            items[at] = damage_tree(items[at], rng)
        return items
    if isinstance(tree, str) and rng.random() < 0.5:
        return rng.choice(["", tree]) + rng.choice(MARKUP)
    return rng.choice(VALUES)()


def damage_npy(data: bytes, rng: random.Random) -> bytes:
    """Change one to three letters of the header of an .npy file, which is Python, to ones that Python's parser heeds.

    NumPy gives a header that it cannot parse to the tokenizer, which raises errors of its own.
    """
    start = 10 if data[6:7] == b"\1" else 12
    end = data.index(b"\n", start)
    changed = bytearray(data)
    for _ in range(rng.randrange(1, 4)):
        changed[rng.randrange(start, end)] = rng.choice(b"([{}])'\"\\\n,:#L\0")
    return bytes(changed)


def damage_json(data: bytes, rng: random.Random) -> bytes:
    """Change a value of a JSON file, which stays JSON."""
    return json.dumps(damage_tree(json.loads(data), rng)).encode("utf-8", errors="surrogatepass")


def damage_zip(data: bytes, rng: random.Random) -> bytes:
    """Change one member of an archive (npz, pt), whose sums are right again afterwards; or its name."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [(info.filename, archive.read(info)) for info in archive.infolist()]
    at = rng.randrange(len(members))
    name, content = members[at]
    kind = rng.random()
    if kind < 0.8:
        members[at] = name, mutate(content, rng)
    elif kind < 0.85:
        members[at] = rng.choice(["../../x", "/tmp/x", "x" * 300, name.upper(), ""]) or "-", content
    elif kind < 0.9:
        del members[at]
    elif kind < 0.95:
        members.append(members[at])
    else:
        members[at] = name, content + bytes(rng.choice((10**3, 10**7)))
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return made.getvalue()


def mutate(data: bytes, rng: random.Random, inner: Callable[[bytes, random.Random], bytes] | None = None) -> bytes:
    """Damage a file: in two of three cases by what knows its inside, where there is such a thing."""
    if inner is None and data.startswith(b"\x93NUMPY"):
        inner = damage_npy
    if inner and rng.random() < 0.67:
        with contextlib.suppress(Exception):  # of what writes the format again: not every value can be written
            return inner(data, rng)
    return damage(data, rng)
