"""Stripe: raw cards (which Stripe must enable for the account), payment intents, MOTO."""
