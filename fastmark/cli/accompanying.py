"""Options for what goes beside a watermark: record, registry, XMP, content credentials."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from fastmark.cli.registering import open_registry
from fastmark.errors import CredentialError, RecordError
from fastmark.provenance import SOFT_BINDING

if TYPE_CHECKING:
    from fastmark.codec.public import PublicCode
    from fastmark.companions import Companions
    from fastmark.records import Record

_TEXTS = {
    "provider": "who offers the system that made the image",
    "system": "the system's name",
    "system_version": "the system's version",
    "model": "the model in it",
    "owner": "whose image it is; private: only the registry keeps it",
}
"""Options that are texts of a record, and what they tell."""


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options of what goes beside a watermark."""
    group = parser.add_argument_group("record, registry and metadata")
    group.add_argument(
        "--registry",
        metavar="URL",
        help="keep an entry for every image here: a file that ends in .db, or sqlite:// or postgresql://;"
        " without a message, ids are drawn that are not taken (see 'fastmark registry init')",
    )
    group.add_argument(
        "--record",
        metavar="FILE",
        help="JSON object with what is said of the images, for the registry and the metadata;"
        " the options below go before it",
    )
    for name, meaning in _TEXTS.items():
        group.add_argument(_spelled(name), metavar="TEXT", help=meaning)
    group.add_argument(
        "--action",
        choices=("created", "altered", "labelled"),
        help="whether the system created the images or altered them, or they are only labelled; default:"
        " created, with --public what its flags say",
    )
    group.add_argument(
        "--policy",
        choices=("none", "no-training", "no-generative-training"),
        help="whether models may be trained on the images; default: none, which says nothing",
    )
    group.add_argument("--xmp", action="store_true", help="write the record as XMP; what is there is kept")
    group.add_argument(
        "--sign",
        metavar="CHAIN",
        help="sign content credentials (C2PA) with this PEM chain of certificates"
        " (see 'fastmark provenance init')",
    )
    group.add_argument(
        "--sign-key",
        metavar="FILE",
        help="PEM private key of the chain's first certificate, or env:NAME for a variable that holds it",
    )
    group.add_argument("--tsa", metavar="URL", help="time stamp authority (RFC 3161) for --sign")
    group.add_argument(
        "--soft-binding",
        metavar="NAME",
        help="name of the watermark in content credentials; default:"
        f" {SOFT_BINDING}, which is not registered",
    )


def companions_of(options: argparse.Namespace, code: PublicCode | None = None) -> Companions:
    """Return what the options say goes beside the watermark.

    ``code``: what the public watermark says; the record says the same where the options do not say more.

    Raises:
        CredentialError: if --sign and its options do not go together, or certificates are not in order.
        RecordError: if the record cannot be read, or contradicts ``code``.
        RegistryError: if the registry's URL is none.
    """
    from fastmark.companions import Companions

    record = _record_of(options, code)
    signer = None
    if options.sign is None:
        for name in ("sign_key", "tsa", "soft_binding"):
            if getattr(options, name) is not None:
                raise CredentialError(f"{_spelled(name)} goes with --sign, which names the certificates")
    elif options.sign_key is None:
        raise CredentialError("--sign needs --sign-key, the private key of the chain's first certificate")
    else:
        from fastmark.provenance.signing import Signer, check_soft_binding

        signer = Signer(options.sign, options.sign_key, tsa_url=options.tsa)
        if options.soft_binding is not None:
            check_soft_binding(options.soft_binding)
    registry = None if options.registry is None else open_registry(options.registry)
    companions = Companions(
        record=record,
        registry=registry,
        xmp=options.xmp,
        signer=signer,
        soft_binding=options.soft_binding or SOFT_BINDING,
    )
    if record is not None and not companions.tells:
        raise RecordError("a record is written nowhere: add --registry, --xmp or --sign")
    return companions


def _record_of(options: argparse.Namespace, code: PublicCode | None) -> Record | None:
    """Return the record, None where nothing is said but by the public watermark."""
    from fastmark.companions import record_beside, told_by
    from fastmark.records import Record, read_values

    values = {} if options.record is None else read_values(options.record)
    given = {name: getattr(options, name) for name in (*_TEXTS, "action", "policy")}
    values |= {name: value for name, value in given.items() if value is not None}
    if not values:
        return None
    return record_beside(Record.from_dict(values if code is None else told_by(code) | values), code)


def _spelled(name: str) -> str:
    return f"--{name.replace('_', '-')}"
