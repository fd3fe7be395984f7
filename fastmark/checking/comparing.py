"""An image and what was registered of it: the same file, the same image changed, or another one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastmark.checking.changes import DEGREES, Change, changes_of_shape
from fastmark.checking.findings import Finding
from fastmark.checking.verdicts import Likeness
from fastmark.provenance.xmp import is_generated

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

    from fastmark.images.opening import DetectorInput
    from fastmark.registry.entries import Entry
    from fastmark.results import Detection

# Share of a side by which an image may be smaller than all of the registered one for hashes to be compared.
_SIDE = 0.03


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a registry says of an image.

    Attributes:
        entry: of the watermark's id; None where there is none, or no registry was asked.
        findings: what the registry found.
        same_file: whether the file is the one that was delivered; None if that is not known.
        likeness: of the image to the registered one; None without an entry that knows.
        changes: what was done to it since; its shape tells that without a registry too.
        known_file: whether the file was delivered with any id.
        manifest: store of the content credentials that were delivered with the image; None without.
    """

    entry: Entry | None = None
    findings: tuple[Finding, ...] = ()
    same_file: bool | None = None
    likeness: Likeness | None = None
    changes: tuple[Change, ...] = ()
    known_file: bool = False
    manifest: bytes | None = None

    def contradictions(
        self, told: Sequence[tuple[str, bool | None, bytes | None]], message: bytes | None
    ) -> tuple[str, ...]:
        """Return what metadata say that cannot be true of this watermark, or of one another.

        Args:
            told: by whom, whether a trained model made the image, and the message of its watermark.
            message: that was read; None where none was.
        """
        said = []
        registered = None
        if self.entry is not None:
            registered = is_generated(self.entry.record.digital_source_type)
        for name, generated, told_message in told:
            if message is not None and told_message is not None and told_message != message:
                said.append(f"the pixels carry the message {message.hex()}, {name} name {told_message.hex()}")
            if registered is not None and generated is not None and generated != registered:
                said.append(f"{_made(registered)} as the registry says, {_made(generated)} as {name} say")
        answers = {generated for _, generated, _ in told if generated is not None}
        if len(answers) > 1 and not said:
            said.append("XMP and content credentials differ in how the image was made")
        return tuple(said)


def compare(
    found: Detection | None,
    entry: Entry | None,
    files: Sequence[Entry],
    luma: DetectorInput,
    seen: Callable[[], Image.Image | NDArray[Any]],
    sha256: str | None,
    manifest: bytes | None,
) -> Comparison:
    """Compare an image with what the registry keeps.

    Args:
        found: its most certain watermark.
        entry: of that watermark's id.
        files: entries of the very file.
        luma: the image as the detector sees it.
        seen: returns it as people see it, for its perceptual hash.
        sha256: of the file; None where there is no file.
        manifest: of the entry, where it is kept.
    """
    changes = changes_of_shape(found)
    if entry is None:
        findings: list[Finding] = []
        if files:
            says = f"This file was delivered with the id {files[0].id}."
            findings.append(Finding("registry", "same file", says, {"id": files[0].id}))
        elif found is not None and found.detected and found.message_hex is not None:
            says = f"The registry has no entry for the message {found.message_hex}."
            findings.append(Finding("registry", "unknown", says))
        return Comparison(findings=tuple(findings), changes=changes, known_file=bool(files))
    assert found is not None
    if entry.state == "reserved":
        says = f"The id {entry.id} was reserved, and no image was registered with it."
        return Comparison(entry, (Finding("registry", "reserved", says, {"id": entry.id}),), changes=changes)
    same_file = None if entry.sha256 is None or sha256 is None else entry.sha256 == sha256
    whole = _is_whole(found, entry, luma)
    if not whole and not changes:
        changes = (Change("cropped"),)
    likeness: Likeness | None = None
    if entry.perceptual_hash is not None:
        likeness = _likeness(entry.perceptual_hash, seen()) if whole else "not comparable"
    if same_file is False and likeness == "same" and not changes:
        changes = (Change("rewritten"),)
    state, says = _words(same_file, likeness)
    finding = Finding("registry", state, says, {"id": entry.id, "manifest_id": entry.manifest_id})
    return Comparison(entry, (finding,), same_file, likeness, changes, bool(files), manifest)


def _words(same_file: bool | None, likeness: Likeness | None) -> tuple[str, str]:
    if same_file:
        return "same file", "The file is the one that was registered."
    if likeness == "same":
        return "same image", "The image is the one that was registered, by its perceptual hash."
    if likeness == "other":
        return "other image", "The image is not the one that was registered, by its perceptual hash."
    if likeness == "not comparable":
        cut = "The image was cropped, turned or covered in part, so that its hash tells nothing."
        return "known", f"The id is registered. {cut}"
    return "known", "The id is registered; what its image looks like is not known."


def _is_whole(found: Detection, entry: Entry, luma: DetectorInput) -> bool:
    """Whether the image is all of the registered one, upright, whatever its size."""
    if found.scale is None or found.mirrored or found.inverted or not entry.width or not entry.height:
        return False
    if found.rotation_deg is not None and abs(found.rotation_deg) > DEGREES:
        return False
    stretch = (found.aspect or 1.0) ** 0.5
    expected = entry.width * found.scale * stretch, entry.height * found.scale / stretch
    sides = luma.width, luma.height
    return all(abs(side / wanted - 1) <= _SIDE for side, wanted in zip(sides, expected, strict=True))


def _likeness(registered: str, image: Image.Image | NDArray[Any]) -> Likeness:
    from fastmark.registry.fingerprint import OTHER, SAME, distance, perceptual_hash

    ours = perceptual_hash(image)
    if ours is None:
        # too smooth for a hash, while the registered image was not
        return "not comparable"
    bits = distance(ours, registered)
    return "same" if bits <= SAME else "other" if bits >= OTHER else "not comparable"


def _made(generated: bool) -> str:
    return "a trained model made the image" if generated else "no trained model made the image"
