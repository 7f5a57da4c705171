"""Contract suites and fakes that are shipped, so that plugins outside this repository are held to the same rules."""
