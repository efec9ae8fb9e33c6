"""Old and new models, and production's queries, executed on the schema that they will meet."""
