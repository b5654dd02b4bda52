"""Says what callers are told (paycall/media/speech/sentences.toml) anew: 8 kHz, 16 bit, mono, one file a sentence.

The files are committed: only someone who changes a sentence needs espeak-ng and sox.
"""

from __future__ import annotations

import subprocess
import tempfile
import tomllib
from pathlib import Path

SPEECH = Path(__file__).parents[1] / "paycall" / "media" / "speech"
VOICES = {"en": "en-gb", "ru": "ru", "uk": "uk", "hu": "hu"}
# The telephone band, and a level that leaves G.711 room: about -20 dBm0 on average. Silence at both ends goes.
SHAPE = "sinc 250-3500 norm -6 silence 1 0.01 0.1% reverse silence 1 0.01 0.1% reverse".split()


def main() -> None:
    """Write every file."""
    sentences = tomllib.loads((SPEECH / "sentences.toml").read_text("utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "raw.wav"
        for language, by_name in sentences.items():
            (SPEECH / language).mkdir(exist_ok=True)
            for name, sentence in by_name.items():
                say = ["espeak-ng", "-v", VOICES[language], "-s", "165", "-w", str(raw), sentence]
                subprocess.run(say, check=True)
                target = str(SPEECH / language / f"{name}.wav")
                subprocess.run(
                    ["sox", "-D", str(raw), "-r", "8000", "-b", "16", "-c", "1", target, *SHAPE], check=True
                )


if __name__ == "__main__":
    main()
