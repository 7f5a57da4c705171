"""Proofs of the whole product: the installed command as a child process, real brokers, real containers."""
