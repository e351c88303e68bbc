"""Timeline -> pages for people: exports and reviews."""
