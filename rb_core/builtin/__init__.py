"""The files that come with the package: the built-in reward model, its training script, and the starter benchmark."""
