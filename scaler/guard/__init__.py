"""A guard before the engine's socket: lets through what the docker executor asks for, and nothing else.

Whoever may use the socket of a Docker engine owns the machine. The daemon needs a handful of its calls, for
containers of its own; `policy` and its helpers decide which these are, purely, and `proxy` carries them over.
"""
