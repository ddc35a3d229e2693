"""Hold the key that signs: the user's own, or one made at first use, which nobody has reason to trust."""

from __future__ import annotations

import datetime
import logging
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from selfieavatar.errors import UserError
from selfieavatar.io.files import expand

log = logging.getLogger(__name__)

_FILE = "signing-key.pem"
_YEARS = 10
_EMAIL_PROTECTION = "1.3.6.1.5.5.7.3.4"  # the extended key usage that C2PA's default trust settings take


@dataclass(frozen=True)
class SigningKey:
    """A private key and the chain of certificates that goes with it, both PEM; algorithm: C2PA's name of it."""

    private: str
    chain: str
    algorithm: str


def config_folder() -> Path:
    """Tell where this user's own files of the program lie: $XDG_CONFIG_HOME, or else ~/.config."""
    return expand(os.environ.get("XDG_CONFIG_HOME") or "~/.config") / "selfieavatar"


def signing_key(path: str | Path | None = None) -> SigningKey:
    """Read the key of a PEM file that holds it and its certificates; without one, this computer's, made at first use.

    Raises:
        UserError: the file is missing or holds no such key, or none can be made.
    """
    if path:
        return _read(expand(str(path)))
    own = config_folder() / _FILE
    if not own.is_file():
        try:
            _make(own)
        except OSError as error:
            raise UserError(
                f"no key to sign by can be kept in {own.parent} ({error.strerror}); make it writable, set "
                "XDG_CONFIG_HOME, or name a key (--signing-key, marking.key)"
            ) from error
    return _read(own)


def _read(path: Path) -> SigningKey:
    from cryptography.hazmat.primitives import serialization
    from cryptography.x509 import load_pem_x509_certificates

    how = "give a PEM file with a private key that has no password, and below it its certificates, its own first"
    if not path.is_file():
        raise UserError(f"the key to sign by, {path}, is missing; {how}")
    try:
        data = path.read_bytes()
        key = serialization.load_pem_private_key(data[: 1 << 20], None)
        certificates = load_pem_x509_certificates(data[: 1 << 20])
        algorithm = _algorithm(key)
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{path} is no key to sign by ({str(error).splitlines()[0]}); {how}") from error
    if certificates[0].public_key() != key.public_key():
        raise UserError(f"the first certificate in {path} is not that of its key; {how}")
    if os.name == "posix" and path.stat().st_mode & 0o077:
        log.warning("%s can be read by others, who could sign in its name; chmod 600 it", path)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    chain = b"".join(one.public_bytes(serialization.Encoding.PEM) for one in certificates)
    return SigningKey(private.decode(), chain.decode(), algorithm)


def _algorithm(key: object) -> str:
    """Name the key's algorithm as C2PA does; ValueError for one that it does not take."""
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    if isinstance(key, ed25519.Ed25519PrivateKey):
        return "ed25519"
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size >= 2048:
        return "ps256"
    curves = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name in curves:
        return curves[key.curve.name]
    raise ValueError("it must be of P-256, P-384, P-521, Ed25519, or RSA from 2048 bits")


def _make(path: Path) -> None:
    """Make a key with its certificate, signed by a root whose key is thrown away; only this user can read the file."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID, ObjectIdentifier

    def name(common: str) -> x509.Name:
        parts = {NameOID.COMMON_NAME: common, NameOID.ORGANIZATION_NAME: "SelfieAvatar"}
        return x509.Name([x509.NameAttribute(kind, text) for kind, text in parts.items()])

    now = datetime.datetime.now(datetime.UTC)
    root_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    root_name = name("SelfieAvatar root of one computer, untrusted")

    def certificate(subject: x509.Name, public: ec.EllipticCurvePublicKey, is_root: bool) -> x509.Certificate:
        usage = dict.fromkeys(
            ("key_encipherment", "data_encipherment", "key_agreement", "encipher_only", "decipher_only",
             "content_commitment"), False,
        )  # fmt: skip
        build = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(root_name)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=365 * _YEARS))
            .add_extension(x509.BasicConstraints(ca=is_root, path_length=None), critical=True)
            .add_extension(
                x509.KeyUsage(digital_signature=not is_root, key_cert_sign=is_root, crl_sign=is_root, **usage), True
            )
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()), critical=False)
        )
        if not is_root:
            build = build.add_extension(x509.ExtendedKeyUsage([ObjectIdentifier(_EMAIL_PROTECTION)]), critical=False)
        return build.sign(root_key, hashes.SHA256())

    leaf = certificate(name("SelfieAvatar on one computer, untrusted"), key.public_key(), False)
    chain = (leaf, certificate(root_name, root_key.public_key(), True))
    data = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    data += b"".join(one.public_bytes(serialization.Encoding.PEM) for one in chain)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor, name_there = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # only this user reads it
    temporary = Path(name_there)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        os.link(temporary, path)  # of two that begin at once, the first one's key stays
        log.info("made a key to sign images by: %s. Nobody else knows it, so others see it as untrusted", path)
    except FileExistsError:
        log.info("another process has just made the key %s, which is used", path)
    finally:
        temporary.unlink(missing_ok=True)
