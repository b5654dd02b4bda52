"""The operators' web pages and the public HTTP API. Sees tokens, never a card."""
