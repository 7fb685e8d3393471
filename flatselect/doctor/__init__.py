"""What a search needs of this machine, the cluster, the database and the data, checked before it starts."""
