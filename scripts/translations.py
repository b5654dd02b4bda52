"""Keep the panel's catalogues in step with its words: ``python scripts/translations.py [--check]``.

Collects every text of the templates and of ``words.py`` into each language's ``.po`` file, keeping what is
translated. With ``--check`` nothing is written: it fails if a text is missing, untranslated or no longer used.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po, write_po

PANEL = Path(__file__).parent.parent / "paycall" / "panel"
LANGUAGES = ("ru", "uk", "hu")
# Babel's placeholders and dates: they would change with every run and say nothing.
_BOILERPLATE = (
    "# Copyright", "# This file", "# FIRST", "#\n", '"POT-Creation', '"PO-Rev', '"Report-', '"Last-T', '"Language-T',
)  # fmt: skip
_OPTIONS = {"**.html": {"extensions": "jinja2.ext.i18n", "trimmed": "false", "newstyle_gettext": "true"}}
_METHODS = [("**.py", "python"), ("**.html", "jinja2")]


def collect() -> Catalog:
    """Every text of the panel, as an empty catalogue."""
    catalogue = Catalog(project="paycall", charset="utf-8", fuzzy=False)
    found = extract_from_dir(
        str(PANEL),
        method_map=_METHODS,
        options_map=_OPTIONS,
        keywords={"N_": None, "_": None, "ngettext": (1, 2)},
    )
    for path, _line, message, _comments, _context in found:
        catalogue.add(message, locations=[(path, 0)])
    return catalogue


def path_of(language: str) -> Path:
    """Where the language's catalogue lies."""
    return PANEL / "translations" / language / "LC_MESSAGES" / "panel.po"


def load(language: str) -> Catalog:
    """The language's catalogue, or an empty one."""
    path = path_of(language)
    if not path.exists():
        return Catalog(locale=language, project="paycall", charset="utf-8", fuzzy=False)
    with path.open("rb") as file:
        return read_po(file, locale=language)


def problems(language: str, template: Catalog) -> list[str]:
    """What is wrong with the language's catalogue."""
    catalogue = load(language)
    wanted = {
        message.id if isinstance(message.id, str) else message.id[0] for message in template if message.id
    }
    found: list[str] = []
    for message in catalogue:
        name = message.id if isinstance(message.id, str) else message.id[0]
        if not name:
            continue
        forms = [message.string] if isinstance(message.string, str) else list(message.string)
        if name not in wanted:
            found.append(f"{language}: no longer used: {name}")
        elif message.fuzzy or not all(forms):
            found.append(f"{language}: not translated: {name}")
        found += [f"{language}: {name}: {error}" for error in message.check(catalogue)]
        wanted.discard(name)
    return found + [f"{language}: missing: {name}" for name in sorted(wanted)]


def update(language: str, template: Catalog) -> None:
    """Write the catalogue with every text of the panel."""
    catalogue = load(language)
    catalogue.update(template, no_fuzzy_matching=True)
    catalogue.obsolete.clear()
    out = io.BytesIO()
    write_po(out, catalogue, width=110, omit_header=False, sort_output=True, no_location=True)
    lines = [line for line in out.getvalue().decode().splitlines() if not line.startswith(_BOILERPLATE)]
    path = path_of(language)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", "utf-8")


def main() -> int:
    """Update, or check."""
    template = collect()
    if "--check" not in sys.argv:
        for language in LANGUAGES:
            update(language, template)
    found = [line for language in LANGUAGES for line in problems(language, template)]
    for line in found:
        print(line)
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
