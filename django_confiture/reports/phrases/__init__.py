"""Wording that the formats share."""
