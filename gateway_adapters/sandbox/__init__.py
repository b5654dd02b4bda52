"""An acquirer to try things with: a simulator that is a real HTTP server with its own ledger, and its adapter."""
