"""Metrics for Prometheus, and the log: counts, times, sizes and verdicts; no content, name or address."""

from __future__ import annotations

import json
import logging
import time
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fastmark.service.pool import place_of
from fastmark.service.problems import Problem

access = logging.getLogger("fastmark.access")
_log = logging.getLogger("fastmark.service")

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """What Prometheus is told."""

    def __init__(self) -> None:
        """Count from now on."""
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "fastmark_requests", "Requests answered", ("route", "status"), registry=self.registry
        )
        self.seconds = Histogram(
            "fastmark_request_seconds", "From the head of a request to the end of its answer", ("route",),
            buckets=_SECONDS, registry=self.registry,
        )  # fmt: skip
        self.verdicts = Counter("fastmark_verdicts", "Images checked", ("verdict",), registry=self.registry)
        self.places = Gauge("fastmark_images_in_hand", "Images waiting or worked on", registry=self.registry)
        self.memory = Gauge("fastmark_body_bytes", "Bytes of bodies in memory", registry=self.registry)

    def text(self) -> bytes:
        """Return all of it, in the text format of Prometheus."""
        return generate_latest(self.registry)


class Ending:
    """Around the whole app: sees to it that each request is answered, counted, logged, and leaves nothing.

    The log has one JSON object per request: time, route (as ``/i/{id}``, never the id), status, size of the
    body, milliseconds, and the verdict.
    """

    def __init__(self, app: ASGIApp, service: Any) -> None:
        """Wrap ``app``."""
        self.app, self.service = app, service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begin = time.perf_counter()
        state: dict[str, Any] = {"memory": 0, "verdict": None}  # request.state of the routes
        scope["state"] = state
        scope["root_path"] = self.service.settings.root_path or scope.get("root_path", "")
        status, size = 0, 0

        async def receive_counted() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            return message

        async def send_watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive_counted, send_watched)
        except Exception as error:
            # NOTE: not its text, nor a traceback with it: they may quote what somebody sent
            _log.error("%s in %s", type(error).__name__, place_of(error))
            if not status:
                told = "The service failed; this has been written to its log, without your image."
                await Problem(500, told).to_response()(scope, receive, send_watched)
        finally:
            self.service.memory.give(state["memory"])
            self._note(scope, status, size, time.perf_counter() - begin)

    def _note(self, scope: Scope, status: int, size: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "none")
        self.service.metrics.requests.labels(route, status).inc()
        self.service.metrics.seconds.labels(route).observe(seconds)
        row = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "route": route,
            "status": status,
            "bytes": size,
            "ms": round(seconds * 1e3, 1),
            "verdict": scope["state"].get("verdict"),
        }
        access.info("%s", json.dumps(row))
