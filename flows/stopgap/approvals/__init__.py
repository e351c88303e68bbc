"""Who may let a step go on, and what they saw when they did."""
