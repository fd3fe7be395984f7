"""The chain of certificates for trying out: whole or not at all, with its key for its owner alone."""

import os
import subprocess
import sys

import numpy as np
import pytest
from pictures import drawn
from PIL import Image

pytest.importorskip("c2pa", reason="the extra c2pa is not installed")

from fastmark.errors import CredentialError, OutputError
from fastmark.images.encoding import encode_image
from fastmark.provenance import chain as chain_module
from fastmark.provenance.chain import make_chain
from fastmark.provenance.credentials import read
from fastmark.provenance.signing import Signer, sign
from fastmark.records import Record

FILES = ["chain.pem", "key.pem", "root.pem"]


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_a_chain_signs_and_only_its_own_root_trusts_it(tmp_path):
    first = make_chain(tmp_path / "new" / "folder", "Somebody")
    second = make_chain(str(tmp_path / "other"))
    assert sorted(contents(first.chain.parent)) == FILES
    assert (first.chain.name, first.key.name, first.root.name) == ("chain.pem", "key.pem", "root.pem")
    signer = Signer(first.chain, first.key)
    assert (signer.name, signer.algorithm) == ("Somebody", "es256")
    image = encode_image(Image.fromarray(np.array(drawn(64, 64))), "PNG")
    data = sign(image, "PNG", Record(), None, signer).data
    states = [read(data, trust_anchors=chain.root).state for chain in (first, second)]
    assert states == ["trusted", "valid"]


@pytest.mark.skipif(os.name == "nt", reason="permissions of POSIX")
def test_only_its_owner_reads_the_key(tmp_path):
    before = os.umask(0)
    try:
        made = make_chain(tmp_path)
    finally:
        os.umask(before)
    assert [path.stat().st_mode & 0o777 for path in (made.key, made.chain, made.root)] == [
        0o600,
        0o644,
        0o644,
    ]


@pytest.mark.parametrize("there", FILES)
def test_what_is_there_is_not_replaced_unless_forced(there, tmp_path):
    (tmp_path / there).write_bytes(b"mine")
    with pytest.raises(OutputError, match=f"{there} exists already"):
        make_chain(tmp_path)
    assert contents(tmp_path) == {there: b"mine"}
    made = make_chain(tmp_path, force=True)
    assert sorted(contents(tmp_path)) == FILES
    Signer(made.chain, made.key)


@pytest.mark.parametrize("failing", [1, 2, 3])
def test_an_error_halfway_leaves_nothing(failing, tmp_path, monkeypatch):
    calls, replaces = [], chain_module.Path.replace

    def replace(path, target):
        calls.append(target)
        if len(calls) == failing:
            raise OSError(28, "No space left on device")
        return replaces(path, target)

    monkeypatch.setattr(chain_module.Path, "replace", replace)
    with pytest.raises(OutputError, match="cannot be written: No space left"):
        make_chain(tmp_path / "folder")
    assert contents(tmp_path / "folder") == {}


def test_folders_and_names_that_cannot_be_are_refused(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    for folder in (tmp_path / "file", tmp_path / "file" / "in", "a\0b"):
        with pytest.raises(OutputError, match="cannot be written"):
            make_chain(folder)
    for name in ("", " ", "x" * 61, "two\nlines"):
        with pytest.raises(CredentialError, match="name must have 1 to 60"):
            make_chain(tmp_path / "new", name)
    assert not (tmp_path / "new").exists()


def test_importing_the_package_imports_neither_c2pa_nor_cryptography():
    code = (
        "import sys, fastmark, fastmark.cli, fastmark.provenance.signing, fastmark.provenance.credentials, "
    )
    code += "fastmark.provenance.chain; print([m for m in ('c2pa', 'cryptography') if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"
