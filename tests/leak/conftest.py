"""Every test with a call: what its operators' phones got is taken from the wire by tshark and searched for keys."""

from tests.phones.searched import no_key_reaches_an_operator, tapped

__all__ = ["no_key_reaches_an_operator", "tapped"]
