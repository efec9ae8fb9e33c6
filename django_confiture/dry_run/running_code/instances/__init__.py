"""Instances of a release's models, with values that the release may write."""
