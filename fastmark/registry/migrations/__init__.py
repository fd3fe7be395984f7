"""How the tables of a registry came to be, version by version, for Alembic; ``schema`` runs it."""
