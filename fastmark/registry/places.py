"""Where a registry lies: its URL, told without the password in it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from fastmark.errors import RegistryError

DEFAULT_URL = "sqlite:///fastmark-registry.db"

_POSTGRESQL = ("postgresql", "postgres", "postgresql+psycopg")
_SUFFIXES = (".db", ".sqlite", ".sqlite3")


@dataclass(frozen=True, slots=True)
class Place:
    """A URL that was understood.

    Attributes:
        url: as SQLAlchemy takes it, of PostgreSQL by the driver psycopg 3.
        path: the file of SQLite; None for PostgreSQL.
        name: what errors call it: the URL without password and parameters.
        secrets: texts that no error may hold.
    """

    url: str
    path: Path | None
    name: str
    secrets: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """Name it without what is secret."""
        return f"Place({self.name!r})"

    def hide(self, text: str) -> str:
        """Return ``text`` on one line, without the secrets in it."""
        for secret in self.secrets:
            text = text.replace(secret, "***")
        return " ".join(text.split())


def find_place(url: str) -> Place:
    """Understand ``sqlite:///FILE``, ``postgresql://USER:PASSWORD@HOST/DATABASE`` or a path that ends in .db.

    Raises:
        RegistryError: if it is none of these; the password is not in it.
    """
    if "://" not in url and url.endswith(_SUFFIXES):
        return Place(f"sqlite:///{url}", Path(url), f"sqlite:///{url}")
    scheme, separator, rest = url.partition("://")
    if scheme in ("sqlite", "sqlite+pysqlite") and separator:
        path = rest.partition("?")[0].removeprefix("/")
        if not rest.startswith("/") or path in ("", ":memory:"):
            raise RegistryError(
                "a registry in SQLite is a file: write sqlite:///FILE, or sqlite:////FOLDER/FILE"
            )
        if "?" in rest:
            raise RegistryError(
                "the URL of a registry in SQLite takes no parameters: leave out ? and the rest"
            )
        return Place(f"sqlite:///{path}", Path(path), f"sqlite:///{path}")
    if scheme in _POSTGRESQL and separator:
        return _postgresql(rest)
    known = "sqlite:///FILE and postgresql://USER@HOST/DATABASE"
    shown = scheme if separator and re.fullmatch("[a-z0-9+.-]{1,40}", scheme) else "such a text"
    raise RegistryError(f"a registry cannot be at {shown}: it can be at {known}")


def _postgresql(rest: str) -> Place:
    """The place of what follows the scheme."""
    userinfo, _, _ = rest.rpartition("@")
    user, _, password = userinfo.partition(":")
    try:
        if re.search("[@/?#\\s]", userinfo):
            raise ValueError
        parts = urlsplit(f"postgresql://{rest}")
        host = f"{parts.hostname or ''}{'' if parts.port is None else f':{parts.port}'}"
        parameters = dict(parse_qsl(parts.query, strict_parsing=bool(parts.query)))
    except ValueError:
        raise RegistryError(
            "the URL of the registry in PostgreSQL is not in order: write postgresql://USER:PASSWORD@HOST:PORT"
            "/DATABASE, and signs such as @ : / ? in the password as %40 %3A %2F %3F"
        ) from None
    secrets = {password, unquote(password)} | {
        value for name, value in parameters.items() if "password" in name
    }
    shown = f"{user}{':***' if password else ''}{'@' if userinfo else ''}{host}{parts.path}"
    longest_first = sorted(secrets - {""}, key=len, reverse=True)
    return Place(f"postgresql+psycopg://{rest}", None, f"postgresql://{shown}", tuple(longest_first))
