"""Words from outside."""


def clean(words: str) -> str:
    """Words from outside, without blanks at the ends; ValueError for what no database and no screen should hold."""
    if any(not sign.isprintable() for sign in words):
        raise ValueError("control characters are no part of words")
    words = words.strip()
    if not words:
        raise ValueError("there is no word in it")
    return words
