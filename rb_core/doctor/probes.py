"""Short conversations that a model is examined on."""

from __future__ import annotations

from rb_core.benchmarks.example import Conversation, Message


def _turns(*texts: str) -> Conversation:
    """Return a conversation of alternating turns, the user's first."""
    return tuple(Message(role="assistant" if i % 2 else "user", content=text) for i, text in enumerate(texts))


PROBE_PROMPT = _turns("What is the capital of France?")
PROBE_ANSWER = "It is Paris."
# (prompt, good answer, bad answer): short and long, one line and several, single and multi-turn.
PAIRS: tuple[tuple[Conversation, str, str], ...] = (
    (_turns("What is 7 + 5?"), "12", "13"),
    (_turns("Name a prime."), "Seven is a prime.", "Nine is a prime."),
    (
        _turns("Why is the sky blue?"),
        "Air scatters blue light more than red, so blue reaches us from all sides.",
        "Because.",
    ),
    (
        _turns("Write one word."),
        "Tree",
        "I would be glad to. Here are a few words for you: tree, house, river, and so on.",
    ),
    (_turns("Hi!", "Hello. How can I help?", "Which city is the capital of France?"), "Paris.", "Lyon, I think."),
    (
        _turns("My name is Ada.", "Nice to meet you, Ada.", "Thanks.", "You are welcome.", "What is my name?"),
        "Your name is Ada.",
        "I do not know your name.",
    ),
    (_turns("List three fruits, one a line."), "apple\npear\nplum", "apple apple apple apple apple apple"),
    (_turns("Please say thank you in German and in French."), "German: danke. French: merci.", "fdsa jkl; 1234 !!!"),
)


def probe_conversation(answer: str = PROBE_ANSWER) -> Conversation:
    return (*PROBE_PROMPT, Message(role="assistant", content=answer))
