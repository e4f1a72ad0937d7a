"""A shop with faults whose truth is known: for the demo, the tests and the benchmarks. Pure: seeds and times are arguments."""
