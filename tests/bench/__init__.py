"""Parts of the product beside a baseline of the same run, for those who work on it: `python -m tests.bench`.

What needs brokers, or looks inside. The product as a whole is measured by `scaler bench`. No figure is a test: a number
depends on the machine, a ratio much less. So a bench prints ratios and how each was taken, and only a person (or a
release's checklist) judges them.
"""
