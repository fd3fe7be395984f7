"""The picture of the service's page: a drawn scene with a watermark, into which something was pasted since.

A real ``fastmark serve`` looks at it, with a key, a registry and keys of reports made for the occasion, and a
headless Chromium visits its page. Needs ``fastmark[serve,service-test]`` and a Chromium.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import hero
from PIL import Image

import fastmark
from fastmark.companions import Companions
from fastmark.delivery import Delivery
from fastmark.registry import Registry

OUTPUT = Path(__file__).resolve().parent / "results" / "page-detected.png"
SCENE = (720, 1080)  # height and width, pixels
PATCH = (300, 130, 500, 330)  # left, top, right, bottom of what is pasted, which stood elsewhere
TAKEN = (700, 430)  # left and top of it, before
COLOURS = 256  # of the PNG

ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--hide-scrollbars"]


def edited(data: bytes) -> bytes:
    """Copy one part of an image over another, and compress it again."""
    with Image.open(io.BytesIO(data)) as image:
        left, top, right, bottom = PATCH
        x, y = TAKEN
        part = image.crop((x, y, x + right - left, y + bottom - top))
        image.paste(part.transpose(Image.Transpose.FLIP_TOP_BOTTOM), (left, top))
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=88)
    return buffer.getvalue()


def prepare(folder: Path) -> bytes:
    """Make a key, a registry and keys of reports; return an image that was registered, and then edited."""
    from fastmark.service.reports import ReportKeys

    key = fastmark.Key(hero.SECRET, name="Example Studio 2026")
    key.save(folder / "studio.key")
    ReportKeys.make(folder / "reports")
    registry = Registry(f"sqlite:///{folder / 'ids.db'}")
    registry.init()
    scene = io.BytesIO()
    Image.fromarray(hero.draw_scene(*SCENE)).save(scene, "PNG")
    record = fastmark.Record(provider="Example Studio", system="Painter", system_version="2.1")
    delivery = Delivery(fastmark.Watermarker(key), Companions(record=record, registry=registry, xmp=True))
    message = bytes.fromhex(hero.MESSAGE)
    return edited(delivery.deliver(scene.getvalue(), message, "jpeg", {"quality": 95}).data)


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """Run the service; yields its address once it is ready."""
    command = [sys.executable, "-m", "fastmark", "serve", "--port", "0", "--workers", "1"]
    command += ["--key", "studio.key", "--registry", f"sqlite:///{folder / 'ids.db'}"]
    command += ["--report-keys", "reports", "--feedback", "feedback@example.org"]
    with subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        assert process.stderr is not None
        try:
            url = None
            for line in process.stderr:
                if found := re.search(rb"listening on (http://\S+)", line):
                    url = found[1].decode()
                if url is not None and b"ready" in line:
                    yield url
                    break
            else:
                raise SystemExit("the service did not start")
        finally:
            process.terminate()


def photograph(url: str, data: bytes, language: str, dark: bool, width: int) -> bytes:
    """Check an image on the page; return a picture of the page, down to the end of the answer."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        raise SystemExit("there is no Chromium here: install it")
    with sync_playwright() as run:
        browser = run.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        page = browser.new_page(
            viewport={"width": width, "height": 1000},
            color_scheme="dark" if dark else "light",
            reduced_motion="reduce",
        )
        page.goto(f"{url}/?lang={language}")
        picture = {"name": "image.jpg", "mimeType": "image/jpeg", "buffer": data}
        page.set_input_files("#file", [picture])  # type: ignore[list-item]
        page.wait_for_selector("img.preview")
        page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
        box = page.locator("#answer").bounding_box()
        assert box is not None
        clip = {"x": 0, "y": 0, "width": width, "height": box["y"] + box["height"] + 24}
        shot = page.screenshot(full_page=True, clip=clip)  # type: ignore[arg-type]
        browser.close()
    return shot


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-o", "--output", type=Path, default=OUTPUT, metavar="PNG")
    parser.add_argument("--language", default="en")
    parser.add_argument("--dark", action="store_true")
    parser.add_argument("--width", type=int, default=1280, help="of the window, pixels")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = prepare(Path(folder))
        with served(Path(folder)) as url:
            shot = photograph(url, data, arguments.language, arguments.dark, arguments.width)
    with Image.open(io.BytesIO(shot)) as image:
        few = image.convert("RGB").quantize(COLOURS, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
        few.save(arguments.output, optimize=True)
    print(f"{arguments.output}: {arguments.output.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
