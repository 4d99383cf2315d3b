"""Another person's Pine strategy read into a spec of ours, or refused construct by construct."""
