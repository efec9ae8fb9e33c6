"""What a dry run says about a backfill."""
