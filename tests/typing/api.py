"""A user's program, for the type checker alone: every line says what type a call has.

Checked by ``test_typing.py`` under ``mypy --strict``; it is never run.
"""

from __future__ import annotations

import asyncio
import io
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, assert_type

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import fastmark
from fastmark import (
    Detection,
    Detector,
    DetectorKey,
    EmbedReport,
    Explanation,
    Key,
    Location,
    Outcome,
    Step,
    Watermarker,
    public,
)
from fastmark.provenance import Signer
from fastmark.registry import PublicRecord, Registry

key = Key.generate("ours")
marker = Watermarker(key, message_bits=64, strength=np.float32(1.0))

# ---- one image: what goes in comes out ----

bytes_image: NDArray[np.uint8] = np.zeros((256, 256, 3), np.uint8)
float_image: NDArray[np.float32] = np.zeros((256, 256), np.float32)
opened = Image.open("photo.jpg")

assert_type(marker.embed(bytes_image, 7), NDArray[np.uint8])
assert_type(marker.embed(bytes_image, 7, out=bytes_image), NDArray[np.uint8])
assert_type(marker.embed(float_image, b"12345678"), NDArray[np.float32])
assert_type(marker.embed(opened, "0123456789abcdef"), Image.Image)
assert_type(marker.embed("photo.jpg", 7, max_pixels=10**6), Image.Image)
assert_type(marker.embed(Path("photo.jpg"), 7), Image.Image)
assert_type(marker.embed(b"...", 7), Image.Image)
assert_type(marker.embed(b"...", 7, on_marked="keep", bind=False), Image.Image)
assert_type(marker.embed(bytes_image, 7, on_marked="refuse"), NDArray[np.uint8])
assert_type(marker.embed(io.BytesIO(), 7), Image.Image)

# ---- the public watermark, beside another and alone ----

code = public.PublicCode.of({"do-not-train", "captured"}, resolver=3, free=7)
assert_type(marker.embed(bytes_image, 7, public=code), NDArray[np.uint8])
assert_type(marker.embed_batch([opened], [7], public=code), list[Image.Image])
assert_type(public.embed("photo.jpg", code), Image.Image)
assert_type(public.embed(bytes_image, "do-not-train", bind=False), NDArray[np.uint8])
assert_type(public.read("photo.jpg"), public.Reading)
assert_type(public.read("photo.jpg").code, public.PublicCode | None)
assert_type(code.flags, tuple[public.Flag, ...])
assert_type(public.marker(), Watermarker)
with Path("photo.jpg").open("rb") as file, tempfile.SpooledTemporaryFile() as spooled:
    assert_type(marker.embed(file, 7), Image.Image)
    assert_type(marker.embed(spooled, 7), Image.Image)
assert_type(marker.embed("photo.jpg", 7).rotate(3), Image.Image)
assert_type(marker.embed_report("photo.jpg", 7), tuple[Image.Image, EmbedReport])
assert_type(marker.embed_report(bytes_image, 7)[0], NDArray[np.uint8])

found = marker.detect("photo.jpg", deep=True, threads=2, max_pixels=10**6)
assert_type(found, Detection)
assert_type(found.detected, bool)
assert_type(found.message, int | None)
assert_type(found.message_hex, str | None)
assert_type(found.margin, float | None)
assert_type(found.remarks, tuple[str, ...])
assert_type(found.to_dict(), dict[str, Any])
if found.message is not None:
    print(hex(found.message))

# ---- where it is ----

place = marker.locate("photo.jpg", deep=True, threads=2, max_pixels=10**6)
assert_type(place, Location)
assert_type(place.detection, Detection)
assert_type(place.heat, NDArray[np.float32])
assert_type(place.carries, NDArray[np.bool_])
assert_type(place.disagreement, NDArray[np.float32] | None)
assert_type(place.box, tuple[int, int, int, int] | None)
assert_type(place.share, float)
assert_type(place.to_image(), Image.Image)
assert_type(marker.detect_all(bytes_image), list[Location])

# ---- many keys ----

detector = Detector([key, Key.load("other.key")])
assert_type(detector.detect(bytes_image), list[Detection])
assert_type(fastmark.detect(bytes_image, key), list[Detection])
assert_type(fastmark.detect("photo.jpg", [key, marker], message_bits=32), list[Detection])
assert_type(detector.explain(bytes_image), list[Explanation])
assert_type(marker.explain(bytes_image, deep=True), Explanation)
assert_type(marker.explain(bytes_image).steps, tuple[Step, ...])
assert_type(marker.explain(bytes_image).detection, Detection)
assert_type(detector.locate(bytes_image), Location)
assert_type(detector.detect_all(bytes_image), list[Location])
assert_type(fastmark.locate(bytes_image, key), Location)
assert_type(fastmark.detect_all("photo.jpg", [key, marker], deep=True), list[Location])
assert_type(detector.detect_batch(["a.png", b"..."], workers=2), list[list[Detection]])

# ---- detector keys ----

check = key.detector_key("the museum")
assert_type(check, DetectorKey)
assert_type(check.key_id, str)
assert_type(DetectorKey.load("check.key"), DetectorKey)
assert_type(fastmark.load_key("any.key"), Key | DetectorKey)
assert_type(Detector(check).detect(bytes_image)[0], Detection)
assert_type(Detector([key, check, fastmark.load_key("any.key")]).keys, tuple[Key | DetectorKey, ...])
assert_type(fastmark.detect("photo.jpg", [check, marker]), list[Detection])

# ---- many images ----

batch: NDArray[np.uint8] = np.zeros((2, 256, 256, 3), np.uint8)
assert_type(marker.embed_batch(batch, [1, 2]), NDArray[np.uint8])
assert_type(marker.embed_batch([bytes_image, bytes_image], [1, 2]), list[NDArray[np.uint8]])
assert_type(marker.embed_batch(["a.png", "b.png"], (1, "0x2")), list[Image.Image])
assert_type(marker.detect_batch(batch, workers=2, threads=1), list[Detection])


def uploads() -> Iterator[bytes]:
    """Images as a web framework hands them over."""
    yield b"..."


for looked in marker.detect_iter(uploads(), workers=2):
    assert_type(looked, Outcome[Detection])
    assert_type(looked.error, Exception | None)
    assert_type(looked.get(), Detection)
for marked in marker.embed_iter(uploads(), iter([1]), on_marked="replace"):
    image, report = marked.get()
    assert_type(report, EmbedReport)
    assert_type(report.earlier_message, str | None)
try:
    marker.embed_batch(batch, [1, 2], on_marked="refuse")
except fastmark.AlreadyMarkedError as refusal:
    assert_type(refusal.message, int | None)
    assert_type(refusal.message_hex, str | None)


async def serve(upload: bytes) -> Detection:
    """Detect without blocking the loop."""
    return await asyncio.to_thread(marker.detect, upload)


# ---- archives ----

summary = fastmark.bulk.scan("archive", "rows.csv", key)
summary = fastmark.bulk.scan("archive", "rows.csv", [key, check])
assert_type(summary, fastmark.bulk.Summary)

# ---- registry, metadata, verdict ----

registry = Registry("sqlite:///ids.db", timeout=5)
record = fastmark.Record(provider="Example Studio", policy="no-training")
pixels: NDArray[np.uint8] = np.zeros((256, 256, 3), np.uint8)
assert_type(marker.embed(pixels, registry=registry, record=record), NDArray[np.uint8])
assert_type(marker.embed("a.png", registry=registry), Image.Image)
assert_type(marker.embed_report("a.png", registry=registry)[1].message, str | None)
entry = registry.get("0123456789abcdef")
if entry is not None:
    assert_type(entry.public, PublicRecord)
    assert_type(entry.record.owner, str | None)
signer = Signer("chain.pem", "env:SIGNING_KEY")
companions = fastmark.Companions(record=record, registry=registry, xmp=True, signer=signer)
summary = fastmark.bulk.embed("in", "out", key, companions=companions)
found_out = fastmark.check("a.png", [key, check], registry, trust_anchors="root.pem")
assert_type(found_out, fastmark.Check)
if found_out.verdict == "genuine and unchanged":
    assert_type(found_out.entry, PublicRecord | None)
assert_type(found_out.findings, tuple[fastmark.Finding, ...])
