"""What a run of embedding is refused for, before it begins: companions and keys that do not go together."""

from __future__ import annotations

import pickle

from fastmark.codec.key import Key
from fastmark.codec.public import PUBLIC_BITS, PUBLIC_KEY, PublicCode
from fastmark.companions import Companions
from fastmark.errors import CredentialError, InvalidMessageError
from fastmark.images.encoding import check_encoding


def public_alone(
    code: PublicCode | None, messages: str | bytes | int | None, message_bits: int, beside: Companions
) -> tuple[Key, bytes]:
    """Return the key, and the message of all images, where the public watermark stands alone.

    Raises:
        InvalidMessageError: if there is nothing to say, or what is given needs a key.
    """
    if code is None:
        raise InvalidMessageError(
            "nothing to embed: give a key for messages of your own, or public for the public watermark"
        )
    if messages is not None:
        raise InvalidMessageError(
            "messages need a key: give one, or leave them out, as the public watermark says what public says"
        )
    if beside.registry is not None:
        raise InvalidMessageError(
            "a registry keeps ids, and the public watermark is none: give a key, or leave the registry out"
        )
    if message_bits != PUBLIC_BITS:
        raise InvalidMessageError(
            f"the public watermark has {PUBLIC_BITS} bits, not {message_bits}: leave message_bits out"
        )
    return PUBLIC_KEY, code.to_bytes()


def check_companions(beside: Companions, format_name: str | None, messages: str | bytes | int | None) -> None:
    """Refuse what no image could be delivered with.

    Raises:
        CredentialError: if the signer cannot be sent to the workers, or the format cannot be signed.
        InvalidMessageError: if a registry is to give all images the same id.
    """
    if beside.registry is not None and messages is not None and not isinstance(messages, str):
        raise InvalidMessageError(
            "in a registry every image has an id of its own: leave the message out, and one is drawn for each"
        )
    if beside.signer is not None:
        try:
            pickle.dumps(beside.signer)
        except CredentialError:
            raise CredentialError(
                "a signer with a callback cannot be sent to the processes that watermark many images: sign"
                " with a private key, or watermark one image at a time"
            ) from None
    if format_name is not None:
        beside.check_format(check_encoding(format_name))
