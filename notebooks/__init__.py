"""The teaching set: fifteen notebooks. README.md lists them; `python -m notebooks` executes them."""
