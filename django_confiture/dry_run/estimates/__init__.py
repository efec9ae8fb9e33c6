"""What a migration would cost in production, with a range and what it rests on."""

from django_confiture.dry_run.estimates.forecaster import Forecaster
from django_confiture.dry_run.estimates.observed import last_dry_run, observed_factors
from django_confiture.dry_run.estimates.samples import Sampler, whole_ms
from django_confiture.dry_run.estimates.sizes import Sizes

__all__ = ["Forecaster", "Sampler", "Sizes", "last_dry_run", "observed_factors", "whole_ms"]
