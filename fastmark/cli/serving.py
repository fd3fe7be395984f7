"""``fastmark serve``: let others check images over HTTP."""

from __future__ import annotations

import argparse
from typing import Any

from fastmark._checks import MESSAGE_BITS
from fastmark._imports import package
from fastmark.cli.codes import DONE

OPTIONS: dict[str, dict[str, tuple[str, str]]] = {
    "where it listens": {
        "host": ("ADDRESS", "address to listen on; default: 127.0.0.1, this machine alone"),
        "port": ("N", "port; 0 takes a free one; default: 8000"),
        "public_url": ("URL", "where people reach the service; it stands in answers and signed reports"),
        "root_path": ("PATH", "path below which a proxy serves it, as /check; default: none"),
        "trusted_proxies": (
            "ADDRESSES",
            "proxies, with commas between them, whose X-Forwarded-For tells the caller's address; default:"
            " none",
        ),
    },
    "what it knows": {
        "key": ("FILE", "key to look for, or env:NAME; a detector key will do; may be repeated; in the"
                " variable with commas between them"),
        "message_bits": ("BITS", f"length of the messages: {', '.join(map(str, MESSAGE_BITS))}; default: 64"),
        "public_watermark": ("BOOL", "whether the public watermark is looked for too; default: true"),
        "registry": ("URL", "registry that is asked, and where ids of embedded images are kept"),
        "trust": ("ROOT", "PEM certificates of authorities whose content credentials are trusted"),
        "tokens": ("FILE", "tokens of those who may do more than the public, see 'fastmark token'"),
        "report_keys": ("FOLDER", "keys that sign reports, see 'fastmark report-key'"),
        "feedback": ("ADDRESS", "mail address or URL for feedback, shown on the page"),
        "contact": ("ADDRESS", "mail address or URL for authorities and researchers, shown on the page"),
    },
    "who may do how much": {
        "public": ("BOOL", "whether anybody may check images without a token; default: true"),
        "urls": ("BOOL", "whether images are fetched by URL, from public addresses alone; default: false"),
        "rate_public": ("RATE", "requests per address without a token, or none; default: 60/minute"),
        "rate_token": ("RATE", "requests per token that has no rate of its own; default: 600/minute"),
        "rate_global": ("RATE", "requests of all together, but for tokens whose rate is none; default: none"),
    },
    "how much it takes in": {
        "workers": ("N", "processes that look at images; default: one per core"),
        "queue": ("N", "images that may wait; more get 429; default: 32"),
        "max_bytes": ("N", "most bytes of a request; default: 33554432"),
        "max_pixels": ("N", "most pixels of an image; default: 50000000"),
        "max_memory": ("N", "most bytes of all requests together; default: 268435456"),
        "max_batch": ("N", "most images in a batch; default: 32"),
        "max_connections": ("N", "most connections at a time; default: 1000"),
        "body_seconds": ("S", "within which a request must arrive, or a URL be fetched; default: 10"),
        "work_seconds": ("S", "after which the work on an image is ended; default: 30"),
        "answer_ms": (
            "MS",
            "those without the right to scores are answered at multiples of this and 60 ms per megapixel, so"
            " that times do not tell how near an image is to a watermark; 0 turns that off; default: 500",
        ),
        "shutdown_seconds": ("S", "how long requests in hand may take when it ends; default: 60"),
    },
    "what it embeds": {
        "embed_key": ("FILE", "key that embeds, for tokens with the right 'embed', or env:NAME"),
        "record": ("FILE", "JSON object with what is said of the images"),
        "xmp": ("BOOL", "whether the record is written as XMP; default: false"),
        "sign": ("CHAIN", "PEM chain of certificates that signs content credentials (C2PA)"),
        "sign_key": ("FILE", "PEM private key of its first certificate, or env:NAME"),
        "tsa": ("URL", "time stamp authority (RFC 3161) for --sign"),
        "soft_binding": ("NAME", "name of the watermark in content credentials; default: fastmark.v1"),
    },
}  # fmt: skip
"""The options by their groups: each is a field of ``service.settings.Settings``."""


def add(verbs: Any) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "serve",
        help="let others check images over HTTP: a page, an API, a registry of ids",
        epilog="each option can be set by a variable too: --max-pixels by FASTMARK_MAX_PIXELS; exit codes: 0"
        " it was ended by SIGTERM or Ctrl-C and has answered what it had accepted, 2 it could not start",
        allow_abbrev=False,
    )
    for title, options in OPTIONS.items():
        group = parser.add_argument_group(title)
        for name, (metavar, text) in options.items():
            group.add_argument(
                f"--{name.replace('_', '-')}",
                action="append" if name == "key" else "store",
                metavar=metavar,
                help=text,
            )
    parser.set_defaults(run=serve, quiet=True)


def serve(options: argparse.Namespace) -> int:
    """``fastmark serve``."""
    for name in ("fastapi", "uvicorn", "pydantic_settings", "prometheus_client", "limits", "jwt", "jinja2"):
        package(name, "the service", "serve")
    from fastmark.service.server import serve as run
    from fastmark.service.settings import Settings

    names = [name for group in OPTIONS.values() for name in group]
    run(Settings.read(**{name: getattr(options, name) for name in names}))
    return DONE
