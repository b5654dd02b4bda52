"""The operator's web pages and the public HTTP API: tokens, brand and last four, never more of a card."""
