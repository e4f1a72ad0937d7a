"""Where results and state live: the adapters of the port `Store`, one for Elasticsearch and one embedded (SQLite).

Owns the stored form of everything a tick commits and publishes. Must not decide anything about anomalies or ticks.
"""
