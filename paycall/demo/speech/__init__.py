"""Short sentences of a caller and an operator: 8 kHz, 16 bit, mono; made by ``scripts/demo_speech.sh``."""

from __future__ import annotations

import wave
from importlib import resources

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE_HZ = 8000

TEXTS: dict[str, str] = {
    "caller-hello": "Hello. I would like to pay my bill by card.",
    "caller-ready": "Yes, I have my card here. I will key it now.",
    "caller-moment": "Just a moment, please.",
    "caller-done": "There you are. Did that work?",
    "caller-other": "Oh. Then I will take my other card.",
    "caller-thanks": "Wonderful. Thank you, and goodbye.",
    "operator-greeting": "Good morning, this is Anna. How can I help you?",
    "operator-key": "Please key your card on your telephone. I cannot hear it.",
    "operator-checking": "Thank you. One moment, I am asking the bank.",
    "operator-declined": "There is not enough money on this card. Have you got another?",
    "operator-approved": "Your payment was approved. Thank you.",
    "operator-goodbye": "Have a nice day. Goodbye.",
}
"""What each file says, by its name without ``.wav``."""


def load(name: str) -> NDArray[np.int16]:
    """The samples of one sentence, int16, shape ``(n,)``, at ``SAMPLE_RATE_HZ``.

    Raises
    ------
    ValueError
        There is no sentence of this name.
    """
    if name not in TEXTS:
        raise ValueError("there is no sentence of this name")
    with (resources.files(__name__) / f"{name}.wav").open("rb") as file, wave.open(file) as sound:
        return np.frombuffer(sound.readframes(sound.getnframes()), dtype="<i2").astype(np.int16)
