"""The panel's tables and migrations."""
