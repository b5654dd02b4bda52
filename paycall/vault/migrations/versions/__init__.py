"""The vault's database migrations (alembic), applied when the vault starts."""
