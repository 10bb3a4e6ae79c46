"""Tests with real weights: `python -m pytest -m real`."""
