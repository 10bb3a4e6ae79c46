"""Scorers: each turns completion sets without labels into one score per completion."""
