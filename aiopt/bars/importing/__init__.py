"""A provider's bars: recognising their files, reading them, and bringing several to one run's two sides."""
