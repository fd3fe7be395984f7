"""Archives for the tests of many images: encoded images, tars, Parquet files, and a quick job."""

import io
import os
import signal
import tarfile
from dataclasses import dataclass
from pathlib import Path

from pictures import drawn
from PIL import Image

from fastmark.bulk.worker import Worker


def jpeg(height=160, width=200, seed=0, **options):
    """A drawn image as the bytes of a JPEG."""
    return encode(drawn(height, width, seed), "JPEG", **options)


def encode(image, format_name, **options):
    file = io.BytesIO()
    Image.fromarray(image).save(file, format_name, **options)
    return file.getvalue()


def write(path, data):
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def tar_of(path, members, mode="w"):
    """A tar of ``members``: (name, bytes) each, or a TarInfo alone."""
    with tarfile.open(path, mode) as tar:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                tar.addfile(member)
                continue
            name, data = member
            header = tarfile.TarInfo(name)
            header.size = len(data)
            tar.addfile(header, io.BytesIO(data))
    return path


def members_of(path):
    """Names and contents of a tar's files, in order."""
    with tarfile.open(path) as tar:
        return [(member.name, tar.extractfile(member).read()) for member in tar if member.isreg()]


@dataclass(frozen=True)
class QuickJob:
    """Counts bytes; but an image may say "die", "disk full", "bug" or "memory"."""

    max_pixels: int = 1000

    def worker(self):
        return QuickWorker()


class QuickWorker(Worker):
    max_pixels = 1000

    def work(self, data, item):
        from fastmark.bulk.storage import unwritable

        if data == b"die":
            os.kill(os.getpid(), signal.SIGKILL)
        if data == b"disk full":
            raise unwritable("there", OSError(28, "No space left on device"))
        if data == b"bug":
            raise ZeroDivisionError("by zero")
        if data == b"memory":
            raise MemoryError
        self.lap("working")
        return "absent", {"width": len(data)}, None
