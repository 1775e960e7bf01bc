"""Secrets from where they are kept to where they are used, masked, all or nothing."""

__version__ = "1.0.0"
