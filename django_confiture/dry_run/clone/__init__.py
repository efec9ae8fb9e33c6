"""The throw-away copy of a database that ``--clone`` runs on."""
