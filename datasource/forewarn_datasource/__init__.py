"""Forewarn's Grafana datasource: a stateless Flask app that reads only the store."""

__all__: list[str] = []
