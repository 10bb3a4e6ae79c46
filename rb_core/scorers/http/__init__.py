"""Requests to servers of models, judges and reward models alike: one retry policy, one deadline, one set of errors."""
