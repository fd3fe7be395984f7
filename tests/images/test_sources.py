"""What images are read from: file objects and paths; and files that are no image, or too large for one."""

from __future__ import annotations

import io
import json
import os
import tarfile
import tempfile
import zipfile

import numpy as np
import pytest
from depths import COLOUR
from image_files import encoded, luma_of
from PIL import Image

import fastmark
from fastmark.errors import ImageNotFoundError, InvalidImageError
from fastmark.images.opening import open_for_detection, open_for_embedding

# ---- file objects ----------------------------------------------------------------------------------

PNG = encoded(Image.fromarray(COLOUR), "PNG")


def test_file_objects_are_read_from_the_start_and_left_where_they_were(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(PNG)
    with (
        path.open("rb") as raw,
        path.open("rb", buffering=0) as unbuffered,
        tempfile.SpooledTemporaryFile() as spooled,
    ):
        spooled.write(PNG)
        for file in (io.BytesIO(PNG), raw, spooled, unbuffered):
            file.seek(17)
            for opening in (open_for_detection, open_for_embedding):
                np.testing.assert_array_equal(opening(file).pixels, COLOUR)
                assert file.tell() == 17
                assert not file.closed


def test_whatever_reads_like_a_file():
    class Stream:
        def read(self, n: int = -1, /) -> bytes:
            return PNG

    np.testing.assert_array_equal(luma_of(Stream()), COLOUR)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("a.png", PNG)
    with zipfile.ZipFile(archive) as file, file.open("a.png") as member:
        np.testing.assert_array_equal(luma_of(member), COLOUR)


class Coroutine:
    async def read(self, n: int = -1) -> bytes:
        return PNG


class Odd:
    def read(self) -> None:
        return None


@pytest.mark.parametrize("opening", [open_for_detection, open_for_embedding])
def test_what_cannot_be_read_from(opening, tmp_path):
    (tmp_path / "a.png").write_bytes(PNG)
    closed = io.BytesIO(PNG)
    closed.close()
    with (tmp_path / "a.png").open(encoding="latin-1") as text:
        for thing, says in (
            (text, "open as text: open it in binary mode"),
            (io.StringIO("text"), "open as text"),
            (closed, "closed file: open it again"),
            (Coroutine(), "asynchronous file: await"),
            (Odd(), "NoneType instead of bytes"),
            (io.BytesIO(), "empty"),
            (b"", "empty"),
        ):
            with pytest.raises(InvalidImageError, match=says) as caught:
                opening(thing)
            assert "\n" not in str(caught.value)


def test_paths_of_bytes_and_of_other_kinds(tmp_path):
    path = tmp_path / "ä.png"
    path.write_bytes(PNG)

    class OfBytes:
        def __fspath__(self) -> bytes:
            return os.fsencode(path)

    for given in (str(path), path, OfBytes()):
        np.testing.assert_array_equal(luma_of(given), COLOUR)


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("a\nb.png", r"'a\\nb\.png': no such file"),
        ("", "'': no such file"),
        ("https://example.org/a.png", "addresses are not fetched, download it first"),
        ("x" * 3000, r"xxx\.\.\. cannot be read"),
        ('{"format": "fastmark-key", "secret": "abc"}', "^the text of a fastmark key was given"),
    ],
)
def test_odd_paths_in_one_line(path, says):
    for opening in (open_for_detection, open_for_embedding):
        with pytest.raises(InvalidImageError, match=says) as caught:
            opening(path)
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 300


# ---- what is no image ------------------------------------------------------------------------------


@pytest.mark.parametrize("opening", [open_for_detection, open_for_embedding])
def test_missing_files_and_folders(opening, tmp_path):
    with pytest.raises(ImageNotFoundError, match=r"nothing\.png: no such file") as caught:
        opening(tmp_path / "nothing.png")
    assert isinstance(caught.value, FileNotFoundError | InvalidImageError)
    with pytest.raises(
        InvalidImageError, match=r"is a folder: use `fastmark scan .*`, or fastmark\.bulk\.scan"
    ):
        opening(tmp_path)


def archive(kind: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=kind) as file:
        member = tarfile.TarInfo("a.png")
        member.size = len(PNG)
        file.addfile(member, io.BytesIO(PNG))
    return buffer.getvalue()


@pytest.mark.parametrize("opening", [open_for_detection, open_for_embedding])
@pytest.mark.parametrize(
    ("data", "says"),
    [
        (archive("w:"), "a tar archive, not an image: `fastmark scan`"),
        (archive("w:gz"), "a compressed file, not an image: `fastmark scan`"),
        (b"PAR1" + bytes(100), "a Parquet file, not an image: `fastmark scan`"),
        (b"PK\3\4" + bytes(20) + PNG, "a ZIP archive, not an image: unpack it"),
        (b"%PDF-1.7\n" + PNG, "a PDF document"),
        (b"images/a.png\nimages/b.png\n", "a text file, not an image: `fastmark scan` reads lists"),
        (b"<?xml version='1.0'?><svg/>", "render it first"),
        (b"\0\0\0\x18ftypisom\0\0\0\0mp41avc1" + bytes(100), "a video"),
        (b"\0\1\2\3" * 100, "not an image of a known format"),
    ],
)
def test_what_a_file_is_that_is_no_image(opening, data, says, tmp_path):
    path = tmp_path / "x"
    path.write_bytes(data)
    for given in (data, path, io.BytesIO(data)):
        with pytest.raises(InvalidImageError, match=says) as caught:
            opening(given)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_keys_are_not_shown(tmp_path, encoding):
    text = fastmark.Key.generate(name="mine").to_text()
    path = tmp_path / "a.png"
    path.write_bytes(text.encode(encoding))
    secrets = [value for value in json.loads(text).values() if isinstance(value, str) and len(value) > 12]
    assert secrets
    for given in (path, path.read_bytes()):
        with pytest.raises(InvalidImageError, match="is a fastmark key file, not an image") as caught:
            luma_of(given)
        assert not any(secret in str(caught.value) for secret in secrets if secret != "fastmark-key")


# ---- what is too large -----------------------------------------------------------------------------


def test_a_file_that_is_larger_than_its_pixels_can_be_is_not_read(tmp_path):
    """Unread, as its pixels may be few: the rest would fill the memory."""
    path = tmp_path / "a.png"
    path.write_bytes(encoded(Image.fromarray(COLOUR), "PNG"))
    with path.open("ab") as file:
        file.truncate(1 << 38)  # a hole: nothing of it is on the disk
    limit = COLOUR.shape[0] * COLOUR.shape[1]
    with path.open("rb") as file:
        for image in (path, file):
            with pytest.raises(InvalidImageError, match="too large"):
                open_for_detection(image, max_pixels=limit)
