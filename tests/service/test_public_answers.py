"""What the public learns of an image: three bands, and nothing of how near the next one is."""

import asyncio
import datetime as dt
import json
import time

import numpy as np
import pytest
from pictures import drawn
from services import encoded, serving

import fastmark
from fastmark.service.app import make_service
from fastmark.service.service import Caller
from fastmark.service.settings import Settings
from fastmark.service.tokens import Token
from fastmark.service.work import Answer


class Clock(asyncio.SelectorEventLoop):
    """A loop whose time passes when it waits, and then at once."""

    def __init__(self):
        super().__init__()
        self.now = 0.0
        select = self._selector.select

        def skip(timeout):
            self.now += timeout or 0.0
            return select(0)

        self._selector.select = skip

    def time(self):
        return self.now


def answered_after(service, seconds, pixels, caller):
    """How long an answer takes, seconds, if the work on the image takes so long."""

    async def run(name, *arguments):
        await asyncio.sleep(seconds)
        return Answer({"verdict": "no watermark found", "detector": {}}, pixels, None)

    async def ask():
        service.pool.run = run
        await service.check(b"", caller)
        return asyncio.get_running_loop().time()

    with asyncio.Runner(loop_factory=Clock) as runner:
        return runner.run(ask())


def faded(share, size=(480, 640), seed=1):
    """A drawn image with a share of a watermark: 0 for none, 1 for all of it."""
    before = drawn(*size, seed).astype(float)
    after = MARKER.embed(drawn(*size, seed), 5).astype(float)
    mixed = np.rint(before + (after - before) * share).clip(0, 255).astype(np.uint8)
    return encoded(mixed, quality=60)


MARKER = fastmark.Watermarker(fastmark.Key(bytes(range(32)), name="studio"))
ABSENT = [0.0, 0.1, 0.2, 0.23, 0.24, 0.25]
"""Shares of the watermark at which the detector sees nothing; at the last, hardly less than something."""

POSSIBLE = [0.26, 0.28, 0.3]
"""Shares of another image at which it suspects something, more and more."""


def test_times_do_not_tell_how_near_an_image_is_to_a_watermark(house):
    service = make_service(Settings.read(key=(str(house.folder / "studio.key"),), answer_ms=250))
    for pixels in (0, 307_200, 12_000_000):
        period = 0.25 + 0.06 * pixels / 1e6
        times = {answered_after(service, period * part, pixels, Caller()) for part in (0.01, 0.1, 0.5, 0.99)}
        assert list(times) == pytest.approx([period] * len(times), abs=1e-9)
        late = answered_after(service, period * 2.3, pixels, Caller())
        assert late == pytest.approx(3 * period, abs=1e-9)
    scores = Caller(Token("a", frozenset({"scores"}), None, dt.datetime.now(dt.UTC)))
    assert answered_after(service, 0.1, 307_200, scores) == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("state", "files"),
    [
        ("absent", lambda: [faded(share, (320, 384), 4) for share in ABSENT]),
        ("possible", lambda: [faded(share, (320, 384), 11) for share in POSSIBLE]),
    ],
)
def test_answers_of_a_band_are_the_same_however_near_the_next_one_is(house, server, state, files):
    """Images without the watermark and ones that are nearly suspected; and ones that are suspected."""
    images = files()
    with server.client() as client:
        inside = [
            client.post("/v1/detect", content=data, headers=house.bearer("scores")).json()["detection"]
            for data in images
        ]
        assert {found["state"] for found in inside} == {state}
        known = [found["log10_p"] for found in inside]
        assert max(known) - min(known) > 0.5  # there would be something to tell
        for where in ("", "?where=true", "?where=true&report=true"):
            answers, sizes, heads = set(), set(), set()
            for data in images:
                response = client.post(f"/v1/detect{where}", content=data)
                answer = response.json()
                for name in ("sha256", "time"):
                    del answer[name]
                answer.pop("report", None)  # a signature, with these two under it
                answers.add(json.dumps(answer))
                sizes.add(len(response.content))
                heads.add(tuple(name for name in response.headers))
            assert len(answers) == len(sizes) == len(heads) == 1


def test_the_public_waits_for_its_answer(house):
    """A lower bound, that holds on any machine: a part of a second for any image."""
    options = {"key": [str(house.folder / "studio.key")], "workers": 1, "rate_public": "none"}
    with serving(house.folder, options) as running, running.client() as client:
        for share in (0.0, 0.16):
            start = time.monotonic()
            assert client.post("/v1/detect", content=faded(share)).json()["confidence"] == "none"
            assert time.monotonic() - start >= 0.5 + 0.06 * 0.3072
