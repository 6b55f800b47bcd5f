"""The networks: interpretable filters, performers, and weights trained by others."""
