"""The app "cases" as the test databases are created with: no migrations."""
