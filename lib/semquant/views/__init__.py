"""An explanation to look at: figures, and pages of one file that need no network."""
