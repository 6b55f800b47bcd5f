"""The runs of both experiments: presets, the store, jobs, records, tables."""
