"""Who is told what: entries of the timeline as messages to people and channels, sent at least once."""
