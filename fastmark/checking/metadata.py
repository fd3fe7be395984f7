"""What the metadata of a file say of the image: each kind a finding, and what the verdict needs of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastmark.checking.findings import Finding
from fastmark.errors import CredentialError, MissingPackageError, one_line
from fastmark.provenance import SOFT_BINDING
from fastmark.provenance.xmp import is_generated

if TYPE_CHECKING:
    import os

    from fastmark.provenance.credentials import Credential
    from fastmark.provenance.xmp import XmpLabel

_SOURCES = {
    "trainedAlgorithmicMedia": "the image was made by a trained model",
    "compositeWithTrainedAlgorithmicMedia": "the image was altered by a trained model",
    "algorithmicallyEnhanced": "the image was enhanced by an algorithm",
    "digitalCapture": "the image was taken by a camera",
    "digitalCreation": "the image was made by a person with a computer",
    "humanEdits": "the image was edited by a person",
    "screenCapture": "the image is a capture of a screen",
}
_STATES = {
    "trusted": "Content credentials, signed by somebody on the list of trusted signers, fit this file",
    "valid": "Content credentials fit this file, but their signer is not on the list of trusted ones",
    "invalid": "Content credentials are there, but they do not hold",
    "recovered": "Content credentials were recovered through the watermark; they were not in this file",
}


@dataclass(frozen=True, slots=True)
class Metadata:
    """What the metadata of a file say.

    Attributes:
        findings: one for each kind that is there.
        label: of the XMP; None without.
        credential: the content credentials; None without, or where they cannot be read.
        tool: the generator that texts in the file name; None where none does.
    """

    findings: tuple[Finding, ...] = ()
    label: XmpLabel | None = None
    credential: Credential | None = None
    tool: str | None = None

    @property
    def says_something(self) -> bool:
        """Whether they tell how the image was made, or what it may be used for."""
        label, credential = self.label, self.credential
        return (
            self.tool is not None
            or (label is not None and _says(label))
            or (credential is not None and credential.state != "recovered")
        )

    def told(self) -> list[tuple[str, bool | None, bytes | None]]:
        """Return who says what: a name, whether a trained model made the image, and the watermark's message.

        None stands for what is not said; broken content credentials say nothing.
        """
        said: list[tuple[str, bool | None, bytes | None]] = []
        if self.label is not None:
            said.append(("XMP", self.label.generated, self.label.produce_id))
        if self.credential is not None and self.credential.intact:
            generated = is_generated(self.credential.digital_source_type)
            said.append(("content credentials", generated, message_of(self.credential)))
        return said


def read_metadata(data: bytes, trust_anchors: str | os.PathLike[str] | bytes | None = None) -> Metadata:
    """Read the metadata of an encoded image; nothing is fetched over a network.

    Args:
        data: the file.
        trust_anchors: PEM certificates of the signers' roots that are trusted, or the path of a file of them.

    Raises:
        CredentialError: if ``trust_anchors`` cannot be read.
    """
    from fastmark.provenance import plain

    if trust_anchors is not None:
        # a mistake of the caller is no finding
        from fastmark.provenance.certificates import parse_chain, read_pem

        trust_anchors = read_pem(trust_anchors, "the trust anchors")
        parse_chain(trust_anchors, "the trust anchors")
    findings, label, tool = read_plain(data)
    credential = None
    if plain.c2pa_present(data):
        credential, finding = _credential(data, trust_anchors)
        findings.append(finding)
    return Metadata(tuple(findings), label, credential, tool)


def read_plain(data: bytes) -> tuple[list[Finding], XmpLabel | None, str | None]:
    """Read what is not signed: findings, what the XMP says, and the generator that texts name."""
    from fastmark.provenance import plain, xmp

    found = plain.metadata_of(data)
    findings: list[Finding] = []
    label = None
    if found.xmp is not None:
        try:
            label = xmp.read(found.xmp)
        except CredentialError as error:
            findings.append(
                Finding("xmp", "damaged", f"There is XMP, which cannot be read: {one_line(error)}.")
            )
        else:
            if _says(label):
                findings.append(_of_label(label))
    if found.tool is not None:
        findings.append(
            Finding(
                "text",
                "names a generator",
                f"Texts in the file name a generator: {found.tool}. Anybody can write them.",
                {"tool": found.tool},
            )
        )
    return findings, label, found.tool


def message_of(credential: Credential) -> bytes | None:
    """Return the message that content credentials tell of the watermark; None if they do not."""
    for algorithm, value in credential.soft_bindings:
        if algorithm == SOFT_BINDING or "fastmark" in algorithm.lower().split("."):
            return value
    return None


def of_credential(credential: Credential) -> Finding:
    """Return what content credentials say."""
    says = [_STATES[credential.state]]
    if (source := _SOURCES.get(credential.digital_source_type or "")) is not None:
        says.append(f"they say that {source}")
    if credential.system is not None:
        says.append(f"they name {' '.join(filter(None, (credential.system, credential.system_version)))}")
    if credential.opted_out:
        says.append("they forbid training models on it")
    said = message_of(credential)
    details: dict[str, Any] = {
        "manifest_id": credential.manifest_id,
        "issuer": credential.issuer,
        "digital_source_type": credential.digital_source_type,
        "system": credential.system,
        "system_version": credential.system_version,
        "opted_out": credential.opted_out,
        "message": None if said is None else said.hex(),
        "problems": list(credential.problems),
    }
    problems = "".join(f" {problem[:1].upper()}{problem[1:].rstrip('.')}." for problem in credential.problems)
    return Finding("c2pa", credential.state, f"{'; '.join(says)}.{problems}", details)


def _credential(
    data: bytes, trust_anchors: str | os.PathLike[str] | bytes | None
) -> tuple[Credential | None, Finding]:
    from fastmark.provenance import credentials

    try:
        credential = credentials.read(data, trust_anchors=trust_anchors)
    except MissingPackageError as error:
        says = f"The file has content credentials, which were not read: {one_line(error)}."
        return None, Finding("c2pa", "not read", says)
    except CredentialError as error:
        says = f"The file has content credentials, which cannot be read: {one_line(error).rstrip('.')}."
        return None, Finding("c2pa", "damaged", says)
    if credential is None:
        return None, Finding("c2pa", "damaged", "The file has content credentials, which cannot be read.")
    return credential, of_credential(credential)


def _says(label: XmpLabel) -> bool:
    return any(
        value is not None
        for value in (label.digital_source_type, label.system, label.data_mining, label.aigc)
    )


def _of_label(label: XmpLabel) -> Finding:
    """Return what XMP says."""
    says = []
    if label.digital_source_type is not None:
        says.append(
            _SOURCES.get(label.digital_source_type, f"the digital source type is {label.digital_source_type}")
        )
    if label.system is not None:
        says.append(f"the system was {' '.join(filter(None, (label.system, label.system_version)))}")
    if label.opted_out:
        says.append("training models on it is forbidden")
    elif label.data_mining is not None:
        says.append(f"data mining: {label.data_mining}")
    if label.aigc is not None:
        says.append("China's label of generated content is there")
    details = {
        "digital_source_type": label.digital_source_type,
        "system": label.system,
        "system_version": label.system_version,
        "data_mining": label.data_mining,
        "aigc": label.aigc,
        "message": None if label.produce_id is None else label.produce_id.hex(),
    }
    return Finding("xmp", "says", f"XMP says: {'; '.join(says)}. Anybody can write it.", details)
