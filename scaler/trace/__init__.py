"""What a daemon decided on, as lines of JSON that can be decided again: written, read, compared."""
