"""An operation in the form that lets others work meanwhile: which files, with what in them.

Recipes are pure: they go by the operation and by the statements that it makes, so they cover all
of them, or none. What the findings print and what ``confiture_fix`` writes comes from here.
"""
