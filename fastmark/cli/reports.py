"""``fastmark report-key`` and ``verify-report``: keys that sign answers, and what a signature tells."""

from __future__ import annotations

import argparse
import datetime as dt
import hashlib
import json
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fastmark._checks import redacted
from fastmark._imports import package
from fastmark.cli.codes import DONE, NOT_FOUND
from fastmark.errors import (
    ImageNotFoundError,
    InvalidImageError,
    ReportError,
    ServiceError,
    SourceError,
    SourceNotFoundError,
    reason_of,
)
from fastmark.records import format_time

WELL_KNOWN = "/.well-known/jwks.json"
"""Where a service lists the keys that sign its reports."""

NOTE = (
    "A signature tells that the holder of this key said so at that time, and no more: whether to believe it"
    " is for you to judge"
)
_MOST_BYTES, _SECONDS = 1 << 20, 10.0  # of keys that are fetched, and for that


def add(verbs: Any) -> None:
    """Add both verbs."""
    parser = verbs.add_parser(
        "report-key",
        help="make, change and show the keys that sign the service's reports",
        epilog="needs fastmark-watermark[serve]; a service that runs follows at once",
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, run, text in (
        ("init", init, "make the first key in a folder"),
        (
            "rotate",
            rotate,
            "make another key that signs from now on; the public part of the old one stays listed",
        ),
        ("show", show, "print the public keys as a JWK set, as the service lists them"),
    ):
        command = commands.add_parser(name, help=text, allow_abbrev=False)
        command.add_argument("folder", metavar="FOLDER", help="where the keys are; keep it secret")
        command.set_defaults(run=run)

    report = verbs.add_parser(
        "verify-report",
        help="say whether a signed report is as the service signed it",
        epilog="exit codes: 0 it holds, 1 it does not, 2 error; needs fastmark-watermark[serve]",
        allow_abbrev=False,
    )
    report.add_argument(
        "report", metavar="FILE", help="the report, or the service's answer that has one; - is stdin"
    )
    report.add_argument(
        "--keys",
        required=True,
        metavar="PLACE",
        help=f"public keys of the service: a file (JWK set), or the URL of one or of the service, which lists"
        f" them at {WELL_KNOWN}; https:// only, but for this machine's own http://127.0.0.1",
    )
    report.add_argument("--image", metavar="IMAGE", help="say too whether the report is of this file")
    report.add_argument("--json", action="store_true", help="print one JSON object")
    report.set_defaults(run=verify_report)


def init(options: argparse.Namespace) -> int:
    """``fastmark report-key init``."""
    keys = _service().ReportKeys.make(options.folder)
    print(f"{options.folder}: signs with key {keys.kid}; keep the folder secret and keep a copy of it")
    return DONE


def rotate(options: argparse.Namespace) -> int:
    """``fastmark report-key rotate``."""
    keys = _service().ReportKeys.rotate(options.folder)
    retired = len(keys.jwks()["keys"]) - 1
    print(f"{options.folder}: signs with key {keys.kid}; {retired} retired, which verify what they signed")
    return DONE


def show(options: argparse.Namespace) -> int:
    """``fastmark report-key show``."""
    print(json.dumps(_service().ReportKeys.load(options.folder).jwks(), indent=1))
    return DONE


def verify_report(options: argparse.Namespace) -> int:
    """``fastmark verify-report``."""
    reports = _service()
    text = _read_report(options.report, reports.MOST_CHARACTERS)
    sha256 = None if options.image is None else _hash_of(options.image)
    jwks = _read_keys(options.keys)
    source, answer, key, reason, image = redacted(options.report), None, {}, None, None
    try:
        answer, key = reports.open_report(text, jwks)
        if sha256 is not None:
            image = "same" if answer.get("sha256") == sha256 else "other"
            reason = None if image == "same" else "it is signed, but it is the report of another file"
    except ReportError as error:
        reason = str(error)
    row = {
        "schema": 1,
        "source": source,
        "holds": reason is None,
        "reason": reason,
        "issuer": None if answer is None else answer.pop("iss", None),
        "kid": key.get("kid"),
        "retired_at": key.get("retired_at"),
        "signed_at": None if answer is None else _time_of(answer.pop("iat")),
        "image": image,
        "note": NOTE,
        "answer": answer,
    }
    if options.json:
        print(json.dumps(row))
    else:
        for line in _told(row, options):
            print(_shown(line))
    return DONE if reason is None else NOT_FOUND


def _told(row: dict[str, Any], options: argparse.Namespace) -> list[str]:
    """Return what people read, a line for each part."""
    source, answer = row["source"], row["answer"]
    if answer is None:
        return [f"{source}: does not hold: {row['reason']}"]
    issuer = "a service that does not name itself" if row["issuer"] is None else row["issuer"]
    state = "signs still" if row["retired_at"] is None else f"was retired at {row['retired_at']}"
    lines = [
        f"{source}: {'holds' if row['holds'] else 'does not hold: ' + row['reason']}",
        f"  signed by: {issuer}, with key {row['kid']}, which {state}",
        f"  signed at: {row['signed_at']}",
        f"  it says: {answer.get('sentence', 'nothing')}",
        f"  of the file with SHA-256: {answer.get('sha256')}",
    ]
    if row["image"] is not None:
        lines.append(f"  {options.image}: {'is that file' if row['image'] == 'same' else 'is another file'}")
    if (
        row["issuer"] is not None
        and "://" in options.keys
        and _origin(row["issuer"]) != _origin(options.keys)
    ):
        lines.append(
            f"  NOTE: the keys are of {_origin(options.keys)}, and it names {row['issuer']} as its signer."
        )
    return [*lines, f"  {NOTE}."]


def _read_report(place: str, most: int) -> str:
    """Return the text of a report; of the service's answer in JSON the report that is in it."""
    if place == "-":
        data = sys.stdin.buffer.read(4 * most) if sys.stdin else b""  # None where the caller closed it
        if not data:
            raise SourceError("stdin is empty: send it the report, or name its file")
    else:
        data = _read(place, 4 * most)
    text = data.decode("utf-8", "replace").strip()
    if text.startswith("{"):  # a report never does
        try:
            text = json.loads(text)["report"]
        except (ValueError, KeyError, RecursionError):
            text = ""
        if not text or not isinstance(text, str):
            raise SourceError(f"{place}: there is no signed report in this answer: ask the service for one")
    return text


def _read_keys(place: str) -> dict[str, Any]:
    data = _fetch(place) if "://" in place else _read(place, _MOST_BYTES)
    try:
        jwks: dict[str, Any] = _service().parse_jwks(data)
        return jwks
    except ServiceError as error:
        raise ServiceError(f"the keys were not read: {error}") from None


def _fetch(place: str) -> bytes:
    """Fetch keys; over http:// of this machine alone, for anybody on the way could give his own."""
    import asyncio

    package("httpcore", "fetching keys", "serve")
    from fastmark.service.fetching import Fetcher, FetchError

    try:
        parts = urlsplit(place)
    except ValueError:
        raise ServiceError("the keys were not fetched: it is not a URL") from None
    url = place
    if not parts.path.endswith(".json"):
        url = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}{WELL_KNOWN}"
    plain = parts.scheme == "http"
    fetcher = Fetcher(
        most_bytes=_MOST_BYTES,
        seconds=_SECONDS,
        permitted=(lambda address: address.is_loopback) if plain else (lambda _: True),
        scheme="http" if plain else "https",
        ports=None,
        kinds=("application/json", "application/jwk-set+json", "application/octet-stream", "text/plain"),
    )
    try:
        return asyncio.run(fetcher.fetch(url))
    except FetchError as error:
        reason = "http:// is for this machine alone: use https://" if plain and error.status == 400 else error
        raise ServiceError(f"the keys were not fetched: {reason}") from None
    finally:
        fetcher.close()


def _read(place: str, most: int) -> bytes:
    try:
        with Path(place).open("rb") as file:
            return file.read(most)
    except FileNotFoundError:
        raise SourceNotFoundError(f"{place}: there is no such file") from None
    except (OSError, ValueError) as error:
        raise SourceError(f"{place} cannot be read: {reason_of(error)}") from None


def _hash_of(place: str) -> str:
    """Return the SHA-256 of a file, in hex."""
    try:
        with Path(place).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        raise ImageNotFoundError(f"{place}: there is no such file") from None
    except (OSError, ValueError) as error:
        raise InvalidImageError(f"{place} cannot be read: {reason_of(error)}") from None


def _time_of(seconds: int) -> str | None:
    try:
        return format_time(dt.datetime.fromtimestamp(seconds, dt.UTC))
    except (ValueError, OverflowError, OSError):
        return None


def _origin(url: str) -> str:
    """Return scheme, host and port of a URL; the text itself if it is none."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return url
    return f"{parts.scheme}://{parts.netloc}".lower()


def _shown(text: str) -> str:
    """Return a line that may hold what somebody else wrote, without what a terminal would obey."""
    return "".join(one if one.isprintable() else " " for one in text)


def _service() -> Any:
    """Return the module of reports, or say which packages it needs."""
    for name in ("jwt", "cryptography"):
        package(name, "signed reports", "serve")
    from fastmark.service import reports

    return reports
