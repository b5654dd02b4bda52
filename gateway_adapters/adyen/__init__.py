"""Adyen Checkout v71: raw cards on a merchant account that Adyen has set up for telephone orders."""
