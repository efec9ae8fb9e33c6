"""An optional app: the ledger of real migrations and their hooks, of dry runs and forecasts."""
