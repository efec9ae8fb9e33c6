"""What a migration would cost in production, with a range and what it rests on."""

from django_confiture.dry_run.estimates.forecaster import Forecaster
from django_confiture.dry_run.estimates.past_errors import PastErrors
from django_confiture.dry_run.estimates.row_counts import Sizes
from django_confiture.dry_run.estimates.sampling import Sampler, whole_ms

__all__ = ["Forecaster", "PastErrors", "Sampler", "Sizes", "whole_ms"]
