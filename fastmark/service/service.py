"""The service: what its routes share, and what happens between a request and the work on an image."""

from __future__ import annotations

import asyncio
import functools
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, TypeVarTuple

from fastapi import Request

from fastmark.errors import (
    AlreadyMarkedError,
    FastmarkError,
    IdTakenError,
    MissingPackageError,
    RegistryError,
    one_line,
)
from fastmark.registry.store import Registry
from fastmark.service.admission import Rates, Room
from fastmark.service.bodies import Body, Limits, read_body, read_bytes
from fastmark.service.fetching import Fetcher, FetchError
from fastmark.service.metrics import Metrics
from fastmark.service.pool import LostError, Pool
from fastmark.service.problems import Problem
from fastmark.service.reports import ReportKeys
from fastmark.service.settings import Settings
from fastmark.service.tokens import Right, Token, Tokens
from fastmark.service.work import Answer, Embedded, Order, Plan, Work

_log = logging.getLogger("fastmark.service")

_Value = TypeVar("_Value")
_Arguments = TypeVarTuple("_Arguments")

MS_PER_MEGAPIXEL = 60.0
"""Added to the least time of a public answer for each megapixel: more than nearly all images take."""

_ASKING = 8
"""Questions to the registry at a time."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks.

    Attributes:
        token: None for the public.
    """

    token: Token | None = None

    def may(self, right: Right) -> bool:
        """Whether the caller has a right beyond what the public may do."""
        return self.token is not None and right in self.token.rights


class Service:
    """One service: its settings, its processes, its registry; see ``app.make_app``."""

    def __init__(self, settings: Settings, plan: Plan, tokens: Tokens, reports: ReportKeys | None) -> None:
        """Prepare everything; nothing is started."""
        self.settings, self.plan = settings, plan
        self.tokens, self.reports = tokens, reports
        self.registry: Registry | None = plan.registry
        self.rates = Rates()
        self.metrics = Metrics()
        self.pool = Pool(functools.partial(Work, plan), settings.workers, settings.work_seconds)
        full = "The service is busy: try again in a moment."
        self.places = Room(settings.queue + self.pool.size, full)
        self.memory = Room(settings.max_memory, full)
        self.fetcher = (
            Fetcher(most_bytes=settings.max_bytes, seconds=settings.body_seconds) if settings.urls else None
        )
        self._asking = asyncio.Semaphore(_ASKING)
        self.failure: str | None = None

    # ---- life --------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Start the processes; :attr:`ready` tells when they are."""
        try:
            await self.pool.start()
        except FastmarkError as error:
            self.failure = one_line(error)
            _log.error("%s", self.failure)

    async def close(self) -> None:
        """End the processes and the connections."""
        await self.pool.close()
        if self.fetcher is not None:
            self.fetcher.close()
        if self.registry is not None:
            self.registry.close()

    @property
    def ready(self) -> bool:
        """Whether images can be looked at."""
        return self.pool.ready

    # ---- who asks ----------------------------------------------------------------------------------------

    async def admit(self, request: Request, right: Right | None = None, cost: int = 1) -> Caller:
        """Say who asks, if what is asked for is permitted and not too much.

        Args:
            request: with a bearer token, or without.
            right: that is needed; None for what the public may do.
            cost: as how many requests it counts.

        Raises:
            Problem: 401 without a token that is known, 403 without the right, 429 if it is too much.
        """
        caller = self.caller(request)
        if right is not None and not caller.may(right):
            if caller.token is None:
                raise _unauthorised("This needs a token: send 'Authorization: Bearer TOKEN'.")
            raise Problem(403, f"This token does not have the right '{right}': ask the operator for one.")
        if right is None and not self.settings.public and not caller.may("detect"):
            if caller.token is None:
                raise _unauthorised("This service is not public: send 'Authorization: Bearer TOKEN'.")
            raise Problem(403, "This token does not have the right 'detect': ask the operator for one.")
        self.charge(request, caller, cost)
        return caller

    def charge(self, request: Request, caller: Caller, cost: int) -> None:
        """Count what a caller asks for.

        Raises:
            Problem: 429 if it is too much.
        """
        if cost < 1:
            return
        if caller.token is None:
            address = None if request.client is None else request.client.host
            name, rate = self.rates.of_address(address), self.settings.rate_public
        else:
            name = f"token {caller.token.name}"
            rate = caller.token.rate or self.settings.rate_token
        self.rates.take(name, rate, cost)
        if rate != "none":
            self.rates.take("everybody", self.settings.rate_global, cost)

    def caller(self, request: Request) -> Caller:
        """Return who asks.

        Raises:
            Problem: 401 if there is a token that is not known.
        """
        scheme, _, secret = request.headers.get("authorization", "").partition(" ")
        if not scheme:
            return Caller()
        token = self.tokens.find(secret.strip()) if scheme.lower() == "bearer" else None
        if token is None:
            raise _unauthorised("The token is not known here: it may have been revoked.")
        return Caller(token)

    # ---- what is brought ---------------------------------------------------------------------------------

    async def read(self, request: Request, images: int = 1) -> Body:
        """Read the body, and fetch the image that it names.

        Raises:
            Problem: 4xx if that cannot be done, 429 if there is no room, 503 before everything is ready.
        """
        if not self.ready:
            raise Problem(503, "The service is starting: try again in a moment.", {"Retry-After": "5"})
        self.places.check()
        settings = self.settings
        limits = Limits(settings.max_bytes, settings.body_seconds, images, self.memory)
        body = await read_body(request, limits)
        if body.url is not None and not body.images:
            body.images.append(await self.fetch(request, body.url))
        return body

    async def read_image(self, request: Request) -> bytes:
        """Read the one image of a request; errors as :meth:`read`."""
        (data,) = (await self.read(request)).images
        return data

    async def read_small(self, request: Request) -> bytes:
        """Read a body that is no image, of 64 KiB at most; errors as ``bodies.read_bytes``."""
        limits = Limits(self.settings.max_bytes, self.settings.body_seconds, 0, self.memory)
        return await read_bytes(request, limits.small())

    async def fetch(self, request: Request, url: str) -> bytes:
        """Fetch an image.

        Raises:
            Problem: 400 if the URL is refused, 413 if the image is too large, 415 if it is none, 429 if there
                is no room, 502 or 504 if it cannot be had.
        """
        if self.fetcher is None:
            raise Problem(400, "Images are not fetched by URL here: send the image itself.")
        self.memory.take(self.settings.max_bytes)
        request.state.memory += self.settings.max_bytes
        try:
            return await self.fetcher.fetch(url)
        except FetchError as error:
            raise Problem(error.status, f"The URL was not fetched: {error.reason}") from None

    # ---- work --------------------------------------------------------------------------------------------

    async def check(
        self, data: bytes, caller: Caller, where: bool = False, report: bool = False
    ) -> dict[str, Any]:
        """Return the answer on an image, as JSON values.

        Callers without the right to scores get it at a time that hardly depends on the image, as the search
        takes longer the more a part of it looks like the watermark.

        Args:
            data: the file.
            caller: who asks.
            where: whether the watermark is located and drawn.
            report: whether the answer is signed too, where the service has keys for that.

        Raises:
            Problem: 422 if the image cannot be read, 429 if there is no room, 503 if the registry is away.
        """
        begin = asyncio.get_running_loop().time()
        with self.places.taken():
            answer: Answer = await self._work("check", data, where, caller.may("scores"))
        await self._pass_time(caller, begin, answer.pixels)
        return self._told(answer, report)

    async def check_many(
        self, images: list[bytes], caller: Caller, where: bool = False, report: bool = False
    ) -> list[dict[str, Any]]:
        """As :meth:`check`, one image after another; one that cannot be read has its problem as ``error``."""
        begin, pixels = asyncio.get_running_loop().time(), 0
        done: list[Answer | Problem] = []
        with self.places.taken():
            for data in images:
                try:
                    answer: Answer = await self._work("check", data, where, caller.may("scores"))
                except Problem as problem:
                    if problem.status != 422:
                        raise
                    done.append(problem)
                else:
                    done.append(answer)
                    pixels += answer.pixels
        await self._pass_time(caller, begin, pixels)
        return [
            {"error": one.to_dict()} if isinstance(one, Problem) else self._told(one, report) for one in done
        ]

    def _told(self, answer: Answer, report: bool) -> dict[str, Any]:
        """Return an answer with all that it does not know of the service, and signed."""
        values = answer.values
        self.metrics.verdicts.labels(values["verdict"]).inc()
        values["detector"]["url"] = self.settings.public_url
        if report and self.reports is not None:
            signed = {name: value for name, value in values.items() if name != "map"}
            values["report"] = self.reports.sign(signed, self.settings.public_url)
        return values

    async def find(self, data: bytes, caller: Caller) -> bytes | None:
        """Return the message of the watermark in an image; errors as :meth:`check`.

        None without a watermark, and where it was made for another image than it is found in.
        """
        begin = asyncio.get_running_loop().time()
        with self.places.taken():
            answer: Answer = await self._work("check", data, False, False)
        await self._pass_time(caller, begin, answer.pixels)
        return None if answer.values["mismatch"] else answer.message

    async def embed(self, data: bytes, order: Order) -> Embedded:
        """Watermark an image, for which a place is taken.

        Raises:
            Problem: 409 if the message is taken, 422 if the image cannot be watermarked, 503 if the registry
                is away.
        """
        done: Embedded = await self._work("embed", data, order)
        return done

    async def ask(self, function: Callable[[*_Arguments], _Value], *arguments: *_Arguments) -> _Value:
        """Call a method of the registry in a thread.

        Raises:
            Problem: 503 if the registry is away.
        """
        async with self._asking:
            try:
                return await asyncio.to_thread(function, *arguments)
            except RegistryError as error:
                raise _away(error) from None

    async def _work(self, name: str, *arguments: Any) -> Any:
        try:
            return await self.pool.run(name, *arguments)
        except LostError:
            raise Problem(
                422,
                "The image could not be looked at: it takes too long, too much memory, or is damaged in a way"
                " that stops its decoder.",
            ) from None
        except IdTakenError:
            raise Problem(409, "The message is taken: leave it out, and one is drawn.") from None
        except RegistryError as error:
            raise _away(error) from None
        except MissingPackageError as error:
            raise Problem(422, f"{one_line(error)} (on the server)") from None
        except AlreadyMarkedError as error:
            raise Problem(409, _sentence(error)) from None
        except FastmarkError as error:
            raise Problem(422, _sentence(error)) from None

    async def _pass_time(self, caller: Caller, begin: float, pixels: int) -> None:
        """Wait until the next of the times at which the public is answered, see :meth:`check`."""
        least = (self.settings.answer_ms + MS_PER_MEGAPIXEL * pixels / 1e6) / 1e3
        if not self.settings.answer_ms or caller.may("scores"):
            return
        loop = asyncio.get_running_loop()
        elapsed = loop.time() - begin
        await asyncio.sleep(least * math.ceil(elapsed / least) - elapsed)


def service_of(request: Request) -> Service:
    """Return the service that a request is for."""
    service: Service = request.app.state.service
    return service


def _sentence(error: FastmarkError) -> str:
    text = one_line(error)
    return f"{text[:1].upper()}{text[1:]}."


def _away(error: RegistryError) -> Problem:
    # where the registry is, is told to the operator alone
    _log.error("%s", one_line(error))
    return Problem(503, "The registry cannot be reached: try again later.", {"Retry-After": "10"})


def _unauthorised(detail: str) -> Problem:
    return Problem(401, detail, {"WWW-Authenticate": "Bearer"})
