"""Telephone tones with numpy: a DTMF detector, a tone masker, G.711, levels and generators.

The package knows nothing of calls or cards and imports only numpy.
"""

from dsp.bank import DtmfDetectorBank, DtmfEvent
from dsp.detector import DtmfDetector, detect
from dsp.evidence import matched_recovery, residual_db
from dsp.g711 import decode_alaw, decode_ulaw, encode_alaw, encode_ulaw
from dsp.levels import dbm0_to_peak, dbm0_to_rms, level_dbm0, power_to_dbm0
from dsp.listener import ToneListener
from dsp.masker import ToneMasker
from dsp.tones import SYMBOLS, dtmf_string, dtmf_tone, frequencies_hz, silence

__all__ = [
    "SYMBOLS",
    "DtmfDetector",
    "DtmfDetectorBank",
    "DtmfEvent",
    "ToneListener",
    "ToneMasker",
    "dbm0_to_peak",
    "dbm0_to_rms",
    "decode_alaw",
    "decode_ulaw",
    "detect",
    "dtmf_string",
    "dtmf_tone",
    "encode_alaw",
    "encode_ulaw",
    "frequencies_hz",
    "level_dbm0",
    "matched_recovery",
    "power_to_dbm0",
    "residual_db",
    "silence",
]
