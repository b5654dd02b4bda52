"""The rules of paycall: standard library only, no I/O, no clock; time is an argument."""
