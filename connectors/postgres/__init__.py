"""The record in PostgreSQL: thin Python, SQL in files."""
