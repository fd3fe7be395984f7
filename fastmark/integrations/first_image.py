"""The first image that an integration watermarks: how to check it, told once."""

from __future__ import annotations

import sys
import threading


class FirstImage:
    """Tells on stderr how the first image can be checked, once, whichever thread made it.

    >>> FirstImage("pipeline").tell("7ff85712dc822e43", "0123456789abcdef")  # doctest: +SKIP
    fastmark: pipeline: the first image is watermarked, message 0123456789abcdef, key 7ff85712dc822e43.
    fastmark: pipeline: save it and check it: fastmark detect IMAGE --key KEY_FILE
    """

    def __init__(self, where: str, check: str = "fastmark detect IMAGE --key KEY_FILE") -> None:
        """Prepare to tell.

        Args:
            where: the integration, named at the start of each line.
            check: the command by which the image is checked.
        """
        self._where, self._check = where, check
        self._lock, self._told = threading.Lock(), False

    def tell(self, key_id: str, message: str | None) -> None:
        """Tell of an image; all but the first are passed over.

        Args:
            key_id: public id of the key.
            message: in hex; None where an earlier watermark was kept that is not readable.
        """
        with self._lock:
            told, self._told = self._told, True
        if told:
            return
        says = "its message is not readable" if message is None else f"message {message}"
        for line in (
            f"the first image is watermarked, {says}, key {key_id}.",
            f"save it and check it: {self._check}",
        ):
            print(f"fastmark: {self._where}: {line}", file=sys.stderr, flush=True)
