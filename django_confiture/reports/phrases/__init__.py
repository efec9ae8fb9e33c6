"""Wording that all formats share."""
