"""What each series did, coarsely: the adapters of the port `History`, and how history is first filled and kept.

Owns coarse medians and their blocks. Must not know who fits them, nor where a store keeps its blocks.
"""
