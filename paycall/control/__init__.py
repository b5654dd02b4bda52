"""What cells and panel say to each other: typed messages without a digit, and the two ends of the link."""
