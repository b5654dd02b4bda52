"""Alembic's migrations of the panel's tables."""
