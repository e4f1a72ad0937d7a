"""Forewarn: the scheduled job that forecasts, scores and detects."""

__all__ = ["__version__"]

__version__ = "0.1.0"
