"""A clock that tests can set."""


class Clock:
    def __init__(self, now):
        self.now = now

    def __call__(self):
        return self.now
