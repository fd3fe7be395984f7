"""``fastmark token``: make, list and revoke the tokens of those who may ask the service for more."""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import TYPE_CHECKING, Any

from fastmark._imports import package
from fastmark.cli.codes import DONE

if TYPE_CHECKING:
    from fastmark.service.tokens import Tokens

VARIABLE, FILE = "FASTMARK_TOKENS", "fastmark-tokens.json"
"""The environment variable with the file's path, as the service reads it too; and the path without it."""


def add(verbs: Any) -> None:
    """Add the verb with its three commands."""
    parser = verbs.add_parser(
        "token",
        help="make, list and revoke tokens of the service",
        epilog="needs fastmark-watermark[serve]; a service that runs follows at once",
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def command(name: str, run: Any, text: str) -> argparse.ArgumentParser:
        made: argparse.ArgumentParser = commands.add_parser(name, help=text, allow_abbrev=False)
        made.add_argument(
            "--tokens", metavar="FILE", help=f"default: the variable {VARIABLE}, else {FILE} in this folder"
        )
        made.set_defaults(run=run)
        return made

    new = command("add", make, "make a token and print its secret, which is kept nowhere")
    new.add_argument("name", metavar="NAME", help="of whom it is for; it may stand in logs")
    new.add_argument(
        "--rights",
        required=True,
        metavar="LIST",
        help="with commas between: detect (check images), scores (see the numbers behind the answers),"
        " embed (watermark images), private (see private fields), metrics (read the service's metrics)",
    )
    new.add_argument(
        "--rate",
        metavar="RATE",
        help="how often its holder may ask, as 600/minute; none for no limit, as for authorities;"
        " default: what the service is set to",
    )
    listed = command("list", show, "list the tokens, without their secrets")
    listed.add_argument("--json", action="store_true", help="print one JSON object per line for each token")
    gone = command("revoke", revoke, "take a token back")
    gone.add_argument("name", metavar="NAME", help="as it was given to add")


def make(options: argparse.Namespace) -> int:
    """``fastmark token add``."""
    rights = [right.strip() for right in options.rights.split(",")]
    secret = _tokens(options).add(options.name, rights, options.rate)
    print(secret)
    sys.stdout.flush()  # before the sentence
    print(
        f"the token of {options.name}, to be sent as 'Authorization: Bearer ...'; it is kept nowhere and"
        " cannot be shown again",
        file=sys.stderr,
    )
    return DONE


def show(options: argparse.Namespace) -> int:
    """``fastmark token list``."""
    for token in _tokens(options).list():
        row = token.to_dict()
        if options.json:
            print(json.dumps({"schema": 1} | row))
            continue
        rate = {None: "the service's rate", "none": "no limit"}.get(token.rate, token.rate)
        print(f"{token.name}: {', '.join(row['rights'])}; {rate}; made {row['created_at']}")
    return DONE


def revoke(options: argparse.Namespace) -> int:
    """``fastmark token revoke``."""
    _tokens(options).revoke(options.name)
    print(f"{options.name}: revoked")
    return DONE


def _tokens(options: argparse.Namespace) -> Tokens:
    package("limits", "making and listing tokens", "serve")
    from fastmark.service.tokens import Tokens

    return Tokens(options.tokens or os.environ.get(VARIABLE) or FILE)
