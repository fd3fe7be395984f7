"""The registry: entries of images by the ids that their watermarks carry."""

from __future__ import annotations

import contextlib
import datetime as dt
import itertools
import os
import secrets
import weakref
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Self

from fastmark._checks import MESSAGE_BITS
from fastmark.errors import IdTakenError, InvalidMessageError, RegistryError
from fastmark.records import Record
from fastmark.registry.connecting import make_engine, transaction
from fastmark.registry.entries import FACTS, Entry, PublicRecord, check_facts, id_of
from fastmark.registry.places import DEFAULT_URL, find_place
from fastmark.registry.rows import completed, entry_of, insert_new, keep_manifest, row_of
from fastmark.registry.schema import check_schema, upgrade
from fastmark.registry.tables import tables

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

_MOST_DRAWS = 64
"""Ids that are drawn for one image: if nine of ten are taken, all are once in a thousand times."""

_PAGE = 1000
"""Rows that are read or written at a time."""

_MOST_TOLD = 10
"""Lines that an error names; it counts the others."""


class Registry:
    """Entries in SQLite or PostgreSQL.

    Nothing is opened before the first use. It can be used by many threads, pickled, and used after a fork:
    each process has connections of its own. Every method but :meth:`close` raises RegistryError if the
    database cannot be reached, does not answer in time, or its tables are missing or of another version; and
    MissingPackageError where SQLAlchemy or the driver of PostgreSQL is not installed.
    """

    def __init__(self, url: str = DEFAULT_URL, *, timeout: float = 10.0) -> None:
        """Name a registry; :meth:`init` makes one.

        Args:
            url: ``sqlite:///FILE``, a path that ends in .db, or ``postgresql://USER:PASSWORD@HOST/DATABASE``.
            timeout: seconds within which it must be reached, and answer each statement; connections to
                PostgreSQL get 2 at least.

        Raises:
            RegistryError: if the URL is none of these.
        """
        if not 0 < timeout <= 86400:
            raise ValueError(f"timeout must be more than 0 and at most 86400 seconds, not {timeout!r}")
        self.url, self.timeout = url, timeout
        self._place = find_place(url)
        self._engines: dict[int, Engine] = {}  # by process: a connection must not be shared after a fork
        self._checked: set[int] = set()
        weakref.finalize(self, _disposed, self._engines)

    def __repr__(self) -> str:
        """Name it, without the password."""
        return f"Registry({self.name!r}, timeout={self.timeout:g})"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle where it is, not its connections."""
        return _remade, (type(self), self.url, self.timeout)

    def __enter__(self) -> Self:
        """Return itself; :meth:`close` at the end."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    @property
    def name(self) -> str:
        """The URL without password and parameters."""
        return self._place.name

    def close(self) -> None:
        """Close the connections of this process; a later use opens new ones."""
        self._checked.discard(os.getpid())
        _disposed(self._engines)

    def init(self) -> None:
        """Make the registry, or bring its tables up to date; where they are, nothing is done.

        Raises:
            RegistryError: if it is of a newer version.
        """
        upgrade(self._place, self.timeout)

    def check(self) -> None:
        """Make sure that the registry can be reached, and that its tables are of this version."""
        with self._transaction():
            pass

    # ---- the life of an id -------------------------------------------------------------------------------

    def reserve(
        self, record: Record, *, key_id: str, message_bits: int = 64, message: bytes | None = None
    ) -> bytes:
        """Give an id to an image before it is watermarked; when this returns, the entry is on the disk.

        Args:
            record: what the entry says of the image.
            key_id: of the key that will embed the id.
            message_bits: length of the id: 16, 32, 64, 96 or 128.
            message: the id, ``message_bits / 8`` bytes; None to draw one that is not taken.

        Raises:
            InvalidMessageError: if ``message`` or ``message_bits`` is none of those.
            IdTakenError: if ``message`` is taken.
            RegistryError: if 64 ids that were drawn all are.
        """
        if message_bits not in MESSAGE_BITS:
            raise InvalidMessageError(f"message_bits must be one of {', '.join(map(str, MESSAGE_BITS))}")
        if message is not None and len(id_of(message)) * 4 != message_bits:
            raise InvalidMessageError(f"a {message_bits}-bit message is {message_bits // 8} bytes")
        now = dt.datetime.now(dt.UTC).replace(microsecond=0)
        with self._transaction(writes=True) as connection:
            for _ in range(_MOST_DRAWS if message is None else 1):
                drawn = secrets.token_bytes(message_bits // 8) if message is None else bytes(message)
                entry = Entry(
                    id=drawn.hex(),
                    message_bits=message_bits,
                    key_id=key_id,
                    state="reserved",
                    created_at=now,
                    record=record,
                )
                if insert_new(connection, tables().entries, row_of(entry)):
                    return drawn
        if message is not None:
            raise IdTakenError(f"the id {message.hex()} is taken: let the registry draw one, or name another")
        raise RegistryError(
            f"{_MOST_DRAWS} random ids of {message_bits} bits are all taken: use longer messages"
        )

    def complete(
        self,
        message: bytes,
        *,
        width: int,
        height: int,
        perceptual_hash: str | None = None,
        sha256: str | None = None,
        manifest_id: str | None = None,
        manifest: bytes | None = None,
    ) -> Entry:
        """Say what the watermarked image is; it may be called again to add what was not known before.

        A perceptual hash that differs by no more than ``SAME`` bits from one that is known is the same
        image's, encoded once more: the first is kept.

        Args:
            message: the id.
            width, height: of the image in pixels.
            perceptual_hash: see :func:`fastmark.registry.fingerprint.perceptual_hash`.
            sha256: of the delivered file, 64 hex digits; None while the image is pixels.
            manifest_id: of the file's content credentials, urn:c2pa:...
            manifest: the bytes of their store, kept to be found by the watermark when the file has lost them.

        Returns:
            The entry, whose state is "delivered" where ``sha256`` is known, else "marked".

        Raises:
            RegistryError: if the registry does not have the id, what it knows says otherwise, or a value is
                not of its form.
        """
        facts = {"width": width, "height": height, "sha256": sha256}
        facts |= {"perceptual_hash": perceptual_hash, "manifest_id": manifest_id}
        check_facts(**facts)
        if manifest is not None and manifest_id is None:
            raise RegistryError("a manifest is kept by its manifest_id: give that too")
        entries, name = tables().entries, id_of(message)
        with self._transaction(writes=True) as connection:
            row = connection.execute(entries.select().where(entries.c.id == name).with_for_update()).first()
            if row is None:
                raise self._unknown(name)
            entry = completed(entry_of(row), facts)
            changed = {name: getattr(entry, name) for name in (*FACTS, "state")}
            connection.execute(entries.update().where(entries.c.id == name).values(changed))
            if manifest is not None:
                keep_manifest(connection, name, str(manifest_id), manifest)
        return entry

    def release(self, message: bytes) -> None:
        """Give a reserved id back, where no image has left with it.

        Raises:
            RegistryError: if the registry does not have the id, or its image has left.
        """
        entries, name = tables().entries, id_of(message)
        mine = entries.c.id == name
        with self._transaction(writes=True) as connection:
            if connection.execute(entries.delete().where(mine, entries.c.state == "reserved")).rowcount:
                return
            if connection.execute(entries.select().where(mine)).first() is None:
                raise self._unknown(name)
        raise RegistryError(f"the id {name} cannot be given back: an image has left with it")

    def delete_expired(self, now: dt.datetime) -> int:
        """Delete the entries, with their manifests, whose record expires at ``now`` or before.

        Returns:
            How many were deleted.
        """
        if now.tzinfo is None:
            raise ValueError("now must be a time with its zone")
        entries, manifests = tables().entries, tables().manifests
        expired = entries.c.expires <= now.astimezone(dt.UTC)
        with self._transaction(writes=True) as connection:
            those = entries.select().with_only_columns(entries.c.id).where(expired)
            connection.execute(manifests.delete().where(manifests.c.entry_id.in_(those)))
            return connection.execute(entries.delete().where(expired)).rowcount

    # ---- questions ---------------------------------------------------------------------------------------

    def get(self, message: bytes | str) -> Entry | None:
        """Return the entry of an id, bytes or hex digits, with what is private; None if there is none."""
        entries, name = tables().entries, id_of(message)
        with self._transaction() as connection:
            row = connection.execute(entries.select().where(entries.c.id == name)).first()
        return None if row is None else entry_of(row)

    def public(self, message: bytes | str) -> PublicRecord | None:
        """Return what anybody may see of an id; None if there is no image: it is unknown or only reserved."""
        entry = self.get(message)
        return None if entry is None or entry.state == "reserved" else entry.public

    def find(self, sha256: str) -> list[Entry]:
        """Return the entries of a delivered file by its SHA-256 in hex, ordered by id."""
        check_facts(sha256=sha256)
        entries = tables().entries
        query = entries.select().where(entries.c.sha256 == sha256).order_by(entries.c.id)
        with self._transaction() as connection:
            return [entry_of(row) for row in connection.execute(query)]

    def manifest(self, manifest_id: str) -> bytes | None:
        """Return the store of content credentials by its id; None if it is not kept."""
        return self._manifest(tables().manifests.c.manifest_id == manifest_id)

    def find_manifest(self, message: bytes | str) -> bytes | None:
        """Return the store of content credentials of an image by its id; None if none is kept."""
        return self._manifest(tables().manifests.c.entry_id == id_of(message))

    def count(self) -> int:
        """Return how many entries there are."""
        import sqlalchemy as sa

        with self._transaction() as connection:
            return int(connection.scalar(sa.select(sa.func.count()).select_from(tables().entries)) or 0)

    def entries(self, *, after: bytes | str | None = None, limit: int | None = None) -> Iterator[Entry]:
        """Yield entries ordered by id; each page of 1000 is read at its own time.

        Args:
            after: begin behind this id.
            limit: how many at most; None for all.
        """
        entries = tables().entries
        last, left = "" if after is None else id_of(after), limit
        while left is None or left > 0:
            size = _PAGE if left is None else min(_PAGE, left)
            query = entries.select().where(entries.c.id > last).order_by(entries.c.id).limit(size)
            with self._transaction() as connection:
                rows = connection.execute(query).all()
            for row in rows:
                yield entry_of(row)
            if len(rows) < size:
                return
            last, left = rows[-1].id, None if left is None else left - size

    # ---- many at once ------------------------------------------------------------------------------------

    def insert(self, numbered: Iterable[tuple[int, Entry, bytes | None]]) -> int:
        """Insert whole entries, in one transaction: all of them or none.

        Entries that are there already and identical are passed over. Others that write to a registry in
        SQLite wait meanwhile.

        Args:
            numbered: number of the line, by which errors name it; entry; its manifest or None.

        Returns:
            How many entries were not there before.

        Raises:
            RegistryError: if ids or manifests are taken by others; nothing is inserted then.
        """
        entries, left, inserted = tables().entries, iter(numbered), 0
        taken: list[str] = []
        with self._transaction(writes=True) as connection:
            while batch := list(itertools.islice(left, _PAGE)):
                ids = entries.c.id.in_([entry.id for _, entry, _ in batch])
                known = {row.id: entry_of(row) for row in connection.execute(entries.select().where(ids))}
                new = []
                for number, entry, _ in batch:
                    earlier = known.setdefault(entry.id, entry)
                    if earlier is entry:
                        new.append(row_of(entry))
                    elif earlier != entry:
                        taken.append(f"line {number} (id {entry.id})")
                if new and not taken:
                    connection.execute(entries.insert(), new)
                    inserted += len(new)
                for _, entry, store in batch:
                    if store is not None and not taken:
                        keep_manifest(connection, entry.id, str(entry.manifest_id), store)
            if taken:
                more = f" and {len(taken) - _MOST_TOLD} more" if len(taken) > _MOST_TOLD else ""
                lines = ", ".join(taken[:_MOST_TOLD]) + more
                raise RegistryError(f"ids are taken by other entries, so nothing was added: {lines}")
        return inserted

    # ---- connections -------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _transaction(self, *, writes: bool = False) -> Iterator[Connection]:
        """Yield a connection of this process within a transaction, once the tables' version is in order."""
        process = os.getpid()
        if (engine := self._engines.get(process)) is None:
            engine = self._engines.setdefault(process, make_engine(self._place, self.timeout))
        with transaction(engine, self._place, self.timeout, writes=writes) as connection:
            if process not in self._checked:
                check_schema(connection, self._place)
                self._checked.add(process)
            yield connection

    def _manifest(self, which: Any) -> bytes | None:
        manifests = tables().manifests
        with self._transaction() as connection:
            row = connection.execute(manifests.select().where(which)).first()
        return None if row is None else bytes(row.store)

    def _unknown(self, name: str) -> RegistryError:
        return RegistryError(f"the registry {self.name} has no entry {name}")


def _disposed(engines: dict[int, Engine]) -> None:
    """Close the connections of this process."""
    if (engine := engines.pop(os.getpid(), None)) is not None:
        engine.dispose()


def _remade(kind: type[Registry], url: str, timeout: float) -> Registry:
    return kind(url, timeout=timeout)
