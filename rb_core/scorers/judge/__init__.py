"""Generative judges: a language model is asked in words, and what it says becomes a score a completion.

    Candidates -> modes.asks: what to ask, in which orders -> template: the messages, every text fenced
      -> served or local: generate, a Reply a Request -> transcript, as they arrive
      -> verdict: what a reply says, or why it says nothing -> modes.scores: a score a completion, or unscored

What stands left of the transcript costs time and money and is done once. What stands right of it is pure, and can be
done again on a transcript with a newer parser.
"""
