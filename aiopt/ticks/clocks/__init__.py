"""The clock of a source: which it is, what its weeks prove, and from wall clocks to UTC."""
