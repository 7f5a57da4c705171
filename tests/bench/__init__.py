"""How fast the product is, always against a baseline of the same run: `python -m tests.bench`.

Nothing here is a test: a number depends on the machine, a ratio much less. So a bench prints ratios and how each
was taken, and only a person (or a release's checklist) judges them.
"""
