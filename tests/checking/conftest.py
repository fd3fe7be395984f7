"""A registry, a signer and a delivery with both, and an image that they delivered."""

import dataclasses

import pytest
from pictures import drawn
from PIL import Image

import fastmark
from fastmark.companions import Companions
from fastmark.delivery import Delivery

pytest.importorskip("sqlalchemy")
pytest.importorskip("imagehash")
pytest.importorskip("c2pa")


@dataclasses.dataclass(frozen=True)
class Studio:
    """Who delivers images, and one that was delivered."""

    marker: fastmark.Watermarker
    registry: object
    signer: object
    root: bytes
    source: bytes
    record: fastmark.Record

    def deliver(self, source=None, format_name="jpeg", message=None, quality=92, **companions):
        beside = {"record": self.record, "registry": self.registry, "xmp": True, "signer": self.signer}
        given = {name: value for name, value in (beside | companions).items() if value is not None}
        delivery = Delivery(self.marker, Companions(**given))
        options = {"quality": quality} if format_name == "jpeg" else {}
        return delivery.deliver(source or self.source, message, format_name, options)

    def check(self, image, **options):
        given = {"registry": self.registry, "trust_anchors": self.root} | options
        return fastmark.check(image, self.marker, given.pop("registry"), **given)


@pytest.fixture(scope="session")
def studio(tmp_path_factory):
    import io

    from fastmark.provenance.chain import make_chain
    from fastmark.provenance.signing import Signer
    from fastmark.registry import Registry

    folder = tmp_path_factory.mktemp("studio")
    chain = make_chain(folder / "signer")
    registry = Registry(f"sqlite:///{folder / 'ids.db'}")
    registry.init()
    buffer = io.BytesIO()
    Image.fromarray(drawn(600, 700)).save(buffer, "PNG")
    record = fastmark.Record(
        provider="Example Studio", system="Painter", system_version="2", policy="no-training", owner="Ada L."
    )
    return Studio(
        fastmark.Watermarker(fastmark.Key(bytes(range(32)), name="studio")),
        registry,
        Signer(str(chain.chain), str(chain.key)),
        chain.root.read_bytes(),
        buffer.getvalue(),
        record,
    )


@pytest.fixture(scope="session")
def delivered(studio):
    return studio.deliver()
