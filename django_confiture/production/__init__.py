"""What production looks like, in sizes and rates alone: what forecasts are scaled with.

``collect`` reads it from a database, ``load`` from the file that ``confiture_stats`` wrote there.
"""

from django_confiture.production.collect import collect
from django_confiture.production.load import load
from django_confiture.production.stats import IndexStats, ProductionStats, TableStats

__all__ = ["IndexStats", "ProductionStats", "TableStats", "collect", "load"]
