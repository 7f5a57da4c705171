"""Workers that take exactly one message; run as plain scripts and as the containers of the test image."""
