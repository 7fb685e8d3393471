"""Pages and plots for people, of what has been decided already."""
