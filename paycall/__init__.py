"""paycall: card payments in the middle of a phone call."""
