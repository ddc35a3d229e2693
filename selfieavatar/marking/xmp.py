"""Write and read the IPTC digital source type as XMP, for readers that know no Content Credentials.

Where the packet lies is told by XMP's part 3: a segment of a JPEG, a text chunk of a PNG, a box at the end of an MP4 or
MOV. Matroska and WebM have no place for XMP and take the same as tags.
"""

from __future__ import annotations

import html
import re
import struct
import uuid
import zlib
from pathlib import Path

from selfieavatar.errors import UserError
from selfieavatar.marking.facts import SOURCE_TYPES, TOOL, Facts, plain_text

_IPTC, _OWN = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/", "https://selfieavatar.invalid/ns/1.0/"
_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8"
_PNG_KEY = b"XML:com.adobe.xmp"
_JPEG_KEY = b"http://ns.adobe.com/xap/1.0/\0"
_BOX = uuid.UUID("be7acfcb-97a9-42e8-9c71-999491e3afac").bytes  # of XMP in ISO media files
_MOST = 1 << 16  # bytes of a packet that is read
_TAG = "DIGITAL_SOURCE_TYPE"  # of Matroska


def packet(facts: Facts) -> bytes:
    """Write the facts as an XMP packet."""
    values = facts.as_dict()
    said = {
        "Iptc4xmpExt:DigitalSourceType": values["digitalSourceType"],
        "xmp:CreatorTool": f"{TOOL} {values['version']}",
        "sa:subject": facts.subject, "sa:avatar": facts.avatar, "sa:consent": facts.consent,
    }  # fmt: skip
    if facts.region:
        said["sa:region_px"] = values["region_px"]
    attributes = "\n  ".join(f'{name}="{html.escape(plain_text(value))}"' for name, value in said.items())
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n<x:xmpmeta xmlns:x="adobe:ns:meta/">\n'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">\n<rdf:Description rdf:about=""\n'
        f'  xmlns:Iptc4xmpExt="{_IPTC}"\n  xmlns:xmp="http://ns.adobe.com/xap/1.0/"\n  xmlns:sa="{_OWN}"\n'
        f'  {attributes}/>\n</rdf:RDF>\n</x:xmpmeta>\n<?xpacket end="r"?>'
    ).encode()


def facts_of(found: bytes) -> Facts | None:
    """Read the facts of a packet; None where it names no synthetic source. Nothing of it is executed or resolved."""
    text = found[:_MOST].decode("utf-8", errors="replace")
    values = {name: html.unescape(value) for name, value in re.findall(r'(?<![\w:])([\w:]+)\s*=\s*"([^"<]*)"', text)}
    kinds = re.findall(rf"{re.escape(SOURCE_TYPES)}\w+", text)  # other programs write it as an element
    said = {name: values.get(f"sa:{name}", "") for name in ("subject", "avatar", "consent", "region_px")}
    tool = values.get("xmp:CreatorTool", "")
    said |= {"version": tool.removeprefix(TOOL).strip(), "digitalSourceType": kinds[0] if kinds else ""}
    return Facts.read(said)


def into_image(data: bytes, facts: Facts) -> bytes:
    """Put the packet into the bytes of a PNG or JPEG; ValueError for others."""
    xmp = packet(facts)
    if data.startswith(_PNG):
        body = b"iTXt" + _PNG_KEY + bytes(5) + xmp
        at = data.index(b"IDAT") - 4
        return data[:at] + struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body)) + data[at:]
    if data.startswith(_JPEG):
        segment = _JPEG_KEY + xmp
        return _JPEG + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + data[2:]
    raise ValueError("XMP goes into a PNG or JPEG")


def append_to_video(path: Path, facts: Facts) -> None:
    """Append the packet to an MP4 or MOV as a box of its own; nothing else in the file moves."""
    xmp = packet(facts)
    with path.open("ab") as file:
        file.write(struct.pack(">I4s", len(xmp) + 24, b"uuid") + _BOX + xmp)


def matroska_tags(facts: Facts) -> dict[str, str]:
    """Write the facts as tags of Matroska or WebM."""
    values = facts.as_dict()
    return {
        _TAG: values["digitalSourceType"], "COMMENT": "AI-generated", "ENCODED_BY": f"{TOOL} {values['version']}",
        "SELFIEAVATAR": packet(facts).decode(),
    }  # fmt: skip


def of_image(data: bytes) -> Facts | None:
    """Read the facts from the bytes of a PNG or JPEG."""
    key = _PNG_KEY if data.startswith(_PNG) else _JPEG_KEY if data.startswith(_JPEG) else None
    at = -1 if key is None else data.find(key)
    return None if at < 0 else facts_of(data[at : at + _MOST])


def of_video(path: Path) -> Facts | None:
    """Read the facts from an MP4, MOV, Matroska or WebM."""
    with path.open("rb") as file:
        head = file.read(12)
        if head[4:8] != b"ftyp":
            return _of_tags(path)
        end, at = path.stat().st_size, 0
        for _ in range(10_000):  # boxes: a damaged file ends somewhere
            file.seek(at)
            start = file.read(32)
            if len(start) < 24:
                return None
            size = struct.unpack(">I", start[:4])[0]
            size = struct.unpack(">Q", start[8:16])[0] if size == 1 else size or end - at
            if start[4:8] == b"uuid" and start[8:24] == _BOX:
                file.seek(at + 24)
                return facts_of(file.read(min(size, _MOST)))
            at += max(size, 8)
    return None


def _of_tags(path: Path) -> Facts | None:
    from selfieavatar.video.container import open_container

    try:
        with open_container(path) as container:
            tags = {name.upper(): value for name, value in container.metadata.items()}
    except UserError:
        return None
    return facts_of((tags.get("SELFIEAVATAR") or tags.get(_TAG, "")).encode())
