"""Scorers: each turns unlabelled candidates into one score a completion."""
