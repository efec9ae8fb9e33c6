"""An app whose migrations each test chooses with MIGRATION_MODULES."""
