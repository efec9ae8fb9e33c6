"""Pages of the admin. They import the reports, so only the admin's views import them."""
