"""A study's models and trials in the formats of others, and the way back of what can be read here."""
