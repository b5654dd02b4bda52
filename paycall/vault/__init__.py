"""The tokenizer: the only process with keys, cards and acquirer credentials."""
