"""What `bench` and `soak` stand on: a queue of files, its scaler, a real daemon, and the bare engine beside it."""
