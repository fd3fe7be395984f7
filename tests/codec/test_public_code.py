"""The public watermark's code, to the bit: against golden vectors and a reader written from SPEC."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from vectors.contents import codeword_entry, key_entry

import fastmark
from fastmark import public
from fastmark.codec.public import FLAGS, MAX_FREE, MAX_RESOLVER, PUBLIC_KEY, RESOLVERS, PublicCode
from fastmark.errors import InvalidMessageError

FOLDER = Path(__file__).parents[1] / "vectors"
VECTORS = json.loads((FOLDER / "public.json").read_text(encoding="utf-8"))
SPEC = (Path(fastmark.__file__).parent / "SPEC.md").read_text(encoding="utf-8").partition("## 14.")[2]


def read_by_spec(message):
    """What section 14 says of eight bytes; bits are counted as there."""
    number = int.from_bytes(message, "big")
    bits = {
        48: "ai-generated",
        49: "ai-edited",
        50: "do-not-train",
        51: "do-not-train-generative",
        52: "captured",
    }
    flags = [name for bit, name in bits.items() if number >> bit & 1]
    return number >> 60, flags, number >> 32 & 0xFFFF, number & 0xFFFFFFFF


def test_the_key_is_the_one_that_is_published():
    secret = hashlib.blake2b(b"fastmark public watermark, version 1", digest_size=32).digest()
    assert PUBLIC_KEY.secret == secret
    assert secret.hex() in SPEC and f"`{PUBLIC_KEY.id}`" in SPEC
    assert VECTORS["key"] == key_entry(secret.hex())


@pytest.mark.parametrize("golden", VECTORS["codes"], ids=lambda golden: golden["message"])
def test_codes_have_not_changed(golden):
    code = PublicCode(tuple(golden["flags"]), golden["resolver"], golden["free"])
    assert code.hex == golden["message"]
    assert PublicCode.from_bytes(bytes.fromhex(golden["message"])) == code
    assert codeword_entry(64, golden["message"], 1)["digest"] == golden["codeword"]


def test_the_golden_codes_say_everything_that_there_is():
    assert {flag for golden in VECTORS["codes"] for flag in golden["flags"]} == set(FLAGS)


def test_the_picture_of_the_vectors_is_read():
    with Image.open(FOLDER / "public.png") as opened:
        reading = public.read(opened)
    assert reading and reading.code.hex == VECTORS["codes"][0]["message"]
    assert reading.detection.log10_p < -60


def test_codes_are_what_the_specification_says():
    rng = np.random.default_rng(14)
    for _ in range(200):
        flags = tuple(flag for flag in FLAGS if rng.integers(2))
        code = PublicCode(flags, int(rng.integers(MAX_RESOLVER + 1)), int(rng.integers(MAX_FREE + 1)))
        assert read_by_spec(code.to_bytes()) == (1, list(flags), code.resolver, code.free)
        assert PublicCode.from_bytes(code.to_bytes()) == code
        assert int(code.hex, 16) == int.from_bytes(code.to_bytes(), "big")


def test_reserved_bits_are_passed_over_and_kept():
    message = (0x1E21 << 48).to_bytes(8, "big")
    code = PublicCode.from_bytes(message)
    assert (code.flags, code.reserved) == (("ai-generated",), 0xE20)
    assert code.to_bytes() == message


@pytest.mark.parametrize("version", [0, 2, 15])
def test_other_versions_are_not_interpreted(version):
    with pytest.raises(InvalidMessageError, match=f"version {version}.*install a later one"):
        PublicCode.from_bytes(((version << 60) + (1 << 48)).to_bytes(8, "big"))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("generated",), "cannot say generated: choose from ai-generated, ai-edited"),
        (("captured,ai-generated",), "contradict each other"),
        (("",), "would say nothing"),
        (((), 0, 5), "would say nothing"),
        (("captured", 0, 5), "free says nothing without a resolver"),
        (("captured", 65536), "resolver .* 0 to 65535"),
        (("captured", -1), "resolver .* 0 to 65535"),
        (("captured", 1, 1 << 32), "free .* 0 to 4294967295"),
        (("captured", True), "resolver .* an int"),
    ],
)
def test_codes_that_cannot_be_are_refused(arguments, says):
    with pytest.raises(InvalidMessageError, match=says):
        PublicCode.of(*arguments)


def test_names_come_in_any_order_and_shape():
    expected = PublicCode(("ai-edited", "do-not-train"))
    for flags in ("do-not-train, ai-edited", ["do-not-train", "ai-edited"], {"ai-edited", "do-not-train"}):
        assert PublicCode.of(flags) == expected
    with pytest.raises(InvalidMessageError, match="in their order"):
        PublicCode(("do-not-train", "ai-edited"))


def test_words_and_the_strictest_rule():
    code = PublicCode.of("do-not-train,do-not-train-generative,captured", 3, 0xAB)
    assert code.trains == "none"
    assert PublicCode.of("do-not-train-generative").trains == "not generative"
    assert PublicCode.of("captured").trains == "any"
    assert str(code) == "do-not-train,do-not-train-generative,captured resolver 3, 000000ab"
    assert "resolver 3 knows more under 000000ab" in code.sentence()
    for flag in FLAGS:
        assert PublicCode.of(flag).sentence() in code.sentence() or flag.startswith("ai-")


def test_a_resolver_leads_to_a_page(monkeypatch):
    assert PublicCode.of((), 7).url is None  # nobody has that number
    monkeypatch.setitem(RESOLVERS, 7, "https://resolver.example/i/")
    assert PublicCode.of((), 7, 0xAB).url == "https://resolver.example/i/000000ab"


def test_the_specification_lists_the_resolvers():
    table = SPEC.partition("| number | URL |")[2].partition("\n\n")[0]
    numbers = [line.split("|")[1].strip() for line in table.splitlines() if line.startswith("| ")]
    assert numbers[:1] == ["0"] and numbers[-1].startswith("65280..")
    assert [int(number) for number in numbers[1:-1] if number.isdecimal()] == sorted(RESOLVERS)
