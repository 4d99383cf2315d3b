"""Where a stop inside a bar is filled: the quotes of the bar's own ticks, or a mean measured on others."""
