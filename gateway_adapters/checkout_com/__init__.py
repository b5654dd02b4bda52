"""Checkout.com's unified payments API (NAS): raw cards, MOTO."""
