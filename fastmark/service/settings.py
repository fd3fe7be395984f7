"""Settings of the service: options of ``fastmark serve``, or variables of the environment."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import limits
from pydantic import AfterValidator, Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from fastmark._checks import redacted
from fastmark.errors import ServiceError
from fastmark.provenance import SOFT_BINDING
from fastmark.records import Record, read_values

if TYPE_CHECKING:
    from fastmark.companions import Companions

PREFIX = "FASTMARK_"
MEBIBYTE = 1 << 20


def _rate(text: str) -> str:
    if text != "none":
        limits.parse_many(text)
    return text


Rate = Annotated[str, AfterValidator(_rate)]
"""As 60/minute, several with ; between them, or none."""

Whole = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(gt=0, le=86400)]


class Settings(BaseSettings):
    """How the service runs; each field is an option of ``fastmark serve``, whose help describes it.

    A field that is not given is read from the variable of its name after ``FASTMARK_``. Places of keys are
    those of key files, or ``env:NAME``.

    Raises:
        ServiceError: by :meth:`read`, if a value is none that the field can have.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", frozen=True, env_ignore_empty=True)

    # where it is
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    public_url: str | None = None
    root_path: str = ""
    trusted_proxies: str = ""

    # what it knows
    key: Annotated[tuple[str, ...], NoDecode] = ()
    message_bits: Literal[16, 32, 64, 96, 128] = 64
    public_watermark: bool = True
    registry: str | None = None
    trust: Path | None = None
    tokens: Path | None = None
    report_keys: Path | None = None
    feedback: str | None = None
    contact: str | None = None

    # who may do what
    public: bool = True
    urls: bool = False
    rate_public: Rate = "60/minute"
    rate_token: Rate = "600/minute"
    rate_global: Rate = "none"

    # how much
    workers: Annotated[int, Field(ge=0)] = 0
    queue: Whole = 32
    max_bytes: Whole = 32 * MEBIBYTE
    max_pixels: Whole = 50_000_000
    max_memory: Whole = 256 * MEBIBYTE
    max_batch: Whole = 32
    max_connections: Whole = 1000
    body_seconds: Seconds = 10.0
    work_seconds: Seconds = 30.0
    answer_ms: Annotated[int, Field(ge=0, le=10_000)] = 500
    shutdown_seconds: Seconds = 60.0

    # what it embeds
    embed_key: str | None = None
    record: Path | None = None
    xmp: bool = False
    sign: Path | None = None
    sign_key: str | None = None
    tsa: str | None = None
    soft_binding: str = SOFT_BINDING

    @field_validator("key", mode="before")
    @classmethod
    def _separate(cls, value: Any) -> Any:
        """Places in a variable have commas between them."""
        return tuple(place for place in value.split(",") if place) if isinstance(value, str) else value

    @field_validator("public_url")
    @classmethod
    def _without_slash(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("https://", "http://")):
            raise ValueError("must begin with https:// or http://")
        return None if value is None else value.rstrip("/")

    @field_validator("message_bits", mode="before")
    @classmethod
    def _number(cls, value: Any) -> Any:
        return int(value) if isinstance(value, str) and value.isdecimal() else value

    @field_validator("port", mode="before")
    @classmethod
    def _not_of_kubernetes(cls, value: Any) -> Any:
        """Kubernetes sets FASTMARK_PORT to an address, where a service of its own is called fastmark."""
        links = isinstance(value, str) and value.startswith("tcp://")
        return cls.model_fields["port"].default if links else value

    @field_validator("root_path")
    @classmethod
    def _path(cls, value: str) -> str:
        if value and not value.startswith("/"):
            raise ValueError("must begin with /")
        return value.rstrip("/")

    @classmethod
    def read(cls, **given: Any) -> Settings:
        """Return the settings; fields that are None here come from the environment, or are the defaults.

        Raises:
            ServiceError: if a value is none that its field can have, in one line.
        """
        try:
            settings = cls(**{name: value for name, value in given.items() if value is not None})
        except ValidationError as error:
            raise ServiceError("; ".join(map(_words, error.errors()))) from None
        settings.check()
        return settings

    def check(self) -> None:
        """Refuse settings that do not go together.

        Raises:
            ServiceError: if some do not.
        """
        if self.embed_key is None:
            for name in ("record", "sign", "sign_key", "tsa", "xmp"):
                if getattr(self, name):
                    raise ServiceError(f"{_option(name)} is about images that are embedded: add --embed-key")
        elif self.tokens is None:
            raise ServiceError(
                "--embed-key without --tokens: nobody could embed. Make a token with 'fastmark token add',"
                " and name its file"
            )
        if not self.public and self.tokens is None:
            raise ServiceError("without --tokens, nobody could use a service that is not public")
        if self.record is not None and not (self.registry or self.xmp or self.sign):
            raise ServiceError("--record is written nowhere: add --registry, --xmp or --sign")
        if self.tsa is not None and self.sign is None:
            raise ServiceError("--tsa goes with --sign, which names the certificates")
        if (self.sign is None) != (self.sign_key is None):
            raise ServiceError(
                "--sign and --sign-key go together: certificates, and the private key of the first"
            )
        if self.max_bytes > self.max_memory:
            raise ServiceError("--max-memory must be at least --max-bytes, the largest body")

    def companions(self) -> Companions:
        """Return what goes beside the watermark of images that are embedded.

        Raises:
            CredentialError: if certificates or their key are not in order.
            RecordError: if the record is not in order.
            RegistryError: if the registry's URL is none.
        """
        from fastmark.companions import Companions

        signer = registry = None
        if self.sign is not None and self.sign_key is not None:
            from fastmark.provenance.signing import Signer, check_soft_binding

            signer = Signer(self.sign, self.sign_key, tsa_url=self.tsa)
            check_soft_binding(self.soft_binding)
        if self.registry is not None:
            from fastmark.registry.store import Registry

            registry = Registry(self.registry)
        record = None if self.record is None else Record.from_dict(read_values(self.record))
        return Companions(
            record=record, registry=registry, xmp=self.xmp, signer=signer, soft_binding=self.soft_binding
        )


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _words(error: Any) -> str:
    """Say which value is wrong, without one that may be a secret."""
    name = str(error["loc"][0]) if error["loc"] else "a setting"
    shown = redacted(repr(error["input"])[:80])
    return f"{_option(name)} ({PREFIX}{name.upper()}) cannot be {shown}: {_message_of(error)}"


def _message_of(error: Any) -> str:
    """Return pydantic's message without its prefix."""
    return str(error["msg"]).removeprefix("Value error, ")
