"""Answers to the exercises of notebooks 12, 13 and 14, and mistakes with words of what is said to them. Not in the "
"wheel."""


def losses(exact, index):
    return 1 - exact.mean(), exact.mean() - index.mean()


ANSWERS = {
    "12-blame": lambda: losses,
    "13-oversample": lambda: 500,
    "14-break-even": lambda: 16_000,
}
MISTAKES = [
    ("12-blame", lambda: lambda exact, index: (exact.mean(), index.mean()), "precisions"),
    ("12-blame", lambda: lambda exact, index: (1 - exact.mean(), 1 - index.mean()), "total loss"),
    ("12-blame", lambda: lambda exact, index: losses(exact, index)[::-1], "other way round"),
    ("12-blame", lambda: lambda exact, index: (1 - exact.mean(), index.mean() - exact.mean()), "positive"),
    ("12-blame", lambda: lambda exact, index: (0, 0), "Exact search has no loss"),
    ("13-oversample", lambda: 10, "one fifth"),
    ("13-oversample", lambda: 50, "brings one"),
    ("13-oversample", lambda: 510, "part of what"),
    ("13-oversample", lambda: 1000, "0.02 n"),
    ("14-break-even", lambda: 12e6 / 900, "its own 150"),
    ("14-break-even", lambda: 80_000, "what is saved is"),
    ("14-break-even", lambda: 0.016, "million"),
    ("14-break-even", lambda: 16, "not a thousand"),
    ("14-break-even", lambda: 1, "over what is saved"),
]
