"""Guards: the probability that a completion is unsafe, by a list of words, a classifier, a server or a function."""
