"""What the admin shows beyond lists; it needs the reports, so only its views import this."""
