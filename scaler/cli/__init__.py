"""The command line: starts the daemon, checks job files, and is a client of the daemon's API."""
