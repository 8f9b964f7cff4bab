"""Pages of the evaluation application."""
