"""Who may ask how often, and how much is taken in at a time: everything is refused before any work."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import ipaddress
import secrets
import time
from collections.abc import Iterator

import limits
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from fastmark.service.problems import busy

_AGAIN_SECONDS = 1.0
"""After which a request that found no room may come again."""


class Rates:
    """Requests per time, counted per address, per token and over all.

    Addresses are kept as keyed hashes under a key that ends with the process, for as long as a window lasts.
    """

    def __init__(self) -> None:
        """Count from now on."""
        self._limiter = MovingWindowRateLimiter(MemoryStorage())
        self._key = secrets.token_bytes(32)
        self._parsed: dict[str, list[limits.RateLimitItem]] = {"none": []}

    def of_address(self, address: str | None) -> str:
        """Return the name under which an address is counted: a hash; one for a whole /64 of IPv6."""
        with contextlib.suppress(ValueError):
            parsed = ipaddress.ip_address(address or "")
            if isinstance(parsed, ipaddress.IPv6Address):
                mapped = parsed.ipv4_mapped
                address = str(mapped or ipaddress.ip_network((parsed, 64), strict=False))
        return hmac.new(self._key, (address or "").encode(), hashlib.sha256).hexdigest()

    def take(self, name: str, rate: str, cost: int = 1) -> None:
        """Count a request, or refuse it.

        Args:
            name: who asks.
            rate: as ``60/minute``, several with ; between them, or ``none``.
            cost: as how many requests it counts.

        Raises:
            Problem: 429, with the seconds after which there is room again.
        """
        if rate not in self._parsed:
            self._parsed[rate] = limits.parse_many(rate)
        items = self._parsed[rate]
        for item in items:
            if not self._limiter.test(item, name, cost=cost):
                reset = self._limiter.get_window_stats(item, name).reset_time
                raise busy(
                    f"More than {item} were asked for: try again later.", min(3600.0, reset - time.time())
                )
        for item in items:
            self._limiter.hit(item, name, cost=cost)


class Room:
    """A number of something that may be in use at a time."""

    def __init__(self, most: int, full: str) -> None:
        """Begin with all of it free; ``full`` is said where there is too little left."""
        self.most, self.used = most, 0
        self._full = full

    def check(self) -> None:
        """Refuse if nothing is free.

        Raises:
            Problem: 429.
        """
        if self.used >= self.most:
            raise busy(self._full, _AGAIN_SECONDS)

    def take(self, amount: int = 1) -> None:
        """Take some of it.

        Raises:
            Problem: 429, if there is not so much left.
        """
        if self.used + amount > self.most:
            raise busy(self._full, _AGAIN_SECONDS)
        self.used += amount

    def give(self, amount: int = 1) -> None:
        """Give some of it back."""
        self.used -= amount

    @contextlib.contextmanager
    def taken(self) -> Iterator[None]:
        """Take one, and give it back at the end."""
        self.take()
        try:
            yield
        finally:
            self.give()
