"""Plain metadata and content credentials in one file: signing leaves our XMP, and is seen without c2pa."""

from __future__ import annotations

import packets
import pytest
from image_files import draw
from PIL import Image

pytest.importorskip("c2pa", reason="the extra c2pa is not installed")

from certificates import make

from fastmark.images.encoding import encode_image
from fastmark.images.findings import C2PA_DROPPED
from fastmark.images.opening import open_for_embedding
from fastmark.provenance import xmp
from fastmark.provenance.plain import Plain, c2pa_present, metadata_of
from fastmark.provenance.signing import Signer, sign
from fastmark.records import Record

RECORD = Record(system="Maler 猫", policy="no-training")
PLUGINS = {"HEIF": "pillow_heif", "JXL": "pillow_jxl"}


@pytest.fixture(scope="module")
def signer():
    made = make()
    return Signer(made.chain, made.key)


@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF", "JXL"])
@pytest.mark.parametrize("with_xmp", [True, False])
def test_a_signed_file(name, with_xmp, signer):
    if name in PLUGINS:
        pytest.importorskip(PLUGINS[name])
    image = Image.fromarray(draw(96, 128))
    packet = xmp.merge(packets.LIGHTROOM.encode(), RECORD) if with_xmp else None
    if packet:
        image.info["xmp"] = packet
    data = encode_image(image, name)
    assert not c2pa_present(data)
    signed = sign(data, name, RECORD, b"message1", signer).data
    assert c2pa_present(signed)
    assert metadata_of(signed).png_text == {}
    found = metadata_of(signed).xmp
    if packet:
        assert found is not None
        assert xmp.read(found) == xmp.read(packet)
        assert packets.statements(found, ours=False) == packets.statements(packet, ours=False)
    else:
        assert metadata_of(signed) == Plain()
    assert open_for_embedding(signed).warnings.count(C2PA_DROPPED) == 1
