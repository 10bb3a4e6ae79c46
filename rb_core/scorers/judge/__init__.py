"""Generative judges: a language model is asked in words, and its reply becomes a score for each completion.

    CompletionSet -> protocols: queries, in several orders -> prompt_templates: messages, with every text in a fence
      -> api_backend or local_backend: a Reply for each Request -> transcript, as they arrive
      -> parsing: a verdict or an error -> protocols: a score for each completion, or unscored

Everything before the transcript costs time and money and is done once. Everything after it is pure and can be repeated
with a newer parser.
"""
