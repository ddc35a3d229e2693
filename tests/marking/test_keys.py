"""The key that signs: made once, for its user alone; one's own is taken as it is, and nonsense is refused."""

import os
import stat

import pytest
from cryptography import x509

from selfieavatar.errors import UserError
from selfieavatar.marking.keys import config_folder, signing_key


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path / "config" / "selfieavatar"


def test_a_key_is_made_once_and_only_its_user_reads_it(home):
    assert config_folder() == home
    key = signing_key()
    [file] = home.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert signing_key() == key and key.algorithm == "es256"
    leaf, root = x509.load_pem_x509_certificates(key.chain.encode())
    leaf.verify_directly_issued_by(root)
    assert "untrusted" in leaf.subject.rfc4514_string()
    assert os.environ.get("USER", "root") not in leaf.subject.rfc4514_string()


def test_what_a_killed_process_of_the_same_number_left_stands_in_nobodys_way(home):
    """In a container the numbers of processes come back."""
    first = signing_key()
    [file] = home.iterdir()
    file.rename(home / f".{file.name}.{os.getpid()}")
    assert signing_key() != first


def test_one_s_own_key_is_taken(home, tmp_path):
    made = signing_key()
    own = tmp_path / "own.pem"
    own.write_text(made.private + made.chain)
    assert signing_key(own) == made


@pytest.mark.parametrize(
    "text, said", [(None, "is missing"), ("nonsense", "is no key"), ("chain", "is no key"), ("other", "is not that of")]
)
def test_what_is_no_key_is_refused_in_one_sentence(home, tmp_path, monkeypatch, text, said):
    made = signing_key()
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "second"))
    own, other = tmp_path / "own.pem", signing_key()
    if text is not None:
        own.write_text({"nonsense": "x", "chain": made.chain, "other": made.private + other.chain}[text])
    with pytest.raises(UserError, match=said):
        signing_key(own)


def test_where_no_key_can_be_kept_the_way_out_is_said(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "file"))
    with pytest.raises(UserError, match="no key to sign by can be kept.*--signing-key"):
        signing_key()
