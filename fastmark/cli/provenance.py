"""``fastmark provenance``: certificates to try signing with, and what an image's metadata says."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from fastmark._checks import redacted
from fastmark.cli import single
from fastmark.cli.codes import DONE, NOT_FOUND

if TYPE_CHECKING:
    from fastmark.provenance.credentials import Credential

FOLDER = "fastmark-signer"
"""Where the chain for trying out goes."""

_NEEDED = (
    "Nobody trusts these certificates: they are for trying it out. To be trusted by others, use a certificate"
    " of an authority on the C2PA trust list (key usage digitalSignature, extended key usage emailProtection"
    " or documentSigning), and keep its key in a key management service or a hardware module."
)
_STATES = {
    "trusted": "as it was signed, by somebody on the list",
    "valid": "as it was signed, by somebody who is not on a list of trusted ones",
    "invalid": "not in order",
    "recovered": "found by the watermark, not in the file",
}


def add(verbs: Any) -> None:
    """Add the verb with its two commands."""
    parser = verbs.add_parser(
        "provenance",
        help="make certificates to try signing with, or show an image's metadata of origin",
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    init = commands.add_parser(
        "init",
        help="make a chain of certificates for trying out, which nobody trusts",
        epilog="needs fastmark-watermark[c2pa]",
        allow_abbrev=False,
    )
    init.add_argument(
        "folder", nargs="?", default=FOLDER, metavar="FOLDER", help="where to; default: %(default)s"
    )
    init.add_argument(
        "--name", default="fastmark test signer", metavar="TEXT", help="of the signer; default: %(default)s"
    )
    init.add_argument("--force", action="store_true", help="replace a chain that is there")
    init.add_argument("--json", action="store_true", help="print where the files are as one JSON object")
    init.set_defaults(run=make)
    shown = commands.add_parser(
        "show",
        help="show what an image's metadata say of its origin: content credentials (C2PA), XMP, texts",
        epilog="exit codes: 0 there are some, whatever state they are in, 1 none, 2 error; nothing is fetched"
        " from the network",
        allow_abbrev=False,
    )
    shown.add_argument("input", metavar="IN", help="an image file; - is stdin")
    shown.add_argument(
        "--trust",
        metavar="ROOT",
        help="PEM certificates of the authorities that are trusted; default: nobody is",
    )
    shown.add_argument("--json", action="store_true", help="print one JSON object")
    shown.set_defaults(run=show)


def make(options: argparse.Namespace) -> int:
    """``fastmark provenance init``."""
    from fastmark.provenance.chain import make_chain

    made = make_chain(options.folder, options.name, force=options.force)
    if options.json:
        row = {"chain": str(made.chain), "key": str(made.key), "root": str(made.root), "trusted": False}
        print(json.dumps(row | {"note": _NEEDED}))
        return DONE
    print(f"{made.chain}: certificates, for --sign")
    print(f"{made.key}: their private key, for --sign-key; keep it secret")
    print(
        f"{made.root}: the authority's certificate, for those who are to trust it (provenance show --trust)"
    )
    print(_NEEDED)
    return DONE


def show(options: argparse.Namespace) -> int:
    """``fastmark provenance show``."""
    from fastmark.checking.metadata import read_plain
    from fastmark.images.reading import read_encoded
    from fastmark.provenance.credentials import read

    data = read_encoded(single.read_input(options.input))
    credential = read(data, trust_anchors=options.trust)
    plain = [finding for finding in read_plain(data)[0] if finding.says]
    if options.json:
        row = {
            "source": redacted(options.input),
            "c2pa": None if credential is None else credential.to_dict(),
            "plain": [finding.to_dict() for finding in plain],
        }
        print(json.dumps(row))
    else:
        for line in (*_told(credential), *(finding.says for finding in plain)):
            print(f"{redacted(options.input)}: {redacted(line)}")
    return NOT_FOUND if credential is None and not plain else DONE


def _told(credential: Credential | None) -> list[str]:
    """Return what credentials say, a line for each part."""
    if credential is None:
        return ["no content credentials; this does not show where it comes from"]
    lines = [f"content credentials {credential.state}: {_STATES[credential.state]}"]
    lines += [f"note: {problem}" for problem in credential.problems]
    when = None if credential.when is None else f"{credential.when:%Y-%m-%d %H:%M:%S} UTC"
    system = " ".join(filter(None, (credential.system, credential.system_version)))
    signer = credential.common_name or credential.issuer
    if credential.common_name and credential.issuer:
        signer = f"{credential.common_name} ({credential.issuer})"
    values = (
        ("signed by", signer),
        ("time", when),
        ("source type", credential.digital_source_type),
        ("system", system),
        ("provider", credential.provider),
        ("training", "not allowed" if credential.opted_out else None),
        ("written with", credential.generator),
        ("manifest", credential.manifest_id),
    )
    lines += [f"{name}: {value}" for name, value in values if value]
    return lines + [f"soft binding: {name} {value.hex()}" for name, value in credential.soft_bindings]
