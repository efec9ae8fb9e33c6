"""Where statements are caught, and what is sent in their place."""
