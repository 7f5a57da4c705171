"""The contracts between the engine and everything it reaches by name or by handing in."""
