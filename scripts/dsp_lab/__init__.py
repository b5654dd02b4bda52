"""What the tests and the benchmark of `dsp` share: keyed signals, bad lines, recorded speech, spandsp."""
