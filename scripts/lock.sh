#!/bin/sh
# Writes the two lock files from pyproject.toml: exact versions and hashes, no download addresses.
# They hold for CPython 3.11 and 3.12 alike (--universal). Run: make lock
set -eu
cd "$(dirname "$0")/.."
uv=${UV:-.venv/bin/uv}
common="--universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --quiet"
$uv pip compile $common pyproject.toml -o requirements.lock
$uv pip compile $common pyproject.toml --group dev -c requirements.lock -o requirements-dev.lock
