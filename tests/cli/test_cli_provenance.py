"""``fastmark provenance``, as people run it."""

import pytest
from commands import assert_refused, rows, run
from pictures import drawn
from PIL import Image

pytest.importorskip("c2pa", reason="the extra c2pa is not installed")

from fastmark.images.encoding import encode_image
from fastmark.provenance.signing import Signer, sign
from fastmark.records import Record


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a chain, an image that is signed with it, a changed one, and one without."""
    folder = tmp_path_factory.mktemp("provenance")
    done = run("provenance", "init", "signer", "--name", "Somebody", cwd=folder)
    assert (done.returncode, done.stderr) == (0, b"")
    lines = done.stdout.decode().splitlines()
    assert [line.split(":")[0] for line in lines[:3]] == [
        "signer/chain.pem",
        "signer/key.pem",
        "signer/root.pem",
    ]
    assert "keep it secret" in lines[1]
    assert lines[3].startswith("Nobody trusts these certificates") and "C2PA trust list" in lines[3]
    signer = Signer(folder / "signer" / "chain.pem", folder / "signer" / "key.pem")
    plain = encode_image(Image.fromarray(drawn(96, 128, 1)), "JPEG")
    record = Record(provider="Provider Inc", system="System", policy="no-training", owner="Private Person")
    signed = sign(plain, "JPEG", record, bytes.fromhex("0123456789abcdef"), signer)
    changed = bytearray(signed.data)
    changed[-200] ^= 1
    files = {"plain.jpg": plain, "signed.jpg": signed.data, "changed.jpg": bytes(changed)}
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


def show(folder, *arguments, **options):
    return run("provenance", "show", *arguments, cwd=folder, **options)


def test_the_chain_is_not_replaced_without_force(place):
    before = (place / "signer" / "key.pem").read_bytes()
    assert_refused(run("provenance", "init", "signer", cwd=place), "exists already", "--force")
    assert (place / "signer" / "key.pem").read_bytes() == before
    for _ in range(2):
        done = run("provenance", "init", "other", "--force", "--json", cwd=place)
        (row,) = rows(done.stdout)
    assert row.pop("note").startswith("Nobody trusts")
    assert row == {
        "chain": "other/chain.pem",
        "key": "other/key.pem",
        "root": "other/root.pem",
        "trusted": False,
    }


def test_credentials_are_shown_line_by_line(place):
    done = show(place, "signed.jpg", "--trust", "signer/root.pem")
    assert (done.returncode, done.stderr) == (0, b"")
    lines = done.stdout.decode().splitlines()
    assert all(line.startswith("signed.jpg: ") for line in lines)
    said = [line.removeprefix("signed.jpg: ") for line in lines]
    assert said[0] == "content credentials trusted: as it was signed, by somebody on the list"
    for line in (
        "signed by: Somebody (made by fastmark for trying out)",
        "source type: trainedAlgorithmicMedia",
        "system: System",
        "provider: Provider Inc",
        "training: not allowed",
        "soft binding: fastmark.v1 0123456789abcdef",
    ):
        assert line in said
    assert b"Private Person" not in done.stdout
    assert any(line.startswith("manifest: urn:c2pa:") for line in said)


def test_states_are_told(place):
    untrusted = show(place, "-", input=(place / "signed.jpg").read_bytes())
    first, second, *_ = untrusted.stdout.decode().splitlines()
    assert first.startswith("-: content credentials valid: ")
    assert second.startswith("-: note: no list of trusted authorities was given")
    changed = show(place, "changed.jpg", "--trust", "signer/root.pem")
    assert changed.returncode == 0
    assert changed.stdout.decode().splitlines()[:2] == [
        "changed.jpg: content credentials invalid: not in order",
        "changed.jpg: note: the file was changed since it was signed",
    ]


def test_an_image_without_says_so_and_that_this_proves_nothing(place):
    done = show(place, "plain.jpg")
    assert (done.returncode, done.stderr) == (1, b"")
    assert done.stdout == b"plain.jpg: no content credentials; this does not show where it comes from\n"
    assert rows(show(place, "plain.jpg", "--json").stdout) == [
        {"source": "plain.jpg", "c2pa": None, "plain": []}
    ]


def test_xmp_is_shown_beside_and_says_that_anybody_can_write_it(place):
    from fastmark.provenance.xmp import merge

    packet = merge(None, Record(system="Painter", policy="no-training"))
    with Image.open(place / "plain.jpg") as image:
        image.save(place / "labelled.jpg", xmp=packet)
    done = show(place, "labelled.jpg")
    first, second = done.stdout.decode().splitlines()
    assert (done.returncode, first) == (
        0, "labelled.jpg: no content credentials; this does not show where it comes from",
    )  # fmt: skip
    assert second.startswith("labelled.jpg: XMP says: the image was made by a trained model;")
    assert second.endswith("training models on it is forbidden. Anybody can write it.")
    ((finding,),) = (row["plain"] for row in rows(show(place, "labelled.jpg", "--json").stdout))
    assert (finding["technique"], finding["details"]["system"]) == ("xmp", "Painter")


def test_json_has_everything(place):
    (row,) = rows(show(place, "signed.jpg", "--json").stdout)
    assert row["source"] == "signed.jpg"
    credential = row["c2pa"]
    assert (credential["state"], credential["intact"]) == ("valid", True)
    assert credential["soft_bindings"] == [{"alg": "fastmark.v1", "value": "0123456789abcdef"}]
    assert "owner" not in credential


def test_errors_are_one_line(place):
    assert_refused(show(place, "gone.jpg"), "gone.jpg: no such file")
    assert_refused(show(place, "signer/key.pem"), "signer/key.pem is a text file, not an image")
    assert_refused(show(place, "signed.jpg", "--trust", "plain.jpg"), "plain.jpg", "no certificates")
    (place / "cut.jpg").write_bytes((place / "signed.jpg").read_bytes()[:1500])
    assert_refused(show(place, "cut.jpg"), "cannot be read: the image is damaged")
    assert_refused(run("provenance", cwd=place), "COMMAND")
    assert_refused(run("provenance", "init", "signed.jpg", cwd=place), "cannot be written")
