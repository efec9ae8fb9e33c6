"""Sizes and rates of production, which forecasts are scaled to.

``collect`` reads them from a database, ``load`` from a file that ``confiture_stats`` wrote there.
"""

from django_confiture.production.collect import collect
from django_confiture.production.load import load
from django_confiture.production.stats import IndexStats, ProductionStats, TableStats

__all__ = ["IndexStats", "ProductionStats", "TableStats", "collect", "load"]
