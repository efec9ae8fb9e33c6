"""What a migration would cost in production, with a range and what it rests on."""

from django_confiture.dry_run.estimates.forecaster import Forecaster
from django_confiture.dry_run.estimates.past_runs import last_dry_run, observed_factors
from django_confiture.dry_run.estimates.row_counts import Sizes
from django_confiture.dry_run.estimates.sampling import Sampler, whole_ms

__all__ = ["Forecaster", "Sampler", "Sizes", "last_dry_run", "observed_factors", "whole_ms"]
