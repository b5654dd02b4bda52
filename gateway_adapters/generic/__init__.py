"""Any endpoint that serves Twilio's generic pay connector."""
