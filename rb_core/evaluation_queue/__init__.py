"""Requests to evaluate a model, in a dataset repository on the hub, and the workers that carry them out."""
