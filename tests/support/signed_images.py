"""Images with content credentials, and what c2pa-python's own reader says of them."""

import io
import json

import c2pa
from pictures import drawn
from PIL import Image

from fastmark.images.encoding import encode_image
from fastmark.records import Record

OWNER = "Zacharias Owner"
RECORD = Record(
    provider="Provider Inc",
    system="System",
    system_version="3.1",
    model="model-x",
    owner=OWNER,
    policy="no-training",
)
MESSAGE = bytes.fromhex("0123456789abcdef")


def image(format_name="JPEG", seed=1, quality=None):
    return encode_image(Image.fromarray(drawn(96, 128, seed)), format_name, quality=quality)


def report(data, mime, root=None):
    """Everything c2pa-python's reader says."""
    settings = {"verify": {"verify_trust": True, "remote_manifest_fetch": False, "ocsp_fetch": False}}
    if root is not None:
        settings["trust"] = {"trust_anchors": root.decode()}
    with (
        c2pa.Context.from_dict(settings) as context,
        c2pa.Reader(mime, io.BytesIO(data), context=context) as r,
    ):
        return json.loads(r.json())
