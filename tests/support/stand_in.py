"""A service that gives prepared answers to whatever image it gets, with the real routes of the page."""

import asyncio
import threading

import answers
from fastapi import FastAPI

from fastmark.records import Record, parse_time
from fastmark.registry.entries import Entry
from fastmark.service.admission import Room
from fastmark.service.bodies import Limits, read_body
from fastmark.service.problems import add_handlers
from fastmark.service.routes import page
from fastmark.service.service import Caller
from fastmark.service.settings import Settings

ENTRY = Entry(
    id=answers.ID,
    message_bits=64,
    key_id="5c2f",
    state="marked",
    created_at=parse_time(answers.RECORD["created_at"]),
    record=Record(provider="Example Studio", system="Painter", system_version="2.1", owner="Ada L."),
)


class _OneEntry:
    def get(self, message):
        return ENTRY if message == ENTRY.id else None


class StandIn:
    """In place of ``fastmark.service.service.Service``.

    Attributes:
        verdict, detector: of the next answers.
        map: that goes with them.
        problem: that is raised instead.
        gate: that answers wait for, see :meth:`hold`.
        n_held: how many came to it.
        bodies, raw: of the requests that came, as they were read and byte by byte.
    """

    def __init__(self, **settings):
        self.settings = Settings(**settings)
        self.registry = _OneEntry()
        self.gate = None
        self.reset()

    def reset(self):
        self.release()
        self.verdict, self.map, self.problem = "nothing found", None, None
        self.bodies, self.raw = [], []
        self.detector = {"name": "fastmark", "version": "0.3.0", "url": "https://check.example.org"}

    def hold(self):
        """Let answers to requests that come from now on wait until they are released."""
        self.gate = threading.Event()
        return self.gate

    def release(self):
        """Give the answers that are held, and hold no more."""
        if self.gate is not None:
            self.gate.set()
        self.gate, self.n_held = None, 0

    async def admit(self, request, right=None, cost=1):
        return Caller()

    async def read_image(self, request):
        request.state.memory = 0
        self.raw.append(await request.body())
        body = await read_body(request, Limits(self.settings.max_bytes, 10, 1, Room(1 << 30, "full")))
        self.bodies.append(body)
        return body.images[0]

    async def check(self, data, caller, where=False, report=False):
        gate = self.gate
        self.n_held += gate is not None
        while gate is not None and not gate.is_set():
            await asyncio.sleep(0.01)  # the gate is opened by another thread
        if self.problem is not None:
            raise self.problem
        assert where
        assert report
        return answers.answer(self.verdict, map=self.map, report="aaaa.bbbb.cccc", detector=self.detector)

    async def ask(self, function, *arguments):
        return function(*arguments)


def stand_in_app(**settings):
    """An app with the routes of the page; ``app.state.service`` is the stand-in."""
    app = FastAPI()
    app.state.service = StandIn(**settings)
    add_handlers(app)
    app.include_router(page.make_router())
    return app
