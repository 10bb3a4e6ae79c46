"""Reward models behind a server.

    CompletionSet -> chat format: token ids, as for a local model -> apis: the body of a request, with the ids or with a
      text that gives these ids -> http: a Reply -> apis: raw outputs -> the score

The conversation is rendered, cut to the maximum length and tokenised here. A server that reads other tokens, cuts a
conversation, or gives probabilities instead of raw outputs is an error or leaves the conversation unscored.
"""
