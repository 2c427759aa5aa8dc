"""Every figure and table, each as compute, data file and draw."""
