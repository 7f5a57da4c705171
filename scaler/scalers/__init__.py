"""Built-in scalers: one module each, found by its name; a leading underscore marks a shared helper."""
