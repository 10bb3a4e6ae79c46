"""What comes with the package: the small reward model with its training script, and the starter benchmark."""
