"""The book's interactive views."""
