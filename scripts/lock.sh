#!/bin/sh
# Writes the lock files from pyproject.toml: exact versions and hashes, no download addresses. Each is complete, and
# no package is in two: what installs, what runs, and what only the tests need.
# They hold for CPython 3.11 and 3.12 alike (--universal). Run: make lock
set -eu
cd "$(dirname "$0")/.."
uv=${UV:-.venv/bin/uv}
common="--universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --quiet"
$uv pip compile $common pyproject.toml -o requirements.lock
runs=$(sed -n 's/^\([A-Za-z0-9._-]*\)==.*/--no-emit-package \1/p' requirements.lock)
# shellcheck disable=SC2086
$uv pip compile $common pyproject.toml --group dev -c requirements.lock $runs -o requirements-dev.lock
$uv pip compile $common --group pip -o requirements-pip.lock
