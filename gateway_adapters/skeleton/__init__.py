"""The text that ``paycall acquirer new`` writes for a new adapter; ``$name`` and ``$class_name`` are filled in."""
