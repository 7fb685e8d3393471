"""What is drawn of a study: plots as HTML files that need nothing else."""
