"""What production looks like, in sizes and rates alone: what forecasts are scaled with.

``collect`` reads it from a database, ``load`` from the file that ``confiture_stats`` wrote there.
"""

from django_confiture.production.collecting import collect
from django_confiture.production.model import IndexStats, ProductionStats, TableStats
from django_confiture.production.reading import load

__all__ = ["IndexStats", "ProductionStats", "TableStats", "collect", "load"]
