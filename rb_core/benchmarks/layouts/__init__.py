"""Layouts of published preference data: how a row of any known dataset becomes an example."""
