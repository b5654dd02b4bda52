"""A bank's host over TCP: ISO 8583:1987, with sign-on and echo."""
