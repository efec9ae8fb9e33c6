"""Rewrites a pending migration into files that let others work, and proves it by two rehearsals."""
