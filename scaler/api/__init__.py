"""The REST face of the daemon: Container Apps paths for jobs, and our own under `/scaler/`."""
