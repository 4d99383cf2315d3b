"""The rules of ticks: what each finds, what is done about it, and what is counted."""
