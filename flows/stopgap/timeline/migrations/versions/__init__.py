"""One module per migration; their numbers are their order."""
