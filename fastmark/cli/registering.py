"""The verb that makes registries, and shows and moves what is in them."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from fastmark.cli.codes import DONE, NOT_FOUND
from fastmark.errors import OutputError, SourceError, SourceNotFoundError, reason_of

if TYPE_CHECKING:
    from fastmark.registry.entries import Entry, PublicRecord
    from fastmark.registry.store import Registry

VARIABLE = "FASTMARK_REGISTRY"
"""The environment variable with the URL, for those who must not write a password in a command."""


def add(verbs: Any) -> None:
    """Add ``fastmark registry`` to the verbs."""
    verb = verbs.add_parser(
        "registry",
        help="make a registry of ids, show and move what is in it",
        epilog="exit codes: 0 done, 1 no such id, 2 error",
        allow_abbrev=False,
    )
    actions = verb.add_subparsers(metavar="ACTION", required=True)

    def action(name: str, run: Any, text: str) -> argparse.ArgumentParser:
        made: argparse.ArgumentParser = actions.add_parser(name, help=text, allow_abbrev=False)
        made.add_argument(
            "--registry",
            metavar="URL",
            help="sqlite:///FILE, a path that ends in .db, or postgresql://USER:PASSWORD@HOST/DATABASE;"
            f" default: the variable {VARIABLE}, else sqlite:///fastmark-registry.db",
        )
        made.add_argument(
            "--timeout", type=_seconds, default=10.0, metavar="S", help="seconds; default: %(default)g"
        )
        made.set_defaults(run=run)
        return made

    action("init", init, "make the registry, or bring it up to date; nothing in it is lost")
    one = action("show", show, "show what an id stands for, as anybody may see it")
    one.add_argument("id", metavar="ID", help="the message of a watermark in hex, as detect prints it")
    one.add_argument("--private", action="store_true", help="show everything, such as the owner")
    one.add_argument("--json", action="store_true", help="print one JSON object")
    out = action("export", export, "write the entries as JSON Lines, as anybody may see them")
    out.add_argument(
        "-o", "--output", default="-", metavar="OUT", help="a new file; - is stdout, which is the default"
    )
    out.add_argument(
        "--private", action="store_true", help="write everything, such as owners: what import needs"
    )
    out.add_argument("--force", action="store_true", help="replace what exists")
    into = action("import", import_, "add the entries of an export that was made with --private")
    into.add_argument("input", metavar="IN", help="the file; - is stdin")


def open_registry(url: str | None, timeout: float = 10.0) -> Registry:
    """Return the registry at a URL, without one that of the environment, or else the one in this folder.

    Raises:
        RegistryError: if the URL is none.
    """
    from fastmark.registry.places import DEFAULT_URL
    from fastmark.registry.store import Registry

    return Registry(url or os.environ.get(VARIABLE) or DEFAULT_URL, timeout=timeout)


def init(options: argparse.Namespace) -> int:
    """``fastmark registry init``."""
    with open_registry(options.registry, options.timeout) as registry:
        registry.init()
        print(f"{registry.name}: ready, {registry.count()} entries")
    return DONE


def show(options: argparse.Namespace) -> int:
    """``fastmark registry show``."""
    with open_registry(options.registry, options.timeout) as registry:
        found: Entry | PublicRecord | None = (registry.get if options.private else registry.public)(
            options.id
        )
        if found is None:
            print(f"fastmark: {registry.name} has no image with this id", file=sys.stderr)
            return NOT_FOUND
    values = found.to_dict()
    if options.json:
        print(json.dumps({"schema": 1} | values))
        return DONE
    values |= values.pop("record", {})
    for name, value in values.items():
        if value is not None:
            print(f"{name}: {value}")
    return DONE


def export(options: argparse.Namespace) -> int:
    """``fastmark registry export``."""
    from fastmark.registry.exchange import export_lines

    to_stdout = options.output == "-"
    if to_stdout and options.force:
        raise OutputError("--force replaces a file, and -o - writes to stdout: leave one of them out")
    target = Path(options.output)
    if not to_stdout and target.exists() and not options.force:
        raise OutputError(f"{target} exists already: add --force to replace it, or name another file")
    count = 0
    with open_registry(options.registry, options.timeout) as registry, contextlib.ExitStack() as ends:
        registry.check()
        if to_stdout:
            file: Any = sys.stdout.buffer
        else:
            file = ends.enter_context(_private_file(target))
        for line in export_lines(registry, private=options.private):
            file.write(line.encode() + b"\n")
            count += 1
        file.flush()
    if not to_stdout:
        print(f"{target}: {count} entries")
    return DONE


@contextlib.contextmanager
def _private_file(path: Path) -> Iterator[IO[bytes]]:
    """A file that appears whole or not at all, and that nobody else may read: owners are in it."""
    from fastmark.images.encoding import atomic_file

    try:
        with atomic_file(path, 0o600) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {reason_of(error)}") from None


def import_(options: argparse.Namespace) -> int:
    """``fastmark registry import``."""
    from fastmark.registry.exchange import import_lines

    with open_registry(options.registry, options.timeout) as registry, contextlib.ExitStack() as ends:
        if options.input == "-":
            lines: Any = sys.stdin.buffer if sys.stdin else []
        else:
            try:
                lines = ends.enter_context(Path(options.input).open("rb"))
            except FileNotFoundError:
                raise SourceNotFoundError(f"{options.input}: there is no such file") from None
            except OSError as error:
                raise SourceError(f"{options.input} cannot be read: {reason_of(error)}") from None
        seen, new = import_lines(registry, lines)
        print(f"{registry.name}: {seen} entries read, {new} of them new")
    return DONE


def _seconds(text: str) -> float:
    with contextlib.suppress(ValueError):
        if 0 < (value := float(text)) <= 86400:
            return value
    raise argparse.ArgumentTypeError(f"must be a number of seconds above 0, not {text!r}")
