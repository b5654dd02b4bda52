"""The wires that the simulator speaks: its own, and those of real acquirers for the paths that paycall uses."""
