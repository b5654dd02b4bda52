"""Where the key-encrypting keys live: one small interface, one module a provider."""
