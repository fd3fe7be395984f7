"""Detector keys: two thirds of what a key draws, for others, who then detect and read its watermarks.

A detector key holds the tones and phases, and the chips of the blocks that are not withheld. The secret is
not in it. Which third of the blocks is withheld the key decides, the same in every detector key of one key.
"""

from __future__ import annotations

import base64
import hashlib
import os
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from fastmark.codec import key_files
from fastmark.codec.key_files import DETECTOR_KEY_FORMAT, KEY_FORMAT, no_key_file
from fastmark.codec.tables import (
    ANCHOR,
    GRID,
    N_CLASSES,
    N_COEFFICIENTS,
    N_TONES,
    PARTNERS,
    WITHHELD,
    BindingTables,
    CarrierSource,
    Tables,
    are_tones,
)
from fastmark.errors import KeyFormatError

FILE_VERSION = 1
_ID_BYTES = 8
_TONE_BYTES, _PHASE_BYTES, _PLACE_BYTES = 4 * N_TONES, 2 * N_TONES, GRID * GRID // 8
_HEAD_BYTES = _ID_BYTES + _TONE_BYTES + _PHASE_BYTES + _PLACE_BYTES

# bits of one block: signs, anchor, code bits of the other chips, signs and flags of the binding, partner
_ANCHOR_BITS, _CODE_BIT_BITS, _PARTNER_BITS = 4, 10, 6
_PARTS = (
    N_COEFFICIENTS,
    _ANCHOR_BITS,
    (N_COEFFICIENTS - 1) * _CODE_BIT_BITS,
    *[N_COEFFICIENTS] * (1 + N_CLASSES),
    _PARTNER_BITS,
)
BLOCK_BITS = sum(_PARTS)

_Int = TypeVar("_Int", np.int8, np.int16)
_FOR_ALL = 0o644
"""It holds no secret, and is made to be handed on."""


@dataclass(frozen=True, slots=True, repr=False)
class DetectorKey:
    """A key that detects and reads the watermarks of another key, its owner's, and embeds none.

    Two are equal if their contents are; the name is a label.

    Args:
        content: as :meth:`of` packs it (SPEC.md, section 1).
        name: a label for people, at most 64 printable characters; not part of what is detected.

    Raises:
        KeyFormatError: if ``content`` is not of that form, or ``name`` is not a short printable text.
    """

    content: bytes = field(repr=False)
    name: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        """Refuse what could not have come from a key."""
        key_files.check_name(self.name)
        if not isinstance(self.content, bytes):
            raise KeyFormatError("the content of a detector key is bytes; use Key.detector_key()")
        _unpacked(self.content)

    def __repr__(self) -> str:
        """Show ids and name."""
        return f"DetectorKey(id={self.id!r}, key_id={self.key_id!r}, name={self.name!r})"

    @classmethod
    def of(cls, key: CarrierSource, name: str = "") -> DetectorKey:
        """Make the detector key of a secret key; users call :meth:`Key.detector_key`."""
        return cls(_packed(bytes.fromhex(key.key_id), key.tables(), key.binding_tables()), name)

    @property
    def id(self) -> str:
        """Public identifier of this detector key: 16 hex digits, which depend on its content alone."""
        return hashlib.blake2b(self.content, digest_size=_ID_BYTES, person=b"fastmark-detect").hexdigest()

    @property
    def key_id(self) -> str:
        """Public identifier of the key whose watermarks are found, its owner's."""
        return self.content[:_ID_BYTES].hex()

    def tables(self) -> Tables:
        """Return what every mark of the key shares; nothing of the chips in blocks that are withheld."""
        return _unpacked(self.content)[0]

    def binding_tables(self) -> BindingTables:
        """Return what ties marks to their images; nothing of the blocks that are withheld."""
        return _unpacked(self.content)[1]

    def to_text(self) -> str:
        """Return the text of the detector key's file (JSON)."""
        return key_files.to_json(
            {
                "format": DETECTOR_KEY_FORMAT,
                "version": FILE_VERSION,
                "name": self.name,
                "id": self.id,
                "key_id": self.key_id,
                "content": base64.b64encode(self.content).decode(),
            }
        )

    @classmethod
    def from_text(cls, text: str) -> DetectorKey:
        """Read a detector key from the text of its file.

        Raises:
            KeyFormatError: if the text is no file of a detector key, of an unknown version, or damaged.
        """
        fields = key_files.fields_of(text)
        if fields["format"] == KEY_FORMAT:
            raise KeyFormatError(
                "this is a secret key: hand it to nobody, and make a detector key from it with"
                " 'fastmark keygen --detector-of'"
            )
        try:
            version, name, own_id, key_id = (fields[part] for part in ("version", "name", "id", "key_id"))
            encoded = fields["content"]
        except KeyError:
            raise no_key_file() from None
        if version != FILE_VERSION:
            shown = version if isinstance(version, int) else "unknown"
            raise KeyFormatError(
                f"the file of the detector key is of version {shown}, this fastmark reads version"
                f" {FILE_VERSION}: install a newer fastmark"
            )
        try:
            content = base64.b64decode(encoded, validate=True)
        except (ValueError, TypeError):
            raise _damaged("its content is cut or changed") from None
        key = cls(content, name)
        if own_id != key.id:  # the id is the content's checksum
            raise _damaged("its id does not belong to its content")
        if key_id != key.key_id:
            raise _damaged("its key_id does not belong to its content")
        return key

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the detector key to a new file, which all may read (mode 0644): it holds no secret.

        Raises:
            OutputError: if the file exists already (keys are never overwritten) or cannot be written.
        """
        key_files.write_new(path, self.to_text(), _FOR_ALL)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> DetectorKey:
        """Read a file written by ``save``; :func:`fastmark.load_key` reads those of both kinds of keys.

        Raises:
            KeyNotFoundError: if there is no such file; it is a FileNotFoundError too.
            KeyFormatError: if the file cannot be read or is not an undamaged file of a detector key.
        """
        return key_files.load(path, cls.from_text)


def _damaged(how: str) -> KeyFormatError:
    return KeyFormatError(
        f"the file of the detector key is damaged ({how}); get it again from the key's owner"
    )


# ---- the content -----------------------------------------------------------------------------------------


def _packed(key_id: bytes, tables: Tables, binding: BindingTables) -> bytes:
    """Pack what is disclosed; of withheld blocks there is nothing but that they are."""
    known = ~binding.withheld
    code_bit = tables.code_bit[:, known].T
    carries = code_bit != ANCHOR
    blocks = np.concatenate(
        [
            tables.signs[:, known].T < 0,
            _to_bits(np.argmin(carries, axis=1)[:, None], _ANCHOR_BITS),
            _to_bits(code_bit[carries].reshape(-1, N_COEFFICIENTS - 1), _CODE_BIT_BITS),
            binding.signs[:, known].T < 0,
            *(flags[:, known].T < 0 for flags in binding.flags),
            _to_bits(binding.partners[known][:, None], _PARTNER_BITS),
        ],
        axis=1,
    )
    return b"".join(
        (
            key_id,
            tables.tones.astype("<i2").tobytes(),
            tables.phases.astype("<u2").tobytes(),
            np.packbits(binding.withheld).tobytes(),
            np.packbits(blocks).tobytes(),
        )
    )


def _unpacked(content: bytes) -> tuple[Tables, BindingTables]:
    """Unpack what is disclosed.

    Raises:
        KeyFormatError: if that is nothing a key draws; no content reaches kernels unchecked.
    """
    if len(content) < _HEAD_BYTES:
        raise _damaged("its content is cut or changed")
    at = _ID_BYTES
    tones = np.frombuffer(content, "<i2", 2 * N_TONES, at).reshape(N_TONES, 2).astype(np.int64)
    phases = np.frombuffer(content, "<u2", N_TONES, at + _TONE_BYTES).astype(np.uint16)
    places = np.frombuffer(content, np.uint8, _PLACE_BYTES, at + _TONE_BYTES + _PHASE_BYTES)
    withheld = np.unpackbits(places).reshape(GRID, GRID).astype(bool)
    known = ~withheld
    n_known = int(known.sum())
    packed = np.frombuffer(content, np.uint8, offset=_HEAD_BYTES)
    if packed.size != -(-n_known * BLOCK_BITS // 8):
        raise _damaged("its content is cut or changed")
    bits = np.unpackbits(packed)
    blocks = bits[: n_known * BLOCK_BITS].reshape(n_known, BLOCK_BITS)
    signs, anchor, carried, binding, *flags, partner = np.split(blocks, np.cumsum(_PARTS)[:-1], axis=1)
    anchors, partners = _from_bits(anchor, _ANCHOR_BITS)[:, 0], _from_bits(partner, _PARTNER_BITS)[:, 0]
    if (
        not are_tones(tones)
        or np.any(anchors >= N_COEFFICIENTS)
        or np.any(partners >= len(PARTNERS))
        or np.any(bits[n_known * BLOCK_BITS :])
    ):
        raise _damaged("its content is changed")
    code_bit = np.full((n_known, N_COEFFICIENTS), ANCHOR, np.int16)
    code_bit[np.arange(N_COEFFICIENTS) != anchors[:, None]] = _from_bits(carried, _CODE_BIT_BITS).ravel()
    partner_of = np.zeros((GRID, GRID), np.uint8)
    partner_of[known] = partners
    return (
        Tables(tones, phases, _spread(_signs(signs), known, 0), _spread(code_bit, known, WITHHELD)),
        BindingTables(
            _spread(_signs(binding), known, 0),
            np.stack([_spread(_signs(of_class), known, 0) for of_class in flags]),
            partner_of,
            withheld,
        ),
    )


def _to_bits(values: NDArray[np.integer], width: int) -> NDArray[np.bool_]:
    """Bits of integers ``(N, M)``, most significant first: ``(N, M width)``."""
    bits = (values[..., None].astype(np.int64) >> np.arange(width)[::-1]) & 1
    return bits.reshape(len(values), -1).astype(bool)


def _from_bits(bits: NDArray[np.uint8], width: int) -> NDArray[np.int64]:
    """Undo :func:`_to_bits`: int64 ``(N, M)``."""
    return bits.reshape(len(bits), -1, width).astype(np.int64) @ (1 << np.arange(width)[::-1])


def _signs(bits: NDArray[np.uint8]) -> NDArray[np.int8]:
    """Bits as signs: 0 stands for +1."""
    return 1 - 2 * bits.astype(np.int8)


def _spread(values: NDArray[_Int], known: NDArray[np.bool_], nothing: int) -> NDArray[_Int]:
    """Values ``(N, 10)`` of the known blocks at their places, ``(10, 128, 128)``; ``nothing`` elsewhere."""
    result = np.full((values.shape[1], GRID, GRID), nothing, values.dtype)
    result[:, known] = values.T
    return result
