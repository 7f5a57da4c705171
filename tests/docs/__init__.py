"""Pages against code: what is written down must be so."""
