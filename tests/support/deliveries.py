"""Deliveries with everything beside the image: registry, record, XMP, content credentials."""

import contextlib

import pytest
from archives import encode
from pictures import drawn

from fastmark.companions import Companions
from fastmark.records import Record
from fastmark.registry import Registry

RECORD = Record(provider="Studio", system="Painter", policy="no-training", owner="Ada L.")
MESSAGE = bytes(range(1, 9))


def png_file():
    return encode(drawn(256, 288), "PNG")


@contextlib.contextmanager
def registry_in(folder):
    registry = Registry(str(folder / "ids.db"))
    registry.init()
    try:
        yield registry
    finally:
        registry.close()


def everything(registry, signer):
    return Companions(record=RECORD, registry=registry, xmp=True, signer=signer)


def states(registry):
    return [entry.state for entry in registry.entries()]


def only(registry):
    (entry,) = registry.entries()
    return entry


def never(ready):
    pytest.fail("written")
