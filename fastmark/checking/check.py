"""``check``: watermark, registry and metadata of an image, and the one verdict that follows."""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fastmark._checks import check_count
from fastmark._version import VERSION
from fastmark.checking.changes import Change, changes_of_shape
from fastmark.checking.comparing import Comparison, compare
from fastmark.checking.findings import Finding
from fastmark.checking.metadata import Metadata, message_of, of_credential, read_metadata
from fastmark.checking.sentences import Words, sentence
from fastmark.checking.signposts import read_signpost
from fastmark.checking.verdicts import LIMITS, Facts, Verdict, decide
from fastmark.codec.plane import pixels_per_unit
from fastmark.detector import Detector, Sought
from fastmark.images.opening import DetectorInput, ImageInput, open_for_detection, open_transparent
from fastmark.images.reading import read_encoded
from fastmark.records import format_time

if TYPE_CHECKING:
    import os

    from fastmark.locations import Location
    from fastmark.registry.entries import Entry, PublicRecord
    from fastmark.registry.store import Registry
    from fastmark.results import Detection

SCHEMA = 1
_ANSWERS = {"detected": "detected", "possible": "inconclusive", "absent": "not_detected"}
_BANDS: dict[str, Band] = {"detected": "strong", "possible": "possible", "absent": "none"}

Band = Literal["strong", "possible", "none"]
"""Of the bound on the false-positive rate: at most 1e-9, at most 1e-4, or more."""


@dataclass(frozen=True, slots=True)
class Check:
    """What is known of an image; true in an ``if`` where a watermark was detected.

    Attributes:
        verdict: what follows from everything.
        sentence: the verdict in plain words.
        findings: what each technique found, the watermark first.
        agree: whether watermark, registry and metadata agree; None where fewer than two say something.
        band: how sure the watermark is, without a score.
        detection: of the most certain key; None where no key was looked for.
        location: where the watermark lies, if that was asked for.
        entry: what anybody may see of the registry's entry; None without.
        key_name: name or id of the watermark's key; None where none was detected.
        sha256: of the file, in hex; None for arrays and Pillow images, which have none.
        time: when it was checked, UTC.
        width, height: of the whole upright image, pixels.
        remarks: what of the file was not as usual: damaged, or more than one image.
        changes: what was done to the image since it was watermarked, as far as that can be told.
    """

    verdict: Verdict
    sentence: str
    findings: tuple[Finding, ...]
    agree: bool | None
    band: Band
    detection: Detection | None = None
    location: Location | None = None
    entry: PublicRecord | None = None
    key_name: str | None = None
    sha256: str | None = None
    time: dt.datetime = field(default_factory=lambda: dt.datetime.now(dt.UTC))
    width: int = 0
    height: int = 0
    remarks: tuple[str, ...] = ()
    changes: tuple[Change, ...] = ()

    def __bool__(self) -> bool:
        """Whether a watermark was detected."""
        return self.band == "strong"

    @property
    def limits(self) -> str:
        """What a verdict does not mean."""
        return LIMITS

    def to_dict(self, *, scores: bool = False) -> dict[str, Any]:
        """Return the answer as JSON values.

        Args:
            scores: whether the numbers behind the bands are in it. They tell those who try to remove the
                watermark how far they have come: keep them from the public.
        """
        found = self.detection
        seen = found is not None and found.state == "detected"
        answer: dict[str, Any] = {
            "schema": SCHEMA,
            "verdict": self.verdict,
            "sentence": self.sentence,
            "watermark": _ANSWERS["absent" if found is None else found.state],
            "confidence": self.band,
            "key_id": found.key_id if found is not None and seen else None,
            "key_name": self.key_name,
            "id": found.message_hex if found is not None and seen else None,
            "registry": None if self.entry is None else self.entry.to_dict(),
            "mismatch": self.verdict == "genuine, not made for this image",
            "agree": self.agree,
            "where": None if self.location is None else self.location.box,
            "changes": [change.to_dict() for change in self.changes],
            "transform": _transform(found) if found is not None and seen else None,
            "findings": [finding.to_dict() for finding in self.findings],
            "width": self.width,
            "height": self.height,
            "remarks": list(self.remarks),
            "detector": {"name": "fastmark", "version": VERSION},
            "time": format_time(self.time),
            "sha256": self.sha256,
            "limits": LIMITS,
        }
        if scores:
            answer["detection"] = None if found is None else found.to_dict()
        return answer


def check(
    image: ImageInput,
    keys: Sought | Iterable[Sought] | Detector = (),
    registry: Registry | None = None,
    *,
    message_bits: int = 64,
    trust_anchors: str | os.PathLike[str] | bytes | None = None,
    locate: bool = False,
    public: bool = True,
    deep: bool = False,
    threads: int = 1,
    max_pixels: int | None = None,
) -> Check:
    """Look for a watermark, ask the registry for its id, read the metadata, and say what follows.

    States of the findings: ``watermark``: detected, possible, absent; ``binding``: match, mismatch, unknown;
    ``public watermark``: says, not readable;
    ``registry``: same file, same image, other image, known, reserved, unknown; ``xmp``: says, damaged;
    ``text``: names a generator; ``c2pa``: trusted, valid, invalid, recovered, damaged, not read. Techniques
    that found nothing have no finding, but for the watermark where keys were looked for.

    Args:
        image: as for :meth:`Watermarker.detect`. Arrays and Pillow images have no metadata and no file.
        keys: as for :class:`Detector`, or one; none to read metadata alone.
        registry: that is asked for the watermark's id, and for the file.
        message_bits: as for :class:`Detector`.
        trust_anchors: PEM certificates, or the path of a file of them: roots of trusted signers of content
            credentials.
        locate: whether the part that carries the watermark is located too.
        public: whether the public watermark, which needs no key, is looked for too. What it says is no proof:
            anybody can embed it. It counts as metadata do.
        deep, threads, max_pixels: as for :meth:`Watermarker.detect`.

    Raises:
        InvalidImageError, UnsupportedImageError, ImageNotFoundError: if it cannot be read.
        RegistryError: if the registry cannot be reached, or is of another version.
        CredentialError: if ``trust_anchors`` cannot be read.
        ValueError: if a number is out of range.
    """
    threads = check_count("threads", threads, 1)
    detector = keys if isinstance(keys, Detector) else _detector_of(keys, message_bits)
    data = None if isinstance(image, np.ndarray | Image.Image) else read_encoded(image, max_pixels)
    luma = open_for_detection(
        image if data is None else data, unit=pixels_per_unit, max_pixels=max_pixels, native=deep
    )
    location, found = None, None
    if detector is not None and locate:
        location = detector.locate_opened(luma, deep=deep, threads=threads)
        found = location.detection
    elif detector is not None:
        found = detector.detect_opened(luma, deep=deep, threads=threads)[0]
    signpost = read_signpost(luma, deep=deep, threads=threads) if public else ()
    metadata = Metadata() if data is None else read_metadata(data, trust_anchors)
    sha256 = None if data is None else hashlib.sha256(data).hexdigest()
    comparison = _ask(
        registry, found, luma, lambda: _as_seen(image if data is None else data, luma, max_pixels), sha256
    )
    elsewhere = comparison.likeness == "other" or (found is not None and found.binding == "mismatch")
    # credentials that are another image's are not this one's
    if comparison.manifest is not None and data is not None and metadata.credential is None and not elsewhere:
        metadata = _with_recovered(metadata, data, comparison.manifest, trust_anchors)
    names = {} if detector is None else {key.key_id: key.name or key.key_id for key in detector.keys}
    promised = None if found is None or found.detected else _promised(registry, metadata, names)
    judged = _judge(found, location, signpost, metadata, comparison, promised, names, sha256)
    return dataclasses.replace(
        judged, width=luma.width, height=luma.height, remarks=luma.remarks, changes=comparison.changes
    )


def _detector_of(keys: Sought | Iterable[Sought], message_bits: int) -> Detector | None:
    if isinstance(keys, Iterable):
        keys = list(keys)
        if not keys:
            return None
    return Detector(keys, message_bits)


def _as_seen(image: ImageInput, luma: DetectorInput, max_pixels: int | None) -> Image.Image | NDArray[Any]:
    """Return the image as people see it; what the detector sees is the same where nothing is transparent."""
    transparent = open_transparent(image, max_pixels=max_pixels)
    # luma is on 0..255, floats too
    return np.rint(luma.pixels).clip(0, 255).astype(np.uint8) if transparent is None else transparent


def _ask(
    registry: Registry | None,
    found: Detection | None,
    luma: DetectorInput,
    seen: Callable[[], Image.Image | NDArray[Any]],
    sha256: str | None,
) -> Comparison:
    """Ask the registry for the watermark's id, and for the file."""
    if registry is None:
        return Comparison(changes=changes_of_shape(found))
    message = found.message_bytes if found is not None and found.detected else None
    entry: Entry | None = None if message is None else registry.get(message)
    files = [] if sha256 is None else registry.find(sha256)
    manifest = None
    if entry is not None and entry.manifest_id is not None:
        manifest = registry.manifest(entry.manifest_id)
    return compare(found, entry, files, luma, seen, sha256, manifest)


def _promised(registry: Registry | None, metadata: Metadata, names: dict[str, str]) -> str | None:
    """Return in words that content credentials tell of a watermark that was looked for in vain, if so."""
    credential = metadata.credential
    if registry is None or credential is None or not credential.intact:
        return None
    told = message_of(credential)
    entry = None if told is None else registry.get(told)
    if told is None or entry is None or entry.key_id not in names:
        return None
    return f"content credentials that fit the file tell of the watermark {told.hex()}, which was not found"


def _with_recovered(
    metadata: Metadata,
    data: bytes,
    manifest: bytes,
    trust_anchors: str | os.PathLike[str] | bytes | None,
) -> Metadata:
    """Add the content credentials that the watermark led to."""
    from fastmark.errors import CredentialError, MissingPackageError
    from fastmark.provenance import credentials

    try:
        credential = credentials.recover(data, manifest, trust_anchors=trust_anchors)
    except (CredentialError, MissingPackageError):
        # the registry's finding tells of the manifest; that it cannot be shown here changes no verdict
        return metadata
    findings = (*metadata.findings, of_credential(credential))
    return dataclasses.replace(metadata, findings=findings, credential=credential)


def _judge(
    found: Detection | None,
    location: Location | None,
    signpost: tuple[Finding, ...],
    metadata: Metadata,
    comparison: Comparison,
    promised: str | None,
    names: dict[str, str],
    sha256: str | None,
) -> Check:
    state = "absent" if found is None else found.state
    seen = found if found is not None and found.detected else None
    message = None if seen is None else seen.message_bytes
    contradictions = comparison.contradictions(metadata.told(), message)
    credential = metadata.credential
    told = None if credential is None else message_of(credential)
    fits: Literal["intact", "broken"] | None = None
    if credential is not None and told is not None and told == message:
        if credential.intact and credential.state == "trusted":
            fits = "intact"
        elif not credential.intact:
            fits = "broken"
    facts = Facts(
        state=state,
        forged=seen is not None and seen.made_with == "detector key",
        binding="unknown" if seen is None else seen.binding,
        altered_shape=bool(comparison.changes),
        registered=comparison.entry is not None and comparison.entry.state != "reserved",
        same_file=comparison.same_file,
        likeness=comparison.likeness,
        said_otherwise=contradictions,
        credential=fits,
        metadata=bool(signpost) or metadata.says_something or comparison.known_file,
        promised=promised is not None,
    )
    verdict = decide(facts)
    entry = None if comparison.entry is None or not facts.registered else comparison.entry.public
    key_name = None if seen is None else names[seen.key_id]
    findings = (
        *_of_watermark(found, key_name, names),
        *signpost,
        *comparison.findings,
        *metadata.findings,
    )
    words = Words(
        key=key_name,
        provider=None if entry is None else entry.provider,
        registered=facts.registered,
        same_file=comparison.same_file is True,
        changes=tuple(change.says for change in comparison.changes),
        contradictions=contradictions if promised is None else (*contradictions, promised),
        metadata=tuple(
            finding.says for finding in (*signpost, *comparison.findings, *metadata.findings) if finding.says
        ),
        keys=len(names),
    )
    return Check(
        verdict,
        sentence(verdict, words),
        findings,
        agree(seen, comparison, metadata, words.contradictions),
        _BANDS[state],
        found,
        location,
        entry,
        key_name,
        sha256,
    )


def agree(
    found: Detection | None,
    comparison: Comparison,
    metadata: Metadata,
    contradictions: tuple[str, ...],
) -> bool | None:
    """Return whether those that say something agree; None where fewer than two do."""
    if contradictions:
        return False
    seen = found is not None and found.detected
    speakers = seen + len(metadata.told()) + (comparison.entry is not None)
    return True if speakers > 1 else None


def _of_watermark(found: Detection | None, key_name: str | None, names: dict[str, str]) -> list[Finding]:
    if found is None:
        return []
    if found.state == "absent":
        keys = "the key" if len(names) == 1 else f"the {len(names)} keys"
        return [Finding("watermark", "absent", f"No watermark of {keys} looked for was found.")]
    if found.state == "possible":
        return [
            Finding("watermark", "possible", "There are traces that may be a watermark, too weak to say.")
        ]
    if found.message_hex is None:
        says = f"The watermark of {key_name} is there; its message cannot be read."
    elif found.made_with == "detector key":
        says = f"A detector key of {key_name} made the watermark, with the message {found.message_hex}."
    else:
        says = f"The watermark of {key_name} is there, with the message {found.message_hex}."
    details = {"key_id": found.key_id, "message": found.message_hex, "made_with": found.made_with}
    findings = [Finding("watermark", "detected", says, details | _transform(found))]
    if found.message_hex is not None:
        says = {
            "match": "The watermark was made for what this image shows.",
            "mismatch": "The watermark was made for another image.",
            "unknown": "Whether the watermark was made for what this image shows cannot be told.",
        }[found.binding]
        findings.append(Finding("binding", found.binding, says))
    return findings


def _transform(found: Detection) -> dict[str, Any]:
    return {
        "scale": None if found.scale is None else round(found.scale, 3),
        "rotation_deg": None if found.rotation_deg is None else round(found.rotation_deg, 1) + 0.0,
        "mirrored": found.mirrored,
        "inverted": found.inverted,
    }
