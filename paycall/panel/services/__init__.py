"""What the panel does: calls, captures, payments, people. No HTTP in here."""
