"""Networks whose head is not transformers' own: one file per kind of head.

Each file has a subclass of `base.HeadedModel` and a function that loads it and returns it with a report on its weights,
as `loading.load_pretrained` does for a sequence classifier. `classifier.load_classifier` picks the file by the kind.
"""
