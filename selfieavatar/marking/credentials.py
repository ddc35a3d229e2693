"""Sign Content Credentials (C2PA 2.x) into images and videos by c2pa-python, and read them back; no network."""

from __future__ import annotations

import io
import json
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from selfieavatar.errors import UserError
from selfieavatar.marking.facts import PAINTED, SOURCE_TYPES, TOOL, Facts, plain_text
from selfieavatar.marking.keys import SigningKey

FORMATS = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp", ".mp4": "video/mp4",
           ".mov": "video/quicktime", ".m4v": "video/x-m4v"}  # fmt: skip
_ASSERTION = "org.selfieavatar.avatar"
_SETTINGS: dict[str, Any] = {
    "builder": {"thumbnail": {"enabled": False}},
    "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False},
}


@dataclass(frozen=True)
class Credentials:
    """What Content Credentials in a file say.

    facts: None where they are not of this program, or name no synthetic source. tool: who made them. signature:
    "trusted", "valid, but of a key that nobody vouches for" or "invalid". signer: name on the certificate. problems:
    why it is invalid.
    """

    facts: Facts | None
    tool: str
    signature: str
    signer: str
    problems: tuple[str, ...] = ()


TRUSTED, UNTRUSTED, INVALID = "trusted", "valid, untrusted", "invalid"


@cache
def _context(anchors: str = "") -> Any:
    from c2pa import Context

    trust = {"trust": {"trust_anchors": anchors}} if anchors else {}
    return Context.from_dict(_SETTINGS | trust)


def _manifest(facts: Facts, format: str, title: str) -> dict[str, Any]:
    said = facts.as_dict()
    agent = {"name": TOOL, "version": said["version"]}
    shows = "an avatar alone" if facts.kind == PAINTED else "an avatar beside footage"
    action = {
        "action": "c2pa.created", "digitalSourceType": SOURCE_TYPES + facts.kind, "softwareAgent": agent,
        "description": f"AI-generated: {shows}",
    }  # fmt: skip
    return {
        "claim_generator_info": [agent],
        "title": title,
        "format": format,
        "assertions": [
            {"label": "c2pa.actions.v2", "data": {"actions": [action]}},
            {"label": _ASSERTION, "data": said, "kind": "Json"},
        ],
    }


def _sign(facts: Facts, format: str, title: str, key: SigningKey, source: Any, target: Any) -> None:
    from c2pa import Builder, C2paError, C2paSignerInfo, Signer

    try:
        signer = Signer.from_info(C2paSignerInfo(key.algorithm, key.chain.encode(), key.private.encode(), None))
        Builder(_manifest(facts, format, title), context=_context()).sign(signer, format, source, target)
    except C2paError as error:
        first = str(error).splitlines()[0]
        raise UserError(f"{title} cannot be signed ({first}); is the certificate one that C2PA allows?") from error


def sign_bytes(data: bytes, facts: Facts, key: SigningKey, format: str, title: str = "image") -> bytes:
    """Sign an encoded image of a MIME type of `FORMATS`; UserError where the key's certificate is not allowed."""
    target = io.BytesIO()
    _sign(facts, format, title, key, io.BytesIO(data), target)
    return target.getvalue()


def sign_file(path: Path, facts: Facts, key: SigningKey, title: str = "") -> None:
    """Sign a file in its place; raises as `sign_bytes`."""
    signed = path.with_name(f"{path.stem}.signed{path.suffix}")
    try:
        with path.open("rb") as source, signed.open("w+b") as target:
            _sign(facts, FORMATS[path.suffix.lower()], title or path.name, key, source, target)
        os.replace(signed, path)
    finally:
        signed.unlink(missing_ok=True)


def read_credentials(path: Path, anchors: str = "") -> Credentials | None:
    """Read and check the Content Credentials of a file; None where it has none.

    Args:
        path: of an image or video of `FORMATS`; others have none. anchors: PEM certificates that are trusted.
    """
    from c2pa import C2paError, Reader

    format = FORMATS.get(path.suffix.lower())
    if format is None:
        return None
    try:
        with path.open("rb") as source, Reader(format, source, context=_context(anchors)) as reader:
            told = reader.json()
    except (C2paError.ManifestNotFound, C2paError.NotSupported):
        return None
    except C2paError as error:
        return Credentials(None, "", INVALID, "", (plain_text(str(error).splitlines()[0]),))
    try:
        return _credentials(json.loads(told))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):  # whoever signs may state anything
        return Credentials(None, "", INVALID, "", ("statements of another form than C2PA's",))


def _credentials(content: dict[str, Any]) -> Credentials:
    """Take what a manifest store says, as the reader of C2PA writes it as JSON."""
    manifest = content.get("manifests", {}).get(content.get("active_manifest"), {})
    failures = content.get("validation_results", {}).get("activeManifest", {}).get("failure", [])
    problems = [plain_text(one.get("code")) for one in failures if one.get("code") != "signingCredential.untrusted"]
    tools = [f"{one.get('name', '')} {one.get('version', '')}" for one in manifest.get("claim_generator_info", [])]
    signature = {"Trusted": TRUSTED, "Valid": UNTRUSTED}.get(str(content.get("validation_state")), INVALID)
    signer = manifest.get("signature_info", {})
    return Credentials(
        _facts(manifest), plain_text(" ".join(tools)), signature,
        plain_text(signer.get("common_name") or signer.get("issuer")), tuple(dict.fromkeys(problems)),
    )  # fmt: skip


def _facts(manifest: dict[str, Any]) -> Facts | None:
    """Take the facts from this program's own assertion, or at least the kind of source from anybody's action."""
    assertions = manifest.get("assertions", [])
    own = [one["data"] for one in assertions if one.get("label") == _ASSERTION and isinstance(one.get("data"), dict)]
    actions = [action for one in assertions if str(one.get("label", "")).startswith("c2pa.actions")
               for action in one.get("data", {}).get("actions", [])]  # fmt: skip
    kinds = [{"digitalSourceType": action.get("digitalSourceType", "")} for action in actions]
    return next((facts for facts in map(Facts.read, own + kinds) if facts is not None), None)
