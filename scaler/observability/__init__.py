"""What the daemon shows of itself beside the API: its log."""
