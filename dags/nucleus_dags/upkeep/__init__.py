"""What keeps an installation going for years: backup and restore, and the removal of what is old."""
