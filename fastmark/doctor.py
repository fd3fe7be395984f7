"""The facts that a bug report needs, a test of the installation, and what is reachable of a service."""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llvmlite.binding  # type: ignore[import-untyped]  # ships no type information

from fastmark import Key, Watermarker, fft
from fastmark._checks import redacted
from fastmark._version import VERSION
from fastmark.errors import FastmarkError, ServiceError, one_line, reason_of
from fastmark.warming import drawn_image

_PACKAGES = ("numpy", "numba", "llvmlite", "pillow", "pyfftw")
_OPTIONAL = (
    *("pillow-heif", "pillow-jxl-plugin", "pyarrow", "fsspec", "tqdm", "ray"),
    *("sqlalchemy", "alembic", "imagehash", "psycopg", "c2pa-python", "cryptography"),
    *("fastapi", "starlette", "uvicorn", "httptools", "python-multipart", "pydantic-settings"),
    *("prometheus-client", "limits", "pyjwt", "jinja2", "httpcore"),
)
_MESSAGE = 0x0123456789ABCDEF


REACH_SECONDS = 10.0
"""That each thing which the environment names may take to be reached."""

_MOST_BYTES = 1 << 20  # of an answer


def examine(url: str | None = None) -> bool:
    """Print the facts to stdout, one per line.

    Args:
        url: of a service; None for that in the variable FASTMARK_PUBLIC_URL, if there is one.

    Returns:
        False if the self-test failed, or something that the environment names could not be reached.
    """
    _row("fastmark", VERSION)
    _row("python", f"{platform.python_version()} ({platform.platform()})")
    for package in (*_PACKAGES, *_OPTIONAL):
        try:
            _row(package, importlib.metadata.version(package))
        except importlib.metadata.PackageNotFoundError:
            _row(package, "not installed")
    _row("cpu", f"{llvmlite.binding.get_host_cpu_name()}, {os.cpu_count()} cores")
    _row("fft", _fft_library())
    # the first test also compiles the kernels, or loads them from their cache; the second shows the speed
    healthy = _self_test("first") and _self_test("warm")
    _row("kernel cache", _kernel_cache())
    for name, look in _configured(url):
        reached, told = _within(REACH_SECONDS, look)
        _row(name, told if reached else f"NOT REACHED: {told}")
        healthy = healthy and reached
    return healthy


def _row(name: str, value: str) -> None:
    print(f"{name:<17} {value}", flush=True)


def _fft_library() -> str:
    if fft.backend() == "numpy":
        return "numpy.fft (BSD-3-Clause)"
    import pyfftw

    return f"{pyfftw.fftw_version} (GPL-2.0-or-later; FASTMARK_FFT=numpy does without)"


def _self_test(turn: str) -> bool:
    """Embed a message in a drawn image and read it back, timed; true if it came back."""
    image = drawn_image(512, 512)
    marker = Watermarker(Key.generate(), message_bits=64)
    start = time.perf_counter()
    marked = marker.embed(image, _MESSAGE)
    middle = time.perf_counter()
    found = marker.detect(marked)
    embed_ms, detect_ms = (middle - start) * 1e3, (time.perf_counter() - middle) * 1e3
    healthy = found.state == "detected" and found.message == _MESSAGE
    verdict = "ok" if healthy else "FAILED: the message was not read back"
    _row(f"test ({turn})", f"{verdict}; embed {embed_ms:.0f} ms, detect {detect_ms:.0f} ms at 512 x 512")
    return healthy


def _kernel_cache() -> str:
    """Return the folder of the compiled kernels, which numba tells of those that the self-test has loaded."""
    for name, module in sorted(sys.modules.items()):
        if name.startswith("fastmark.kernels."):
            for value in vars(module).values():
                if path := getattr(getattr(value, "stats", None), "cache_path", None):
                    writable = os.access(path, os.W_OK)
                    return f"{path} ({'' if writable else 'NOT '}writable)"
    return "none: kernels compile at each start (FASTMARK_CACHE=0, or no folder can be written)"


# ---- what the environment names --------------------------------------------------------------------------


def _configured(url: str | None) -> list[tuple[str, Callable[[], str]]]:
    """Return what is named, each with what looks at it: it returns a line without secrets, or raises."""
    looks: list[tuple[str, Callable[[], str]]] = []

    def add(name: str, variable: str, look: Callable[[str], str]) -> None:
        if place := os.environ.get(f"FASTMARK_{variable}"):
            looks.append((name, lambda: look(place)))

    for place in filter(None, os.environ.get("FASTMARK_KEY", "").split(",")):
        looks.append(("key", lambda place=place: _of_key(place)))  # type: ignore[misc]  # mypy cannot infer it
    if any(name.startswith("FASTMARK_") for name in os.environ) and importlib.util.find_spec(
        "pydantic_settings"
    ):
        looks.append(("settings", _of_settings))
    add("embedding key", "EMBED_KEY", _of_secret_key)
    add("registry", "REGISTRY", _of_registry)
    add("tokens", "TOKENS", _of_tokens)
    add("report keys", "REPORT_KEYS", _of_report_keys)
    add("trust anchors", "TRUST", _of_trust)
    add("signer", "SIGN", _of_signer)
    add("time stamps", "TSA", _of_time_stamps)
    if asked := url or os.environ.get("FASTMARK_PUBLIC_URL"):
        looks.append(("service", lambda: _of_service(asked.rstrip("/"))))
    return looks


def _within(seconds: float, look: Callable[[], str]) -> tuple[bool, str]:
    """Return whether something was reached in time, and what is said of it."""
    answers: list[tuple[bool, str]] = []

    def run() -> None:
        try:
            answers.append((True, look()))
        except FastmarkError as error:
            answers.append((False, redacted(one_line(error))))
        except OSError as error:
            answers.append((False, redacted(reason_of(error))))
        except Exception as error:  # whose text may quote a secret
            answers.append((False, f"{type(error).__name__}, which was not expected"))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    return answers[0] if answers else (False, f"no answer within {seconds:g} seconds")


def _of_settings() -> str:
    from fastmark.service.settings import Settings

    settings = Settings.read()
    given = len(settings.model_fields_set)
    return f"{given} of 'fastmark serve' {'is' if given == 1 else 'are'} set by variables"


def _of_key(place: str) -> str:
    from fastmark.codec.key_places import load_key

    key = load_key(place)
    kind = "" if isinstance(key, Key) else ", a detector key"
    return f"{place}: {key.key_id}{f' ({key.name})' if key.name else ''}{kind}"


def _of_secret_key(place: str) -> str:
    from fastmark.codec.key_places import load_secret_key

    key = load_secret_key(place)
    return f"{place}: {key.key_id}{f' ({key.name})' if key.name else ''}"


def _of_registry(url: str) -> str:
    from fastmark.registry.store import Registry
    from fastmark.registry.tables import REVISIONS

    with contextlib.closing(Registry(url, timeout=REACH_SECONDS / 2)) as registry:
        registry.check()  # raises where the tables are of another version
        return f"{registry.name}: tables of version {REVISIONS[-1]}, {registry.count()} entries"


def _of_tokens(path: str) -> str:
    from fastmark.service.tokens import Tokens

    Path(path).stat()  # a service would wait for a file that is made later
    count = len(Tokens(path).list())
    return f"{path}: {count} {'token' if count == 1 else 'tokens'}"


def _of_report_keys(folder: str) -> str:
    from fastmark.service.reports import ReportKeys

    keys = ReportKeys.load(folder)
    return f"{folder}: signs with key {keys.kid}, {len(keys.jwks()['keys']) - 1} retired"


def _of_trust(path: str) -> str:
    from fastmark.provenance.certificates import parse_chain, read_pem

    anchors = parse_chain(read_pem(path, "the trust anchors"), "the trust anchors")
    first = min(anchor.not_valid_after_utc for anchor in anchors)
    return f"{path}: {len(anchors)} certificates, the first expires {first:%Y-%m-%d}"


def _of_signer(path: str) -> str:
    from fastmark.provenance.signing import Signer

    place = os.environ.get("FASTMARK_SIGN_KEY")
    if not place:
        raise ServiceError("FASTMARK_SIGN goes with FASTMARK_SIGN_KEY: name the private key as well")
    signer = Signer(path, place)  # raises where it has expired
    return f"{path}: {signer.name}, {signer.algorithm}, expires {signer.expires:%Y-%m-%d}"


def _of_time_stamps(url: str) -> str:
    import urllib.error

    try:
        _get(url)
    except urllib.error.HTTPError as error:  # it wants a question, not GET
        return f"{url}: answers ({error.code})"
    return f"{url}: answers"


def _of_service(url: str) -> str:
    import urllib.error

    told = _values(_get(f"{url}/healthz"))
    if told.get("status") != "ok" or not isinstance(told.get("version"), str):
        raise ServiceError(f"{url} answers, but not as a service of fastmark does")
    version = "".join(one for one in told["version"] if one.isprintable())[:40]
    keys = _values(_get(f"{url}/.well-known/jwks.json")).get("keys", [])
    try:
        _get(f"{url}/readyz")
    except urllib.error.HTTPError as error:
        raise ServiceError(f"{url}, fastmark {version}, is not ready ({error.code}): see its log") from None
    return f"{url}, fastmark {version}, ready, {len(keys)} keys of reports"


def _get(url: str) -> bytes:
    """Return what is at a URL; it is asked for directly, past proxies of the environment."""
    import urllib.request

    if not url.startswith(("http://", "https://")):
        raise ServiceError(f"{url} must begin with https:// or http://")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=REACH_SECONDS / 2) as answer:
            data: bytes = answer.read(_MOST_BYTES)
    except urllib.error.HTTPError:
        raise
    except urllib.error.URLError as error:
        reason = error.reason if isinstance(error.reason, str) else reason_of(error.reason)
        raise ServiceError(f"{url}: {reason}") from None
    return data


def _values(data: bytes) -> dict[str, Any]:
    """Return the object in a JSON text; an empty one if there is none."""
    with contextlib.suppress(ValueError, RecursionError):
        values = json.loads(data)
        if isinstance(values, dict):
            return values
    return {}
