"""Azure Container Apps jobs, anywhere Docker runs."""

from __future__ import annotations

__version__ = "0.1.0"
