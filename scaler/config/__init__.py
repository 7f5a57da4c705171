"""Job files and the daemon's settings: from YAML to the model, with every fault at its line and column."""
